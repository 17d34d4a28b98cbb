"""The sensor as a process of stormcell's, on the pack's own content: dispatches that fit the
trigger type's schema.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from stormcell.content.loader import load_pack
from stormcell.content.registry import Content
from stormcell.sensors.backoff import Backoff
from stormcell.sensors.supervisor import SensorState, SensorSupervisor

from tests.integration.watching.conftest import Widgets
from tests.kube_fixtures import Kube

ROOT = Path(__file__).parents[3]
SENSOR = "kubestorm.ResourcesSensor"
WAIT_SECONDS = 30.0


class Engine:
    """The engine's side of a sensor: what was dispatched, and the datastore."""

    def __init__(self) -> None:
        self.dispatched: list[tuple[Any, dict[str, Any]]] = []
        self.values: dict[str, str] = {}
        self.writes: list[tuple[str, str]] = []
        self._changed = asyncio.Condition()

    async def dispatch(self, trigger: Any, payload: dict[str, Any], trace_context: Any) -> None:
        async with self._changed:
            self.dispatched.append((trigger, payload))
            self._changed.notify_all()

    async def get_value(self, name: str, *, scope: str, decrypt: bool) -> str | None:
        return self.values.get(name)

    async def set_value(
        self,
        name: str,
        value: str,
        *,
        scope: str,
        ttl_seconds: int | None = None,
        encrypt: bool = False,
    ) -> None:
        async with self._changed:
            self.values[name] = value
            self.writes.append((name, value))
            self._changed.notify_all()

    async def delete_value(self, name: str, *, scope: str) -> bool:
        return self.values.pop(name, None) is not None

    async def list_values(
        self, *, prefix: str | None, limit: int | None, offset: int
    ) -> list[dict[str, Any]]:
        return []

    def has_recorded(self, key: str) -> bool:
        """Whether a shard with this object was written, and the head after it."""
        shards = [at for at, (_, value) in enumerate(self.writes) if f'{key}":' in value]
        return bool(shards) and any(name.endswith(".head") for name, _ in self.writes[shards[0] :])

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(payload["change"], payload["name"]) for _, payload in self.dispatched]

    async def wait(self, done: Callable[[], bool]) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(done), WAIT_SECONDS)


def supervisor(engine: Engine, kube: Kube) -> SensorSupervisor:
    content = Content([load_pack(ROOT)])
    # The pack's other sensors are not this test's.
    content.sensors = {SENSOR: content.sensors[SENSOR]}
    config = {
        "cluster": "dev",
        "kubernetes": {"kubeconfig": str(kube.kubeconfig)},
        "watch": {"record_seconds": 0.05},
    }
    return SensorSupervisor(
        content,
        dispatch=engine.dispatch,
        datastore=engine,
        config_for=lambda pack: config,
        backoff=Backoff(first_seconds=0.1),
    )


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


@pytest.mark.timeout(90)
def test_the_sensor_tells_what_rules_ask_for_and_survives_being_killed(
    kube: Kube, widgets: Widgets
) -> None:
    """Events reach the engine in the schema's shape; killed, the sensor comes back and repeats
    nothing.
    """
    schema = Content([load_pack(ROOT)]).trigger_types["kubestorm.resource_event"].payload_schema

    async def scenario() -> None:
        engine = Engine()
        sensors = supervisor(engine, kube)
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
            assert all(one == asked for one, _ in engine.dispatched)
            for _, payload in engine.dispatched:
                jsonschema.validate(payload, schema)
        finally:
            await sensors.stop()

    asyncio.run(scenario())
