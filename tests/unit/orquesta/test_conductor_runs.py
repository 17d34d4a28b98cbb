"""Workflows as their authors wrote them: which tasks run, with what, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stormcell.conducting import Rerun, StartTask, TaskFinished, TaskRefused
from stormcell.expressions.lookups import StaticLookups
from stormcell.orquesta import OrquestaConductor
from stormcell.orquesta.rehearsal import Act, Rehearsal, succeed
from stormcell.statuses import ExecutionStatus

FIXTURES = Path(__file__).parent / "fixtures"
FAILED, SUCCEEDED = ExecutionStatus.FAILED, ExecutionStatus.SUCCEEDED


def conductor(name: str) -> OrquestaConductor:
    made = OrquestaConductor((FIXTURES / f"{name}.yaml").read_text())
    assert made.inspect() == []
    return made


def written(tasks: str) -> OrquestaConductor:
    made = OrquestaConductor(f"version: 1.0\ntasks:\n{tasks}")
    assert made.inspect() == []
    return made


def failing(*names: str, times: int = 1_000) -> Act:
    """Actions of these tasks fail, as often as said; all others succeed."""
    left = dict.fromkeys(names, times)

    def act(task: StartTask) -> tuple[ExecutionStatus, Any]:
        if left.get(task.task, 0) > 0:
            left[task.task] -= 1
            return FAILED, {"stderr": "no"}
        return succeed(task)

    return act


def outcome(run: Rehearsal) -> tuple[str, Any]:
    assert run.finished is not None
    return str(run.finished.status), run.finished.result


def test_a_sequence_passes_what_it_publishes() -> None:
    """Input, defaults, vars, inline parameters, both forms of publish, both languages, output."""
    run = Rehearsal(conductor("sequence")).begin({"who": "Ann"}, user="ann").run()
    assert [(task.task, task.action, task.parameters) for task in run.started] == [
        ("first", "core.echo", {"message": "Hello, Ann", "loud": True}),
        ("second", "core.echo", {"message": "Hello, Ann (10)"}),
        ("third", "core.noop", {}),
    ]
    output = {"said": "Hello, Ann (10)", "count": 2, "word": "x y", "user": "ann"}
    assert outcome(run) == ("succeeded", {"output": output})


def test_given_input_is_not_evaluated() -> None:
    """What a caller passes in is data, even where it looks like an expression."""
    run = Rehearsal(conductor("sequence"), StaticLookups(system={"k": "secret"})).begin(
        {"who": "<% st2kv('system.k') %>"}
    )
    assert run.started[0].parameters["message"] == "Hello, <% st2kv('system.k') %>"


def test_a_join_waits_for_all_and_sees_all() -> None:
    """A branch's older view of a shared variable does not undo another branch's newer one."""
    for order in (
        ["left", "middle", "right"],
        ["right", "middle", "left"],
        ["left", "right", "middle"],
    ):
        run = Rehearsal(conductor("join")).begin()
        run.end_task("start")
        for name in order:
            assert "gather" not in run.order
            run.end_task(name)
        run.run()
        assert outcome(run) == ("succeeded", {"output": {"sum": 6, "shared": "from left"}})


def test_a_join_of_some_fires_once() -> None:
    """With `join: 2` the third branch comes too late, and is let go."""
    tasks = "".join(f"  {name}: {{action: core.noop, next: [{{do: two}}]}}\n" for name in "abc")
    run = Rehearsal(written(tasks + "  two: {join: 2, action: core.noop}\n")).begin()
    run.end_task("a")
    run.end_task("b")
    run.end_task("c")
    assert run.order == ["a", "b", "c", "two"]
    run.end_task("two")
    assert outcome(run) == ("succeeded", {"output": None})


def test_a_join_that_cannot_be_reached_fails_the_run() -> None:
    """The message names the join and its route."""
    tasks = (
        "  a: {action: core.noop, next: [{do: both}]}\n"
        "  b: {action: core.noop, next: [{when: <% failed() %>, do: both}]}\n"
        "  both: {join: all, action: core.noop}\n"
    )
    status, result = outcome(Rehearsal(written(tasks)).begin().run())
    assert status == "failed"
    message = (
        'UnreachableJoinError: The join task|route "both|0" is partially satisfied but unreachable.'
    )
    assert result["errors"] == [
        {"type": "error", "message": message, "task_id": "both", "route": 0}
    ]


def test_a_cycle_with_a_join_goes_round() -> None:
    """Each round starts its tasks anew, and the join fires once in each."""
    run = Rehearsal(conductor("cycle")).begin().run()
    assert run.order == ["prepare", *["work", "a", "b", "together"] * 3, "done"]
    assert outcome(run) == ("succeeded", {"output": {"count": 3}})


def test_a_task_that_several_lead_to_runs_for_each() -> None:
    """And so does what follows it: on a route of its own, with that branch's variables."""
    run = Rehearsal(conductor("split")).begin().run()
    messages = [
        task.parameters["message"] for task in run.started if task.task in ("notify", "archive")
    ]
    assert sorted(messages) == ["one", "one", "two", "two"]
    routes = {(task.task, task.context["task_route"]) for task in run.started}
    assert routes == {
        ("one", 0),
        ("two", 0),
        ("notify", 1),
        ("notify", 2),
        ("archive", 1),
        ("archive", 2),
    }


