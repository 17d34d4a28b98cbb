"""The main job in bad weather: whatever fails on the way, and wherever, the end is the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sandbox.proxy import Weather
from tests.e2e import journey

NAMES = {"kubernetes": "Kubernetes", "aws": "AWS RDS", "vault": "Vault", "consul": "Consul"}
WATCH_TROUBLE = re.compile(r"sensor_message='watch\.(?!started|stopped|listed|recovered)")
# What the pack asks and no test does, as faults of a service strike everybody.
STATUS = r".*/databases/[^/]+/status.*"
LEASE = r".*/leases/.*"
WATCH = r".*/databases\?.*watch=true.*"
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


def answered(
    service: str, status: int, times: int, method: str = ".*", path: str = ".*", **more: Any
) -> Trouble:
    """The service itself answers badly, as many times as said."""

    @contextmanager
    def trouble(world: Any) -> Iterator[Callable[[], bool]]:
        fault = world.environment.faults[service].add(
            status=status, times=times, method=method, path=path, **more
        )
        yield lambda: fault.hits >= times

    return trouble


def kubernetes_says(status: int, times: int, method: str, path: str, **headers: str) -> Trouble:
    """As the API server words it."""
    body = json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": status,
            "message": "bad day",
        }
    )
    headers = {
        "content-type": "application/json",
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }
    return answered("kubernetes", status, times, method, path, body=body, headers=headers)


@contextmanager
def silent_watch(world: Any) -> Iterator[Callable[[], bool]]:
    """Watches of Databases are open and say nothing: what happens meanwhile is swallowed."""
    faults = world.environment.faults["kubernetes"]
    fault = faults.add(path=WATCH, silent=True, times=None)
    yield lambda: fault.hits > 0
    faults.remove(fault)


@contextmanager
def expired_watch(world: Any) -> Iterator[Callable[[], bool]]:
    """The watch breaks, and the API server forgets what it would have gone on from: it has to list
    anew.
    """
    listed, troubles = _count(world, "watch.listed"), _watch_troubles(world)

    def is_met() -> bool:
        world.environment.kubernetes.compact()
        return _watch_troubles(world) > troubles

    with world.environment.proxies["kubernetes"].bad(Weather.REFUSED):
        yield is_met
    world.wait_until(
        lambda: _count(world, "watch.listed") > listed, "the Databases are listed anew"
    )


def throttled(action: str) -> Trouble:
    """AWS turns a call away for its rate, more often than the client tries in one run."""

    @contextmanager
    def trouble(world: Any) -> Iterator[Callable[[], bool]]:
        aws = world.environment.aws
        already = aws.throttle.refused
        aws.throttle_next(5, action)
        yield lambda: aws.throttle.refused >= already + 5

    return trouble


@contextmanager
def sealed(world: Any) -> Iterator[Callable[[], bool]]:
    """Vault is sealed until the developer is told so."""
    world.environment.vault.seal()
    yield lambda: world.says("Vault is sealed")
    world.environment.vault.unseal()


@contextmanager
def leaderless(world: Any) -> Iterator[Callable[[], bool]]:
    """Consul has no leader until the developer is told so."""
    world.environment.consul.lose_leader()
    yield lambda: world.says("No cluster leader")
    world.environment.consul.regain_leader()


def _watch_troubles(world: Any) -> int:
    return len(WATCH_TROUBLE.findall(world.engine.log_path.read_text(errors="replace")))


def _count(world: Any, event: str) -> int:
    return world.engine.log_path.read_text(errors="replace").count(f"sensor_message='{event}")


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
    "500": {
        "create": kubernetes_says(500, 3, "PATCH", STATUS),
        "resize": answered("vault", 500, 2),
        "delete": answered("aws", 500, 5),
    },
    "500-elsewhere": {
        "create": answered("consul", 500, 2),
        "resize": kubernetes_says(500, 2, "GET", LEASE),
        "delete": kubernetes_says(500, 3, "GET", WATCH),
    },
    "429": {
        "create": kubernetes_says(429, 3, "GET", WATCH, retry_after="1"),
        "resize": kubernetes_says(429, 2, "GET", LEASE, retry_after="1"),
        "delete": kubernetes_says(429, 3, "PATCH", STATUS, retry_after="1"),
    },
    # More often than one step tries again by itself.
    "409": dict.fromkeys(journey.ACTS, kubernetes_says(409, 7, "PATCH", STATUS)),
    "410": {
        "create": expired_watch,
        "resize": kubernetes_says(410, 2, "GET", WATCH),
        "delete": expired_watch,
    },
    "deaf": dict.fromkeys(journey.ACTS, silent_watch),
    "throttled": {
        "create": throttled("CreateDBInstance"),
        "resize": throttled("ModifyDBInstance"),
        "delete": throttled("DeleteDBInstance"),
    },
    # The deletion with a snapshot has nothing to ask of Vault.
    "sealed": {"create": sealed, "resize": sealed},
    "leaderless": dict.fromkeys(journey.ACTS, leaderless),
}


@pytest.mark.parametrize("troubles", TROUBLES.values(), ids=TROUBLES.keys())
def test_the_end_is_the_same_in_any_weather(world, troubles):
    """Whatever happens while the acts are played, the journey ends with exactly what it should."""
    journey.play(world, **troubles)
