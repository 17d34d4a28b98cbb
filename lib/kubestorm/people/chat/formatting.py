"""An answer, and how it looks: plain text for Hubot, Errbot and a terminal, attachments and blocks
for Slack. Pure.

A sentence first, then fields or a short table, then links and the next step. What an answer quotes
(names, logs, messages of services) was written by somebody else: nothing of it may become a
template in StackStorm, which renders what its chatops pack passes on, nor markup in Slack.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from kubestorm.core import untrusted

MOST_ROWS = 20
MOST_CHARACTERS = 3500
"""Slack cuts a section at 3,000 and an attachment's text at 4,000 or so; Hubot's adapters split at
about that.
"""
LONGEST_CELL = 60
LONGEST_VALUE = 300
_BRACES = re.compile(r"([{<])(?=[{%#])")
_JOINER = "\u2060"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Outcome(str, enum.Enum):
    """How it went; the colour follows."""

    GOOD = "good"
    INFO = "info"
    WORKING = "working"
    WARNING = "warning"
    REFUSED = "refused"
    FAILED = "failed"


COLOURS: Mapping[Outcome, str] = {
    Outcome.GOOD: "#2eb886",
    Outcome.INFO: "#8a8f98",
    Outcome.WORKING: "#439fe0",
    Outcome.WARNING: "#daa038",
    Outcome.REFUSED: "#daa038",
    Outcome.FAILED: "#d0342c",
}
EMOJI: Mapping[Outcome, str] = {
    Outcome.GOOD: ":white_check_mark:",
    Outcome.INFO: ":information_source:",
    Outcome.WORKING: ":hourglass_flowing_sand:",
    Outcome.WARNING: ":warning:",
    Outcome.REFUSED: ":no_entry:",
    Outcome.FAILED: ":x:",
}


@dataclass(frozen=True)
class Table:
    """Rows of text below their headings."""

    headings: Tuple[str, ...]
    rows: Tuple[Tuple[str, ...], ...]


@dataclass(frozen=True)
class Message:
    """An answer. Only `sentence` has to be there."""

    sentence: str
    outcome: Outcome = Outcome.INFO
    fields: Tuple[Tuple[str, str], ...] = ()
    table: Optional[Table] = None
    lines: Tuple[str, ...] = ()
    """Quoted as they are, in a fixed width: logs."""
    links: Tuple[Tuple[str, str], ...] = ()
    """Label and address."""
    next_step: str = ""
    """What the reader can do now."""


def safe(text: Any) -> str:
    """Text of somebody else's: no template, no control or direction characters."""
    plain = _CONTROL.sub("", str(text).replace("\r\n", "\n").replace("\r", "\n"))
    return _BRACES.sub(rf"\1{_JOINER}", plain)


def table_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[Tuple[str, str]]) -> Table:
    """A table of some keys of mappings: (heading, key) each; a column in which nothing stands is
    left out.
    """
    used = [
        (heading, key)
        for heading, key in columns
        if any(row.get(key) not in (None, "") for row in rows)
    ]
    headings = tuple(heading for heading, _key in used)
    return Table(
        headings, tuple(tuple(_cell(row.get(key)) for _heading, key in used) for row in rows)
    )


def image_table(images: Any) -> Optional[Table]:
    """What became of each image of a build; None where nothing is known of any."""
    columns = (
        ("Image", "name"),
        ("State", "state"),
        ("Tag", "tag"),
        ("Digest", "digest"),
        ("Why", "message"),
    )
    rows = untrusted.mappings(images)
    return table_of(rows, columns) if rows else None


def plain(message: Message) -> str:
    """The message as text: for Hubot, Errbot, the command line and whoever has no colours."""
    parts = [safe(message.sentence)]
    parts += [
        f"{safe(title)}: {_short(safe(value), LONGEST_VALUE)}" for title, value in message.fields
    ]
    if message.table is not None and message.table.rows:
        parts.append(_columns(message.table))
    if message.lines:
        parts.append("\n".join(_last_lines(message.lines, MOST_CHARACTERS - 700)))
    parts += [
        f"{safe(label)}: {_address(address)}"
        for label, address in message.links
        if _address(address)
    ]
    if message.next_step:
        parts.append(safe(message.next_step))
    return _short("\n".join(parts), MOST_CHARACTERS)


