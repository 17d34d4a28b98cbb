"""The time that the sandbox's servers go by, so that a test can move it instead of waiting.

A clock is any callable that returns seconds since 1970; `time.time` is one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Clock = Callable[[], float]

wall_clock: Clock = time.time


class ManualClock:
    """A clock that stands still until `advance` moves it. Safe to use from several threads."""

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Move the time forward; it never goes back."""
        if seconds < 0:
            raise ValueError("a clock only goes forward; pass zero or more seconds")
        with self._lock:
            self._now += seconds
