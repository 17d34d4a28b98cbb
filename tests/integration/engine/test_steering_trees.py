"""Pausing, resuming, canceling and re-running workflows with workflows below them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from stormcell.engine import Engine
from stormcell.statuses import ExecutionStatus

from tests.integration.engine.inside import ended, engine_over, executions_of, reaches, until
from tests.integration.engine.serving import Served

PAUSED, RUNNING, SUCCEEDED = (
    ExecutionStatus.PAUSED,
    ExecutionStatus.RUNNING,
    ExecutionStatus.SUCCEEDED,
)
ABOVE = pytest.mark.parametrize("action", ["held_flow", "held_chain"], ids=["orquesta", "chain"])


async def _held(engine: Engine, fifo: Path, action: str) -> tuple[str, str, str]:
    """Run until the action at the bottom holds; the ids of the run, of the workflow below and of
    that action.
    """
    if not fifo.exists():
        os.mkfifo(fifo)
    run = await engine.request(f"engine_trees.{action}", {"fifo": str(fifo)})

    def holding() -> str | None:
        found = executions_of(engine, "engine_trees.hold")
        return found[-1].id if found and found[-1].status is RUNNING else None

    hold_id = await until(engine, holding)
    return run.id, executions_of(engine, "engine_trees.held_below")[-1].id, hold_id


async def _let_go(fifo: Path) -> None:
    await asyncio.to_thread(lambda: fifo.write_text("go\n"))


@ABOVE
def test_a_pause_goes_down_and_a_resume_too(tmp_path: Path, action: str) -> None:
    """A paused tree finishes what runs, starts nothing, stays so over a restart, and goes on when
    it is resumed.
    """
    fifo = tmp_path / "fifo"

    async def pause() -> tuple[str, str]:
        async with engine_over(tmp_path / "data", "engine_trees") as engine:
            run_id, below_id, _ = await _held(engine, fifo, action)
            assert engine.trees.pause(run_id).status is ExecutionStatus.PAUSING
            await engine.store.writer.settled()
            await _let_go(fifo)
            await reaches(engine, below_id, PAUSED)
            await reaches(engine, run_id, PAUSED)
            assert executions_of(engine, "core.noop") == []
            return run_id, below_id

    async def resume(run_id: str, below_id: str) -> None:
        async with engine_over(tmp_path / "data", "engine_trees") as engine:
            assert engine.trees.find(run_id).status is PAUSED
            engine.trees.resume(run_id)
            assert (await ended(engine, run_id)).status is SUCCEEDED
            assert (await ended(engine, below_id)).status is SUCCEEDED
            assert [one.status for one in executions_of(engine, "core.noop")] == [SUCCEEDED] * 2

    asyncio.run(resume(*asyncio.run(pause())))


@ABOVE
def test_a_workflow_below_can_be_paused_alone(tmp_path: Path, action: str) -> None:
    """Pausing the workflow below pauses the one above; resuming it has both go on."""

    async def play() -> None:
        async with engine_over(tmp_path / "data", "engine_trees") as engine:
            run_id, below_id, _ = await _held(engine, tmp_path / "fifo", action)
            engine.trees.pause(below_id)
            await engine.store.writer.settled()
            await _let_go(tmp_path / "fifo")
            await reaches(engine, run_id, PAUSED)
            engine.trees.resume(below_id)
            done = await ended(engine, run_id)
            assert done.status is SUCCEEDED
            assert [entry["status"] for entry in done.log_entries()][-3:] == [
                "paused",
                "running",
                "succeeded",
            ]

    asyncio.run(play())


@ABOVE
def test_a_cancel_stops_what_runs_at_the_bottom(tmp_path: Path, action: str) -> None:
    """Canceling the run cancels the workflow and the process below it, and nothing follows."""

    async def play() -> None:
        async with engine_over(tmp_path / "data", "engine_trees") as engine:
            ids = await _held(engine, tmp_path / "fifo", action)
            engine.trees.cancel(ids[0])
            assert {(await ended(engine, one)).status for one in ids} == {ExecutionStatus.CANCELED}
            assert executions_of(engine, "core.noop") == []

    asyncio.run(play())


def test_a_canceled_workflow_below_cancels_the_one_above(tmp_path: Path) -> None:
    """A task that was canceled ends its workflow as canceled."""

    async def play() -> None:
        async with engine_over(tmp_path / "data", "engine_trees") as engine:
            run_id, below_id, _ = await _held(engine, tmp_path / "fifo", "held_flow")
            engine.trees.cancel(below_id)
            assert (await ended(engine, run_id)).status is ExecutionStatus.CANCELED

    asyncio.run(play())


def _fragile(served: Served, file: Path) -> dict[str, object]:
    run = served.run("engine_trees.fragile", file=str(file))
    assert run["status"] == "failed"
    return run


def _tasks(served: Served, run: dict[str, object]) -> list[str]:
    children = served.get(f"/v1/executions/{run['id']}/children", depth="1")
    return [child["context"]["orquesta"]["task_name"] for child in children]


@pytest.mark.parametrize(
    "body, rerun_tasks",
    [
        ({"tasks": ["two"]}, ["two", "three"]),
        ({"tasks": ["two"], "reset": ["two"]}, ["two", "two", "three"]),
    ],
    ids=["failed-items", "all-items"],
)
def test_a_workflow_is_rerun_from_a_task(
    serve: object, tmp_path: Path, body: dict[str, list[str]], rerun_tasks: list[str]
) -> None:
    """A re-run from a failed task keeps what had succeeded, items too unless they are reset, and
    its variables.
    """
    served: Served = serve("engine_trees")  # type: ignore[operator]
    file = tmp_path / "part"
    (tmp_path / "part-a").touch()
    failed = _fragile(served, file)
    (tmp_path / "part-b").touch()

    response = served.http.post(
        f"/v1/executions/{failed['id']}/re_run", json={**body, "parameters": {}}
    )

    assert response.status_code == 201, response.text
    again = served.ended(response.json()["id"])
    assert (again["status"], again["result"]) == (
        "succeeded",
        {"output": {"begun": "begun", "parts": ["a", "b"]}},
    )
    assert _tasks(served, again) == rerun_tasks
    assert again["context"]["re-run"]["ref"] == failed["id"]


def test_a_rerun_from_a_task_that_never_ran_is_refused(serve: object, tmp_path: Path) -> None:
    """The re-run fails and names the task."""
    served: Served = serve("engine_trees")  # type: ignore[operator]
    failed = _fragile(served, tmp_path / "part")
    body = {"tasks": ["three"], "parameters": {}}
    again = served.http.post(f"/v1/executions/{failed['id']}/re_run", json=body)
    assert again.status_code == 201, again.text
    end = served.ended(again.json()["id"])
    assert end["status"] == "failed"
    assert "three" in end["result"]["errors"][0]["message"]
