"""When each object is requeued, by what it waits for. Pure: time is passed in, in seconds of a
monotonic clock. Like client-go's delaying and rate limiting work queues.
"""

from __future__ import annotations

import heapq
from typing import Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from kubestorm.sources.watching.settings import ResyncSettings
from kubestorm.sources.watching.wait_state import (
    FAILED,
    IN_PROGRESS,
    SETTLED,
    UNANSWERED,
    USER_ACTION,
)

MIN_DELAY_SECONDS = 0.2
"""An object whose requeueAt is always now is requeued no more often than this."""
UNANSWERED_PER_DOUBLING = 20
"""So many unanswered events double the time-out of each: their runs queue for long."""
REQUEUE, RETRY, BACKSTOP = "requeue", "retry", "backstop"


class Due(NamedTuple):
    """One object to resync. `reason` goes into the event: requeue, retry or backstop."""

    key: str
    reason: str


class _Entry(NamedTuple):
    due: float
    kind: str
    attempt: int
    timed: bool = False
    """Whether `due` is its requeueAt."""
    since: float = 0.0
    """When it last changed."""


class DelayingQueue:
    """The objects of one watch that are to be resynced. Not thread-safe."""

    def __init__(self, settings: ResyncSettings, random: Callable[[], float]) -> None:
        self._settings, self._random = settings, random
        self._entries: Dict[str, _Entry] = {}
        # Entries of the heap that are no longer current are recognised when they come up.
        self._heap: List[Tuple[float, str]] = []
        self._unanswered: Set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def add(
        self,
        key: str,
        kind: str,
        *,
        now: float,
        spec_changed: bool = False,
        at_seconds: Optional[float] = None,
    ) -> None:
        """Queue an object, or move it, by the `kind` of its WaitState.

        A changed spec starts from the first delay again, progress does not. `at_seconds`: seconds
        until its requeueAt, which counts where it is earlier.
        """
        entry = self._entries.get(key)
        due: Optional[float]
        if entry is None or entry.kind != kind or spec_changed:
            attempt, due = 0, self._due(kind, 0, now)
        else:
            attempt = entry.attempt
            # A retry keeps its time; anything else is put off by each sign of progress.
            due = entry.due if kind == FAILED else self._due(kind, attempt, now)
        timed = at_seconds is not None
        if at_seconds is not None:
            asked = now + max(at_seconds, MIN_DELAY_SECONDS)
            timed = due is None or asked < due
            due = asked if timed else due
        if due is None:
            self.forget(key)
            return
        self._put(key, _Entry(due, kind, attempt, timed, now))

    def forget(self, key: str) -> None:
        """Remove an object that was deleted or is settled. Safe to repeat."""
        self._entries.pop(key, None)
        self._unanswered.discard(key)

    def clear(self) -> None:
        """Remove all."""
        self._entries.clear()
        self._unanswered.clear()
        self._heap.clear()

    def pop_due(self, now: float) -> List[Due]:
        """The objects to resync now; each is queued again, with back-off."""
        due: List[Due] = []
        while self._heap and self._heap[0][0] <= now:
            when, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is None or entry.due != when:
                continue
            if entry.kind == UNANSWERED and not entry.timed:
                # More events have come meanwhile, and their runs come first.
                timeout = entry.since + self._delay(UNANSWERED, entry.attempt)
                if timeout > now and timeout > when:
                    self._put(key, entry._replace(due=timeout))
                    continue
            due.append(Due(key, _reason(entry)))
            attempt = entry.attempt + 1
            # No answer to its requeueAt: its run may have died.
            kind = UNANSWERED if entry.timed else entry.kind
            next_due = self._due(kind, attempt, now)
            if next_due is None:
                self.forget(key)
            else:
                self._put(key, _Entry(next_due, entry.kind, attempt, since=now))
        return due

    def next_due(self) -> Optional[float]:
        """When `pop_due` has something again, or None."""
        while self._heap:
            when, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is not None and entry.due == when:
                return when
            heapq.heappop(self._heap)
        return None

    @property
    def answer_timeout_seconds(self) -> float:
        """How long an event may be unanswered before the object is resynced."""
        others = max(len(self._unanswered) - 1, 0)
        return self._settings.unheard_seconds * (1.0 + others / UNANSWERED_PER_DOUBLING)

    def _due(self, kind: str, attempt: int, now: float) -> Optional[float]:
        if kind in (SETTLED, USER_ACTION):
            return None
        return now + jittered(self._delay(kind, attempt), self._settings.jitter, self._random)

    def _delay(self, kind: str, attempt: int) -> float:
        settings = self._settings
        first = {FAILED: settings.initial_seconds, IN_PROGRESS: settings.max_seconds}.get(
            kind, self.answer_timeout_seconds
        )
        # 2 ** 32 seconds are 136 years: the bound only avoids an overflow.
        return min(first * 2.0 ** min(attempt, 32), max(settings.max_seconds, first))

    def _put(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        (self._unanswered.add if entry.kind == UNANSWERED else self._unanswered.discard)(key)
        heapq.heappush(self._heap, (entry.due, key))
        if len(self._heap) > 4 * len(self._entries) + 100:
            self._heap = [(one.due, name) for name, one in self._entries.items()]
            heapq.heapify(self._heap)


def _reason(entry: _Entry) -> str:
    if entry.timed:
        return REQUEUE
    return RETRY if entry.kind == FAILED else BACKSTOP


def jittered(delay: float, jitter: float, random: Callable[[], float]) -> float:
    """The delay, up to the share `jitter` earlier or later; `random` gives numbers from 0 to 1."""
    return delay * (1.0 + jitter * (2.0 * random() - 1.0))
