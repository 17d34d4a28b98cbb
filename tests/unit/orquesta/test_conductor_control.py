"""Pausing, resuming, canceling, waiting for people; and what holds whatever happens in whatever
order.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stormcell.conducting import (
    CancelRequested,
    Event,
    PauseRequested,
    ResumeRequested,
    TaskFinished,
    TaskPaused,
)
from stormcell.orquesta import OrquestaConductor
from stormcell.orquesta.rehearsal import Rehearsal
from stormcell.statuses import TERMINAL, ExecutionStatus

FIXTURES = Path(__file__).parent / "fixtures"
S = ExecutionStatus


def begin(name: str, inputs: dict[str, Any] | None = None) -> Rehearsal:
    return Rehearsal(OrquestaConductor((FIXTURES / f"{name}.yaml").read_text())).begin(inputs)


def ended(run: Rehearsal) -> str:
    assert run.finished is not None
    return str(run.finished.status)


def test_a_pause_waits_for_what_runs_and_starts_nothing() -> None:
    """Pausing until nothing runs, then paused; a resume goes on where it stopped."""
    run = begin("join")
    run.end_task("start")
    run.hear(PauseRequested())
    for name in ("left", "middle", "right"):
        run.end_task(name)
    assert run.statuses == [S.PAUSING, S.PAUSED]
    assert "gather" not in run.order
    run.hear(ResumeRequested())
    assert run.statuses[-1] == S.RUNNING
    assert run.order[-1] == "gather"
    assert ended(run.run()) == "succeeded"


def test_items_pause_between_items() -> None:
    """Running items end, the next are not started before the resume."""
    run = begin("items", {"hosts": ["a", "b", "c"], "ports": [1, 2, 3], "limit": 1})
    run.hear(PauseRequested())
    run.end_task("scan", result={"address": "x"})
    assert (run.statuses, len(run.started)) == ([S.PAUSING, S.PAUSED], 1)
    run.hear(ResumeRequested())
    assert len(run.started) == 2
    assert ended(run.run()) == "succeeded"


def test_a_pause_when_the_last_task_runs_is_resumed_to_the_end() -> None:
    """Nothing is left to do, so the resume ends the run."""
    run = begin("sequence", {"who": "x"})
    run.end_task("first", result={"message": "m"})
    run.end_task("second", result={"message": "m"})
    run.hear(PauseRequested())
    run.end_task("third")
    assert run.statuses == [S.PAUSING, S.PAUSED]
    run.hear(ResumeRequested())
    assert ended(run) == "succeeded"


def test_a_failure_while_pausing_fails() -> None:
    """A pause does not hide it."""
    run = begin("sequence", {"who": "x"})
    run.hear(PauseRequested())
    run.end_task("first", S.FAILED)
    assert ended(run) == "failed"


def test_an_inquiry_pauses_the_run_until_it_is_answered() -> None:
    """The answer is the task's result, and the run goes on by itself."""
    run = begin("join")
    run.end_task("start")
    asked = next(key for key, task in run.open.items() if task.task == "left")
    run.hear(TaskPaused(key=asked, status=S.PENDING))
    assert run.statuses == [S.PAUSING]
    run.end_task("middle")
    run.end_task("right")
    assert run.statuses == [S.PAUSING, S.PAUSED]
    run.end(asked)
    assert run.statuses[-1] == S.RUNNING
    assert ended(run.run()) == "succeeded"


def test_a_paused_child_pauses_the_run_when_nothing_else_runs() -> None:
    """Other branches go on meanwhile."""
    run = begin("split")
    child = next(iter(run.open))
    run.hear(TaskPaused(key=child, status=S.PAUSED))
    assert run.statuses == []
    run.end_task("two")
    run.end_task("notify")
    assert run.statuses == []
    run.end_task("archive")
    assert run.statuses == [S.PAUSED]
    run.end(child)
    assert ended(run.run()) == "succeeded"


def test_a_cancel_stops_the_children_and_ends_when_they_have() -> None:
    """What a child still brings leads to nothing."""
    run = begin("join")
    run.end_task("start")
    run.hear(CancelRequested())
    assert (run.statuses, len(run.canceled_keys)) == ([S.CANCELING], 3)
    run.end_task("left", S.CANCELED)
    run.end_task("middle")
    assert run.finished is None
    run.end_task("right", S.CANCELED)
    assert ended(run) == "canceled"