HOSTS = {"hosts": ["a", "b", "c"], "ports": [1, 2, 3]}


@pytest.mark.parametrize("limit,at_once", [(None, 3), (1, 1), (2, 2), (9, 3), (0, 1)])
def test_items_run_as_many_at_once_as_allowed(limit: int | None, at_once: int) -> None:
    """Lists are zipped and named, results come in the order of the items."""
    run = Rehearsal(conductor("items")).begin({**HOSTS, "limit": limit})
    most = 0
    while any(task.task == "scan" for task in run.open.values()):
        most = max(most, len(run.open))
        key = list(run.open)[-1]  # the last one first: the order of results must not matter
        run.end(key, result=run.open[key].parameters)
    assert most == at_once
    run.run()
    assert outcome(run) == ("succeeded", {"output": {"found": ["a:1", "b:2", "c:3"]}})
    assert [task.parameters for task in run.started[3:]] == [
        {"message": one} for one in ("a:1", "b:2", "c:3")
    ]
    assert [task.context["item_id"] for task in run.started[:3]] == [0, 1, 2]


def test_no_items_succeed_at_once() -> None:
    """An empty list is done, with an empty result."""
    run = Rehearsal(conductor("items")).begin({"hosts": [], "ports": []})
    assert run.order == []
    assert outcome(run) == ("succeeded", {"output": {"found": []}})


def test_a_failed_item_fails_the_task_when_the_others_have_ended() -> None:
    """One at a time, the rest is not started; side by side, the others end first."""
    alone = Rehearsal(conductor("items")).begin({**HOSTS, "limit": 1}).run(failing("scan"))
    assert len(alone.started) == 1
    together = Rehearsal(conductor("items")).begin(HOSTS)
    together.end_task("scan", FAILED)
    assert together.finished is None
    together.run()
    assert outcome(alone)[0] == outcome(together)[0] == "failed"


def test_items_that_are_no_list_fail_with_a_sentence() -> None:
    """The error says which expression."""
    status, result = outcome(
        Rehearsal(written("  a: {with: <% ctx().st2 %>, action: core.noop}\n")).begin()
    )
    assert status == "failed"
    assert (
        result["errors"][0]["message"]
        == 'TypeError: The value of "<% ctx().st2 %>" is not type of list.'
    )


ERROR = {
    "type": "error",
    "message": "Execution failed. See result for details.",
    "task_id": "try",
    "result": {"stderr": "no"},
}
FAIL = {"type": "error", "message": "Execution failed. See result for details.", "task_id": "fail"}
FAILURES: dict[str, tuple[str, list[str], str, Any]] = {
    "unhandled": (
        "other",
        ["try"],
        "failed",
        {"output": {"broken": True, "why": None}, "errors": [ERROR]},
    ),
    "handled": ("handled", ["try", "repair"], "succeeded", {"output": {"why": None}}),
    "noop": ("noop", ["try"], "succeeded", {"output": {"why": None}}),
    "continue handles nothing, but publishes": (
        "continue",
        ["try"],
        "failed",
        {"output": {"broken": True, "why": "known"}, "errors": [ERROR]},
    ),
    "fail lets what stands beside it run": (
        "cleanup",
        ["try", "repair"],
        "failed",
        {"output": {"broken": True, "why": "known"}, "errors": [ERROR, FAIL]},
    ),
}


