"""The conductor: begins a run, answers events, and says when it ends.

It decides when the run starts tasks, pauses, is canceled, fails or is done; what a finished task
leads to is in `transitions`, how tasks start in `starting`. Source of the behaviour:
orquesta/conducting.py and machines.py, and st2common/services/workflows.py of StackStorm;
differences are in docs/decisions/0042-orquesta-conductor.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormcell.conducting import (
    Cancel,
    CancelRequested,
    Decision,
    Event,
    Finish,
    Lookups,
    PauseRequested,
    Rerun,
    SetStatus,
    State,
    Step,
    TaskFinished,
    TaskPaused,
    TaskRefused,
    TaskResumed,
)
from stormcell.errors import InvalidInputError
from stormcell.expressions.errors import ExpressionError
from stormcell.orquesta.definition import load_definition, st2_context
from stormcell.orquesta.expressions import evaluate
from stormcell.orquesta.inspecting import FindParameters, Problem, inspect_workflow
from stormcell.orquesta.rerunning import prepare_rerun
from stormcell.orquesta.scope import COMPLETED, Scope, Variables
from stormcell.orquesta.spec import Workflow, parse_workflow
from stormcell.orquesta.starting import start_ready
from stormcell.orquesta.state import Draft
from stormcell.orquesta.transitions import Turn, complete_item, complete_task
from stormcell.statuses import ExecutionStatus

_ENDED = frozenset({"succeeded", "failed", "canceled"})


class OrquestaConductor:
    """Decides for one definition.

    `definition` is the YAML text or what it parses to. `find_parameters` lets inspection check that
    actions exist and take the inputs they are given; without it they are not checked.
    """

    def __init__(
        self,
        definition: Mapping[str, Any] | str,
        *,
        name: str = "",
        find_parameters: FindParameters | None = None,
    ) -> None:
        self.name = name
        self._find_parameters = find_parameters
        self._definition: Mapping[str, Any] = {}
        self._workflow: Workflow | None = None
        self._problems: list[Problem] | None = None
        try:
            self._definition = load_definition(definition)
            self._workflow = parse_workflow(self._definition)
        except (TypeError, AttributeError, KeyError, ValueError) as error:
            self._unreadable = str(error)

    def inspect(self) -> list[Problem]:
        """Return everything that is wrong with the definition, as StackStorm prints it; empty where
        nothing is.
        """
        if self._problems is None:
            if self._definition:
                self._problems = inspect_workflow(
                    self._definition, self._workflow, self._find_parameters
                )
            if not self._problems and self._workflow is None:
                unreadable = {
                    "type": "syntax",
                    "message": self._unreadable,
                    "schema_path": None,
                    "spec_path": None,
                }
                self._problems = [unreadable]
        return self._problems or []

    def begin(
        self,
        *,
        inputs: dict[str, Any],
        context: dict[str, Any],
        lookups: Lookups,
        rerun: Rerun | None = None,
    ) -> Step:
        """Start a run. `context` is the execution's: `execution_id`, `user`, `pack`, `action`,
        `parent`, ...

        A key `st2` in it goes into `ctx().st2` as it is; without one it is made of the others.
        """
        problems = self.inspect()
        if problems or self._workflow is None:
            return _refused(problems)
        if rerun is not None:
            return self._begin_again(self._workflow, context, lookups, rerun)
        turn = Turn(self._workflow, Draft({}), lookups)
        self._set_up(turn, inputs, context)
        if not turn.draft.run["failed"]:
            for task in self._workflow.start_tasks:
                turn.stage(task, 0, contexts=[0], came_from=[])
        return self._settle(turn)

    def advance(self, state: State, event: Event, *, lookups: Lookups) -> Step:
        """Answer an event; see `stormcell.conducting`. After the end, late results are kept for a
        re-run.
        """
        if self._workflow is None:
            return Step()
        turn = Turn(self._workflow, Draft(state), lookups)
        status = turn.draft.run["status"]
        if isinstance(event, TaskFinished | TaskRefused | TaskPaused | TaskResumed):
            if turn.draft.get(f"k/{event.key}") is None:
                return Step()
            self._hear(turn, event)
            if status in _ENDED:
                return Step(changes=turn.draft.finish())
            return self._settle(turn)
        if status in _ENDED:
            return Step()
        if isinstance(event, CancelRequested):
            return self._cancel(turn)
        if isinstance(event, PauseRequested):
            turn.draft.run["pause"] = True
            return self._settle(turn)
        return self._resume(turn)

    def _begin_again(
        self, workflow: Workflow, context: dict[str, Any], lookups: Lookups, rerun: Rerun
    ) -> Step:
        turn = Turn(workflow, Draft({}), lookups)
        turn.draft.changes.update(
            {key: value for key, value in rerun.state.items() if value is not None}
        )
        turn.draft.run = {**turn.draft.run, **rerun.state.get("run", {})}
        try:
            prepare_rerun(turn, rerun)
        except InvalidInputError as error:
            return _refused([{"message": str(error)}])
        turn.draft.update("c/0", **st2_context(context))
        return self._settle(turn)

    def _set_up(self, turn: Turn, inputs: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        """Input and vars become the first context. Values that were given are taken as they are,
        defaults evaluated.
        """
        draft = turn.draft
        draft.add_route([])
        variables: dict[str, Any] = st2_context(context)
        for name, default in turn.workflow.input:
            if name in inputs:
                variables[name] = inputs[name]
            else:
                _set_rendered(turn, variables, name, default)
        for name, value in turn.workflow.vars:
            _set_rendered(turn, variables, name, value)
        draft.add_context(variables)

    # What happened to a child.

    def _hear(
        self, turn: Turn, event: TaskFinished | TaskRefused | TaskPaused | TaskResumed
    ) -> None:
        draft = turn.draft
        child = draft.get(f"k/{event.key}")
        _leave_counters(draft, child)
        if isinstance(event, TaskPaused):
            kind = "pending" if event.status is ExecutionStatus.PENDING else "paused"
            draft.count(kind, 1)
            draft.put(f"k/{event.key}", {**child, "waiting": kind})
            return
        if isinstance(event, TaskResumed):
            draft.count("running", 1)
            draft.put(f"k/{event.key}", {**child, "waiting": ""})
            return
        draft.drop(f"k/{event.key}")
        number, item = child["s"], child.get("i")
        entry = draft.get(f"s/{number}")
        if entry.get("on_fail"):
            draft.count("cleaning", -1)
        if isinstance(event, TaskRefused):
            draft.add_error(event.message, task_id=entry["id"], route=entry["route"])
            status, result = "failed", {"error": event.message}
        else:
            status, result = str(event.status), event.result
            if status in ("failed", "timeout", "abandoned"):
                draft.add_error(
                    "Execution failed. See result for details.", task_id=entry["id"], result=result
                )
            turn.note_task(number, entry, event)
        if item is None:
            complete_task(turn, number, _task_status(status), result)
        else:
            complete_item(turn, number, item, status, result)

    # Where that leaves the run.

    def _settle(self, turn: Turn, *, resumed: bool = False) -> Step:
        """Start what is ready, unless the run is to pause or end; then say what became of it."""
        draft, run = turn.draft, turn.draft.run
        before = run["status"]
        if before == "canceling":
            return (
                self._finish(turn, "canceled")
                if run["running"] == 0
                else Step(changes=draft.finish())
            )
        waits = run["pause"] or (run["pending"] > 0 and not resumed)
        if not run["failed"] and not run["canceled"] and not waits:
            start_ready(turn)
        if run["failed"]:
            return self._fail(turn)
        if run["canceled"]:
            run["status"] = "canceling"
            return (
                self._finish(turn, "canceled") if run["running"] == 0 else self._step(turn, before)
            )
        if run["pause"] or (run["pending"] > 0 and not (resumed and run["running"])):
            run["status"] = "pausing" if run["running"] else "paused"
        elif run["running"]:
            run["status"] = "running"
        elif run["paused"]:
            run["status"] = "paused"
        else:
            return self._complete(turn)
        return self._step(turn, before)

    def _step(self, turn: Turn, before: str) -> Step:
        status = turn.draft.run["status"]
        decisions: tuple[Decision, ...] = tuple(turn.decisions)
        if status != before:
            decisions = (SetStatus(status=ExecutionStatus(status)), *decisions)
        return Step(changes=turn.draft.finish(), decisions=decisions)

    def _complete(self, turn: Turn) -> Step:
        """Nothing runs, waits or is ready. A join that only some of its branches reached fails the
        run.
        """
        return self._finish(turn, "failed" if turn.draft.run["open_joins"] else "succeeded")

    def _fail(self, turn: Turn) -> Step:
        """Fail at once, also while tasks run; only tasks that were asked for beside the command
        `fail` still run.
        """
        draft = turn.draft
        before = draft.run["status"]
        start_ready(turn, only_on_fail=True)
        if draft.run["cleaning"]:
            draft.run["status"] = "running" if before in ("pausing", "paused") else before
            return self._step(turn, before)
        return self._finish(turn, "failed")

    def _cancel(self, turn: Turn) -> Step:
        run = turn.draft.run
        before = run["status"]
        if run["running"] or run["pending"] or run["paused"]:
            turn.decisions.append(Cancel())
        run["status"], run["canceled"] = "canceling", True
        return self._step(turn, before) if run["running"] else self._finish(turn, "canceled")

    def _resume(self, turn: Turn) -> Step:
        run = turn.draft.run
        if run["status"] not in ("pausing", "paused"):
            return Step()
        run["pause"] = False
        return self._settle(turn, resumed=True)

    def _finish(self, turn: Turn, status: str) -> Step:
        draft, workflow = turn.draft, turn.workflow
        failed = status == "failed"
        if failed and not draft.run["running"]:
            _tell_open_joins(turn)
        entries = (
            workflow.output_on_error
            if failed and workflow.output_on_error is not None
            else workflow.output
        )
        output: dict[str, Any] = {}
        scope = turn.scope(_final_contexts(draft))
        for name, value in entries:
            try:
                output[name] = evaluate(value, scope.with_delta(output))
            except ExpressionError as error:
                turn.draft.add_error(f"{error.kind}: {error}")
                status = "failed" if status == "succeeded" else status
        draft.run["status"] = status
        result: dict[str, Any] = {"output": output or None}
        if status == "failed":
            result["errors"] = draft.errors()
        finish = Finish(status=ExecutionStatus(status), result=result)
        return Step(changes=draft.finish(), decisions=(*turn.decisions, finish))


def _refused(problems: list[Problem]) -> Step:
    finish = Finish(status=ExecutionStatus.FAILED, result={"output": None, "errors": problems})
    return Step(
        changes={"run": {**Draft({}).run, "status": "failed", "failed": True}}, decisions=(finish,)
    )


def _set_rendered(turn: Turn, variables: dict[str, Any], name: str, value: Any) -> None:
    try:
        variables[name] = evaluate(value, Scope(Variables([variables]), turn.lookups))
    except ExpressionError as error:
        turn.fail(f"{error.kind}: {error}")


def _tell_open_joins(turn: Turn) -> None:
    for where in turn.draft.run["open_joins"]:
        task, route = where.rsplit("/", 1)
        message = f'UnreachableJoinError: The join task|route "{task}|{route}" is partially satisfied but unreachable.'
        turn.fail(message, task_id=task, route=int(route))


def _leave_counters(draft: Draft, child: Mapping[str, Any]) -> None:
    draft.count(child.get("waiting") or "running", -1)


def _task_status(status: str) -> str:
    """A task whose action timed out or was abandoned has failed."""
    return (
        "failed"
        if status in ("timeout", "abandoned")
        else status
        if status in COMPLETED
        else "failed"
    )


def _final_contexts(draft: Draft) -> list[int]:
    """The contexts of the tasks at which branches ended, in the order they were started."""
    found = {0: None} if draft.run["contexts"] else {}
    for _, entry in draft.started():
        if entry.get("ended"):
            found.update(dict.fromkeys(entry["in"]))
    return list(found)
