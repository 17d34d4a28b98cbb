"""The main job on a real API server. In a file of its own: the sandbox's AWS keeps one state per process."""

from __future__ import annotations

import pytest

from sandbox.realkube import ASSETS_VARIABLE, RealKube
from tests.e2e import journey
from tests.e2e.conftest import World


@pytest.mark.realkube
def test_the_journey_is_the_same_on_a_real_api_server(tmp_path):
    """kube-apiserver and etcd in place of the sandbox's Kubernetes; all else is as it was."""
    if not RealKube.assets_from_environment():
        pytest.skip(f"{ASSETS_VARIABLE} names no folder with kube-apiserver and etcd (CONTRIBUTING.md says how)")
    world = World(tmp_path, kube="real")
    try:
        world.start()
        world.enter("real")
        journey.play(world)
    finally:
        world.stop()