@pytest.mark.parametrize("mode,order,status,result", FAILURES.values(), ids=FAILURES.keys())
def test_failures(mode: str, order: list[str], status: str, result: Any) -> None:
    """A failure that no transition takes care of fails the run."""
    run = Rehearsal(conductor("failure")).begin({"mode": mode}).run(failing("try"))
    assert run.order == order
    assert outcome(run) == (status, result)


def test_the_command_fail_fails_a_run_whose_tasks_succeeded() -> None:
    """Its error is of the task `fail`."""
    assert outcome(Rehearsal(conductor("failure")).begin({"mode": ""}).run())[1]["errors"] == [FAIL]


def test_timeouts_count_as_failed() -> None:
    """`failed()` is true of them, and an unhandled one is told."""
    run = Rehearsal(conductor("failure")).begin({"mode": "handled"})
    run.end_task("try", ExecutionStatus.TIMEOUT)
    assert run.order == ["try", "repair"]


def test_a_failure_ends_the_run_while_others_still_work() -> None:
    """As StackStorm does; what the others bring is kept for a re-run and decides nothing."""
    run = Rehearsal(
        written("  a: {action: core.noop}\n  b: {action: core.noop, next: [{do: c}]}\n  c: {}\n")
    ).begin()
    run.end_task("a", FAILED)
    assert outcome(run)[0] == "failed"
    step = run.conductor.advance(
        run.state,
        TaskFinished(key=next(iter(run.open)), status=SUCCEEDED, result=1),
        lookups=run.lookups,
    )
    assert step.decisions == ()
    assert step.changes["run"]["status"] == "failed"


def test_a_refused_task_is_a_failed_task() -> None:
    """An action that does not exist can be handled like any failure, and its message is in the
    errors.
    """
    run = Rehearsal(conductor("failure")).begin({"mode": ""})
    run.hear(
        TaskRefused(key=next(iter(run.open)), message='The action "core.risky" does not exist.')
    )
    assert outcome(run)[1]["errors"][0]["message"] == 'The action "core.risky" does not exist.'


def test_retry_repeats_until_it_works() -> None:
    """With its delay, the same task, as often as said."""
    tasks = "  a: {action: core.risky, delay: 5, retry: {count: 3, delay: 7}}\n"
    run = Rehearsal(written(tasks)).begin().run(failing("a", times=2))
    assert [task.delay_seconds for task in run.started] == [5.0, 7.0, 7.0]
    assert len({task.key for task in run.started}) == 3
    assert outcome(run)[0] == "succeeded"
    given_up = Rehearsal(written(tasks)).begin().run(failing("a"))
    assert len(given_up.started) == 4
    assert outcome(given_up)[0] == "failed"


def test_retry_has_a_condition() -> None:
    """`when` may retry a success too; the count and delay may be expressions; the command `retry`
    tries three times.
    """
    tasks = (
        "  a: {action: core.x, retry: {when: <% result().n < 2 %>, count: '<% 2 + 3 %>', delay: "
        "'<% 1 %>'}}\n"
    )
    run = Rehearsal(written(tasks)).begin()
    for number in range(3):
        run.end_task("a", result={"n": number})
    assert outcome(run)[0] == "succeeded"
    command = (
        "  a: {action: core.x, next: [{when: <% failed() %>, do: retry}, {when: <% failed() %>, "
        "do: b}]}\n  b: {}\n"
    )
    retried = Rehearsal(written(command)).begin().run(failing("a"))
    assert retried.order == ["a"] * 4
    assert outcome(retried)[0] == "succeeded"


