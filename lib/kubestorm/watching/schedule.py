"""When to look again at objects that are not settled: soon at first, then ever less often, never
all at once.

Time is passed in, in seconds of any steady clock; nothing here waits.
"""

from __future__ import annotations

import heapq
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from kubestorm.watching.settings import ResyncSettings

SOONEST_SECONDS = 0.2
"""An object that always wants a look at once is looked at no more often than this."""


class _Entry(NamedTuple):
    due: float
    attempt: int
    hinted: bool = False
    """Whether the object itself said when."""
    last: bool = False
    """One look, and then it is settled again."""


class ResyncSchedule:
    """The unsettled objects of one watch and when each is due. Not for use by several threads at
    once.
    """

    def __init__(self, settings: ResyncSettings, random: Callable[[], float]) -> None:
        self._settings, self._random = settings, random
        self._entries: Dict[str, _Entry] = {}
        # Entries of the heap that are no longer current are recognised when they come up.
        self._heap: List[Tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def observe(
        self, key: str, *, settled: bool, changed: bool, now: float, look_in: Optional[float] = None
    ) -> None:
        """Take note of an object. What is asked anew (`changed`) starts from the first delay;
        progress does not.

        `look_in`: the object itself says that it wants a look in so many seconds, which counts
        where it is earlier.
        """
        entry = self._entries.get(key)
        if settled:
            if changed:
                # A run that read it before the change may hold its lock still, and let the run for
                # this change go away empty-handed. Nobody else would come back to an object that
                # says it is settled.
                self._set(key, 0, now, last=True)
            elif entry is not None and not entry.last:
                del self._entries[key]
            return
        if changed or entry is None or entry.last:
            self._set(key, 0, now)
        elif self._entries[key].hinted and look_in is None:
            self._set(key, self._entries[key].attempt, now)  # what it said before is over
        if look_in is None:
            return
        entry = self._entries[key]
        due = now + max(look_in, SOONEST_SECONDS)
        if due < entry.due or entry.hinted:
            self._entries[key] = _Entry(due, entry.attempt, hinted=True)
            heapq.heappush(self._heap, (due, key))

    def postpone(self, key: str, now: float) -> None:
        """The look that was due was of no use: the next one comes after the same delay, not after a
        longer one.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.attempt:
            self._set(key, entry.attempt - 1, now, last=entry.last)

    def remind(self, key: str, now: float) -> None:
        """A settled object that is known from before: one look, at some time within the longest
        delay.

        The look that was to follow a change may have been forgotten with the process that had it in
        mind.
        """
        if key not in self._entries:
            due = now + self._settings.max_seconds * self._random()
            self._entries[key] = _Entry(due, 1, last=True)
            heapq.heappush(self._heap, (due, key))

    def done(self, key: str) -> None:
        """It was looked at; what was to be looked at once more is settled now, unless it changed
        again meanwhile.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.last and entry.attempt:
            del self._entries[key]

    def forget(self, key: str) -> None:
        """The object is gone."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Nobody asks for resync any more."""
        self._entries.clear()
        self._heap.clear()

    def take_due(self, now: float) -> List[str]:
        """The objects to look at now; each is put down for its next look, twice as far away."""
        due: List[str] = []
        while self._heap and self._heap[0][0] <= now:
            when, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is not None and entry.due == when:
                due.append(key)
                self._set(key, entry.attempt + (0 if entry.hinted else 1), now, last=entry.last)
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

    def _set(self, key: str, attempt: int, now: float, *, last: bool = False) -> None:
        # 2 ** 32 seconds are 136 years: the exponent is held back only to keep the number a number.
        delay = min(
            self._settings.initial_seconds * 2.0 ** min(attempt, 32), self._settings.max_seconds
        )
        due = now + spread(delay, self._settings.jitter, self._random)
        self._entries[key] = _Entry(due, attempt, last=last)
        heapq.heappush(self._heap, (due, key))


def spread(delay: float, jitter: float, random: Callable[[], float]) -> float:
    """The delay, up to the share `jitter` earlier or later; `random` gives numbers from 0 to 1."""
    return delay * (1.0 + jitter * (2.0 * random() - 1.0))
