"""An action-chain, walked by its conductor."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stormcell.chains import ChainConductor, parse_chain
from stormcell.conducting import (
    Cancel,
    CancelRequested,
    Event,
    Finish,
    PauseRequested,
    ResumeRequested,
    SetStatus,
    StartTask,
    State,
    Step,
    TaskFinished,
    TaskPaused,
    TaskRefused,
)
from stormcell.errors import DefinitionError, NotFoundError
from stormcell.statuses import ExecutionStatus

S = ExecutionStatus
FOUR = {
    "vars": {"mark": "{{ name }}!"},
    "chain": [
        {
            "name": "a",
            "ref": "p.a",
            "parameters": {"to": "{{ mark }}"},
            "publish": {"x": "{{ a.out }}"},
            "on-success": "b",
        },
        {
            "name": "b",
            "ref": "p.b",
            "params": {"x": "{{ x }}"},
            "on-success": "c",
            "on-failure": "d",
        },
        {
            "name": "c",
            "ref": "p.c",
            "parameters": {"all": "{{ __results.a.out }}{{ config_context.word }}"},
        },
        {"name": "d", "ref": "p.d", "parameters": {"pack": "{{ action_context.parent.pack }}"}},
    ],
}


class Nothing:
    """No datastore, and a pack with one setting."""

    def datastore(self, name: str, *, scope: str, decrypt: bool = False, user: str = "") -> Any:
        raise NotFoundError(name)

    def pack_config(self, pack: str) -> dict[str, Any]:
        return {"word": "!"}


class Walk:
    """Applies steps to a state, storing and reading it back each time."""

    def __init__(self, document: dict[str, Any], **options: Any) -> None:
        self.conductor = ChainConductor(parse_chain(document))
        self.state: State = {}
        context = {"execution_id": "e1", "pack": "p", "user": "u", "runner_parameters": options}
        self.step = self._apply(
            self.conductor.begin(inputs={"name": "n"}, context=context, lookups=Nothing())
        )

    def tell(self, event: Event) -> Step:
        before = msgspec.json.encode(self.state)
        step = self.conductor.advance(self.state, event, lookups=Nothing())
        assert msgspec.json.encode(self.state) == before, (
            "advance must not change the state it was given"
        )
        return self._apply(step)

    def end(self, result: Any, status: ExecutionStatus = S.SUCCEEDED) -> Step:
        """End the running task."""
        return self.tell(
            TaskFinished(
                key=self.state["place"]["key"], status=status, result=result, execution_id="c"
            )
        )

    def _apply(self, step: Step) -> Step:
        self.state = msgspec.json.decode(msgspec.json.encode({**self.state, **step.changes}))
        return step


def _started(step: Step) -> tuple[str, dict[str, Any]]:
    (decision,) = [item for item in step.decisions if isinstance(item, StartTask)]
    return decision.action, decision.parameters


def _finished(step: Step) -> Finish:
    (decision,) = [item for item in step.decisions if isinstance(item, Finish)]
    return decision


def test_a_chain_passes_results_along() -> None:
    """Vars, published values, earlier results and the pack's configuration reach the parameters of
    later tasks.
    """
    walk = Walk(FOUR)
    assert _started(walk.step) == ("p.a", {"to": "n!"})
    assert _started(walk.end({"out": "one"})) == ("p.b", {"x": "one"})
    assert _started(walk.end({"out": "two"})) == ("p.c", {"all": "one!"})
    finish = _finished(walk.end({}))
    assert finish.status is S.SUCCEEDED
    assert finish.result["published"] == {"x": "one"}
    assert [(task["name"], task["state"]) for task in finish.result["tasks"]] == [
        ("a", "succeeded"),
        ("b", "succeeded"),
        ("c", "succeeded"),
    ]


@pytest.mark.parametrize(
    "status, last", [(S.FAILED, "failed"), (S.TIMEOUT, "timeout"), (S.ABANDONED, "failed")], ids=str
)
def test_a_failed_task_goes_on_with_on_failure(status: ExecutionStatus, last: str) -> None:
    """on-failure is followed however a task fails; the chain has the status of its last task."""
    walk = Walk(FOUR)
    walk.end({"out": 1})
    assert _started(walk.end({}, status)) == ("p.d", {"pack": "p"})
    assert _finished(walk.end({}, status)).status.value == last


def test_an_unknown_action_ends_the_chain_without_its_on_failure() -> None:
    """As in StackStorm, the task is not listed and the error names it."""
    walk = Walk(
        {"chain": [{"name": "a", "ref": "p.gone", "on-failure": "b"}, {"name": "b", "ref": "p.b"}]}
    )
    finish = _finished(walk.tell(TaskRefused(key="1:a", message="gone", unknown_action=True)))
    assert finish.status is S.FAILED
    assert finish.result["tasks"] == []
    assert finish.result["error"].startswith(
        'Failed to run task "a". Action with reference "p.gone" doesn\'t exist.'
    )


def test_refused_parameters_are_a_failed_task() -> None:
    """Parameters that do not fit fail the task, and its on-failure is followed."""
    walk = Walk(
        {"chain": [{"name": "a", "ref": "p.a", "on-failure": "b"}, {"name": "b", "ref": "p.b"}]}
    )
    assert _started(walk.tell(TaskRefused(key="1:a", message="no"))) == ("p.b", {})


def test_a_template_that_fails_ends_the_chain() -> None:
    """A parameter that cannot be rendered fails the chain with a sentence that names the task."""
    walk = Walk({"chain": [{"name": "a", "ref": "p.a", "parameters": {"x": "{{ nowhere }}"}}]})
    finish = _finished(walk.step)
    assert finish.status is S.FAILED
    assert finish.result["error"].startswith('Failed to run task "a". Parameter rendering failed.')


def test_a_pause_waits_for_the_running_task_and_a_resume_goes_on() -> None:
    """pausing, then paused when the task ends; resume starts the next task."""
    walk = Walk(FOUR)
    assert walk.tell(PauseRequested()).decisions == (SetStatus(status=S.PAUSING),)
    assert walk.end({"out": 1}).decisions == (SetStatus(status=S.PAUSED),)
    step = walk.tell(ResumeRequested())
    assert step.decisions[0] == SetStatus(status=S.RUNNING)
    assert _started(step) == ("p.b", {"x": "1"})


def test_a_waiting_inquiry_pauses_the_chain_until_it_is_answered() -> None:
    """A pending child pauses the chain; its answer sets it running again."""
    walk = Walk(FOUR)
    assert walk.tell(TaskPaused(key="1:a", status=S.PENDING)).decisions == (
        SetStatus(status=S.PAUSED),
    )
    step = walk.end({"out": 1})
    assert step.decisions[0] == SetStatus(status=S.RUNNING)
    assert _started(step)[0] == "p.b"


def test_a_cancel_stops_the_running_task_and_ends_canceled() -> None:
    """Nothing starts after a cancel, whatever the running task's end."""
    walk = Walk(FOUR)
    assert walk.tell(CancelRequested()).decisions == (Cancel(),)
    assert _finished(walk.end({"out": 1})).status is S.CANCELED