def test_tasks_without_an_action_pass_at_once() -> None:
    """A run of such tasks ends in its first step; a circle of them is stopped."""
    run = Rehearsal(written("  a: {next: [{publish: [{x: 1}], do: b}]}\n  b: {}\n")).begin()
    assert outcome(run) == ("succeeded", {"output": None})
    circle = "  s: {next: [{do: a}]}\n  a: {next: [{do: b}]}\n  b: {next: [{do: a}]}\n"
    status, result = outcome(Rehearsal(written(circle)).begin())
    assert status == "failed"
    assert "in a circle" in result["errors"][0]["message"]


def test_functions_of_the_engine() -> None:
    """task_status, task, st2kv with default, json and item."""
    text = """
version: 1.0
vars:
  - key: <% st2kv('system.name') %>
  - absent: <% st2kv('system.absent', default=>7) %>
  - own: "{{ st2kv('city') }}"
tasks:
  a:
    action: core.x
    next:
      - publish:
          - seen: <% task(a).result.value %>
          - states: [<% task_status(a) %>, <% task_status(b) %>]
          - parsed: <% json('{"k":[1,2]}').k[1] %>
        do: b
  b:
    action: core.y id=<% task(a).task_execution_id %>
output:
  - all: [<% ctx(key) %>, <% ctx(absent) %>, <% ctx(own) %>,
      <% ctx(seen) %>, <% ctx(states) %>, <% ctx(parsed) %>]
"""
    lookups = StaticLookups(system={"name": "n"}, users={"stanley": {"city": "Ulm"}})
    run = Rehearsal(OrquestaConductor(text), lookups).begin()
    run.end_task("a", result={"value": 5})
    assert run.started[1].parameters == {"id": f"x-{run.started[0].key}"}
    run.end_task("b")
    assert outcome(run) == (
        "succeeded",
        {"output": {"all": ["n", 7, "Ulm", 5, ["succeeded", "null"], 2]}},
    )


BROKEN = {
    "input": (
        "  a: {action: core.x m=<% st2kv('system.absent') %>}\n",
        "does not exist in the StackStorm datastore",
    ),
    "transition": (
        "  a: {next: [{when: '<% 1 / 0 %>', do: noop}]}\n",
        "Unable to evaluate expression '<% 1 / 0 %>'",
    ),
    "publish": (
        "  a: {next: [{publish: [{x: '{{ 1 / 0 }}'}]}]}\n",
        "JinjaEvaluationException: Unable to evaluate",
    ),
    "delay": (
        "  a: {action: core.x, delay: '<% abs %>'}\n",
        "The value of task delay is not type of integer",
    ),
}


@pytest.mark.parametrize("tasks,message", BROKEN.values(), ids=BROKEN.keys())
def test_an_expression_that_fails_fails_the_run(tasks: str, message: str) -> None:
    """The error names the task and the expression, and no task of that step is started."""
    run = Rehearsal(written(tasks + "  z: {action: core.noop}\n")).begin()
    status, result = outcome(run)
    assert (status, run.open) == ("failed", {})
    assert message in result["errors"][0]["message"]
    assert result["errors"][0]["task_id"] == "a"


def test_an_output_that_fails_fails_the_run() -> None:
    """What could be rendered is still there."""
    text = "version: 1.0\ntasks: {a: {}}\noutput: [{x: 1}, {y: '<% ctx().st2.nothing %>'}]\n"
    status, result = outcome(Rehearsal(OrquestaConductor(text)).begin())
    assert (status, result["output"]) == ("failed", {"x": 1})
    assert "Unable to resolve key 'nothing'" in result["errors"][0]["message"]


def test_a_wrong_definition_is_refused_at_the_start() -> None:
    """With what inspection says."""
    made = OrquestaConductor("version: 1.0\ntasks: {a: {do: b}}\n")
    status, result = outcome(Rehearsal(made).begin())
    assert (status, result) == ("failed", {"output": None, "errors": made.inspect()})
    assert result["errors"]


def rerun_of(run: Rehearsal, *tasks: str, reset: tuple[str, ...] = ()) -> Rehearsal:
    again = Rehearsal(run.conductor)
    return again.begin(rerun=Rerun(state=run.state, tasks=tasks, reset=reset), execution_id="e2")


