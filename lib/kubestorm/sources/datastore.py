"""A sensor's datastore with few writes: on StackStorm each write is an event that is stored and
matched with every rule.

A value that is set can be read here at once and is written within seconds: never when it is
unchanged, and one value at a time with a pause between two. Only this process writes what it reads;
a crash loses the last seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Dict, Protocol

GATHER_SECONDS = 1.0
"""From a change to its write: what comes in groups is written once."""
PAUSE_SECONDS = 10.0
"""From one write to the next."""

Later = Callable[[float, Callable[[], None]], object]
"""Has something done in so many seconds."""


class Store(Protocol):
    """The part of StackStorm's sensor_service that is used."""

    def get_value(self, name: str) -> Any:
        """The value of a key; None where there is none."""
        ...

    def set_value(self, name: str, value: str) -> Any:
        """Write the value of a key."""
        ...


def after(seconds: float, do: Callable[[], None]) -> None:
    """In a thread of its own, which does not keep the process alive."""
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()


class WriteBehindStore:
    """A `Store` over another. Safe for threads."""

    def __init__(
        self,
        store: Store,
        log: logging.Logger,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: Later = after,
    ) -> None:
        self._store, self._log, self._clock, self._later = store, log, clock, later
        self._values: Dict[str, Any] = {}
        self._waiting: Dict[str, None] = {}
        """Names whose value is to be written, the oldest first."""
        self._not_before = clock()
        self._scheduled = self._failing = False
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    def get_value(self, name: str) -> Any:
        """What was set last, here or by an earlier process; None where there is none."""
        with self._lock:
            if name in self._values:
                return self._values[name]
        value = self._store.get_value(name)
        if value is None:
            return None
        with self._lock:
            return self._values.setdefault(name, value)

    def set_value(self, name: str, value: str) -> None:
        """Have it written soon."""
        with self._lock:
            if self._values.get(name) != value:
                self._values[name] = value
                self._waiting[name] = None
                self._schedule()

    def flush(self) -> None:
        """Write all that waits, one after the other; what cannot be written still waits then."""
        while self._write():
            pass

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._later(max(GATHER_SECONDS, self._not_before - self._clock()), self._in_turn)

    def _in_turn(self) -> None:
        self._write()
        with self._lock:
            self._scheduled = False
            self._schedule()

    def _write(self) -> bool:
        """Write one value; False where none waits, or it could not be written."""
        with self._writing:
            with self._lock:
                if not self._waiting:
                    return False
                name = next(iter(self._waiting))
                del self._waiting[name]
                value = self._values[name]
                self._not_before = self._clock() + PAUSE_SECONDS
            try:
                self._store.set_value(name, value)
            except Exception as error:  # noqa: BLE001 (any datastore: tried again in its turn)
                with self._lock:
                    self._waiting[name] = None
                if not self._failing:
                    self._log.warning("sensor.memory_not_written: %s", type(error).__name__)
                self._failing = True
                return False
            self._failing = False
            return True
