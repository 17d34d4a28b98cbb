"""The engine's side of a sensor: what it dispatched, its datastore, and the sensor as a process of
stormcell's.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stormcell.content.loader import load_pack
from stormcell.content.registry import Content
from stormcell.content.schemas import CompiledSchema
from stormcell.sensors.backoff import Backoff
from stormcell.sensors.supervisor import SensorSupervisor

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 120.0
PUSHED = "kubestorm.image_pushed"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def check_payload(payload: dict[str, Any]) -> None:
    """Whether the engine takes it for the trigger's type."""
    schema = Content([load_pack(ROOT)]).trigger_types[PUSHED].payload_schema
    assert CompiledSchema(schema).problems(payload) == []


class SensorEngine:
    """Takes dispatches and keeps values."""

    def __init__(self) -> None:
        self.triggers: list[Any] = []
        self.dispatched: list[dict[str, Any]] = []
        self.values: dict[str, str] = {}
        self.writes: list[tuple[str, str]] = []
        self._changed = asyncio.Condition()

    async def dispatch(self, trigger: Any, payload: dict[str, Any], trace_context: Any) -> None:
        async with self._changed:
            self.triggers.append(trigger)
            self.dispatched.append(payload)
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

    async def wait(self, done: Callable[[], bool]) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(done), WAIT_SECONDS)

    def supervise(self, sensor: str, config: dict[str, Any]) -> SensorSupervisor:
        """One sensor of the pack, with a configuration."""
        content = Content([load_pack(ROOT)])
        content.sensors = {sensor: content.sensors[sensor]}
        return SensorSupervisor(
            content,
            dispatch=self.dispatch,
            datastore=self,
            config_for=lambda pack: {"cluster": "dev", **config},
            backoff=Backoff(first_seconds=0.1),
        )


class Engine(SensorEngine):
    """For sensors that tell of pushes and nothing else."""

    async def dispatch(self, trigger: Any, payload: dict[str, Any], trace_context: Any) -> None:
        assert trigger == PUSHED
        await super().dispatch(trigger, payload, trace_context)

    @property
    def told(self) -> list[tuple[str, str, str]]:
        return [(each["source"], each["repository"], each["tag"]) for each in self.dispatched]
