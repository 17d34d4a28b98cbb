"""What a registry says about how it wants to be asked: WWW-Authenticate, Link and Retry-After.
Pure.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from typing import Dict, NamedTuple, Optional
from urllib.parse import urljoin

_CHALLENGE = re.compile(r"\s*(?P<scheme>[A-Za-z][A-Za-z0-9-]*)\s+(?P<rest>.*)", re.DOTALL)
_PARAMETER = re.compile(
    r'(?P<key>[A-Za-z_]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]+))\s*(?:,|$)'
)
_LINK = re.compile(r'<(?P<target>[^>]*)>\s*;[^,]*\brel\s*=\s*"?next\b')
MAX_RETRY_SECONDS = 6 * 3600.0


class Challenge(NamedTuple):
    """`scheme` in small letters. Source: RFC 6750 and distribution's docs/spec/auth/token.md."""

    scheme: str
    parameters: Dict[str, str]


def parse_challenge(header: str) -> Challenge:
    """The first challenge of a WWW-Authenticate header; one without parameters has none."""
    match = _CHALLENGE.match(header)
    if not match:
        return Challenge(header.strip().lower(), {})
    found: Dict[str, str] = {}
    position, rest = 0, match["rest"]
    while True:
        parameter = _PARAMETER.match(rest, position)
        if not parameter:
            return Challenge(match["scheme"].lower(), found)
        text = parameter["bare"] or re.sub(r"\\(.)", r"\1", parameter["quoted"] or "")
        found[parameter["key"].lower()] = text
        position = parameter.end()
        while position < len(rest) and rest[position] == " ":
            position += 1


def next_page(header: str, url: str) -> Optional[str]:
    """The address of the next page that a Link header names, None at the last one."""
    match = _LINK.search(header)
    if not match:
        return None
    try:
        return str(urljoin(url, match["target"]))
    except ValueError:  # such as http://[
        return None


def retry_after_seconds(header: Optional[str], now: dt.datetime) -> Optional[float]:
    """Seconds until the instant that Retry-After names, by number or date; None where it names
    none.
    """
    if not header:
        return None
    text = header.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), MAX_RETRY_SECONDS)
    try:
        instant = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=dt.timezone.utc)
    return min(max(0.0, (instant - now).total_seconds()), MAX_RETRY_SECONDS)
