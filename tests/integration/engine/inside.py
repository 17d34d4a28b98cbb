"""A real engine inside the test's own process: its store on disk, its runners real; no API and no
sensors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stormcell.bootstrap import Settings, make_engine
from stormcell.engine import Engine
from stormcell.ports import PackDispatch
from stormcell.statuses import ExecutionStatus
from stormcell.store import Execution
from stormcell.store.store import open_store

PACKS = Path(__file__).parents[2] / "packs"
_DEADLINE_SECONDS = 60.0


def written_pack(folder: Path, files: dict[str, str], *, ref: str = "sample") -> Path:
    """Write a pack of these files (path below the pack -> content); its folder."""
    pack = folder / ref
    meta = f"name: {ref}\ndescription: d\nversion: 0.1.0\nauthor: a\nemail: a@example.org\n"
    for name, text in {"pack.yaml": meta, **files}.items():
        file = pack / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return pack


@asynccontextmanager
async def engine_over(data: Path, *packs: str | Path, **settings: Any) -> AsyncIterator[Engine]:
    """Start an engine over a data folder and stop it, without grace, at the end."""
    store = open_store(data)
    try:
        folders = tuple(PACKS / pack for pack in packs)
        engine = make_engine(Settings(packs=folders, data=data, **settings), store, PackDispatch())
        try:
            await engine.start()
            yield engine
        finally:
            await engine.stop(grace_seconds=0)
    finally:
        store.close()


async def until(engine: Engine, condition: Callable[[], Any]) -> Any:
    """Return the first true value of a condition, looked at after each change of an execution."""
    async with asyncio.timeout(_DEADLINE_SECONDS):
        with engine.core.stream.listening() as listener:
            if found := condition():
                return found
            async for _ in listener.events(idle_seconds=_DEADLINE_SECONDS):
                engine.store.writer.flush()
                if found := condition():
                    return found
    raise AssertionError("The engine has stopped.")


async def reaches(engine: Engine, execution_id: str, status: ExecutionStatus) -> Execution:
    """Wait until an execution is in a status."""

    def look() -> Execution | None:
        found = engine.trees.find(execution_id)
        return found if found.status is status else None

    found: Execution = await until(engine, look)
    return found


async def ended(engine: Engine, execution_id: str) -> Execution:
    """Wait for the end of an execution."""
    async with asyncio.timeout(_DEADLINE_SECONDS):
        await engine.trees.wait(execution_id)
    engine.store.writer.flush()
    found = engine.store.executions.get(execution_id)
    assert found is not None
    return found


def executions_of(engine: Engine, action_ref: str) -> list[Execution]:
    """All executions of an action, oldest first."""
    engine.store.writer.flush()
    return engine.store.executions.find({"action": action_ref}, limit=-1, newest_first=False)[0]
