"""The life of an Application on a real API server, with the rights of deploy/ checked by the real
authorizer.
"""

from __future__ import annotations

import pytest

from sandbox.realkube import RealKube
from tests.e2e.conftest import World
from tests.e2e.test_applications import Cart, comes_changes_and_goes
from tests.kube_fixtures import SKIPPED_BECAUSE


@pytest.mark.realkube
def test_an_application_comes_changes_and_goes_on_a_real_api_server(tmp_path):
    """1.20 has no policy/v1 and no autoscaling/v2; the pack uses what discovery offers."""
    if not RealKube.assets_from_environment():
        pytest.skip(SKIPPED_BECAUSE)
    world = World(tmp_path, kube="real")
    try:
        world.start()
        world.enter("applications-real")
        comes_changes_and_goes(world, Cart(world))
    finally:
        world.stop()
