"""Instants as registries write them, as aware datetimes. Pure."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Optional

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?(?:[Zz]|([+-]\d\d:\d\d))?",
)
MILLISECONDS_FROM = 10**11
"""A number of seconds as large would be the year 5138."""


def parse_instant(value: Any) -> Optional[dt.datetime]:
    """RFC 3339 with any number of decimals, or a number of seconds or milliseconds; None for
    anything else.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value / 1000 if value >= MILLISECONDS_FROM else value
        try:
            return dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
        except (ValueError, OverflowError, OSError):
            return None
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    day, time, decimals, offset = match.groups()
    micros = (decimals or "0")[:6].ljust(6, "0")
    try:
        return dt.datetime.fromisoformat(f"{day}T{time}.{micros}{offset or '+00:00'}").astimezone(
            dt.timezone.utc
        )
    except (ValueError, OverflowError):
        return None


def format_instant(instant: dt.datetime) -> str:
    """RFC 3339 in UTC, with decimals where there are any."""
    text = instant.astimezone(dt.timezone.utc).isoformat()
    return text.replace("+00:00", "Z")