def test_a_cancel_of_a_run_that_waits_ends_it_at_once() -> None:
    """An open inquiry is canceled with it."""
    run = begin("sequence", {"who": "x"})
    key = next(iter(run.open))
    run.hear(TaskPaused(key=key, status=S.PENDING))
    run.hear(CancelRequested())
    assert (ended(run), run.canceled_keys) == ("canceled", [key])


def test_a_canceled_child_cancels_the_run() -> None:
    """As in StackStorm, when nothing else runs any more."""
    run = begin("join")
    run.end_task("start")
    run.end_task("left", S.CANCELED)
    assert run.statuses == [S.CANCELING]
    run.end_task("middle")
    run.end_task("right")
    assert ended(run) == "canceled"


@pytest.mark.parametrize(
    "event",
    [PauseRequested(), ResumeRequested(), CancelRequested()],
    ids=lambda one: type(one).__name__,
)
def test_an_ended_run_takes_no_orders(event: Event) -> None:
    """Nothing changes and nothing is decided."""
    run = begin("sequence", {"who": "x"}).run()
    step = run.conductor.advance(run.state, event, lookups=run.lookups)
    assert (step.changes, step.decisions) == ({}, ())


def test_an_unknown_or_finished_key_changes_nothing() -> None:
    """A result that is told twice is heard once."""
    run = begin("join")
    key = next(iter(run.open))
    run.end(key)
    for known in (key, "nobody"):
        step = run.conductor.advance(
            run.state, TaskFinished(key=known, status=S.SUCCEEDED, result=1), lookups=run.lookups
        )
        assert (step.changes, step.decisions) == ({}, ())


RUNS: list[tuple[str, dict[str, Any]]] = [
    ("join", {}),
    ("cycle", {}),
    ("split", {}),
    ("items", {"hosts": ["a", "b", "c", "d"], "ports": [1, 2, 3, 4], "limit": 2}),
    ("failure", {"mode": "cleanup"}),
    ("failure", {"mode": "handled"}),
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RUNS), st.data())
def test_whatever_the_order(what: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    """Any order of results: deciding leaves the state alone and is repeatable, and the same tasks
    run as often.
    """
    run = begin(*what)
    while run.open and run.finished is None:
        key = data.draw(st.sampled_from(sorted(run.open)))
        status = S.FAILED if run.open[key].task == "try" else S.SUCCEEDED
        event = TaskFinished(key=key, status=status, result=run.open[key].parameters)
        before = copy.deepcopy(run.state)
        once = run.conductor.advance(run.state, event, lookups=run.lookups)
        other = Rehearsal(OrquestaConductor((FIXTURES / f"{what[0]}.yaml").read_text()))
        assert once == other.conductor.advance(copy.deepcopy(before), event, lookups=run.lookups)
        assert run.state == before
        run.end(key, status, event.result)
    straight = begin(*what).run(
        lambda task: (S.FAILED if task.task == "try" else S.SUCCEEDED, task.parameters)
    )
    assert sorted(run.order) == sorted(straight.order)
    assert run.finished is not None
    assert straight.finished is not None
    assert run.finished.status == straight.finished.status


ORDERS = st.sampled_from(["end", "fail", "cancel one", "ask", "pause", "resume", "cancel", "again"])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(RUNS), st.lists(ORDERS, max_size=25), st.randoms(use_true_random=False))
def test_whatever_happens(what: tuple[str, dict[str, Any]], orders: list[str], random: Any) -> None:
    """Pauses, cancels, inquiries and failures in any order: one end, no start after it, and nothing
    is stuck.
    """
    run = begin(*what)
    ends = 0
    waiting: set[str] = set()
    for order in [*orders, "resume"] + ["end"] * 60:
        if run.finished is not None:
            break
        active = [key for key in run.open if key not in waiting]
        key = random.choice(active or sorted(waiting) or [""])
        if order == "ask" and key in active:
            waiting.add(key)
            run.hear(TaskPaused(key=key, status=S.PENDING))
        elif order in ("end", "fail", "cancel one") and key:
            waiting.discard(key)
            run.end(
                key, {"end": S.SUCCEEDED, "fail": S.FAILED}.get(order, S.CANCELED), {"address": "x"}
            )
        elif order in ("pause", "resume", "cancel"):
            run.hear(
                {
                    "pause": PauseRequested(),
                    "resume": ResumeRequested(),
                    "cancel": CancelRequested(),
                }[order]
            )
        ends += run.finished is not None
    assert run.finished is not None
    assert run.finished.status in TERMINAL
    assert run.state["run"]["status"] == run.finished.status
    started, status = len(run.started), run.finished.status
    for key in list(run.open):
        run.end(key)
    assert (len(run.started), run.state["run"]["status"]) == (started, status)
