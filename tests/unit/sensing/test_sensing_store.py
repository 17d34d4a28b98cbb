"""What a sensor remembers: read at once, written seldom, never unchanged."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.sources.datastore import PAUSE_SECONDS, WriteBehindStore


class World:
    """A store whose clock and timers the test moves, and what was written when."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.values: dict[str, str] = {}
        self.reads = 0
        self.writes: list[tuple[float, str, str]] = []
        self.is_away = False
        self.lines: list[str] = []
        log = logging.Logger("sensor")
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        log.addHandler(handler)
        self.store = WriteBehindStore(self, log, clock=lambda: self.now, later=self._later)

    def get_value(self, name: str) -> str | None:
        self.reads += 1
        return self.values.get(name)

    def set_value(self, name: str, value: str) -> None:
        if self.is_away:
            raise OSError("away")
        self.values[name] = value
        self.writes.append((self.now - 100, name, value))

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        self.timers.append((self.now + seconds, do))

    def run(self, until: float) -> None:
        """Move the clock, timer by timer."""
        while due := [each for each in self.timers if each[0] <= 100 + until]:
            first = min(due, key=lambda each: each[0])
            self.timers.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = 100 + until


def test_changes_are_gathered_and_written_with_a_pause_between():
    """Known at once to whoever reads; only the last value of a name is written."""
    world = World()
    for number in range(5):
        world.store.set_value("a", str(number))
    world.store.set_value("b", "x")
    assert world.store.get_value("a") == "4"
    world.run(until=60)
    assert world.writes == [(1, "a", "4"), (11, "b", "x")]
    world.store.set_value("a", "5")
    world.run(until=120)
    assert world.writes[2:] == [(61, "a", "5")]


def test_what_is_unchanged_is_not_written():
    """Neither what was read nor what was written before; at rest nothing runs."""
    world = World()
    world.values["a"] = "1"
    assert [world.store.get_value("a") for _ in range(3)] == ["1"] * 3
    assert world.reads == 1
    world.store.set_value("a", "1")
    assert (world.timers, world.writes) == ([], [])


def test_a_datastore_that_is_away_is_tried_again_and_said_once():
    """What was set meanwhile is written when it is back."""
    world = World()
    world.is_away = True
    world.store.set_value("a", "1")
    world.run(until=35)
    world.is_away = False
    world.store.set_value("a", "2")
    world.run(until=60)
    assert world.writes == [(41, "a", "2")]
    assert world.lines == ["sensor.memory_not_written: OSError"]
    assert world.timers == []


@pytest.mark.parametrize("away", [False, True])
def test_at_the_end_everything_is_written(away):
    """As far as it can be."""
    world = World()
    world.is_away = away
    for name in "abc":
        world.store.set_value(name, "1")
    world.store.flush()
    assert [name for _, name, _ in world.writes] == ([] if away else ["a", "b", "c"])


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.integers(0, 8)), max_size=40)
)
def test_a_storm_is_at_most_six_writes_a_minute_and_ends_with_the_last_values(changes):
    """Whatever is set when."""
    world, wanted, at = World(), {}, 0
    for name, value, seconds in changes:
        at += seconds
        world.run(until=at)
        world.store.set_value(name, str(value))
        wanted[name] = str(value)
    world.run(until=at + 100)
    assert world.values == wanted
    times = [when for when, _, _ in world.writes]
    assert all(after - before >= PAUSE_SECONDS for before, after in itertools.pairwise(times))
