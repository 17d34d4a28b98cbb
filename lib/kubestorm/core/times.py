"""RFC 3339 times, as Kubernetes and registries write them. Pure.

Source: RFC 3339, section 5.6; "MicroTime" and "Time" in Kubernetes' apimachinery.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Optional

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-][0-9]{2}:[0-9]{2}))?"
)
FIRST_YEAR, LAST_YEAR = 1970, 8999
"""Times outside these years are treated as unreadable: adding to them could overflow."""
MILLISECONDS_FROM = 10**11
"""Unix times of at least this are in milliseconds; in seconds it would be the year 5138."""


def parse_time(value: Any) -> Optional[dt.datetime]:
    """An aware time from RFC 3339 text, in UTC where no offset is given; None for anything else.
    Reads any number of decimals and keeps six. Never raises.
    """
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    day, time, decimals, offset = match.groups()
    try:
        found = dt.datetime.fromisoformat(
            f"{day}T{time}.{(decimals or '')[:6].ljust(6, '0')}{offset or '+00:00'}"
        ).astimezone(dt.timezone.utc)
    except (ValueError, OverflowError):
        return None
    return found if FIRST_YEAR <= found.year <= LAST_YEAR else None


def parse_timestamp(value: Any) -> Optional[dt.datetime]:
    """The same, also from a Unix time in seconds or milliseconds. Never raises."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return parse_time(value)
    try:
        seconds = value / 1000 if value >= MILLISECONDS_FROM else value
        return dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None


def format_time(moment: dt.datetime, timespec: str = "seconds") -> str:
    """RFC 3339 in UTC, ending in Z. `timespec` is that of `datetime.isoformat`: `seconds` as
    Kubernetes writes a Time, `microseconds` a MicroTime, `auto` for decimals where there are any.
    """
    return moment.astimezone(dt.timezone.utc).isoformat(timespec=timespec).replace("+00:00", "Z")


def format_milliseconds(moment: Optional[dt.datetime]) -> Optional[str]:
    """The same to the millisecond; None of None."""
    return None if moment is None else format_time(moment, "milliseconds")
