"""The main job in bad weather: whatever fails on the way, and wherever, the end is the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sandbox.proxy import Weather
from tests.e2e import journey

NAMES = {"kubernetes": "Kubernetes", "aws": "AWS RDS", "vault": "Vault", "consul": "Consul"}
WATCH_TROUBLE = re.compile(r"sensor_message='watch\.(?!started|stopped|listed|recovered)")
Trouble = Callable[[Any], Any]


def on_the_wire(service: str, weather: Weather) -> Trouble:
    """Nothing gets through to a service until somebody has noticed."""

    @contextmanager
    def trouble(world: Any) -> Iterator[Callable[[], bool]]:
        proxy, already = world.environment.proxies[service], _watch_troubles(world)
        with proxy.bad(weather):
            if weather == Weather.SILENT:
                yield lambda: bool(proxy.struck)
            elif service == "kubernetes":
                yield lambda: _watch_troubles(world) > already
            else:
                yield lambda: world.says(NAMES[service])

    return trouble


def _watch_troubles(world: Any) -> int:
    return len(WATCH_TROUBLE.findall(world.engine.log_path.read_text(errors="replace")))


# Each act has its trouble, over before the next begins.
TROUBLES: dict[str, dict[str, Trouble]] = {
    "refused": {
        "create": on_the_wire("consul", Weather.REFUSED),
        "resize": on_the_wire("vault", Weather.REFUSED),
        "delete": on_the_wire("aws", Weather.REFUSED),
    },
    "reset": {
        "create": on_the_wire("aws", Weather.RESET),
        "resize": on_the_wire("kubernetes", Weather.RESET),
        "delete": on_the_wire("consul", Weather.RESET),
    },
    "silent": {
        "create": on_the_wire("vault", Weather.SILENT),
        "resize": on_the_wire("aws", Weather.SILENT),
        "delete": on_the_wire("kubernetes", Weather.SILENT),
    },
}


@pytest.mark.parametrize("troubles", TROUBLES.values(), ids=TROUBLES.keys())
def test_the_end_is_the_same_in_any_weather(world, troubles):
    """Whatever happens while the acts are played, the journey ends with exactly what it should."""
    journey.play(world, **troubles)
