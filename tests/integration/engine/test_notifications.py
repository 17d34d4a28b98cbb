"""The end of an execution told to rules: the generic action trigger and `notify` sections."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from stormcell.engine import Engine
from stormcell.store import Execution

from tests.integration.engine.inside import ended, engine_over, executions_of


async def _told(
    engine: Engine, action: str, **parameters: Any
) -> tuple[Execution, list[dict[str, Any]]]:
    """Run an action; the run, and what the rules were told when it and its tasks ended."""
    run = await engine.request(action, parameters)
    done = await ended(engine, run.id)
    return done, [
        hearing.parameters["told"] for hearing in executions_of(engine, "engine_told.hears")
    ]


def test_a_rule_hears_of_the_end_of_an_action(tmp_path: Path) -> None:
    """The action trigger's payload is StackStorm's, and what is secret in it is masked."""

    async def play() -> None:
        async with engine_over(tmp_path, "engine_told") as engine:
            done, told = await _told(engine, "engine_told.say", message="hi", password="swordfish")
            (payload,) = [one for one in told if "action_name" in one]
            assert payload == {
                "execution_id": done.id,
                "status": "succeeded",
                "start_timestamp": done.started_at.replace("T", " ").replace("Z", "+00:00"),
                "action_name": "engine_told.say",
                "action_ref": "engine_told.say",
                "runner_ref": "local-shell-cmd",
                "parameters": {"message": "hi", "password": "********"},
                "result": done.result,
            }

    asyncio.run(play())


@pytest.mark.parametrize(
    "code, status, routes",
    [(0, "succeeded", ["all", "happy"]), (1, "failed", ["all", "sad"])],
    ids=["good", "bad"],
)
def test_an_action_notifies_by_how_it_ended(
    tmp_path: Path, code: int, status: str, routes: list[str]
) -> None:
    """on-complete goes out always, on-success and on-failure as it ended; templates see parameters
    and context.
    """

    async def play() -> None:
        async with engine_over(tmp_path, "engine_told") as engine:
            done, told = await _told(engine, "engine_told.say", message="hi", code=code)
            notified = [one for one in told if "route" in one]
            assert [one["route"] for one in notified] == routes
            assert [one["channel"] for one in notified] == routes
            assert [one["message"] for one in notified] == [
                "hi is over",
                f"Action engine_told.say {status}.",
            ]
            assert {one["status"] for one in notified} == {status}
            assert notified[0]["data"]["who"] == "stanley"
            assert json.loads(notified[0]["data"]["result"]) == done.result
            assert notified[0]["end_timestamp"] == done.ended_at

    asyncio.run(play())


@pytest.mark.parametrize(
    "action, expected",
    [
        ("engine_told.in_chain", [("chain", "core.noop", "second is done")]),
        (
            "engine_told.in_flow",
            [
                ("flow", "core.noop", "Action core.noop completed."),
                ("flow", "engine_told.in_flow", None),
            ],
        ),
    ],
    ids=["chain", "orquesta"],
)
def test_tasks_notify(
    tmp_path: Path, action: str, expected: list[tuple[str, str, str | None]]
) -> None:
    """A chain's task notifies unless skipped; an Orquesta workflow's notify goes to the tasks it
    names, and itself.
    """

    async def play() -> None:
        async with engine_over(tmp_path, "engine_told") as engine:
            _, told = await _told(engine, action)
            notified = [
                (one["route"], one["action_ref"], one["message"]) for one in told if "route" in one
            ]
            assert [(route, ref) for route, ref, _ in notified] == [
                (route, ref) for route, ref, _ in expected
            ]
            assert all(
                want is None or got == want
                for (_, _, got), (_, _, want) in zip(notified, expected, strict=True)
            )

    asyncio.run(play())


def test_nobody_asks_nothing_is_kept(tmp_path: Path) -> None:
    """Where no rule asks for the triggers, an end makes no trigger instance."""

    async def play() -> None:
        async with engine_over(tmp_path, "engine_limits") as engine:
            run = await engine.request("core.noop", {})
            await ended(engine, run.id)
            assert engine.store.events.find_instances({}, limit=10) == ([], 0)

    asyncio.run(play())
