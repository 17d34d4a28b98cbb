"""Walks an action-chain: a `Conductor` (see `stormcell.conducting`) whose tasks run one after the
other.

State keys: `start` (inputs and context, written once), `vars`, `published`, `place` (where the walk
stands) and one `task:<number>` for each task that ended, so that a step writes what it changed and
not the whole run.
Source of behaviour: the action_chain_runner of StackStorm 3.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormcell.chains.definition import Chain, Task
from stormcell.conducting import (
    Cancel,
    CancelRequested,
    Decision,
    Event,
    Finish,
    Lookups,
    PauseRequested,
    Rerun,
    ResumeRequested,
    SetStatus,
    StartTask,
    State,
    Step,
    TaskFinished,
    TaskPaused,
    TaskRefused,
    TaskResumed,
)
from stormcell.expressions.datastore import datastore_context
from stormcell.expressions.errors import ExpressionError
from stormcell.expressions.jinja import render_values
from stormcell.statuses import FAILURES, ExecutionStatus

_NOTHING_RUNS = ""


class ChainConductor:
    """Decides for one chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def begin(
        self,
        *,
        inputs: dict[str, Any],
        context: dict[str, Any],
        lookups: Lookups,
        rerun: Rerun | None = None,
    ) -> Step:
        """Start at the default task. `context["runner_parameters"]` may hold `display_published`,
        `skip_notify`.

        A chain has no partial re-run (nor has StackStorm's): `rerun` is not looked at.
        """
        context = dict(context)
        options = context.pop("runner_parameters", {})
        start = {"inputs": inputs, "context": context, "options": options}
        walk = _Walk(
            self._chain, {"start": start, "place": _place(), "vars": {}, "published": {}}, lookups
        )
        walk.changes.update(walk.state)
        try:
            user = str(context.get("user") or "")
            walk.set(
                "vars",
                render_values(
                    self._chain.vars, {"st2kv": datastore_context(lookups, user), **inputs}
                ),
            )
        except ExpressionError as error:
            return walk.finish(
                ExecutionStatus.FAILED, f"Failed initializing ``vars`` in chain. {error}"
            )
        if not self._chain.default:
            return walk.finish(ExecutionStatus.FAILED, "Failed to find default node in the chain.")
        return walk.enter(self._chain.default)

    def advance(self, state: State, event: Event, *, lookups: Lookups) -> Step:
        """Answer an event; one for a task that is not the present one changes nothing."""
        walk = _Walk(self._chain, state, lookups)
        if isinstance(event, CancelRequested):
            return walk.cancel()
        if isinstance(event, PauseRequested):
            return walk.pause()
        if isinstance(event, ResumeRequested):
            return walk.resume()
        if event.key != walk.place["key"] or walk.place["status"] == "finished":
            return Step()
        if isinstance(event, TaskPaused):
            return walk.task_paused(event)
        if isinstance(event, TaskResumed):
            return walk.task_resumed()
        return walk.task_ended(event)


def _place() -> dict[str, Any]:
    """`key` names the running task, `number` counts tasks started, `last` is name and status of the
    last that ended.
    """
    return {
        "key": _NOTHING_RUNS,
        "name": "",
        "number": 0,
        "status": "running",
        "waiting": "",
        "last": None,
    }


