"""Log lines as a condition may show them: few, short, and without the secrets that can be
recognised.

A program may write its secrets in any form; what is taken out here is what is known (the values of
the application's own Secrets) and what looks like one. The rest is a reason to show few lines.
"""

from __future__ import annotations

import re
from typing import Iterable, List

HIDDEN = "(hidden)"
MAX_LINES = 8
MAX_LINE = 240
MAX_TEXT = 700
SHORTEST_SECRET = 4
"""Shorter values (`1`, `yes`) are not secrets, and hiding them would garble the text."""

_NAMED = re.compile(
    r"""(?ix) ( (?: pass(?:word|wd|phrase)? | secret | token | api[_-]?key | access[_-]?key
        | private[_-]?key | credential | authorization | auth[_-]?key ) [\w-]{0,64} ["']? \s*
        (?: [:=] | \s is \s ) \s* )
        ( "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | (?:bearer|basic) \s+ \S+ | [^\s,;&]+ )"""
)
_PATTERNS = (
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # user:password@host
    re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"),
    # a JSON Web Token:
    re.compile(r"(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"\bhvs\.[A-Za-z0-9_-]{10,}"),
    re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}"),
)
_PEM = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def redact(text: str, known: Iterable[str] = ()) -> str:
    """The text without known secret values and without what looks like one."""
    for value in sorted(
        {value for value in known if len(value) >= SHORTEST_SECRET}, key=len, reverse=True
    ):
        text = text.replace(value, HIDDEN)
    text = _PEM.sub(HIDDEN, text)
    text = _NAMED.sub(lambda found: found.group(1) + HIDDEN, text)
    for pattern in _PATTERNS:
        text = pattern.sub(HIDDEN, text)
    return text


def last_lines(log: str, known: Iterable[str] = ()) -> str:
    """The end of a log in one bounded text; lines are joined by ` | ` as a condition has one."""
    clean = redact(_CONTROL.sub("", log.replace("\r\n", "\n")), known)
    lines = [line.strip() for line in clean.splitlines() if line.strip()][-MAX_LINES:]
    kept: List[str] = []
    room = MAX_TEXT
    for line in reversed(lines):
        short = line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"
        if len(short) > room:
            break
        kept.insert(0, short)
        room -= len(short) + 3
    return " | ".join(kept)