def test_a_rerun_keeps_what_succeeded() -> None:
    """The failed branch runs again, and the join sees both."""
    text = (
        (FIXTURES / "join.yaml")
        .read_text()
        .replace("- publish: [{right", "- when: <% succeeded() %>\n        publish: [{right")
    )
    run = Rehearsal(OrquestaConductor(text)).begin()
    run.end_task("start")
    run.end_task("left")
    run.end_task("right", FAILED)
    assert outcome(run)[0] == "failed"
    late = next(iter(run.open))
    run.take(
        run.conductor.advance(
            run.state, TaskFinished(key=late, status=SUCCEEDED, result=1), lookups=run.lookups
        )
    )
    again = rerun_of(run).run()
    assert again.order == ["right", "gather", "after"]
    assert outcome(again)[1] == {"output": {"sum": 6, "shared": "from left"}}
    after = rerun_of(again, "left").run()
    assert after.order == ["left", "gather", "after"]
    assert outcome(after)[1] == {"output": {"sum": 6, "shared": "from left"}}


def test_a_rerun_starts_from_the_failure() -> None:
    """By default from what failed; variables published before are there; errors are forgotten."""
    text = """
version: 1.0
tasks:
  a:
    action: core.x
    next:
      - when: <% succeeded() %>
        publish: [{v: <% result() %>}]
        do: b
  b:
    action: core.y v=<% ctx(v) %> id=<% ctx().st2.action_execution_id %>
output:
  - v: <% ctx(v) %>
"""
    run = Rehearsal(OrquestaConductor(text)).begin()
    run.end_task("a", result="kept")
    run.end_task("b", FAILED)
    again = rerun_of(run)
    assert [(task.task, task.parameters) for task in again.started] == [
        ("b", {"v": "kept", "id": "e2"})
    ]
    assert outcome(again.run()) == ("succeeded", {"output": {"v": "kept"}})
    whole = rerun_of(run, "a", "b")
    assert whole.order == ["a"]


@pytest.mark.parametrize(
    "reset,items", [((), [1]), (("scan",), [0, 1, 2])], ids=["failed items", "all items"]
)
def test_a_rerun_of_items(reset: tuple[str, ...], items: list[int]) -> None:
    """Only the items that failed, unless the task is reset; results of the others stay."""
    run = Rehearsal(conductor("items")).begin(HOSTS)
    keys = list(run.open)
    run.end(keys[0], result={"address": "kept"})
    run.end(keys[1], FAILED)
    run.end(keys[2], result={"address": "kept too"})
    again = rerun_of(run, "scan", reset=reset)
    assert [task.context["item_id"] for task in again.started] == items
    found = outcome(again.run())[1]["output"]["found"]
    assert found == (["a:1", "b:2", "c:3"] if reset else ["kept", "b:2", "kept too"])


def test_a_rerun_of_what_never_ran_is_refused() -> None:
    """So is one of a run that has not ended."""
    run = Rehearsal(conductor("join")).begin()
    assert "not in a completed state" in outcome(rerun_of(run))[1]["errors"][0]["message"]
    run.run(failing("start"))
    assert (
        "tasks is not found: nobody" in outcome(rerun_of(run, "nobody"))[1]["errors"][0]["message"]
    )


def test_several_transitions_of_one_task_are_one_arrival() -> None:
    """A join sees the variables of all of them, and fires once."""
    text = """
version: 1.0
tasks:
  a:
    next:
      - {when: <% succeeded() %>, publish: [{x: 1}], do: j}
      - {when: <% completed() %>, publish: [{y: 2}], do: j}
  b:
    action: core.noop
    next:
      - {when: <% succeeded() %>, publish: [{z: 3}], do: j}
      - {when: <% completed() %>, publish: [{w: 4}], do: j}
  j:
    join: all
    action: core.echo
    input: {all: [<% ctx(x) %>, <% ctx(y) %>, <% ctx(z) %>, <% ctx(w) %>]}
"""
    run = Rehearsal(OrquestaConductor(text)).begin().run()
    assert [(task.task, task.parameters) for task in run.started] == [
        ("b", {}),
        ("j", {"all": [1, 2, 3, 4]}),
    ]
    assert outcome(run)[0] == "succeeded"
