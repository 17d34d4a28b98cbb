"""When to look again at which object, by what it waits for. Nothing here waits: time is passed in,
in seconds of any steady clock.
"""

from __future__ import annotations

import heapq
from typing import Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from kubestorm.sources.watching.expecting import FAILED, PEOPLE, SETTLED, UNHEARD, WATCH
from kubestorm.sources.watching.settings import ResyncSettings

SOONEST_SECONDS = 0.2
"""An object that always asks for a look at once is looked at no more often than this."""
STORM = 20
"""So many objects that wait for an answer double the wait of each: their runs queue for long."""
REQUEUE, RETRY, BACKSTOP = "requeue", "retry", "backstop"


class Due(NamedTuple):
    """One object to look at. `reason` goes into the event: requeue, retry or backstop."""

    key: str
    reason: str


class _Entry(NamedTuple):
    due: float
    what: str
    attempt: int
    timed: bool = False
    """Whether the object itself said when."""
    since: float = 0.0
    """When it was last heard of."""


class ResyncSchedule:
    """The objects of one watch that are to be looked at again. Not for several threads at once."""

    def __init__(self, settings: ResyncSettings, random: Callable[[], float]) -> None:
        self._settings, self._random = settings, random
        self._entries: Dict[str, _Entry] = {}
        # Entries of the heap that are no longer current are recognised when they come up.
        self._heap: List[Tuple[float, str]] = []
        self._unheard: Set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def observe(
        self,
        key: str,
        what: str,
        *,
        now: float,
        asked_anew: bool = False,
        at_seconds: Optional[float] = None,
    ) -> None:
        """Take note of an object that waits for `what` (expecting.py).

        What was asked anew starts from the first delay again, progress does not. `at_seconds`: the
        object itself asks for a look in so many seconds, which counts where it is earlier.
        """
        entry = self._entries.get(key)
        due: Optional[float]
        if entry is None or entry.what != what or asked_anew:
            attempt, due = 0, self._due(what, 0, now)
        else:
            attempt = entry.attempt
            # A retry stays where it is; of what is waited for, each sign of life puts it off.
            due = entry.due if what == FAILED else self._due(what, attempt, now)
        timed = at_seconds is not None
        if at_seconds is not None:
            asked = now + max(at_seconds, SOONEST_SECONDS)
            timed = due is None or asked < due
            due = asked if timed else due
        if due is None:
            self.forget(key)
            return
        self._put(key, _Entry(due, what, attempt, timed, now))

    def forget(self, key: str) -> None:
        """The object is gone, or waits for nothing."""
        self._entries.pop(key, None)
        self._unheard.discard(key)

    def clear(self) -> None:
        """Nobody asks for resync any more."""
        self._entries.clear()
        self._unheard.clear()
        self._heap.clear()

    def take_due(self, now: float) -> List[Due]:
        """The objects to look at now; each is put down for another look, later each time."""
        due: List[Due] = []
        while self._heap and self._heap[0][0] <= now:
            when, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is None or entry.due != when:
                continue
            if entry.what == UNHEARD and not entry.timed:
                # More have come meanwhile, and their runs stand before the answer.
                patience = entry.since + self._delay(UNHEARD, entry.attempt)
                if patience > now and patience > when:
                    self._put(key, entry._replace(due=patience))
                    continue
            due.append(Due(key, _reason(entry)))
            attempt = entry.attempt + 1
            # One that had asked for this look and is not heard of then is as one whose run died.
            what = UNHEARD if entry.timed else entry.what
            next_due = self._due(what, attempt, now)
            if next_due is None:
                self.forget(key)
            else:
                self._put(key, _Entry(next_due, entry.what, attempt, since=now))
        return due

    def next_due(self) -> Optional[float]:
        """When `take_due` has something again, or None."""
        while self._heap:
            when, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is not None and entry.due == when:
                return when
            heapq.heappop(self._heap)
        return None

    @property
    def patience_seconds(self) -> float:
        """How long an event may go unanswered now."""
        others = max(len(self._unheard) - 1, 0)
        return self._settings.unheard_seconds * (1.0 + others / STORM)

    def _due(self, what: str, attempt: int, now: float) -> Optional[float]:
        if what in (SETTLED, PEOPLE):
            return None
        return now + spread(self._delay(what, attempt), self._settings.jitter, self._random)

    def _delay(self, what: str, attempt: int) -> float:
        settings = self._settings
        first = {FAILED: settings.initial_seconds, WATCH: settings.max_seconds}.get(
            what, self.patience_seconds
        )
        # 2 ** 32 seconds are 136 years: the exponent is held back only to keep the number a number.
        return min(first * 2.0 ** min(attempt, 32), max(settings.max_seconds, first))

    def _put(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        (self._unheard.add if entry.what == UNHEARD else self._unheard.discard)(key)
        heapq.heappush(self._heap, (entry.due, key))
        if len(self._heap) > 4 * len(self._entries) + 100:
            self._heap = [(one.due, name) for name, one in self._entries.items()]
            heapq.heapify(self._heap)


def _reason(entry: _Entry) -> str:
    if entry.timed:
        return REQUEUE
    return RETRY if entry.what == FAILED else BACKSTOP


def spread(delay: float, jitter: float, random: Callable[[], float]) -> float:
    """The delay, up to the share `jitter` earlier or later; `random` gives numbers from 0 to 1."""
    return delay * (1.0 + jitter * (2.0 * random() - 1.0))
