"""Traces are read from events and runs: pages of them, counts, and the one that something belongs
to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stormcell.statuses import ExecutionStatus, TriggerInstanceStatus
from stormcell.store import Execution, Store, TriggerInstance
from stormcell.store.events import insert_instance_op
from stormcell.store.executions import insert_op
from stormcell.store.store import open_store

EVENTS = [("e1", ""), ("e3", "shared"), ("e5", ""), ("e7", "alone"), ("e9", "shared")]
RUNS = [("e2", None, ""), ("e4", None, "shared"), ("e6", "e5", ""), ("e8", None, "")]
NEWEST_FIRST = ["e8", "e7", "e5", "e3", "e2", "e1"]


def _at(identity: str) -> str:
    return f"2026-01-01T00:00:0{identity[1:]}.000000Z"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "data")
    ops = [
        insert_instance_op(
            TriggerInstance(
                id=identity,
                trigger_ref="a.b",
                status=TriggerInstanceStatus.PROCESSED,
                occurred_at=_at(identity),
                payload={},
                trace=tag,
            )
        )
        for identity, tag in EVENTS
    ]
    for identity, event, tag in RUNS:
        context = {"trace_context": {"trace_tag": tag}} if tag else {}
        run = Execution(
            id=identity,
            action_ref="core.noop",
            runner_type="noop",
            status=ExecutionStatus.SUCCEEDED,
            root=identity,
            started_at=_at(identity),
            parameters={},
            context=context,
            trigger_instance_id=event,
        )
        ops.append(insert_op(run))
    store.writer.write_now(ops)
    yield store
    store.close()


@pytest.mark.parametrize("newest_first", [True, False], ids=["newest", "oldest"])
@pytest.mark.parametrize("limit, offset", [(-1, 0), (2, 0), (2, 3), (3, 5), (1, 9)])
def test_a_page_is_a_part_of_the_whole(
    store: Store, newest_first: bool, limit: int, offset: int
) -> None:
    """Those of one tag are one trace, at the place where it began; every other event and run is one
    alone.
    """
    expected = NEWEST_FIRST if newest_first else NEWEST_FIRST[::-1]
    found, total = store.traces.find({}, limit=limit, offset=offset, newest_first=newest_first)
    assert total == len(expected)
    assert [item.id for item in found] == expected[offset : None if limit < 0 else offset + limit]


@pytest.mark.parametrize(
    "filters, expected",
    [
        ({"trace_tag": "shared"}, ["e3"]),
        ({"trace_tag": "trigger_instance-e1"}, ["e1"]),
        ({"trace_tag": "nobody"}, []),
        ({"trigger_instance": "e9"}, ["e3"]),
        ({"trigger_instance": "e5"}, ["e5"]),
        ({"execution": "e4"}, ["e3"]),
        ({"execution": "e2"}, ["e2"]),
        ({"execution": "e0"}, []),
        ({"execution": "e4", "trigger_instance": "e5"}, []),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_trace_is_found_by_what_belongs_to_it(
    store: Store, filters: dict[str, str], expected: list[str]
) -> None:
    """By its tag, by an event, by a run."""
    assert [item.id for item in store.traces.find(filters, limit=-1)[0]] == expected


def test_a_trace_is_what_began_it(store: Store) -> None:
    """Its id is that of its first event or run; its parts follow in order."""
    shared = store.traces.get("e3")
    assert shared is not None
    assert (shared.tag, shared.at) == ("shared", _at("e3"))
    assert [instance.id for instance in store.traces.instances(shared)] == ["e3", "e9"]
    assert store.traces.roots(shared) == ["e4"]
    assert store.traces.get("e9") is None
    assert store.traces.get("e0") is None


def test_a_page_reads_no_more_than_it_shows(store: Store) -> None:
    """Neither a trace's parts nor untagged runs are looked for by going through everything."""
    statements: list[str] = []
    store._connection.set_trace_callback(statements.append)
    trace = store.traces.get("e3")
    assert trace is not None
    store.traces.instances(trace)
    store.traces.roots(trace)
    store._connection.set_trace_callback(None)
    plans = [
        row[3]
        for sql in statements
        for row in store._connection.execute(f"EXPLAIN QUERY PLAN {sql}")
    ]
    assert not [
        step for step in plans if step.startswith(("SCAN trigger_instances", "SCAN executions"))
    ]
