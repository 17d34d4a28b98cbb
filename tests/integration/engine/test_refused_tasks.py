"""Workflows of which several tasks cannot be started at once: their inputs do not fit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from stormcell.statuses import ExecutionStatus

from tests.integration.engine.inside import ended, engine_over, written_pack

_TASK = """
      action: sample.count
      input: {number: "<% ctx().text %>"}
"""
_ITEMS = f"""
  all:
      with: {{items: <% ctx().many %>{{concurrency}}}}
{_TASK.strip(chr(10))}
"""
WORKFLOWS = {
    "items": _ITEMS.replace("{concurrency}", ""),
    "items by two": _ITEMS.replace("{concurrency}", ", concurrency: 2"),
    "parallel": f"  one:{_TASK}\n  two:{_TASK}\n  three:{_TASK}",
    "handled": (
        f"  one:{_TASK}      next: [{{when: <% failed() %>, do: end}}]\n"
        f"  two:{_TASK}      next: [{{when: <% failed() %>, do: end}}]\n"
        "  end: {join: all, action: core.noop}\n"
    ),
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_ends_although_several_tasks_are_refused_at_once(
    tmp_path: Path, name: str
) -> None:
    """Each refusal counts: none is decided on the state before the one before it."""
    pack = written_pack(
        tmp_path,
        {
            "actions/count.yaml": (
                "name: count\nrunner_type: noop\nparameters: {number: {type: integer}}\n"
            ),
            "actions/flow.yaml": (
                "name: flow\nrunner_type: orquesta\nentry_point: workflows/flow.yaml\n"
            ),
            "actions/workflows/flow.yaml": (
                "version: 1.0\nvars: [{text: many}, {many: [1, 2, 3]}]\ntasks:\n" + WORKFLOWS[name]
            ),
        },
    )

    async def play() -> ExecutionStatus:
        async with engine_over(tmp_path / "data", pack) as engine:
            run = await engine.request("sample.flow", {})
            return (await ended(engine, run.id)).status

    expected = ExecutionStatus.SUCCEEDED if name == "handled" else ExecutionStatus.FAILED
    assert asyncio.run(play()) is expected
