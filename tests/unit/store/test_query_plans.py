"""Each query of the store finds its rows by an index, whatever has gathered in the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from stormcell.statuses import TERMINAL, ExecutionStatus
from stormcell.store import Store, open_store
from stormcell.store.predicates import UNFINISHED
from stormcell.store.traces import Beginning

BY_INDEX: dict[str, Callable[[Store], object]] = {
    "execution": lambda s: s.executions.get("x"),
    "children": lambda s: s.executions.children("x"),
    "child ids": lambda s: s.executions.child_ids(["x", "y"]),
    "tree": lambda s: s.executions.tree("x"),
    "unfinished": lambda s: s.executions.unfinished([ExecutionStatus.PENDING]),
    "count of unfinished": lambda s: s.executions.count_unfinished(),
    "requested": lambda s: s.executions.requested("orquesta", limit=200),
    "requested by runner": lambda s: s.executions.requested_runners(),
    "requested children": lambda s: s.executions.requested_children(["orquesta", "action-chain"]),
    "of an event": lambda s: s.executions.find({"trigger_instance": "x"}, limit=10),
    "of a parent": lambda s: s.executions.find({"parent": "x"}, limit=10),
    "state": lambda s: s.executions.state("x"),
    "output": lambda s: s.executions.output("x"),
    "event": lambda s: s.events.instance("x"),
    "unprocessed events": lambda s: s.events.unfinished_instances(),
    "enforcement": lambda s: s.events.enforcement("x"),
    "enforcements of an event": lambda s: s.events.find_enforcements(
        {"trigger_instance": "x"}, limit=10
    ),
    "trace by id": lambda s: s.traces.get("x"),
    "events of a trace": lambda s: s.traces.instances(Beginning(id="x", tag="t", at="")),
    "runs of a trace": lambda s: s.traces.roots(Beginning(id="x", tag="t", at="")),
    "key": lambda s: s.datastore.get("x"),
    "expired keys": lambda s: s.writer.write_now([s.datastore.expire_op()]),
}
BIG = ("executions", "trigger_instances", "rule_enforcements", "workflow_state", "datastore")


def _plans(store: Store, query: Callable[[Store], object]) -> list[str]:
    """What SQLite does for each statement of a query."""
    statements: list[str] = []
    connection: sqlite3.Connection = store._connection
    connection.set_trace_callback(statements.append)
    query(store)
    connection.set_trace_callback(None)
    asked = [one for one in statements if one.startswith(("SELECT", "DELETE", "UPDATE", "\n"))]
    assert asked
    plans = (connection.execute(f"EXPLAIN QUERY PLAN {one}").fetchall() for one in asked)
    return [row[3] for plan in plans for row in plan]


@pytest.mark.parametrize("name", BY_INDEX)
def test_no_query_reads_a_whole_table(tmp_path: Path, name: str) -> None:
    """A scan is allowed over a partial index alone, which holds what has not ended."""
    store = open_store(tmp_path)
    try:
        for step in _plans(store, BY_INDEX[name]):
            whole = step.startswith("SCAN") and any(table in step for table in BIG)
            assert not whole or "unfinished" in step, step
    finally:
        store.close()


def test_the_predicate_names_every_terminal_status() -> None:
    """It is written out, in the order that the index in existing databases has."""
    assert {part for part in UNFINISHED.split("'") if part.isalpha()} == {str(s) for s in TERMINAL}
