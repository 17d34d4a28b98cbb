"""When to look at the outbox again: what was held back, or what a run that died has left.

Runs that tell something post all that is due. This is for what becomes due later; nothing runs
while nothing waits.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

from kubestorm.announce.keep import Datastore, Keep
from kubestorm.announce.outbox import Item

TRIGGER = "kubestorm.announcements_due"
GRACE = dt.timedelta(seconds=3)
"""The run that put an item there is given this long to post it itself."""
LONGEST_PAUSE_SECONDS = 300.0


class OutboxWatch:
    """What the sensor does at each look. Raises nothing: the next look tries again."""

    def __init__(
        self,
        store: Datastore,
        dispatch: Callable[[str, Mapping[str, Any]], object],
        log: logging.Logger,
        *,
        window_seconds: float,
        interval_seconds: float,
        now: Callable[[], dt.datetime],
    ) -> None:
        self._keep, self._dispatch, self._log, self._now = Keep(store), dispatch, log, now
        self._window = dt.timedelta(seconds=window_seconds)
        self._interval = interval_seconds
        self._pause = interval_seconds
        self._oldest = ""
        self._next: Optional[dt.datetime] = None
        self._failing = False

    def poll(self) -> None:
        """Look once; say so where something is due."""
        try:
            due = overdue(self._keep.waiting(), self._now(), self._window)
            if self._is_time(due):
                self._dispatch(TRIGGER, _payload(due))
            self._failing = False
        except Exception as error:  # noqa: BLE001 (any datastore, any message bus: the next look repeats it)
            if not self._failing:
                self._log.warning(
                    "announce.not_looked: %s; the next look tries again", type(error).__name__
                )
            self._failing = True

    def _is_time(self, due: Sequence[Item]) -> bool:
        """What stays after a look, as chat refuses it or cannot be reached, is tried ever less
        often.
        """
        if not due:
            self._oldest, self._next, self._pause = "", None, self._interval
            return False
        oldest = min(item.key for item in due)
        if oldest != self._oldest:
            self._oldest, self._next, self._pause = oldest, None, self._interval
        if self._next is not None and self._now() < self._next:
            return False
        self._next = self._now() + dt.timedelta(seconds=self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return True


def utc_now() -> dt.datetime:
    """The wall clock. Not that of `services`, whose clients a sensor that only looks at keys need
    not load.
    """
    return dt.datetime.now(dt.timezone.utc)


def overdue(items: Sequence[Item], now: dt.datetime, window: dt.timedelta) -> Sequence[Item]:
    """The items whose time has come. Pure."""
    return [
        item
        for item in items
        if (item.not_before is None or item.not_before <= now)
        and item.at + max(GRACE, window) <= now
    ]


def _payload(due: Sequence[Item]) -> Dict[str, Any]:
    return {"waiting": len(due), "since": min(item.at for item in due).isoformat()}
