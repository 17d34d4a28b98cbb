"""A push through the engine on a real API server with its own controllers. In a file of its own, as
each world is.
"""

from __future__ import annotations

import pytest

from sandbox.realkube import ASSETS_VARIABLE, RealKube
from tests.e2e.conftest import World
from tests.e2e.test_rollout import Shop


@pytest.mark.realkube
def test_a_push_becomes_pods_and_a_bad_one_goes_back(tmp_path):
    """kube-apiserver, etcd and kube-controller-manager in place of the sandbox's; all else is as it
    was.
    """
    if not RealKube.assets_from_environment():
        pytest.skip(
            f"{ASSETS_VARIABLE} names no folder with kube-apiserver and etcd (CONTRIBUTING.md "
            "says how)"
        )
    world = World(tmp_path, kube="real")
    try:
        world.start()
        world.enter("real")
        shop = Shop(world)
        shop.apply(strategy={"type": "BlueGreen"})
        first = shop.push("1.0.0")
        shop.wait_phases("Complete")
        shop.wait_pods(first)
        shop.push("1.1.0", "broken")
        shop.wait_phases("Complete", "Failed")
        shop.wait_pods(first)
        assert shop.status()["reason"] == "ImagePullFailed"
        second = shop.push("1.2.0")
        shop.wait_phases("Complete", "Failed", "Complete")
        shop.wait_pods(second)
    finally:
        world.stop()