def slack_text(message: Message) -> str:
    """The message for where only a text can go (notifications, Slack's `text` beside blocks)."""
    return slack_cut(slack_escape(safe(message.sentence)), 300)


def slack_blocks(message: Message) -> List[Dict[str, Any]]:
    """Block Kit blocks: sentence, fields, table, lines, links, next step."""
    sentence = f"{EMOJI[message.outcome]} {_mrkdwn(message.sentence)}"
    blocks: List[Dict[str, Any]] = [_section(sentence)]
    shown = message.fields[:10]  # Slack allows ten fields in a section
    if shown:
        texts = [
            {"type": "mrkdwn", "text": slack_cut(f"*{_mrkdwn(title)}*\n{_mrkdwn(value)}", 1900)}
            for title, value in shown
        ]
        blocks.append({"type": "section", "fields": texts})
    if message.table is not None and message.table.rows:
        blocks.append(_section(_fixed(_columns(message.table))))
    if message.lines:
        blocks.append(_section(_fixed("\n".join(_last_lines(message.lines, 2700)))))
    below = [
        f"<{_address(address)}|{_mrkdwn(label)}>"
        for label, address in message.links
        if _address(address)
    ]
    below += [_mrkdwn(message.next_step)] if message.next_step else []
    if below:
        elements = [{"type": "mrkdwn", "text": slack_cut(text, 1900)} for text in below[:10]]
        blocks.append({"type": "context", "elements": elements})
    return blocks


def slack_attachments(message: Message) -> List[Dict[str, Any]]:
    """One attachment whose bar has the outcome's colour, for `chat.postMessage` and
    hubot-stackstorm alike.
    """
    return [
        {
            "color": COLOURS[message.outcome],
            "fallback": _short(plain(message), 500),
            "blocks": slack_blocks(message),
        }
    ]


def slack_escape(text: str) -> str:
    """What Slack reads as markup or a mention, written out (its own three escapes; "Escaping text"
    in its reference).
    """
    return re.sub("[&<>]", lambda match: _ESCAPES[match[0]], text)


def slack_cut(text: str, length: int) -> str:
    """As much of an escaped text as there is room for; no escape is cut in two."""
    if len(text) <= length:
        return text
    return re.sub("&[a-z]{0,3}$", "", text[: length - 1]) + "…"


def with_links(message: Message, links: Sequence[Tuple[str, str]]) -> Message:
    """The message with more links."""
    return replace(message, links=(*message.links, *links)) if links else message


def _section(text: str) -> Dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": slack_cut(text, 2990)}}


def _mrkdwn(text: str) -> str:
    return slack_escape(safe(text))


def _fixed(text: str) -> str:
    return "```" + slack_cut(slack_escape(text.replace("```", "'''")), 2900) + "```"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _short(" ".join(safe(value).split()), LONGEST_CELL)


def _columns(table: Table) -> str:
    rows = [table.headings, *table.rows[:MOST_ROWS]]
    widths = [max(len(row[index]) for row in rows) for index in range(len(table.headings))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    ]
    left = len(table.rows) - MOST_ROWS
    return "\n".join([*lines, f"... and {left} more"] if left > 0 else lines)


def _last_lines(lines: Sequence[str], characters: int) -> List[str]:
    """As many of the last lines as there is room for."""
    kept: List[str] = []
    room = characters
    for line in reversed(lines):
        text = _short(safe(line), 400)
        room -= len(text) + 1
        if room < 0:
            kept.append("...")
            break
        kept.append(text)
    return kept[::-1]


def _address(text: str) -> str:
    """An address that can be shown as a link; nothing for anything else."""
    return text if re.match(r"^https?://[^\s<>|{}\"']+$", text) else ""


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