class _Walk:
    """One step in the making: the state as it was, what changes, what is decided."""

    def __init__(self, chain: Chain, state: Mapping[str, Any], lookups: Lookups) -> None:
        self.state = state
        self.place: dict[str, Any] = state["place"]
        self.changes: dict[str, Any] = {}
        self._chain = chain
        self._lookups = lookups
        self._decisions: list[Decision] = []

    def set(self, key: str, value: Any) -> None:
        self.changes[key] = value

    def get(self, key: str) -> Any:
        return self.changes[key] if key in self.changes else self.state[key]

    # What happened

    def task_ended(self, event: TaskFinished | TaskRefused) -> Step:
        entry = _entry(self.place["name"], event)
        self.set(f"task:{self.place['number']:06d}", entry)
        status = ExecutionStatus(entry["state"])
        was_waiting = bool(self.place["waiting"])
        self._move(
            key=_NOTHING_RUNS, waiting="", last={"name": entry["name"], "status": status.value}
        )
        if isinstance(event, TaskRefused) and event.unknown_action:
            return self.finish(
                ExecutionStatus.FAILED,
                _unknown_action(self._chain.tasks[entry["name"]]),
                entries=False,
            )
        if isinstance(event, TaskRefused) and event.is_uncast:
            return self.finish(ExecutionStatus.FAILED, event.message, entries=False)
        if self.place["status"] == "canceling" or status is ExecutionStatus.CANCELED:
            return self.finish(ExecutionStatus.CANCELED)
        if isinstance(event, TaskFinished):
            try:
                self._publish(self._chain.tasks[entry["name"]], event.result)
            except ExpressionError as error:
                return self.finish(
                    ExecutionStatus.FAILED, f'Failed running task "{entry["name"]}". {error}'
                )
        if self.place["status"] in ("pausing", "paused"):
            self._move(status="paused")
            return self._done(SetStatus(status=ExecutionStatus.PAUSED))
        if was_waiting:
            self._decisions.append(SetStatus(status=ExecutionStatus.RUNNING))
        return self._follow(entry["name"], status)

    def task_paused(self, event: TaskPaused) -> Step:
        if self.place["status"] == "canceling" or self.place["waiting"] == event.status.value:
            return Step()
        self._move(waiting=event.status.value)
        return self._done(SetStatus(status=ExecutionStatus.PAUSED))

    def task_resumed(self) -> Step:
        if not self.place["waiting"]:
            return Step()
        self._move(waiting="")
        if self.place["status"] == "paused":  # somebody paused us too, and has not resumed us
            self._move(status="pausing")
        return self._done(
            SetStatus(
                status=ExecutionStatus.RUNNING
                if self.place["status"] == "running"
                else ExecutionStatus.PAUSING
            )
        )

    def pause(self) -> Step:
        if self.place["status"] != "running":
            return Step()
        at_rest = self.place["key"] == _NOTHING_RUNS or self.place["waiting"]
        self._move(status="paused" if at_rest else "pausing")
        status = ExecutionStatus.PAUSED if at_rest else ExecutionStatus.PAUSING
        return self._done(SetStatus(status=status))

    def resume(self) -> Step:
        waits = bool(self.place["waiting"])
        if self.place["status"] not in ("paused", "pausing") and not waits:
            return Step()
        # A child that waits for a person still waits; one that was paused is resumed by the engine
        # along with us.
        self._move(
            status="running", waiting="pending" if self.place["waiting"] == "pending" else ""
        )
        if self.place["waiting"]:
            return self._done(SetStatus(status=ExecutionStatus.PAUSED))
        self._decisions.append(SetStatus(status=ExecutionStatus.RUNNING))
        last = self.place["last"]
        if self.place["key"] != _NOTHING_RUNS or last is None:
            return self._done()
        return self._follow(last["name"], ExecutionStatus(last["status"]))

    def cancel(self) -> Step:
        if self.place["status"] in ("canceling", "finished"):
            return Step()
        if self.place["key"] == _NOTHING_RUNS:
            return self.finish(ExecutionStatus.CANCELED)
        self._move(status="canceling")
        return self._done(Cancel())

    # What follows

    def enter(self, name: str) -> Step:
        """Start a task."""
        task = self._chain.tasks.get(name)
        if task is None:
            return self.finish(ExecutionStatus.FAILED, f'Unable to find node with name "{name}".')
        try:
            parameters = self._parameters(task)
        except ExpressionError as error:
            return self.finish(
                ExecutionStatus.FAILED,
                f'Failed to run task "{name}". Parameter rendering failed. {error}',
            )
        number = self.place["number"] + 1
        key = f"{number}:{name}"
        self._move(key=key, name=name, number=number, last=None)
        options = self.get("start")["options"]
        return self._done(
            StartTask(
                key=key,
                task=name,
                action=task.ref,
                parameters=parameters,
                context=_task_context(task),
                notify=None if name in (options.get("skip_notify") or []) else task.notify,
            )
        )

    def finish(self, status: ExecutionStatus, error: str = "", *, entries: bool = True) -> Step:
        """End the run with StackStorm's result: `tasks`, `published`, and `error` with `traceback`
        for a failure.
        """
        tasks = {
            key: value
            for key, value in (*self.state.items(), *self.changes.items())
            if key.startswith("task:")
        }
        ordered = [tasks[key] for key in sorted(tasks)]
        result: dict[str, Any] = {"tasks": ordered if entries else ordered[:-1]}
        if self.get("start")["options"].get("display_published", True):
            result["published"] = self.get("published")
        if error:
            result.update(error=error, traceback="None\n")
        self._move(key=_NOTHING_RUNS, status="finished")
        return self._done(Finish(status=status, result=result))

    def _follow(self, name: str, status: ExecutionStatus) -> Step:
        task = self._chain.tasks[name]
        following = task.on_success if status is ExecutionStatus.SUCCEEDED else task.on_failure
        if not following:
            return self.finish(
                ExecutionStatus.FAILED if status is ExecutionStatus.ABANDONED else status
            )
        if following not in self._chain.tasks:
            return self.finish(
                ExecutionStatus.FAILED,
                f'Failed to get next node "{name}". Unable to find node with name "{following}".',
            )
        return self.enter(following)

    def _publish(self, task: Task, result: Any) -> None:
        if not task.publish:
            return
        rendered = render_values(task.publish, self._scope({task.name: result}))
        self.set("vars", {**self.get("vars"), **rendered})
        self.set("published", {**self.get("published"), **rendered})

    def _parameters(self, task: Task) -> dict[str, Any]:
        context = self.get("start")["context"]
        parent = {**context}
        scope = self._scope({})
        scope["action_context"] = {"parent": parent}
        scope["config_context"] = self._lookups.pack_config(str(context.get("pack") or ""))
        return render_values(task.parameters, scope)

    def _scope(self, latest: dict[str, Any]) -> dict[str, Any]:
        """Names an expression may read; the later ones win, as in StackStorm."""
        results = {**self._results(), **latest}
        store = datastore_context(
            self._lookups, str(self.get("start")["context"].get("user") or "")
        )
        return {
            **self.get("start")["inputs"],
            **results,
            **self.get("vars"),
            "__results": results,
            "system": store["system"],
            "st2kv": {"system": store["system"]},
        }

    def _results(self) -> dict[str, Any]:
        tasks = {
            key: value
            for key, value in (*self.state.items(), *self.changes.items())
            if key.startswith("task:")
        }
        return {tasks[key]["name"]: tasks[key]["result"] for key in sorted(tasks)}

    def _move(self, **moved: Any) -> None:
        self.place = {**self.place, **moved}
        self.set("place", self.place)

    def _done(self, *decisions: Decision) -> Step:
        return Step(changes=self.changes, decisions=(*self._decisions, *decisions))


