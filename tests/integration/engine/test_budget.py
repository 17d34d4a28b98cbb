"""Events and workflows that would take for ever: they fail, and the engine goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stormcell.statuses import ExecutionStatus

from tests.integration.engine.inside import ended, engine_over, written_pack

FILES = {
    "triggers/happened.yaml": "name: happened\n",
    "rules/slow.yaml": (
        "name: slow\nenabled: true\ntrigger: {type: sample.happened}\naction: {ref: core.noop}\n"
        "criteria: {trigger.text: {type: regex, pattern: '^(a+)+$'}}\n"
    ),
    "rules/quick.yaml": (
        "name: quick\nenabled: true\ntrigger: {type: sample.happened}\naction: {ref: core.noop}\n"
        "criteria: {trigger.text: {type: startswith, pattern: a}}\n"
    ),
    "actions/flow.yaml": "name: flow\nrunner_type: orquesta\nentry_point: workflows/flow.yaml\n",
    "actions/workflows/flow.yaml": (
        "version: 1.0\ntasks:\n  one:\n    action: core.noop\n"
        "    next: [{publish: [{x: '<% range(900000).select(str($)).join(\"\") %>'}]}]\n"
    ),
}


def test_an_event_that_cannot_be_judged_in_time_fails_one_rule(tmp_path: Path) -> None:
    """The failed enforcement names the criterion; after a restart nothing is judged again."""
    pack = written_pack(tmp_path, FILES)

    async def play() -> str:
        async with engine_over(tmp_path / "data", pack) as engine:
            instance = await engine.dispatch("sample.happened", {"text": "a" * 29 + "!"})
            assert instance is not None
            found, _ = engine.store.events.find_enforcements({}, limit=-1, newest_first=False)
            assert {one.rule_ref: bool(one.execution_id) for one in found} == {
                "sample.slow": False,
                "sample.quick": True,
            }
            return next(one.failure_reason or "" for one in found if not one.execution_id)

    assert "trigger.text (regex): it took more than 0.5 s" in asyncio.run(play())

    async def restart() -> int:
        async with engine_over(tmp_path / "data", pack) as engine:
            return engine.store.events.find_enforcements({}, limit=-1)[1]

    assert asyncio.run(restart()) == 2


def test_a_workflow_whose_expression_takes_too_long_fails(tmp_path: Path) -> None:
    """Its result names the expression."""
    pack = written_pack(tmp_path, FILES)

    async def play() -> None:
        async with engine_over(tmp_path / "data", pack) as engine:
            run = await ended(engine, (await engine.request("sample.flow", {})).id)
            assert run.status is ExecutionStatus.FAILED
            message = run.result["errors"][0]["message"]
            assert "range(900000)" in message
            assert "took more than" in message

    asyncio.run(play())
