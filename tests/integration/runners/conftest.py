"""Run actions of the packs in tests/packs, and of packs written for one test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stormcell.content.loader import load_pack
from stormcell.content.models import Action
from stormcell.content.registry import Content
from stormcell.running import RunRequest

PACKS = Path(__file__).parents[2] / "packs"
Line = tuple[str, str]


class MemoryStore:
    """A datastore for one test: the port of stormcell.workers.ports, kept in a dictionary."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[str, bool]] = {}
        self.dispatched: list[tuple[Any, dict[str, Any], Any]] = []

    async def get_value(self, name: str, *, scope: str, decrypt: bool) -> str | None:
        value, encrypted = self.values.get(name, (None, False))
        return f"cipher of {value}" if encrypted and not decrypt else value

    async def set_value(
        self,
        name: str,
        value: str,
        *,
        scope: str,
        ttl_seconds: int | None = None,
        encrypt: bool = False,
    ) -> None:
        self.values[name] = (value, encrypt)

    async def delete_value(self, name: str, *, scope: str) -> bool:
        return self.values.pop(name, None) is not None

    async def list_values(
        self, *, prefix: str | None, limit: int | None, offset: int
    ) -> list[dict[str, Any]]:
        names = sorted(name for name in self.values if name.startswith(prefix or ""))
        return [{"name": name, "value": self.values[name][0], "scope": "system"} for name in names]

    async def dispatch(self, trigger: Any, payload: dict[str, Any], trace_context: Any) -> None:
        self.dispatched.append((trigger, payload, trace_context))


class Requests:
    """Makes requests for the actions of one pack."""

    def __init__(self, pack: str | Path) -> None:
        root = PACKS / pack if isinstance(pack, str) else pack
        self._content = Content([load_pack(root)])
        self._pack = next(iter(self._content.packs.values()))
        self.lines: list[Line] = []

    def __call__(
        self,
        action: str,
        parameters: dict[str, Any] | None = None,
        *,
        timeout: float = 30,
        config: dict[str, Any] | None = None,
        **runner_parameters: Any,
    ) -> RunRequest:
        found: Action = self._content.action(f"{self._pack.ref}.{action}")
        defaults = self._content.runner_type(found.runner_type).defaults()
        return RunRequest(
            execution_id="65f000000000000000000001",
            action=found,
            pack_path=self._pack.path,
            parameters=parameters or {},
            runner_parameters={**defaults, **runner_parameters},
            context={},
            config=config or {},
            timeout_seconds=timeout,
            user="somebody",
        )

    def output(self, stream: str, line: str) -> None:
        self.lines.append((stream, line))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def run_async() -> Iterator[Callable[[Awaitable[Any]], Any]]:
    """Run a coroutine in a loop of its own."""
    with asyncio.Runner() as runner:
        yield runner.run  # type: ignore[misc]


def is_alive(pid: int) -> bool:
    """Tell whether a process runs (and is not merely unburied)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in ("Z", "X")