def _entry(name: str, event: TaskFinished | TaskRefused) -> dict[str, Any]:
    entry = {
        "id": name,
        "name": name,
        "execution_id": None,
        "liveaction_id": None,
        "workflow": None,
    }
    if isinstance(event, TaskRefused):
        result = {"error": f'Failed running task "{name}". {event.message}', "traceback": "None\n"}
        return {
            **entry,
            "created_at": event.at,
            "updated_at": event.at,
            "state": "failed",
            "result": result,
        }
    return {
        **entry,
        "execution_id": event.execution_id,
        "liveaction_id": event.execution_id,
        "created_at": event.started_at,
        "updated_at": event.ended_at,
        "state": ExecutionStatus.FAILED.value
        if event.status in FAILURES - {"timeout"}
        else event.status.value,
        "result": event.result,
    }


def _unknown_action(task: Task) -> str:
    return (
        f'Failed to run task "{task.name}". Action with reference "{task.ref}" doesn\'t exist. '
        f"Task :: {task.name} - Action with ref {task.ref} not registered."
    )


def _task_context(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "ref": task.ref,
        "params": None,
        "parameters": task.parameters,
        "on_success": task.on_success,
        "on_failure": task.on_failure,
        "publish": task.publish or None,
        "notify": task.notify,
    }
