"""What happens, told to whoever listens: the source of `/v1/stream` and of waiting for an
execution.

A listener that does not keep up loses the oldest events rather than hold the engine back; what it
needs whole, it reads from the store. Event names are StackStorm's (st2common/constants/triggers.py,
st2stream).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

EXECUTION_CREATED = "st2.execution__create"
EXECUTION_UPDATED = "st2.execution__update"
EXECUTION_OUTPUT = "st2.execution.output__create"
LIVEACTION_OF = {
    EXECUTION_CREATED: "st2.liveaction__create",
    EXECUTION_UPDATED: "st2.liveaction__update",
}
"""What StackStorm tells besides, of the record that it keeps of what was asked for; ours is the
execution's.
"""
ANNOUNCEMENT_PREFIX = "st2.announcement__"
_KEPT_EVENTS = 1_000

Event = tuple[str, Callable[[], Any]]
"""A name and how to make its body: nobody pays for a document that nobody reads."""


class Listener:
    """One reader of the stream."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        self._events.append(event)
        self._arrived.set()

    def close(self) -> None:
        self._closed = True
        self._arrived.set()

    async def events(self, *, idle_seconds: float) -> AsyncIterator[Event | None]:
        """Yield events as they come, and None after each `idle_seconds` without one, until closed."""
        while True:
            while self._events:
                yield self._events.popleft()
            if self._closed:
                return
            self._arrived.clear()
            try:
                async with asyncio.timeout(idle_seconds):
                    await self._arrived.wait()
            except TimeoutError:
                yield None


class EventStream:
    """Hands events to listeners."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    @property
    def listener_count(self) -> int:
        return len(self._listeners)

    def publish(self, name: str, body: Callable[[], Any]) -> None:
        for listener in self._listeners:
            listener.put((name, body))

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
