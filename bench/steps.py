"""A workflow's step, on disk: CPU time per task of an Orquesta workflow that the engine runs on
SQLite.

A step is the end of one task, the workflow's changed state and the next task, in one transaction,
and the next task's start: with 10 tasks in a row and with 100. Beside it, in turns, the bare
script: the same number of transactions with four statements each (child in, child under way, child
done, state replaced).
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml
from stormcell.bootstrap import Settings, make_engine
from stormcell.engine import Engine
from stormcell.ids import new_id
from stormcell.ports import PackDispatch
from stormcell.statuses import ExecutionStatus
from stormcell.store.store import open_store
from stormcell.times import now

from bench.engines import write_pack
from bench.harness import Figure, at_most, interleaved, say

TASKS = 100
"""In each round, as one workflow of 100 or ten of 10."""
BAR_MILLISECONDS = 0.2
BAR_RATIO = 1.2
_STATE = {
    "status": "running",
    "vars": {"x": "abc"},
    "task": "t1",
    "attempt": 0,
    "published": [{"x": "abc"}],
}


def _workflow(tasks: int) -> str:
    """A chain in which every task reads a variable and publishes it anew."""
    spec: dict[str, Any] = {}
    for number in range(tasks):
        step: dict[str, Any] = {"when": "<% succeeded() %>", "publish": [{"x": "<% ctx(x) %>"}]}
        if number + 1 < tasks:
            step["do"] = f"t{number + 1}"
        spec[f"t{number}"] = {"action": "core.noop", "next": [step]}
    return yaml.safe_dump({"version": 1.0, "vars": [{"x": "abc"}], "tasks": spec})


def _pack(folder: Path) -> Path:
    files = {}
    for name, tasks in {"ten": 10, "hundred": 100}.items():
        files[f"actions/{name}.yaml"] = yaml.safe_dump(
            {
                "name": name,
                "runner_type": "orquesta",
                "entry_point": f"workflows/{name}.yaml",
                "enabled": True,
            }
        )
        files[f"actions/workflows/{name}.yaml"] = _workflow(tasks)
    return write_pack(folder, files)


async def _run(engine: Engine, action: str, times: int) -> None:
    for _ in range(times):
        execution = await engine.request(action, {})
        ended = await engine.trees.wait(execution.id)
        if ended.status is not ExecutionStatus.SUCCEEDED:
            raise AssertionError(f"{action} ended as {ended.status}: {ended.result}")


def _bare(connection: sqlite3.Connection) -> Callable[[], None]:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = normal")
    connection.execute(
        "CREATE TABLE children (id TEXT PRIMARY KEY, status TEXT, at TEXT, context BLOB, result BLOB)"
    )
    connection.execute("CREATE TABLE states (id TEXT PRIMARY KEY, value BLOB)")
    encode = msgspec.json.encode

    def script() -> None:
        for _ in range(TASKS):
            child = new_id()
            connection.execute("BEGIN")
            connection.execute(
                "INSERT INTO children VALUES (?, 'requested', ?, ?, NULL)",
                (child, now(), encode(_STATE)),
            )
            connection.execute("UPDATE children SET status = 'running' WHERE id = ?", (child,))
            connection.execute(
                "UPDATE children SET status = 'done', result = ? WHERE id = ?",
                (encode(_STATE), child),
            )
            connection.execute("REPLACE INTO states VALUES ('1', ?)", (encode(_STATE),))
            connection.execute("COMMIT")

    return script


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name, asyncio.Runner() as runner:
        folder = Path(name)
        store = open_store(folder / "data")
        settings = Settings(packs=(_pack(folder / "bench"),), data=folder / "data", workers=1)

        async def start() -> Engine:
            engine = make_engine(settings, store, PackDispatch())
            await engine.start()
            return engine

        engine = runner.run(start())
        gc.collect()
        gc.freeze()  # as `stormcell serve` does once it is ready
        connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
        works = {
            "ten": lambda: runner.run(_run(engine, "bench.ten", TASKS // 10)),
            "hundred": lambda: runner.run(_run(engine, "bench.hundred", TASKS // 100)),
            "bare": _bare(connection),
        }
        spent = interleaved(works, rounds=15)
        runner.run(engine.stop(grace_seconds=0))
        store.close()
        connection.close()
    each = {name: seconds / TASKS * 1000 for name, seconds in spent.items()}
    return [
        at_most("step of a workflow of 10 tasks", each["ten"], "ms CPU", BAR_MILLISECONDS),
        at_most("step of a workflow of 100 tasks", each["hundred"], "ms CPU", BAR_MILLISECONDS),
        at_most("ratio of 100 tasks to 10", each["hundred"] / each["ten"], "", BAR_RATIO),
        Figure(
            "ratio to a bare script with a transaction of four statements",
            each["hundred"] / each["bare"],
            "",
        ),
    ]


if __name__ == "__main__":
    say(measure)
