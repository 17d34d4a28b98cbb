"""The one writer: what is committed together, what is refused and what is kept."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from stormcell.errors import ConflictError, TemporaryError
from stormcell.store.writing import GroupCommit, Op


def _insert(value: int) -> list[Op]:
    return [("INSERT INTO things VALUES (?)", (value,))]


def _database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE things (value INTEGER PRIMARY KEY)")
    return connection


def _values(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT value FROM things ORDER BY value")]


@pytest.mark.anyio
async def test_writes_of_one_turn_are_one_transaction() -> None:
    """Three writes handed in together cost one commit."""
    connection = _database()
    writer = GroupCommit(connection)
    await asyncio.gather(*(writer.submit(_insert(value)) for value in (1, 2, 3)))
    assert (writer.commits, _values(connection)) == (1, [1, 2, 3])


@pytest.mark.anyio
async def test_a_row_that_exists_fails_alone() -> None:
    """Only the write that breaks a constraint is refused; those beside it are committed."""
    connection = _database()
    writer = GroupCommit(connection)
    results = await asyncio.gather(
        *(writer.submit(_insert(value)) for value in (1, 1, 2)), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), ConflictError, type(None)]
    assert _values(connection) == [1, 2]


@pytest.mark.anyio
async def test_a_full_disk_refuses_requests_and_keeps_facts() -> None:
    """A request gets TemporaryError; a fact is written as soon as there is room, in the order it
    came.
    """
    connection = _database()
    connection.execute("CREATE TABLE ballast (text TEXT)")
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    writer = GroupCommit(connection)
    large: Op = ("INSERT INTO ballast VALUES (?)", ("x" * 100_000,))
    refused = writer.submit([large])
    kept = writer.record([large, *_insert(1)])
    later = writer.record(_insert(2))
    with pytest.raises(TemporaryError, match="full"):
        await refused
    assert not kept.done()
    connection.execute("PRAGMA max_page_count = 1000000")
    await asyncio.gather(kept, later)
    assert (_values(connection), writer.failures) == ([1, 2], 1)


@pytest.mark.anyio
async def test_settled_waits_for_all_before_it() -> None:
    """What was handed in before is on disk when `settled` returns."""
    connection = _database()
    writer = GroupCommit(connection)
    writer.record(_insert(1))
    await writer.settled()
    assert _values(connection) == [1]
