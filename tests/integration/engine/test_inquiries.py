"""Inquiries: asked, announced, answered by whom they ask, timed out, and carried over a restart."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from stormcell.engine import Engine
from stormcell.errors import ForbiddenError, InvalidInputError, NotFoundError
from stormcell.statuses import ExecutionStatus
from stormcell.store.sealing import mask

from tests.integration.engine.inside import ended, engine_over, executions_of, reaches, until

ANSWER = {"secret_word": "xyzzy-plugh", "count": 3}


async def _asked(engine: Engine, action: str, **parameters: Any) -> tuple[str, str]:
    """Run an action until it waits; its id and the inquiry's."""
    run = await engine.request(action, parameters)
    await reaches(engine, run.id, ExecutionStatus.PAUSED)
    return run.id, engine.inquiries.waiting()[0].id


def test_a_chain_goes_on_with_the_answer(tmp_path: Path) -> None:
    """A chain pauses at an inquiry, a rule hears of it, and the answer goes into what follows; a
    secret one sealed.
    """

    async def play() -> None:
        async with engine_over(tmp_path, "engine_people") as engine:
            run_id, inquiry_id = await _asked(engine, "engine_people.approve_chain")
            inquiry = engine.inquiries.get(inquiry_id)
            assert (inquiry.route, inquiry.ttl, inquiry.users, inquiry.roles) == (
                "developers",
                1440,
                [],
                [],
            )
            noted = executions_of(engine, "core.local")[0]
            assert noted.parameters == {"cmd": f"echo {inquiry_id}"}

            await engine.inquiries.respond(inquiry_id, ANSWER, "ada")

            done = await ended(engine, run_id)
            assert done.status is ExecutionStatus.SUCCEEDED
            assert [task["name"] for task in done.result["tasks"]] == ["before", "ask", "after"]
            assert mask(done.result["tasks"][1]["result"]["response"]) == {
                "secret_word": "********",
                "count": 3,
            }
            assert done.result["tasks"][2]["result"]["stdout"] == 3
            with pytest.raises(InvalidInputError, match="has already been responded to"):
                await engine.inquiries.respond(inquiry_id, ANSWER, "ada")
            assert engine.inquiries.waiting() == []
        assert b"xyzzy-plugh" not in b"".join(
            file.read_bytes() for file in tmp_path.glob("stormcell.db*")
        )

    asyncio.run(play())


@pytest.mark.parametrize(
    "response, faulty",
    [
        ({"count": 3}, "'secret_word' is a required property"),
        ({"secret_word": "x", "count": "three"}, "'three' is not of type 'integer'"),
        ("yes", "'yes' is not of type 'object'"),
    ],
    ids=["missing", "type", "no-object"],
)
def test_an_answer_must_fit(tmp_path: Path, response: Any, faulty: str) -> None:
    """An answer that does not fit the schema is refused with a reason, the inquiry waits on."""

    async def play() -> None:
        async with engine_over(tmp_path, "engine_people") as engine:
            _, inquiry_id = await _asked(engine, "engine_people.approve_chain")
            with pytest.raises(
                InvalidInputError, match=f"did not pass schema validation. {faulty}"
            ):
                await engine.inquiries.respond(inquiry_id, response, "ada")
            assert engine.inquiries.get(inquiry_id)

    asyncio.run(play())


def test_only_those_who_are_asked_may_answer(tmp_path: Path) -> None:
    """Users that an inquiry does not name are refused; so are ids that are no inquiry or nothing at
    all.
    """

    async def play() -> None:
        async with engine_over(tmp_path, "engine_people") as engine:
            run_id, inquiry_id = await _asked(engine, "engine_people.approve_chain", users=["ada"])
            with pytest.raises(
                ForbiddenError, match='User "eve" does not have permission to respond'
            ):
                await engine.inquiries.respond(inquiry_id, ANSWER, "eve")
            with pytest.raises(InvalidInputError, match="is not an inquiry"):
                await engine.inquiries.respond(run_id, ANSWER, "ada")
            with pytest.raises(NotFoundError):
                await engine.inquiries.respond("0" * 24, ANSWER, "ada")
            answered = await engine.inquiries.respond(inquiry_id, ANSWER, "ada")
            assert answered.status is ExecutionStatus.SUCCEEDED

    asyncio.run(play())


