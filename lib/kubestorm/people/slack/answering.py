"""From what was asked in Slack to an answer in Slack: the pack's conversation, and the way back.

Whoever may not, or was not understood, is told so alone; everything else is said where it was
asked, and what takes longer gets its outcome in the same thread. The way back is the Web API; where
the bot is no member, the address that came with the command.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any, Dict, Mapping, Optional, Tuple

from kubestorm.clients.engine_api import EngineApi
from kubestorm.clients.services import Services
from kubestorm.clients.slack.credentials import Credentials
from kubestorm.clients.slack.web import SlackWeb
from kubestorm.core.errors import Error, NotFoundError, PermanentError
from kubestorm.core.naming import identity_of
from kubestorm.core.secrets import Secret
from kubestorm.people.approval import messages as approval_messages
from kubestorm.people.approval.act import person_of, respond
from kubestorm.people.approval.record import NO, YES
from kubestorm.people.approval.subjects import all_open, resource_of
from kubestorm.people.chat import shell
from kubestorm.people.chat.formatting import slack_escape
from kubestorm.people.chat.people import is_bot
from kubestorm.people.chat.settings import ChatSettings
from kubestorm.people.notifications.slack_posting import open_web
from kubestorm.people.slack.proof import check

OUTCOME_ACTION = "kubestorm.slack_outcome"
QUIET_OUTCOMES = ("refused", "warning")
"""Answers that only the one who asked needs to see."""
_ANSWER = re.compile(
    r"^\s*(approve|grant|refuse|reject|deny|decline)(?:\s+(?:it|this|that))?"
    r"(?=\s*(?:[.!]*$|because\b|since\b|reason\b|for\b|while\b))",
    re.IGNORECASE,
)
Result = Dict[str, Any]


class Place:
    """Where somebody asked, and so where the answer goes."""

    def __init__(
        self, web: SlackWeb, channel: str, user: str, thread: str, response_url: Optional[Secret]
    ) -> None:
        self._web, self._channel, self._user, self._thread = web, channel, user, thread
        self._url = response_url

    def say(self, text: str, attachments: Any) -> str:
        """To everybody there; the thread that later words about it belong to, empty where none can
        be had.
        """
        content = list(attachments or ())
        try:
            ts = self._web.post_attachments(self._channel, text, content, thread=self._thread)
        except PermanentError:
            if self._url is None:
                raise
            self._respond("in_channel", text, content)
            return ""
        return self._thread or ts

    def whisper(self, text: str, attachments: Any = ()) -> None:
        """To the one who asked."""
        if self._url is not None:
            with contextlib.suppress(PermanentError):
                self._respond("ephemeral", text, list(attachments or ()))
                return
        self._web.whisper(
            self._channel, self._user, text, list(attachments or ()), thread=self._thread
        )

    def _respond(self, kind: str, text: str, attachments: Any) -> None:
        assert self._url is not None  # noqa: S101 (the callers look)
        body: Dict[str, Any] = {"response_type": kind, "text": text, "replace_original": False}
        if attachments:
            body["attachments"] = attachments
        if self._thread:
            body["thread_ts"] = self._thread
        self._web.respond(self._url, body)


def answer(
    services: Services, action_service: Any, asked: Mapping[str, Any], *, config: Any
) -> Tuple[bool, Result]:
    """Answer a command or a mention; what is still under way gets its outcome in the thread."""
    check(asked, Credentials.of(services.settings).bot_token(), services.now().timestamp())
    place = place_of(services, action_service, asked)
    text = _with_number(services, str(asked["text"]), str(asked.get("thread") or ""))
    channel = str(asked.get("channel_name") or asked["channel"])
    well, result = shell.answer_text(config, text, str(asked["user"]), channel)
    if result.get("silent"):
        return True, {"message": "Bots are not answered."}
    shown = result["slack"]
    if asked.get("kind") == "command" and result["outcome"] in QUIET_OUTCOMES:
        place.whisper(shown["text"], shown["attachments"])
        thread = ""
    else:
        thread = place.say(shown["text"], shown["attachments"])
    facts = {key: result.get(key) for key in ("command", "person", "parameters", "outcome")}
    if thread and result.get("follow"):
        facts["outcome_execution"] = _follow(result["follow"], str(asked["channel"]), thread)
    return well, {"message": result["text"], **facts}


def _follow(follow: Mapping[str, Any], channel: str, thread: str) -> str:
    api = EngineApi.of_this_action()
    if api is None:
        return ""
    return api.start(OUTCOME_ACTION, {"follow": follow, "channel": channel, "thread": thread})


def follow_up(services: Services, follow: Mapping[str, Any], channel: str, thread: str) -> Result:
    """One look at what a command has begun; its outcome goes into the thread."""
    result = shell.check_progress(services, follow)
    if result["over"]:
        shown = result["slack"]
        open_web(services).post_attachments(
            channel, shown["text"], shown["attachments"], thread=thread
        )
    return {"over": result["over"], "follow": result.get("follow")}


def click(services: Services, action_service: Any, clicked: Mapping[str, Any]) -> Result:
    """A button of an approval: whose word does not count is told so alone."""
    check(clicked, Credentials.of(services.settings).bot_token(), services.now().timestamp())
    place = place_of(services, action_service, clicked)
    decision = {approval_messages.APPROVE_ACTION: YES, approval_messages.REFUSE_ACTION: NO}.get(
        str(clicked["action"])
    )
    try:
        word, namespace, name, number = approval_messages.read_button(str(clicked["value"]))
        resource = resource_of(services, word)
        obj = services.kube.get(resource, name, namespace)
    except ValueError:
        return {"counted": False, "message": "That button is none of mine."}
    except NotFoundError:
        place.whisper("That is gone.")
        return {"counted": False, "message": "That is gone."}
    if is_bot(ChatSettings.from_config(services.settings.raw), str(clicked["user"])):
        return {"counted": False, "message": "Bots are not answered."}
    obj.setdefault("apiVersion", resource.api_version)
    result = respond(
        services,
        person=person_of(services, account=str(clicked["user"])),
        decision=decision or "",
        number=number,
        identity=identity_of(services.settings.cluster, resource.plural, obj),
        via="slack",
        comment=str((clicked.get("inputs") or {}).get(approval_messages.COMMENT_INPUT) or ""),
    )
    if not result["counted"]:
        place.whisper(slack_escape(str(result["message"])))
    return result


def place_of(services: Services, action_service: Any, asked: Mapping[str, Any]) -> Place:
    """Where the answer goes. The address that came with it is in the datastore, encrypted, for half
    an hour.
    """
    reply = str(asked.get("reply") or "")
    kept = None
    if reply:
        with contextlib.suppress(
            Exception
        ):  # an engine that cannot decrypt: the Web API is the usual way anyhow
            kept = action_service.get_value(reply, local=False, decrypt=True)
    return Place(
        open_web(services),
        str(asked["channel"]),
        str(asked["user"]),
        str(asked.get("thread") or ""),
        Secret(str(kept)) if kept and str(kept).startswith("http") else None,
    )


def _with_number(services: Services, text: str, thread: str) -> str:
    """`approve` in the thread of a question means that question."""
    found = _ANSWER.match(text)
    if found is None or not thread:
        return text
    with contextlib.suppress(Error):
        for subject in all_open(services):
            if subject.record is not None and subject.record.message == thread:
                return f"{found[1].lower()} {subject.record.number}{text[found.end() :]}"
    return text
