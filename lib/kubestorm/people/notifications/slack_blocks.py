"""What messages look like in Slack: Block Kit, with everything that others wrote escaped. Pure."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

from kubestorm.people.chat.formatting import slack_cut, slack_escape
from kubestorm.people.notifications.outbox import Message
from kubestorm.people.notifications.posting import MARKS

MAX_SECTION = 2900
"""Slack takes 3,000 characters in a section."""
MAX_BLOCKS = 45

Block = Dict[str, Any]


def section(text: str) -> Block:
    """A paragraph of mrkdwn; what is not ours in it has to be escaped."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text)}}


def facts(pairs: Sequence[Tuple[str, str]]) -> List[Block]:
    """Small print: label and value."""
    if not pairs:
        return []
    text = "   ".join(f"*{slack_escape(label)}:* {slack_escape(value)}" for label, value in pairs)
    return [{"type": "context", "elements": [{"type": "mrkdwn", "text": cut(text, 1900)}]}]


def announcement(message: Message) -> List[Block]:
    """A message of the pack's own."""
    blocks = [section(f"{MARKS[message.tone]} {slack_escape(message.text)}")]
    blocks += paragraphs(message.lines)
    return (blocks + facts(message.facts))[:MAX_BLOCKS]


def paragraphs(lines: Sequence[str]) -> List[Block]:
    """Lines in as few sections as hold them."""
    found: List[Block] = []
    text = ""
    for line in lines:
        line = slack_escape(line)
        if text and len(text) + len(line) + 1 > MAX_SECTION:
            found.append(section(text))
            text = ""
        text = f"{text}\n{line}" if text else line
    return [*found, section(text)] if text else found


def cut(text: str, length: int = MAX_SECTION) -> str:
    """As much of a text as Slack takes."""
    return slack_cut(text, length)
