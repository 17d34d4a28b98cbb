"""Disabled actions do not run, whoever asks; workflows that wait hold no place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from stormcell import driving
from stormcell.engine import Engine
from stormcell.errors import InvalidInputError
from stormcell.statuses import ExecutionStatus

from tests.integration.engine.inside import ended, engine_over, reaches, written_pack

FLOW = "name: {0}\nrunner_type: orquesta\nentry_point: {0}.yml\n"
FILES = {
    "triggers/happened.yaml": "name: happened\n",
    "actions/idle.yaml": "name: idle\nrunner_type: noop\nenabled: false\n",
    "actions/flow.yaml": FLOW.format("flow"),
    "actions/flow.yml": "version: 1.0\ntasks: {one: {action: sample.idle}}\n",
    "actions/asks.yaml": FLOW.format("asks"),
    "actions/asks.yml": "version: 1.0\ntasks: {one: {action: core.ask}}\n",
    "actions/quick.yaml": FLOW.format("quick"),
    "actions/quick.yml": "version: 1.0\ntasks: {one: {action: core.noop}}\n",
    "rules/off.yaml": (
        "name: idle\nenabled: true\ntrigger: {type: sample.happened}\naction: {ref: sample.idle}\n"
    ),
}
PAUSED, SUCCEEDED = ExecutionStatus.PAUSED, ExecutionStatus.SUCCEEDED


def test_a_disabled_action_is_not_run_by_anything(tmp_path: Path) -> None:
    """Not on request, not by a rule, not by a workflow; each says so."""
    pack = written_pack(tmp_path, FILES)

    async def play() -> None:
        async with engine_over(tmp_path / "data", pack) as engine:
            with pytest.raises(InvalidInputError, match="is disabled"):
                await engine.request("sample.idle", {})
            await engine.dispatch("sample.happened", {})
            (enforcement,), _ = engine.store.events.find_enforcements({}, limit=-1)
            assert enforcement.execution_id is None
            assert "is disabled" in (enforcement.failure_reason or "")
            run = await ended(engine, (await engine.request("sample.flow", {})).id)
            assert run.status is ExecutionStatus.FAILED
            assert "is disabled" in run.result["errors"][0]["message"]
            assert engine.store.executions.find({"action": "sample.idle"}, limit=-1)[1] == 0

    asyncio.run(play())


def test_workflows_that_wait_for_an_answer_let_others_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a restart; once answered they go on."""
    monkeypatch.setattr(driving, "_ROOTS_AT_ONCE", 2)
    pack = written_pack(tmp_path, FILES)

    async def others_run(engine: Engine) -> None:
        runs = [await engine.request("sample.quick", {}) for _ in range(5)]
        assert [(await ended(engine, run.id)).status for run in runs] == [SUCCEEDED] * 5

    async def ask() -> list[str]:
        async with engine_over(tmp_path / "data", pack) as engine:
            asking = [(await engine.request("sample.asks", {})).id for _ in range(4)]
            for run in asking:
                await reaches(engine, run, PAUSED)
            await others_run(engine)
            return asking

    async def answer(asking: list[str]) -> None:
        async with engine_over(tmp_path / "data", pack) as engine:
            await others_run(engine)
            for inquiry in engine.inquiries.waiting():
                await engine.inquiries.respond(inquiry.id, {"continue": True}, "ann")
            assert [(await ended(engine, run)).status for run in asking] == [SUCCEEDED] * 4
            await others_run(engine)

    asyncio.run(answer(asyncio.run(ask())))
