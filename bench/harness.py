"""How the programs here measure and say it: CPU seconds or instants, medians of rounds in turn, one
line a figure.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """One measured number; `bar` is what design asks for, and `reached` whether it is met (None: no
    bar).
    """

    name: str
    value: float
    unit: str
    bar: str = ""
    reached: bool | None = None

    def line(self) -> str:
        verdict = {None: "", True: "reached", False: "NOT reached"}[self.reached]
        bar = f"  (bar: {self.bar}; {verdict})" if self.bar else ""
        digits = 3 if abs(self.value) < 10 else 1 if abs(self.value) < 1000 else 0
        return f"{self.name}: {self.value:,.{digits}f} {self.unit}".rstrip() + bar


def at_least(name: str, value: float, unit: str, bar: float) -> Figure:
    return Figure(name, value, unit, f"at least {bar:,}", value >= bar)


def at_most(name: str, value: float, unit: str, bar: float) -> Figure:
    return Figure(name, value, unit, f"at most {bar:,}", value <= bar)


def say(measure: Callable[[], Sequence[Figure]]) -> None:
    """What each program does when it is run."""
    for figure in measure():
        print(figure.line(), flush=True)


def cpu_seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def interleaved(works: Mapping[str, Callable[[], Any]], *, rounds: int = 5) -> dict[str, float]:
    """Return the median CPU seconds of each piece of work. They take turns, so that what else the
    machine does, and how fast it runs just then, falls on all alike; a first turn that warms caches
    is not counted."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            seconds = cpu_seconds(work)
            if turn:
                spent[name].append(seconds)
    return {name: statistics.median(found) for name, found in spent.items()}


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
