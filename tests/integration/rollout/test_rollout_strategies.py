"""Every strategy on a living cluster: the good way, the bad way, and back."""

from __future__ import annotations

import pytest

STRATEGIES = {
    "rolling": {"type": "RollingUpdate"},
    "recreate": {"type": "Recreate"},
    "blue-green": {"type": "BlueGreen", "keepSeconds": 600},
    "canary": {"type": "Canary", "steps": [{"weight": 25}, {"weight": 50}]},
}
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())


@every_strategy
def test_a_good_image_comes_to_all_pods(world, strategy):
    """The first one and the one after it; the history tells both."""
    world.apply(strategy=strategy)
    assert world.roll("1.0.0")["phase"] == "Complete"
    status = world.roll("1.1.0")
    assert status["phase"] == "Complete"
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "Progressing": "False",
        "Tested": "True",
        "Complete": "True",
        "Ready": "True",
    }
    second = world.newest()["spec"]["image"]["digest"]
    world.eventually_pods({second: 4})
    assert world.history().good.digest == second
    assert status["weight"] == 100


@every_strategy
def test_a_bad_image_goes_back_by_itself(world, strategy):
    """To the last good one, and says why."""
    world.apply(strategy=strategy)
    good = world.push("1.0.0")
    world.run_application()
    world.over()
    status = world.roll("1.1.0", "broken")
    assert (status["phase"], status["reason"]) == ("Failed", "ImagePullFailed")
    world.eventually_pods({good: 4})
    assert set(world.tracks()) == {"stable"}
    rolled_out = {one["type"]: one for one in world.get("applications")["status"]["conditions"]}[
        "RolledOut"
    ]
    assert (rolled_out["status"], rolled_out["reason"]) == ("False", "ImagePullFailed")
    assert "not found" in rolled_out["message"]
    assert any(reason == "ImagePullFailed" for reason, _ in world.events())
    # It is remembered, and not tried again.
    again = world.run_application()
    assert (again["created"], again["reason"]) == ("", "DigestRefused")
    assert "Not tried again" in again["message"]
