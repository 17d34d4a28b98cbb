"""Parts begin when they can, say once why they cannot, and none keeps another from it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from kubestorm.core.errors import DefinitionError
from kubestorm.entrypoints.sensors.keeping import Keeper, Part

CONFIGURED = {"cluster": "dev"}


class Thing:
    """A part that begins unless its `refusal` is set."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.begun: list[dict[str, Any]] = []
        self.stopped = 0

    def begin(self, config: Any) -> Thing:
        if self.refusal is not None:
            raise self.refusal
        self.begun.append(dict(config))
        return self

    def stop(self) -> None:
        self.stopped += 1


class World:
    """A keeper of two parts, and the engine's present configuration."""

    def __init__(self, config: Any) -> None:
        self.first, self.second = Thing(), Thing()
        self.present: Any = config
        self.lines: list[str] = []
        self.closed = 0
        log = logging.Logger("sensor")
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        log.addHandler(handler)
        self.keeper = Keeper(
            [Part("first", self.first.begin), Part("second", self.second.begin)],
            config,
            log,
            present=self._present,
            closing=self._close,
        )

    def _present(self) -> Any:
        if isinstance(self.present, Exception):
            raise self.present
        return self.present

    def _close(self) -> None:
        self.closed += 1

    def look(self, *seconds: float) -> list[float]:
        return [self.keeper.look(at) for at in seconds]

    def said(self, event: str) -> list[str]:
        return [line for line in self.lines if line.startswith(event)]


@pytest.mark.parametrize("empty", [None, {}, {"cluster": None, "lease": {}}])
def test_without_a_configuration_it_sleeps_and_says_once_what_it_wants(empty):
    """It looks again after 2 seconds, then ever less often, and begins when there is one."""
    world = World(empty)
    assert world.look(0, 2, 6, 14, 30, 62) == [2, 4, 8, 16, 32, 60]
    (line,) = world.lines
    assert "must name the cluster" in line
    assert "kubestorm.yaml.example" in line
    world.present = CONFIGURED
    assert world.look(122) == [60]
    assert (world.first.begun, world.second.begun) == ([CONFIGURED], [CONFIGURED])


def test_what_cannot_begin_is_tried_again_and_delays_no_other():
    """A wrong setting, a port that is taken: one line for each reason."""
    world = World(CONFIGURED)
    world.first.refusal = DefinitionError("port 8089 is taken")
    assert world.look(0, 2, 6) == [2, 4, 8]
    assert world.said("sensor.waiting") == ["sensor.waiting: first: port 8089 is taken"]
    assert world.second.begun == [CONFIGURED]
    world.first.refusal = ValueError("unforeseen")
    world.look(14)
    assert world.said("sensor.waiting")[1:] == ["sensor.waiting: first: ValueError: unforeseen"]
    world.first.refusal = None
    world.look(30)
    assert world.first.begun == [CONFIGURED]
    assert world.said("sensor.started") == ["sensor.started: second", "sensor.started: first"]


def test_what_is_not_asked_for_is_not_tried_again():
    """Until the configuration changes."""
    asked: list[Any] = []
    keeper = Keeper(
        [Part("off", lambda config: asked.append(config))],
        CONFIGURED,
        logging.getLogger("test"),
        present=lambda: CONFIGURED,
    )
    assert [keeper.look(at) for at in (0, 2, 6)] == [2, 4, 8]
    assert asked == [CONFIGURED]


def test_another_configuration_begins_everything_anew():
    """One that is the same ends nothing."""
    world = World(CONFIGURED)
    world.look(0, 2)
    assert world.first.stopped == 0
    world.present = {"cluster": "dev", "more": True}
    world.look(6)
    assert (world.first.stopped, world.second.stopped) == (1, 1)
    assert world.first.begun == [CONFIGURED, world.present]


@pytest.mark.parametrize("answer", [None, OSError("no database")])
def test_an_engine_that_cannot_be_asked_changes_nothing(answer):
    """What runs goes on; that it failed is said once."""
    world = World(CONFIGURED)
    world.present = answer
    world.look(0, 2, 6)
    assert (world.first.stopped, len(world.first.begun)) == (0, 1)
    failed = world.said("sensor.configuration_unreadable")
    assert failed == (["sensor.configuration_unreadable: OSError: no database"] if answer else [])


def test_stopping_ends_all_parts_once():
    """Then what they remember is written; nothing begins any more."""
    world = World(CONFIGURED)
    world.look(0)
    for _ in range(2):
        world.keeper.stop()
    assert (world.first.stopped, world.second.stopped, world.closed) == (1, 1, 1)
    world.look(2)
    world.keeper.run()
    assert len(world.first.begun) == 1