def test_notify_is_passed_unless_skipped() -> None:
    """A task's notify goes with it; skip_notify of the runner keeps it back."""
    chain = {"chain": [{"name": "a", "ref": "p.a", "notify": {"on-complete": {"message": "done"}}}]}
    (told,) = Walk(chain).step.decisions
    (kept,) = Walk(chain, skip_notify=["a"]).step.decisions
    assert isinstance(told, StartTask)
    assert isinstance(kept, StartTask)
    assert (told.notify, kept.notify) == ({"on-complete": {"message": "done"}}, None)


@pytest.mark.parametrize(
    "document, words",
    [
        ([], "a mapping"),
        ({}, "chain: is required"),
        ({"chain": [{"name": "a"}]}, "ref: is required"),
        ({"chain": [{"name": "a", "ref": "p.a", "on-succes": "b"}]}, '"on-succes" is not known'),
        (
            {"chain": [{"name": "a", "ref": "p.a", "on-success": "z"}]},
            'Unable to find node with name "z"',
        ),
        ({"chain": [{"name": "a", "ref": "p.a"}], "default": "z"}, 'referenced in "default"'),
        (
            {"chain": [{"name": "a", "ref": "p.a", "params": {"x": 1}, "parameters": {"x": 1}}]},
            "not both",
        ),
    ],
    ids=[
        "no-mapping",
        "no-chain",
        "no-ref",
        "unknown-key",
        "unknown-next",
        "unknown-default",
        "both-parameters",
    ],
)
def test_a_wrong_chain_is_refused(document: Any, words: str) -> None:
    """The sentence says where and what."""
    with pytest.raises(DefinitionError, match=words.replace("(", "\\(")):
        parse_chain(document)


def test_without_default_the_task_nobody_names_comes_first() -> None:
    """The first task that no other refers to starts the chain."""
    chain = parse_chain(
        {"chain": [{"name": "b", "ref": "p.b"}, {"name": "a", "ref": "p.a", "on-success": "b"}]}
    )
    assert chain.default == "a"


_EVENTS = st.sampled_from(
    [
        ("end", S.SUCCEEDED),
        ("end", S.FAILED),
        ("end", S.CANCELED),
        ("pause", None),
        ("resume", None),
        ("cancel", None),
        ("pending", None),
        ("stranger", None),
    ]
)


@given(st.lists(_EVENTS, max_size=14))
def test_whatever_happens_a_chain_ends_once_and_starts_each_key_once(
    events: list[tuple[str, Any]],
) -> None:
    """One Finish at most, nothing after it, no key started twice, at most one task at a time."""
    walk = Walk(FOUR)
    steps = [walk.step]
    for kind, status in events:
        key = walk.state["place"]["key"]
        event: Event = {
            "end": lambda key=key, status=status: TaskFinished(
                key=key, status=status, result={"out": 1}
            ),
            "pause": PauseRequested,
            "resume": ResumeRequested,
            "cancel": CancelRequested,
            "pending": lambda key=key: TaskPaused(key=key, status=S.PENDING),
            "stranger": lambda: TaskFinished(key="9:z", status=S.SUCCEEDED, result={}),
        }[kind]()
        if kind in ("end", "pending") and not key:
            continue
        steps.append(walk.tell(event))
    decisions = [decision for step in steps for decision in step.decisions]
    started = [decision.key for decision in decisions if isinstance(decision, StartTask)]
    ends = [position for position, decision in enumerate(decisions) if isinstance(decision, Finish)]
    assert len(started) == len(set(started))
    assert ends in ([], [len(decisions) - 1])
