"""The parts of the processes: which of them a configuration asks for, and what cannot end them."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from kubestorm.core.errors import TemporaryError
from kubestorm.entrypoints.sensors.polling import POLLS, Context, Poll, PollLoop, WithServices
from kubestorm.sources.datastore import WriteBehindStore

LOG = logging.getLogger("test")


class Nothing:
    """A datastore without a value."""

    def get_value(self, name: str) -> Any:
        return None

    def set_value(self, name: str, value: str) -> None:
        raise AssertionError("nothing is to be remembered")


ALWAYS = {"base images": 60, "deliveries": 5, "applications": 300, "leases": 3600}


@pytest.mark.parametrize(
    "more, intervals",
    [
        pytest.param({}, {"branches": 15}, id="by default"),
        pytest.param({"build": {"source": {"poll": {"interval_seconds": 0}}}}, {}, id="no git"),
        pytest.param(
            {"build": {"source": {"poll": {"interval_seconds": 8}}}}, {"branches": 2}, id="git"
        ),
        pytest.param(
            {"registries": {"polling": {"repositories": [{"repository": "r.example/a"}]}}},
            {"registries": 15, "branches": 15},
            id="a registry",
        ),
    ],
)
def test_what_is_polled_and_how_often_the_configuration_says(more, intervals):
    """What it does not ask for takes no thread."""
    context = Context(WriteBehindStore(Nothing(), LOG), lambda *_: None, LOG)
    config = {"cluster": "test", **more}
    found = {name: make(config, context) for name, make in POLLS}
    assert {name: poll.interval_seconds for name, poll in found.items() if poll} == {
        **ALWAYS,
        **intervals,
    }


def test_a_look_that_fails_is_said_once_and_the_next_one_comes():
    """Also for what nobody foresaw."""
    lines: list[str] = []
    log = logging.Logger("sensor")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    looks = iter([ValueError("odd"), ValueError("odd"), TemporaryError("away"), None])
    done = threading.Event()

    def look() -> None:
        error = next(looks, None)
        if error is not None:
            raise error
        done.set()

    repeating = PollLoop("drift", Poll(0.001, look), log)
    assert done.wait(20)
    repeating.stop()
    assert lines == [
        "poll.failed: drift: ValueError: odd",
        "poll.failed: drift: TemporaryError: away",
        "poll.recovered: drift",
    ]


def test_services_are_kept_for_some_looks_and_opened_anew_then():
    """Tokens run out, and opening is dear."""
    now, given = [0.0], []
    look = WithServices({"cluster": "test"}, given.append, clock=lambda: now[0])
    for at in (0, 100, 299, 300, 301):
        now[0] = at
        look()
    first, last = given[0], given[-1]
    assert given == [first, first, first, last, last]
    assert first is not last
