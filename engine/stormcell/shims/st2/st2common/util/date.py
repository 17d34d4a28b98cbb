"""Times in UTC."""

from __future__ import annotations

import datetime


def get_datetime_utc_now() -> datetime.datetime:
    """Return the time now, aware of being UTC."""
    return datetime.datetime.now(datetime.timezone.utc)


def add_utc_tz(value: datetime.datetime) -> datetime.datetime:
    """Return the same time, aware of being UTC."""
    return value.replace(tzinfo=datetime.timezone.utc)
