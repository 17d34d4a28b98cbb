"""The port to chat, and its way through the engine: messages that the engine's own ChatOps brings
to Hubot or errbot.

The other way, Slack's Web API, is in `kubestorm.slack.posting`.
"""

from __future__ import annotations

from typing import Any, Dict, List, Protocol

from kubestorm.announce.news import BAD, GOOD, INFO, WARNING
from kubestorm.announce.outbox import Message
from kubestorm.chat.formatting import safe

MARKS = {GOOD: "✔", BAD: "✖", WARNING: "▲", INFO: "▸"}
COLOURS = {GOOD: "#2eb67d", BAD: "#e01e5a", WARNING: "#ecb22e", INFO: "#36c5f0"}
MAX_TEXT = 3500


class Poster(Protocol):
    """Whoever brings a message to a channel."""

    def post(self, message: Message) -> str:
        """Post it; the id of the thread that it began or belongs to, empty where there are none.

        TemporaryError: try again later. PermanentError: this message will never arrive.
        """


class EnginePoster:
    """Collects messages as parameters of `kubestorm.announcement_post`, which the workflow runs for
    each.
    """

    def __init__(self) -> None:
        self.posts: List[Dict[str, Any]] = []

    def post(self, message: Message) -> str:
        self.posts.append({"channel": message.channel, "message": safe(as_text(message))})
        return ""


def as_text(message: Message) -> str:
    """A message in plain text."""
    lines = [f"{MARKS[message.tone]} {message.text}", *message.lines]
    if message.facts:
        lines.append("  ".join(f"{label}: {value}" for label, value in message.facts))
    text = "\n".join(lines)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
