"""The port to chat, and the way to it through the engine's own ChatOps: Hubot or err-stackstorm.

The other way, Slack's Web API, is in `kubestorm.people.notifications.slack_posting`.
"""

from __future__ import annotations

from typing import Any, Dict, List, Protocol, Sequence

from kubestorm.clients.engine_api import SERVICE, EngineApi
from kubestorm.core.errors import PermanentError
from kubestorm.people.chat.formatting import safe
from kubestorm.people.notifications.notifications import BAD, GOOD, INFO, WARNING
from kubestorm.people.notifications.outbox import Message
from kubestorm.people.notifications.settings import SLACK

MARKS = {GOOD: "✔", BAD: "✖", WARNING: "▲", INFO: "▸"}
COLOURS = {GOOD: "#2eb67d", BAD: "#e01e5a", WARNING: "#ecb22e", INFO: "#36c5f0"}
MAX_TEXT = 3500
TRIGGER = "kubestorm.news"
POST_ACTION = "kubestorm.announcement_post"


class Poster(Protocol):
    """Whoever brings a message to a channel."""

    def post(self, message: Message) -> str:
        """Post it; the id of the thread that it began or belongs to, empty where there are none.

        TemporaryError: try again later. PermanentError: this message will never arrive.
        """


class EnginePoster:
    """Starts an execution of `kubestorm.announcement_post` for each message: the announcement
    runner is StackStorm's only way to a bot.

    The sensor's news does not come this way; its rule runs that action itself.
    """

    def __init__(self, route: str) -> None:
        self._route = route

    def post(self, message: Message) -> str:
        return self.say(message.channel, as_text(message))

    def say(self, channel: str, text: str) -> str:
        """Post plain text."""
        api = EngineApi.of_this_action()
        if api is None:
            raise PermanentError(
                "Only an action that StackStorm runs can post through its ChatOps.", service=SERVICE
            )
        api.start(POST_ACTION, {"route": self._route, "channel": channel, "message": safe(text)})
        return ""


def payloads(messages: Sequence[Message], through: str, route: str) -> List[Dict[str, Any]]:
    """The payloads of `kubestorm.news` for messages that are due.

    For Slack one event has all of them, because one action posts them. For the engine's ChatOps
    each message is an execution of the announcement runner, so each is an event.
    """
    if not messages:
        return []
    if through == SLACK:
        return [{"through": through, "messages": [message.to_payload() for message in messages]}]
    return [
        {
            "through": through,
            "route": route,
            "channel": message.channel,
            "text": safe(as_text(message)),
            "messages": [message.to_payload()],
        }
        for message in messages
    ]


def as_text(message: Message) -> str:
    """A message in plain text."""
    lines = [f"{MARKS[message.tone]} {message.text}", *message.lines]
    if message.facts:
        lines.append("  ".join(f"{label}: {value}" for label, value in message.facts))
    text = "\n".join(lines)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
