"""A change in Consul by hand is heard of, and mended once the rule is on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import consul
import pytest
import yaml

from tests.e2e.conftest import World


class DriftingWorld(World):
    """The world with a look every second."""

    def start(self) -> None:
        self.environment.start()
        path = self.environment.folder / "configs" / "kubestorm.yaml"
        config = {**yaml.safe_load(path.read_text()), "drift": {"interval_seconds": 1}}
        self.environment.write_private("configs/kubestorm.yaml", config)
        self.engine = self.environment.engine()
        self.engine.start()

    def put(self, key: str, value: str) -> None:
        """Write a key as a person with every right would."""
        server = self.environment.consul
        consul.Consul(
            host=server.host, port=server.port, token=self.environment.consul_token
        ).kv.put(key, value)

    def set_repair(self, *, enabled: bool) -> None:
        """Turn the rule that mends on or off."""
        (rule,) = self.engine.get("rules", name="drift_repair", pack="kubestorm")
        self.engine.client.put(
            f"/v1/rules/{rule['id']}", json={"enabled": enabled}
        ).raise_for_status()

    def told(self) -> list[dict]:
        """The drift events so far, oldest first."""
        found = self.engine.get(
            "triggerinstances", trigger_type="kubestorm.drift_detected", limit=100
        )
        instances = [one for one in found if one["trigger"] == "kubestorm.drift_detected"]
        return sorted(instances, key=lambda one: one["occurrence_time"])

    def check(self) -> dict:
        """Run the action and return its result."""
        answer = self.engine.client.post(
            "/v1/executions", json={"action": "kubestorm.drift_check", "parameters": {}}
        )
        execution = answer.raise_for_status().json()["id"]

        def done() -> dict | None:
            found = self.engine.get(f"executions/{execution}")
            return found if found["status"] in ("succeeded", "failed") else None

        found = self.wait_until(done, "the end of drift_check")
        assert found["status"] == "succeeded", found
        return found["result"]["result"]


@pytest.fixture
def drifting(tmp_path: Path) -> Iterator[DriftingWorld]:
    """Everything up; gone after the test."""
    it = DriftingWorld(tmp_path)
    try:
        it.start()
        yield it
    finally:
        it.stop()


def test_a_change_by_hand_is_told_once_and_repaired_while_the_rule_is_on(drifting):
    """With the pack's own narrow credentials: off, it is told and stays; on, it is brought back."""
    world = drifting
    world.apply_example()
    world.wait_until(world.is_ready, "Ready")
    # A run that is on its way would publish the address once more.
    world.wait_until(lambda: not world.unfinished(), "nothing is under way")
    key = f"kubestorm/{world.environment.cluster}/default/orders/host"
    right = world.environment.consul_tree(key)[key]
    checked = world.check()
    assert (checked["drift"], checked["unknown"], checked["under_way"]) == ([], [], [])

    world.set_repair(enabled=False)
    world.put(key, "elsewhere")
    event = world.wait_until(world.told, "drift_detected")[0]
    payload = world.engine.get(f"triggerinstances/{event['id']}")["payload"]
    assert (payload["kind"], payload["namespace"], payload["name"]) == (
        "Database",
        "default",
        "orders",
    )
    assert [
        (one["service"], one["field"], one["wished"], one["found"])
        for one in payload["differences"]
    ] == [("Consul", "host", right, "elsewhere")]
    (row,) = world.check()["drift"]
    assert (row["name"], row["service"], row["what"]) == ("orders", "Consul", "different")
    assert world.environment.consul_tree(key)[key] == "elsewhere", "the rule is off"
    assert len(world.told()) == 1

    world.set_repair(enabled=True)
    world.put(key, "yet elsewhere")
    world.wait_until(
        lambda: world.environment.consul_tree(key)[key] == right, "the address is back"
    )
    assert len(world.told()) == 2
    assert world.check()["drift"] == []
