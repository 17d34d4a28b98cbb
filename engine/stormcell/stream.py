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

import msgspec

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


class Event:
    """A name and a body, which is made when it is first read: nobody pays for a document that
    nobody reads. `texts` is for readers to share what they write of it."""

    __slots__ = ("_body", "_make", "name", "texts")

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self.name = name
        self._make: Callable[[], Any] | None = make
        self._body: Any = None
        self.texts: dict[str, str] = {}

    @property
    def body(self) -> Any:
        if self._make is not None:
            self._body, self._make = self._make(), None
        return self._body


class Dropped(msgspec.Struct, frozen=True):
    """Stands where a listener that did not keep up has lost events."""

    count: int


class Listener:
    """One reader of the stream."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self._dropped = 0
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        if len(self._events) == _KEPT_EVENTS:
            self._dropped += 1
        self._events.append(event)
        self._arrived.set()

    def close(self) -> None:
        self._closed = True
        self._arrived.set()

    async def events(self, *, idle_seconds: float) -> AsyncIterator[Event | Dropped | None]:
        """Yield events as they come, `Dropped` where some are missing, and None after each
        `idle_seconds` without one, until closed. Others get their turn before each event: one
        listener's backlog must not hold up the loop, nor hide from it that the client has left."""
        while True:
            while self._events:
                await asyncio.sleep(0)
                if self._dropped:
                    dropped, self._dropped = Dropped(self._dropped), 0
                    yield dropped
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
        if self._listeners:
            event = Event(name, body)
            for listener in self._listeners:
                listener.put(event)

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
