"""The main job on a real API server. In a file of its own: the sandbox's AWS keeps one state per
process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sandbox.proxy import Weather
from sandbox.realkube import ASSETS_VARIABLE, RealKube
from tests.e2e import journey
from tests.e2e.conftest import World


@contextmanager
def compacted(world: World) -> Iterator[Callable[[], bool]]:
    """The connection is cut, the change comes, and etcd forgets what led to it: the watch cannot go
    on from there.
    """
    listed = _count(world, "watch.listed")
    done: list[int] = []

    def is_met() -> bool:
        if not done:
            done.append(1)
            world.environment.kubernetes.compact()
        return True

    with world.environment.proxies["kubernetes"].bad(Weather.REFUSED):
        yield is_met
    world.wait_until(
        lambda: _count(world, "watch.listed") > listed, "the Databases are listed anew"
    )


@contextmanager
def stopped(world: World) -> Iterator[Callable[[], bool]]:
    """kube-apiserver is killed as soon as the change is written, and comes back."""
    real = world.environment.kubernetes.real
    assert real is not None

    def is_met() -> bool:
        real.stop_api()
        real.start_api()
        return True

    yield is_met


def _count(world: World, event: str) -> int:
    return world.engine.log_path.read_text(errors="replace").count(f"sensor_message='{event}")


@pytest.fixture(scope="module")
def real_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """kube-apiserver and etcd in place of the sandbox's Kubernetes; all else is as it was."""
    if not RealKube.assets_from_environment():
        pytest.skip(
            f"{ASSETS_VARIABLE} names no folder with kube-apiserver and etcd (CONTRIBUTING.md "
            "says how)"
        )
    world = World(tmp_path_factory.mktemp("real"), kube="real")
    try:
        world.start()
        yield world
    finally:
        world.stop()


WEATHER = {"fair": {}, "bad": {"create": compacted, "resize": stopped, "delete": compacted}}


@pytest.mark.realkube
@pytest.mark.parametrize("troubles", WEATHER.values(), ids=WEATHER.keys())
def test_the_journey_is_the_same_on_a_real_api_server(real_world, troubles):
    """In fair weather, after etcd was compacted, and through outages of the API server."""
    real_world.enter("real")
    journey.play(real_world, **troubles)
    real_world.mend()
