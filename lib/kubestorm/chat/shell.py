"""What the actions of the chat call: the conversation on the configured services."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

from kubestorm import naming
from kubestorm.chat.answering import Asked, Conversation, as_result, error_answer, message_result, targets_by_kube
from kubestorm.chat.commands import APPLICATION, KIND_WORDS
from kubestorm.chat.following import Follow, judge_late, judge_object, judge_rollout, next_look
from kubestorm.chat.formatting import Message, Outcome
from kubestorm.chat.running import PackActions
from kubestorm.chat.settings import ChatSettings
from kubestorm.errors import Error, NotFoundError
from kubestorm.kube import Object, Resource
from kubestorm.services import Services, open_services

log = logging.getLogger(__name__)
ROLLOUTS = Resource(naming.GROUP, naming.VERSION, "rollouts")


def answer_text(
    folder: Path,
    config: Optional[Mapping[str, Any]],
    action_service: Any,
    text: str,
    user: str,
    channel: str = "",
    options: Optional[Mapping[str, str]] = None,
    speaker: str = "",
) -> Tuple[bool, Dict[str, Any]]:
    """Answer a text. `folder` holds the pack's actions. Not succeeded is what failed, not what was refused."""
    try:
        services = open_services(config)
        settings = ChatSettings.from_config(services.settings.raw)
        runner = PackActions(folder, config, action_service)
        conversation = Conversation(settings, runner, targets_by_kube(services.kube), cluster=services.settings.cluster)
        given = {key: value for key, value in (options or {}).items() if value}
        answer = conversation.answer(Asked(text, user, channel, given, speaker))
        look_seconds = settings.look_seconds
    except Error as error:
        answer, look_seconds = error_answer(error), 0.0
    result = as_result(answer, look_seconds)
    facts = {"command": answer.command, "person": answer.person, "account": user, "channel": channel}
    log.info("chat.answered", extra={**facts, "outcome": result["outcome"]})
    return result["outcome"] != Outcome.FAILED.value, result


def look(services: Services, given: Mapping[str, Any]) -> Dict[str, Any]:
    """One look at what is under way: the outcome as a message, or `follow` for the next look.

    A service that does not answer is no outcome; it is looked at again.
    """
    settings = ChatSettings.from_config(services.settings.raw)
    follow = Follow(**{key: value for key, value in given.items() if key in Follow.__dataclass_fields__})
    try:
        message = _judged(services, follow)
    except Error as error:
        log.warning("chat.look_failed", extra={"error": str(error)})
        message = None
    message = message or judge_late(follow, settings.watch_seconds)
    if message is None:
        return {"over": False, "follow": next_look(follow, settings.look_seconds).as_dict()}
    return {"over": True, "follow": None, **message_result(message)}


def _judged(services: Services, follow: Follow) -> Optional[Message]:
    if follow.plural == APPLICATION:
        found = _get(services, ROLLOUTS, follow.rollout, follow.namespace) if follow.rollout else None
        return judge_rollout(follow, found)
    resource = Resource(naming.GROUP, naming.VERSION, follow.plural)
    return judge_object(follow, _get(services, resource, follow.name, follow.namespace), KIND_WORDS[follow.plural])


def _get(services: Services, resource: Resource, name: str, namespace: str) -> Optional[Object]:
    try:
        return services.kube.get(resource, name, namespace)
    except NotFoundError:
        return None
