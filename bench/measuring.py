"""How the programs here measure and say it: CPU seconds of this process, one line a figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number with its bar."""

    name: str
    value: float
    unit: str
    bar: str
    reached: bool

    def line(self) -> str:
        verdict = "reached" if self.reached else "NOT reached"
        return f"{self.name}: {self.value:,.2f} {self.unit} (bar: {self.bar}; {verdict})"


def cpu_seconds(work: Callable[[], Any], *, rounds: int = 3) -> float:
    """Return the least CPU time of some rounds: what else the machine does only ever adds to it."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best
