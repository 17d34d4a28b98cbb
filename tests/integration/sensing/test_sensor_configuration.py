"""The pack's sensors as processes of stormcell's between the installation and the configuration,
and when the configuration changes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from stormcell.content.loader import load_pack
from stormcell.content.registry import Content
from stormcell.errors import DefinitionError
from stormcell.sensors.backoff import Backoff
from stormcell.sensors.supervisor import SensorState, SensorSupervisor

from tests.integration.registry.sensing import ROOT, Engine, free_port

SENSORS = ("kubestorm.ListenersSensor", "kubestorm.PollsSensor", "kubestorm.ResourcesSensor")
WAIT_SECONDS = 40.0
PUSH = {
    "events": [
        {
            "id": "id-1",
            "action": "push",
            "target": {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "repository": "team/cart",
                "tag": "1.0.0",
                "digest": f"sha256:{'1' * 64}",
            },
            "request": {"host": "r.example"},
        }
    ]
}


class World:
    """All sensors of the pack, with a configuration that the test changes."""

    def __init__(self, caplog: pytest.LogCaptureFixture, **config: Any) -> None:
        self.config: dict[str, Any] = config
        self._caplog = caplog
        caplog.set_level(logging.INFO)
        self.engine = Engine()
        self.sensors = SensorSupervisor(
            Content([load_pack(ROOT)]),
            dispatch=self.engine.dispatch,
            datastore=self.engine,
            config_for=self._present,
            backoff=Backoff(first_seconds=0.1),
        )

    def _present(self, pack: str) -> dict[str, Any]:
        assert pack == "kubestorm"
        if self.config.get("is_wrong"):
            raise DefinitionError("cluster must be a string", file="configs/kubestorm.yaml")
        return dict(self.config)

    def said(self, sensor: str, event: str) -> list[str]:
        """The lines of one event in a sensor's log."""
        return [
            record.sensor_message  # type: ignore[attr-defined]
            for record in self._caplog.records
            if getattr(record, "sensor_ref", "") == sensor
            and getattr(record, "sensor_message", "").startswith(event)
        ]

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not done():
                await asyncio.sleep(0.05)

    def all_run(self) -> bool:
        return [(one.state, one.restarts) for one in self.sensors.status()] == [
            (SensorState.RUNNING, 0)
        ] * len(SENSORS)


def listening(port: int, **more: Any) -> dict[str, Any]:
    """A source that posts to a port."""
    source = {"name": "ci", "type": "distribution", "unsigned": True}
    return {
        "cluster": "dev",
        "registries": {"listener": {"port": port}, "sources": [source]},
        **more,
    }


async def post(port: int) -> int:
    """The status of the answer to a push; 0 where nobody answers."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            answer = await client.post(
                f"http://127.0.0.1:{port}/registry/ci",
                content=json.dumps(PUSH),
                headers={"Content-Type": "application/json"},
            )
        return answer.status_code
    except httpx.TransportError:
        return 0


def test_unconfigured_sensors_sleep_and_notice_their_configuration(caplog):
    """Each says once what it wants and stays up; nothing is started anew when the configuration
    comes, and one that becomes wrong ends nothing.
    """
    port = free_port()

    async def scenario() -> None:
        world = World(caplog)
        await world.sensors.start()
        try:
            await world.until(
                lambda: all(world.said(sensor, "sensor.not_configured") for sensor in SENSORS)
            )
            await world.until(world.all_run)
            world.config = listening(port, kubernetes={"kubeconfig": "/nonexistent"})
            await world.until(lambda: bool(world.said(SENSORS[0], "sensor.started: registries")))
            assert await post(port) == 200
            assert world.engine.told == [("ci", "team/cart", "1.0.0")]
            # A kubeconfig that is not there yet is waited for as well.
            await world.until(lambda: bool(world.said(SENSORS[2], "sensor.waiting: watches")))
            assert "/nonexistent" in world.said(SENSORS[2], "sensor.waiting: watches")[0]
            world.config = {"is_wrong": True}
            await world.until(
                lambda: bool(world.said(SENSORS[0], "sensor.configuration_unreadable"))
            )
            assert await post(port) == 200
            assert world.all_run()
            for sensor in SENSORS:
                assert len(world.said(sensor, "sensor.not_configured")) == 1
        finally:
            await world.sensors.stop()

    asyncio.run(scenario())


def test_a_port_that_is_taken_is_waited_for(caplog):
    """One line says so, the sensor stays up, and when the port is free it listens."""

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = int(other.getsockname()[1])
            world = World(caplog, **listening(port, kubernetes={"kubeconfig": "/nonexistent"}))
            await world.sensors.start()
            try:
                await world.until(
                    lambda: bool(world.said(SENSORS[0], "sensor.waiting: registries"))
                )
                other.close()
                await world.until(
                    lambda: bool(world.said(SENSORS[0], "sensor.started: registries"))
                )
                assert await post(port) == 200
                (line,) = world.said(SENSORS[0], "sensor.waiting: registries")
                assert f"127.0.0.1:{port}" in line
                assert world.all_run()
            finally:
                await world.sensors.stop()

    asyncio.run(scenario())
