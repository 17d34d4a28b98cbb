"""Results and payloads that cannot be kept, and effects that fail: what follows still follows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from stormcell.api.documents import execution_document
from stormcell.errors import InvalidInputError
from stormcell.statuses import ExecutionStatus
from stormcell.store.encoding import decoded, encoded

from tests.integration.engine.inside import ended, engine_over, reaches, written_pack

SURROGATE = r"""printf '{"text":"\\ud83d"}'"""
DEEP = 'python3 -c \'print("["*900 + "]"*900)\''


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("command", [SURROGATE, DEEP], ids=["surrogate", "deep"])
def test_a_result_that_cannot_be_kept_fails_its_execution(tmp_path: Path, command: str) -> None:
    """With a sentence; it is not run again, and the workflow it belongs to goes on."""
    flow = f"chain:\n  - {{name: one, ref: core.local, parameters: {{cmd: {json.dumps(command)}}}}}"
    pack = written_pack(
        tmp_path,
        {
            "actions/chain.yaml": (
                "name: chain\nrunner_type: action-chain\nentry_point: chain.yml\n"
            ),
            "actions/chain.yml": flow,
        },
    )

    async def play() -> None:
        async with engine_over(tmp_path / "data", pack) as engine:
            alone = await ended(engine, (await engine.request("core.local", {"cmd": command})).id)
            assert alone.status is ExecutionStatus.FAILED
            assert "cannot be kept" in alone.result["error"]
            chain = await ended(engine, (await engine.request("sample.chain", {})).id)
            assert chain.status is ExecutionStatus.FAILED
            found, total = engine.store.executions.find({}, limit=-1)
            assert total == 3
            assert all(execution_document(one, engine.core)["status"] == "failed" for one in found)

    asyncio.run(play())


def test_a_payload_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    """Nothing is written of it, and what came together with it is taken in."""
    pack = written_pack(tmp_path, {"triggers/happened.yaml": "name: happened\n"})

    async def play() -> None:
        async with engine_over(tmp_path / "data", pack) as engine:
            for bad in ({"text": "\ud83d"}, {"deep": nested(900)}):
                with pytest.raises(InvalidInputError, match="cannot be kept"):
                    await engine.dispatch("sample.happened", bad)
            await engine.dispatch_many(
                [("sample.happened", body, "") for body in ({"a": "\ud83d"}, {"a": "b"})]
            )
            found, total = engine.store.events.find_instances({}, limit=-1)
            assert (total, found[0].payload) == (1, {"a": "b"})

    asyncio.run(play())


def test_a_row_from_before_the_limit_is_shown_as_a_sentence() -> None:
    """Whatever is in the database, lists can show it."""
    assert decoded(encoded(nested(100), "It")) == nested(100)
    assert "deep" in decoded(msgspec.json.encode(nested(400)))["error"]
    assert "cannot be read" in decoded(b"[" * 5000 + b"]" * 5000)["error"]


def test_text_that_the_database_does_not_take_fails_its_write_alone(tmp_path: Path) -> None:
    """What was handed in beside it is written."""

    async def play() -> None:
        async with engine_over(tmp_path / "data") as engine:
            good, bad = await asyncio.gather(
                engine.store.datastore.set("good", "1"),
                engine.store.datastore.set("bad", "\ud83d"),
                return_exceptions=True,
            )
            assert isinstance(bad, InvalidInputError)
            assert not isinstance(good, BaseException)
            assert engine.store.datastore.get("good") is not None

    asyncio.run(play())


def test_an_effect_that_raises_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three tasks that are announced and started, one announcement fails; all end."""
    pack = written_pack(
        tmp_path,
        {
            "actions/flow.yaml": "name: flow\nrunner_type: orquesta\nentry_point: flow.yml\n",
            "actions/flow.yml": (
                "version: 1.0\ntasks:\n"
                "  a: {action: core.noop}\n"
                "  b: {action: core.noop}\n"
                "  c: {action: core.noop}\n"
            ),
        },
    )

    async def play() -> None:
        async with engine_over(tmp_path / "data", pack) as engine:
            announce, raised = engine.core.announce, []

            def sometimes(execution: Any, *, created: bool = False) -> None:
                if execution.action_ref == "sample.flow" and not created and not raised:
                    raised.append(execution.id)
                    raise RuntimeError("no")
                announce(execution, created=created)

            monkeypatch.setattr(engine.core, "announce", sometimes)
            run = await engine.request("sample.flow", {})
            assert (await ended(engine, run.id)).status is ExecutionStatus.SUCCEEDED
            assert raised

    asyncio.run(play())


def test_a_caller_that_goes_away_leaves_nothing_unstarted(tmp_path: Path) -> None:
    """Once it is written, an execution starts, also when nobody waits for the answer."""

    async def play() -> None:
        async with engine_over(tmp_path / "data") as engine:
            asked = asyncio.create_task(engine.request("core.noop", {}))
            await asyncio.sleep(0)  # it is handed to the writer
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            engine.store.writer.flush()
            found, _ = engine.store.executions.find({}, limit=1)
            await reaches(engine, found[0].id, ExecutionStatus.SUCCEEDED)

    asyncio.run(play())
