"""Blocking queries: who waits for what, and who is woken by a change.

A watcher waits for one name or for all names below a prefix, so that a change wakes only those it
concerns (the "Blocking Queries" page of the API). Everything happens in the server's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sandbox.consul.errors import ConsulError

DEFAULT_WAIT_SECONDS = 300.0
MAX_WAIT_SECONDS = 600.0

T = TypeVar("T")


class Topic(NamedTuple):
    """What a query depends on: a table, and a name in it or a prefix of names."""

    table: str
    name: str = ""
    exact: bool = False

    def concerns(self, table: str, name: str) -> bool:
        return self.table == table and (
            name == self.name if self.exact else name.startswith(self.name)
        )


class Watchers:
    """The queries that are waiting now."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, Topic] = {}

    def notify(self, table: str, name: str) -> None:
        """Wake the queries that a change of this name concerns."""
        for event, topic in self._waiting.items():
            if topic.concerns(table, name):
                event.set()

    def __len__(self) -> int:
        return len(self._waiting)

    async def until_changed(
        self, topic: Topic, index: int, wait_seconds: float, query: Callable[[], tuple[int, T]]
    ) -> tuple[int, T]:
        """Run a query until its index passes `index` or the time is over; returns its last index
        and result.
        """
        deadline = asyncio.get_running_loop().time() + wait_seconds
        event = asyncio.Event()
        self._waiting[event] = topic
        try:
            while True:
                event.clear()
                found = query()
                if found[0] > index:
                    return found
                try:
                    async with asyncio.timeout_at(deadline):
                        await event.wait()
                except TimeoutError:
                    return query()
        finally:
            del self._waiting[event]


def parse_duration(text: str) -> float:
    """Seconds from Go's form of a duration (10s, 1m30s, 500ms) or a plain number. Raises
    ConsulError.
    """
    units = {"ms": 0.001, "us": 1e-6, "ns": 1e-9, "s": 1.0, "m": 60.0, "h": 3600.0}
    total, rest = 0.0, text.strip()
    if rest.replace(".", "", 1).isdigit():
        return float(rest)
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = next((unit for unit in units if rest.startswith(unit)), None)
        if not number or unit is None:
            raise ConsulError(400, f'Invalid duration: time: invalid duration "{text}"')
        total += float(number) * units[unit]
        rest = rest[len(unit) :]
    return total


def wait_seconds(text: str | None) -> float:
    """How long a blocking query may take: 5 minutes unless it says so, 10 at the most."""
    if not text:
        return DEFAULT_WAIT_SECONDS
    try:
        return min(parse_duration(text) or DEFAULT_WAIT_SECONDS, MAX_WAIT_SECONDS)
    except ConsulError:
        raise ConsulError(400, "Invalid wait time") from None
