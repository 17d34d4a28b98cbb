"""Concurrency and retry policies in a running engine, and over a restart."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from stormcell.engine import Engine
from stormcell.statuses import ExecutionStatus
from stormcell.store import Execution

from tests.integration.engine.inside import ended, engine_over, executions_of, reaches, until

DELAYED, RUNNING = ExecutionStatus.DELAYED, ExecutionStatus.RUNNING


async def _hold(
    engine: Engine, folder: Path, name: str, action: str = "hold", **parameters: Any
) -> Execution:
    """Start an action that runs until `_let_go` of its name."""
    fifo = folder / name
    if not fifo.exists():
        os.mkfifo(fifo)
    return await engine.request(f"engine_limits.{action}", {"fifo": str(fifo), **parameters})


async def _let_go(folder: Path, name: str) -> None:
    await asyncio.to_thread(lambda: (folder / name).write_text("go\n"))


def _statuses(engine: Engine, executions: list[Execution]) -> list[str]:
    return [engine.trees.find(execution.id).status.value for execution in executions]


def test_what_exceeds_the_threshold_waits_its_turn(tmp_path: Path) -> None:
    """Two of four run; each end lets the one in that came first, and a canceled one leaves the
    queue.
    """

    async def play() -> None:
        async with engine_over(tmp_path / "data", "engine_limits") as engine:
            holds = [await _hold(engine, tmp_path, name) for name in "abcd"]
            await reaches(engine, holds[1].id, RUNNING)
            await reaches(engine, holds[3].id, DELAYED)
            assert _statuses(engine, holds) == ["running", "running", "delayed", "delayed"]

            engine.trees.cancel(holds[2].id)
            await _let_go(tmp_path, "a")
            await reaches(engine, holds[3].id, RUNNING)
            await _let_go(tmp_path, "b")
            await _let_go(tmp_path, "d")
            assert [(await ended(engine, hold.id)).status for hold in holds] == [
                ExecutionStatus.SUCCEEDED,
                ExecutionStatus.SUCCEEDED,
                ExecutionStatus.CANCELED,
                ExecutionStatus.SUCCEEDED,
            ]

    asyncio.run(play())


def test_values_of_attributes_are_counted_apart(tmp_path: Path) -> None:
    """Executions of other attribute values do not wait for each other."""

    async def play() -> None:
        async with engine_over(tmp_path / "data", "engine_limits") as engine:
            groups = {"a": "red", "b": "blue", "c": "red"}
            holds = [
                await _hold(engine, tmp_path, name, "hold_group", group=group)
                for name, group in groups.items()
            ]
            await reaches(engine, holds[2].id, DELAYED)
            await reaches(engine, holds[1].id, RUNNING)
            assert _statuses(engine, holds) == ["running", "running", "delayed"]
            await _let_go(tmp_path, "b")
            await ended(engine, holds[1].id)
            assert _statuses(engine, holds) == ["running", "succeeded", "delayed"]
            await _let_go(tmp_path, "a")
            await reaches(engine, holds[2].id, RUNNING)
            await _let_go(tmp_path, "c")
            await ended(engine, holds[2].id)

    asyncio.run(play())


def test_a_policy_may_cancel_instead(tmp_path: Path) -> None:
    """With `action: cancel` what exceeds the threshold is canceled, and its result names the
    policy.
    """

    async def play() -> None:
        async with engine_over(tmp_path / "data", "engine_limits") as engine:
            first = await _hold(engine, tmp_path, "a", "hold_or_cancel")
            second = await _hold(engine, tmp_path, "b", "hold_or_cancel")
            canceled = await ended(engine, second.id)
            assert canceled.status is ExecutionStatus.CANCELED
            assert "engine_limits.hold_or_cancel.concurrency" in canceled.result["message"]
            await _let_go(tmp_path, "a")
            assert (await ended(engine, first.id)).status is ExecutionStatus.SUCCEEDED

    asyncio.run(play())


def test_delayed_executions_survive_a_restart(tmp_path: Path) -> None:
    """After a restart as many run as the policy lets run, and the others follow."""

    async def fill() -> list[str]:
        async with engine_over(tmp_path / "data", "engine_limits") as engine:
            holds = [await _hold(engine, tmp_path, name) for name in "abcd"]
            await reaches(engine, holds[1].id, RUNNING)
            await reaches(engine, holds[3].id, DELAYED)
            return [hold.id for hold in holds]

    async def empty(ids: list[str]) -> None:
        async with engine_over(tmp_path / "data", "engine_limits") as engine:
            running = ExecutionStatus.RUNNING
            for _ in ids:
                found = executions_of(engine, "engine_limits.hold")
                active = await until(engine, lambda: _in_status(engine, running))
                assert len(active) <= 2
                await _let_go(tmp_path, Path(active[0].parameters["fifo"]).name)
                await ended(engine, active[0].id)
                assert len(found) == 4
            assert [(await ended(engine, one)).status for one in ids] == [
                ExecutionStatus.SUCCEEDED
            ] * 4

    asyncio.run(empty(asyncio.run(fill())))


def _in_status(engine: Engine, status: ExecutionStatus) -> list[Execution]:
    return [one for one in executions_of(engine, "engine_limits.hold") if one.status is status]


def test_a_failed_execution_is_tried_again(tmp_path: Path) -> None:
    """With max_retry_count 2 there are three executions, each naming the one before; a secret
    parameter goes along.
    """

    async def play() -> None:
        async with engine_over(tmp_path, "engine_limits") as engine:
            first = await engine.request("engine_limits.fails", {"word": "swordfish"})
            await until(engine, lambda: len(_ended(engine, "engine_limits.fails")) == 3)
            runs = executions_of(engine, "engine_limits.fails")
            assert [run.status.value for run in runs] == ["failed"] * 3
            retries = [run.context.get("policies", {}).get("retry", {}) for run in runs]
            assert [retry.get("retry_count") for retry in retries] == [None, 1, 2]
            assert [retry.get("retried_liveaction_id") for retry in retries] == [
                None,
                first.id,
                runs[1].id,
            ]
            assert [engine.store.sealer.open(run.parameters) for run in runs] == [
                {"word": "swordfish"}
            ] * 3

    asyncio.run(play())


def _ended(engine: Engine, action_ref: str) -> list[Execution]:
    return [execution for execution in executions_of(engine, action_ref) if execution.is_finished]


def test_a_retry_waits_in_the_store(tmp_path: Path) -> None:
    """A retry with a delay is a delayed execution, before and after a restart."""

    async def run() -> str:
        async with engine_over(tmp_path, "engine_limits") as engine:
            first = await engine.request("engine_limits.slow", {})
            assert (await ended(engine, first.id)).status is ExecutionStatus.TIMEOUT
            return executions_of(engine, "engine_limits.slow")[1].id

    async def look(retry_id: str) -> None:
        async with engine_over(tmp_path, "engine_limits") as engine:
            retry = engine.trees.find(retry_id)
            assert retry.status is DELAYED
            assert retry.due_at is not None
            engine.trees.cancel(retry_id)

    asyncio.run(look(asyncio.run(run())))


def test_a_task_is_not_retried_by_policy(tmp_path: Path) -> None:
    """A failed task of a chain ends the chain; its action's retry policy does not apply."""

    async def play() -> None:
        async with engine_over(tmp_path, "engine_limits") as engine:
            run = await engine.request("engine_limits.fails_in_chain", {})
            assert (await ended(engine, run.id)).status is ExecutionStatus.FAILED
            assert len(executions_of(engine, "engine_limits.fails")) == 1

    asyncio.run(play())


@pytest.mark.parametrize("status", [ExecutionStatus.SUCCEEDED, ExecutionStatus.CANCELED])
def test_other_ends_are_not_retried(tmp_path: Path, status: ExecutionStatus) -> None:
    """What succeeded or was canceled is not tried again."""

    async def play() -> None:
        async with engine_over(tmp_path / "data", "engine_limits") as engine:
            run = await _hold(engine, tmp_path, "a")
            await reaches(engine, run.id, RUNNING)
            if status is ExecutionStatus.CANCELED:
                engine.trees.cancel(run.id)
            else:
                await _let_go(tmp_path, "a")
            assert (await ended(engine, run.id)).status is status
            assert len(executions_of(engine, "engine_limits.hold")) == 1

    asyncio.run(play())
