"""What the actions of the chat call: the conversation on the configured services."""

from __future__ import annotations

import logging
from typing import Any, Dict, List, Mapping, Optional, Tuple

from kubestorm.clients.engine_api import EngineApi
from kubestorm.clients.kube import Object, Resource
from kubestorm.clients.resources import ROLLOUTS, selector
from kubestorm.clients.services import Services, open_services
from kubestorm.core import naming
from kubestorm.core.errors import Error, NotFoundError
from kubestorm.people.chat.answering import (
    Asked,
    Conversation,
    as_result,
    error_answer,
    message_result,
    targets_by_kube,
)
from kubestorm.people.chat.commands import APPLICATION, KIND_WORDS, say
from kubestorm.people.chat.formatting import Message, Outcome
from kubestorm.people.chat.progress import (
    Follow,
    judge_application,
    judge_build,
    judge_delivery,
    judge_late,
    judge_object,
    next_check,
)
from kubestorm.people.chat.running import EngineActions
from kubestorm.people.chat.settings import ChatSettings

log = logging.getLogger(__name__)


def answer_text(
    config: Optional[Mapping[str, Any]],
    text: str,
    user: str,
    channel: str = "",
    options: Optional[Mapping[str, str]] = None,
    speaker: str = "",
    command: str = "",
) -> Tuple[bool, Dict[str, Any]]:
    """Answer a text, or a `command` whose values are the options.

    The first value is False where something failed, not where it was refused.
    """
    try:
        services = open_services(config)
        settings = ChatSettings.from_config(services.settings.raw)
        conversation = Conversation(
            settings,
            EngineActions(EngineApi.of_this_action()),
            targets_by_kube(services.kube),
            cluster=services.settings.cluster,
            list_rollouts=lambda place: [
                item["metadata"]["name"] for item in _rollouts(services, *place)
            ],
        )
        given: Mapping[str, str] = {key: value for key, value in (options or {}).items() if value}
        if command:
            text, given = say(command, given)
        answer = conversation.answer(Asked(text, user, channel, given, speaker))
        check_seconds = settings.check_seconds
    except Error as error:
        answer, check_seconds = error_answer(error), 0.0
    result = as_result(answer, check_seconds)
    facts = {
        "command": answer.command,
        "person": answer.person,
        "account": user,
        "channel": channel,
    }
    log.info("chat.answered", extra={**facts, "outcome": result["outcome"]})
    return result["outcome"] != Outcome.FAILED.value, result


def check_progress(services: Services, given: Mapping[str, Any]) -> Dict[str, Any]:
    """Check once what is under way: the outcome as a message, or `follow` for the next check.

    A service that does not answer is no outcome; it is checked again.
    """
    settings = ChatSettings.from_config(services.settings.raw)
    follow = Follow.from_dict(given)
    try:
        message = _judged(services, follow)
    except Error as error:
        log.warning("chat.check_failed", extra={"error": str(error)})
        message = None
    message = message or judge_late(follow, settings.watch_seconds)
    if message is None:
        return {"over": False, "follow": next_check(follow, settings.check_seconds).as_dict()}
    return {"over": True, "follow": None, **message_result(message)}


def _judged(services: Services, follow: Follow) -> Optional[Message]:
    found = _get(
        services,
        Resource(naming.GROUP, naming.VERSION, follow.plural),
        follow.name,
        follow.namespace,
    )
    if follow.plural == APPLICATION:
        return judge_application(follow, found, _rollouts(services, follow.namespace, follow.name))
    if follow.run:
        return judge_delivery(follow, found)
    if follow.request:
        return judge_build(follow, found)
    return judge_object(follow, found, KIND_WORDS[follow.plural])


def _rollouts(services: Services, namespace: str, application: str) -> List[Object]:
    return list(services.kube.list_all(ROLLOUTS, namespace, label_selector=selector(application)))


def _get(services: Services, resource: Resource, name: str, namespace: str) -> Optional[Object]:
    try:
        return services.kube.get(resource, name, namespace)
    except NotFoundError:
        return None