def test_roles_are_those_that_are_assigned(tmp_path: Path) -> None:
    """An inquiry for a role takes answers of users that have it only, whatever their keys say."""

    async def play() -> None:
        async with engine_over(tmp_path, "engine_people") as engine:
            engine.store.api_keys.create("eve", {"roles": ["approver"]})
            for part, text in (
                ("roles/approver", "name: approver"),
                ("assignments/ada", "{username: ada, roles: [approver]}"),
            ):
                file = tmp_path / "rbac" / f"{part}.yaml"
                file.parent.mkdir(parents=True)
                file.write_text(text)
            inquiry = await engine.request("core.ask", {"roles": ["approver"]})
            await reaches(engine, inquiry.id, ExecutionStatus.PENDING)
            with pytest.raises(ForbiddenError):
                await engine.inquiries.respond(inquiry.id, {"continue": True}, "eve")
            await engine.inquiries.respond(inquiry.id, {"continue": True}, "ada")

    asyncio.run(play())


def test_a_workflow_waits_for_all_its_branches(tmp_path: Path) -> None:
    """Two inquiries of one workflow are answered in either order across a restart; the join then
    has both answers.
    """

    async def ask() -> tuple[str, dict[str, str]]:
        async with engine_over(tmp_path, "engine_people") as engine:
            run_id, _ = await _asked(engine, "engine_people.approve_below")
            waiting = await until(
                engine, lambda: len(engine.inquiries.waiting()) == 2 and engine.inquiries.waiting()
            )
            routes = {inquiry.route: inquiry.id for inquiry in waiting}
            await engine.inquiries.respond(routes["two"], {"continue": False}, "ada")
            assert engine.trees.find(run_id).status is ExecutionStatus.PAUSED
            return run_id, routes

    async def answer(run_id: str, routes: dict[str, str]) -> None:
        async with engine_over(tmp_path, "engine_people") as engine:
            await engine.inquiries.respond(routes["one"], {"continue": True}, "ada")
            done = await ended(engine, run_id)
            assert (done.status, done.result) == (
                ExecutionStatus.SUCCEEDED,
                {"output": {"answers": {"one": True, "two": False}}},
            )
            statuses = [entry["status"] for entry in done.log_entries()]
            assert statuses[-3:] == ["paused", "running", "succeeded"], (
                "the parent runs again before it ends"
            )

    asyncio.run(answer(*asyncio.run(ask())))


def test_a_chain_above_runs_again_with_the_chain_below(tmp_path: Path) -> None:
    """An answer resumes every chain above the inquiry."""

    async def play() -> None:
        async with engine_over(tmp_path, "engine_people") as engine:
            run_id, inquiry_id = await _asked(engine, "engine_people.approve_nested")
            await engine.inquiries.respond(inquiry_id, ANSWER, "ada")
            done = await ended(engine, run_id)
            assert done.status is ExecutionStatus.SUCCEEDED
            assert [entry["status"] for entry in done.log_entries()][-3:] == [
                "paused",
                "running",
                "succeeded",
            ]

    asyncio.run(play())


def test_an_inquiry_times_out_though_the_engine_was_down(tmp_path: Path) -> None:
    """The time to live counts from the asking; when it passed during a stop, the chain goes on with
    its on-failure.
    """

    async def ask() -> tuple[str, str]:
        async with engine_over(tmp_path, "engine_people") as engine:
            return await _asked(engine, "engine_people.approve_chain", ttl=10)

    async def look(run_id: str, inquiry_id: str) -> None:
        async with engine_over(tmp_path, "engine_people") as engine:
            done = await ended(engine, run_id)
            assert [task["name"] for task in done.result["tasks"]] == ["before", "ask", "refused"]
            assert engine.trees.find(inquiry_id).status is ExecutionStatus.TIMEOUT
            with pytest.raises(InvalidInputError, match="timed out and cannot be responded to"):
                await engine.inquiries.respond(inquiry_id, ANSWER, "ada")

    run_id, inquiry_id = asyncio.run(ask())
    with closing(sqlite3.connect(tmp_path / "stormcell.db", isolation_level=None)) as database:
        database.execute(
            "UPDATE executions SET started_at = '2020-01-01T00:00:00.000000Z' WHERE id = ?",
            (inquiry_id,),
        )
    asyncio.run(look(run_id, inquiry_id))


def test_a_canceled_inquiry_cancels_what_waited(tmp_path: Path) -> None:
    """Canceling a workflow that waits for an answer cancels the inquiry too."""

    async def play() -> None:
        async with engine_over(tmp_path, "engine_people") as engine:
            run_id, inquiry_id = await _asked(engine, "engine_people.approve_flow")
            engine.trees.cancel(run_id)
            assert (await ended(engine, run_id)).status is ExecutionStatus.CANCELED
            assert (await ended(engine, inquiry_id)).status is ExecutionStatus.CANCELED

    asyncio.run(play())
