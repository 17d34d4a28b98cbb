"""Parts begin when they can, say once why they cannot, and none keeps another from it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from kubestorm.core.errors import DefinitionError
from kubestorm.entrypoints.sensors.supervisor import Component, Supervisor

CONFIGURED = {"cluster": "dev"}


class Thing:
    """A part that begins unless its `refusal` is set."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.begun: list[dict[str, Any]] = []
        self.stopped = 0

    def start(self, config: Any) -> Thing:
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
        self.current: Any = config
        self.lines: list[str] = []
        self.closed = 0
        log = logging.Logger("sensor")
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        log.addHandler(handler)
        self.supervisor = Supervisor(
            [Component("first", self.first.start), Component("second", self.second.start)],
            config,
            log,
            current=self._current,
            on_stop=self._close,
        )

    def _current(self) -> Any:
        if isinstance(self.current, Exception):
            raise self.current
        return self.current

    def _close(self) -> None:
        self.closed += 1

    def tick(self, *seconds: float) -> list[float]:
        return [self.supervisor.tick(at) for at in seconds]

    def logged(self, event: str) -> list[str]:
        return [line for line in self.lines if line.startswith(event)]


@pytest.mark.parametrize("empty", [None, {}, {"cluster": None, "lease": {}}])
def test_without_a_configuration_it_sleeps_and_says_once_what_it_wants(empty):
    """It looks again after 2 seconds, then ever less often, and begins when there is one."""
    world = World(empty)
    assert world.tick(0, 2, 6, 14, 30, 62) == [2, 4, 8, 16, 32, 60]
    (line,) = world.lines
    assert "must name the cluster" in line
    assert "kubestorm.yaml.example" in line
    world.current = CONFIGURED
    assert world.tick(122) == [60]
    assert (world.first.begun, world.second.begun) == ([CONFIGURED], [CONFIGURED])


def test_what_cannot_begin_is_tried_again_and_delays_no_other():
    """A wrong setting, a port that is taken: one line for each reason."""
    world = World(CONFIGURED)
    world.first.refusal = DefinitionError("port 8089 is taken")
    assert world.tick(0, 2, 6) == [2, 4, 8]
    assert world.logged("sensor.waiting") == ["sensor.waiting: first: port 8089 is taken"]
    assert world.second.begun == [CONFIGURED]
    world.first.refusal = ValueError("unforeseen")
    world.tick(14)
    assert world.logged("sensor.waiting")[1:] == ["sensor.waiting: first: ValueError: unforeseen"]
    world.first.refusal = None
    world.tick(30)
    assert world.first.begun == [CONFIGURED]
    assert world.logged("sensor.started") == ["sensor.started: second", "sensor.started: first"]


def test_what_is_not_asked_for_is_not_tried_again():
    """Until the configuration changes."""
    asked: list[Any] = []
    supervisor = Supervisor(
        [Component("off", lambda config: asked.append(config))],
        CONFIGURED,
        logging.getLogger("test"),
        current=lambda: CONFIGURED,
    )
    assert [supervisor.tick(at) for at in (0, 2, 6)] == [2, 4, 8]
    assert asked == [CONFIGURED]


def test_another_configuration_begins_everything_anew():
    """One that is the same ends nothing."""
    world = World(CONFIGURED)
    world.tick(0, 2)
    assert world.first.stopped == 0
    world.current = {"cluster": "dev", "more": True}
    world.tick(6)
    assert (world.first.stopped, world.second.stopped) == (1, 1)
    assert world.first.begun == [CONFIGURED, world.current]


@pytest.mark.parametrize("answer", [None, OSError("no database")])
def test_an_engine_that_cannot_be_asked_changes_nothing(answer):
    """What runs goes on; that it failed is said once."""
    world = World(CONFIGURED)
    world.current = answer
    world.tick(0, 2, 6)
    assert (world.first.stopped, len(world.first.begun)) == (0, 1)
    failed = world.logged("sensor.configuration_unreadable")
    assert failed == (["sensor.configuration_unreadable: OSError: no database"] if answer else [])


def test_stopping_ends_all_parts_once():
    """Then what they remember is written; nothing begins any more."""
    world = World(CONFIGURED)
    world.tick(0)
    for _ in range(2):
        world.supervisor.stop()
    assert (world.first.stopped, world.second.stopped, world.closed) == (1, 1, 1)
    world.tick(2)
    world.supervisor.run()
    assert len(world.first.begun) == 1
