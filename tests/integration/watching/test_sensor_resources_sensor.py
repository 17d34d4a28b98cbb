"""The sensor as a process of stormcell's, on the pack's own content: dispatches that fit the
trigger type's schema.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import jsonschema
from stormcell.content.loader import load_pack
from stormcell.content.registry import Content
from stormcell.sensors.supervisor import SensorState

from tests.integration.registry.sensing import ROOT, SensorEngine
from tests.integration.watching.conftest import Widgets
from tests.kube_fixtures import Kube

SENSOR = "kubestorm.ResourcesSensor"


class Engine(SensorEngine):
    """What the sensor told of widgets, and whether it wrote that down."""

    def has_recorded(self, key: str) -> bool:
        """Whether a shard with this object was written, and the head after it."""
        shards = [at for at, (_, value) in enumerate(self.writes) if f'{key}":' in value]
        return bool(shards) and any(name.endswith(".head") for name, _ in self.writes[shards[0] :])

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(payload["change"], payload["name"]) for payload in self.dispatched]


def trigger(parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "1",
        "ref": "kubestorm.abc",
        "uid": "trigger:kubestorm:abc",
        "name": "abc",
        "pack": "kubestorm",
        "type": "kubestorm.resource_event",
        "parameters": parameters,
        "description": None,
    }


def test_the_sensor_tells_what_rules_ask_for_and_survives_being_killed(
    kube: Kube, widgets: Widgets
) -> None:
    """Events reach the engine in the schema's shape; killed, the sensor comes back and repeats
    nothing.
    """
    schema = Content([load_pack(ROOT)]).trigger_types["kubestorm.resource_event"].payload_schema

    async def scenario() -> None:
        engine = Engine()
        config = {
            "kubernetes": {"kubeconfig": str(kube.kubeconfig)},
            "watch": {"record_seconds": 0.05},
        }
        sensors = engine.supervise(SENSOR, config)
        await sensors.start()
        try:
            await sensors.set_triggers([trigger(widgets.parameters)])
            await asyncio.to_thread(widgets.make, "one", labels={"team": "shop"})
            await engine.wait(lambda: engine.told == [("created", "one")])
            await engine.wait(lambda: engine.has_recorded("/one"))
            status = sensors.status()[0]
            assert status.state is SensorState.RUNNING
            assert status.pid is not None
            os.kill(status.pid, signal.SIGKILL)
            await asyncio.to_thread(widgets.change, "one", size=2)
            await asyncio.to_thread(widgets.make, "two")
            await engine.wait(lambda: len(engine.dispatched) >= 3)
            assert engine.told == [("created", "one"), ("updated", "one"), ("created", "two")]
            asked = {"type": "kubestorm.resource_event", "parameters": widgets.parameters}
            assert all(one == asked for one in engine.triggers)
            for payload in engine.dispatched:
                jsonschema.validate(payload, schema)
        finally:
            await sensors.stop()

    asyncio.run(scenario())
