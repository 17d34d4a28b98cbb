"""What a finished task leads to: retry, the transitions of `next`, publishing, routes and joins.

Source: `update_task_state`, `_evaluate_route` and `get_inbound_criteria_status` of
orquesta/conducting.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stormcell.conducting import Decision, Lookups, TaskFinished
from stormcell.expressions.errors import ExpressionError
from stormcell.orquesta.expressions import evaluate
from stormcell.orquesta.scope import Scope, Variables
from stormcell.orquesta.spec import Transition, Workflow
from stormcell.orquesta.state import Draft, place


class Turn:
    """One step in the making: the state being changed, and the decisions taken so far."""

    def __init__(self, workflow: Workflow, draft: Draft, lookups: Lookups) -> None:
        self.workflow = workflow
        self.draft = draft
        self.lookups = lookups
        self.decisions: list[Decision] = []

    def fail(self, message: str, **fields: Any) -> None:
        """Record an error that fails the whole run."""
        self.draft.add_error(message, **fields)
        self.draft.run["failed"] = True

    def scope(self, contexts: Sequence[int], task: Mapping[str, Any] | None = None) -> Scope:
        return Scope(
            Variables(contexts, find=self.draft.context),
            self.lookups,
            task=task,
            find_status=self._find_status,
            find_task=self._find_task,
        )

    def stage(
        self, task: str, route: int, *, contexts: list[int], came_from: list[int], **more: Any
    ) -> str:
        """Make a task ready to start; where it is ready already, contexts are added."""
        where = place(task, route)
        ready = self.draft.get(f"g/{where}")
        if ready is not None:
            contexts = add_contexts(ready["in"], contexts)
            came_from = [*ready["prev"], *came_from]
        self.draft.update(
            f"g/{where}", id=task, route=route, **{"in": contexts, "prev": came_from, **more}
        )
        self.draft.add_to("ready", where)
        return where

    def note_task(self, number: int, entry: Mapping[str, Any], event: TaskFinished) -> None:
        """Keep what `task()` shows beside status and result."""
        if self.workflow.uses_task_results:
            self.draft.update(
                f"x/{place(entry['id'], entry['route'])}",
                task_execution_id=event.execution_id,
                workflow_execution_id=(self.draft.get("c/0") or {})
                .get("st2", {})
                .get("workflow_execution_id", ""),
                task_name=entry["id"],
                task_id=entry["id"],
                route=entry["route"],
                start_timestamp=event.started_at,
                end_timestamp=event.ended_at,
            )

    def _find_on_route(self, task: str, route: int, prefix: str) -> Any:
        """Look a task up on a route, or on the longest earlier route that this one came from."""
        found = self.draft.get(f"{prefix}/{place(task, route)}")
        if found is not None or route == 0:
            return found
        own = set(self.draft.get(f"r/{route}") or ())
        for earlier in range(route - 1, -1, -1):
            if set(self.draft.get(f"r/{earlier}") or ()) <= own:
                found = self.draft.get(f"{prefix}/{place(task, earlier)}")
                if found is not None:
                    return found
        return None

    def _find_status(self, task: str, route: int) -> str | None:
        number = self._find_on_route(task, route, "t")
        return None if number is None else self.draft.get(f"s/{number}")["status"]

    def _find_task(self, task: str, route: int) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._find_on_route(task, route, "x")
        return found


def add_contexts(known: list[int], more: Iterable[int]) -> list[int]:
    """Add the contexts that are new. What both branches share stays where it is: it must not undo
    what came later.
    """
    return [*known, *(number for number in dict.fromkeys(more) if number not in known)]


def complete_item(turn: Turn, number: int, item: int, status: str, result: Any) -> None:
    """Take an item's result in; the task is done when no item runs and none is to be started any
    more.
    """
    draft = turn.draft
    draft.update(f"i/{number}/{item}", status=status, result=result)
    tally = dict(draft.get(f"w/{number}"))
    tally["open"] -= 1
    tally["failed"] += status in ("failed", "timeout", "abandoned")
    tally["canceled"] += status == "canceled"
    draft.put(f"w/{number}", tally)
    if tally["open"]:
        return
    if tally["canceled"]:
        _complete_itemized(turn, number, tally, "canceled")
    elif tally["failed"]:
        _complete_itemized(turn, number, tally, "failed")
    elif tally["next"] >= tally["total"]:
        _complete_itemized(turn, number, tally, "succeeded")


def _complete_itemized(turn: Turn, number: int, tally: Mapping[str, Any], status: str) -> None:
    turn.draft.remove_from("itemized", number)
    items = [turn.draft.get(f"i/{number}/{index}") for index in range(tally["count"])]
    shown = [
        {"status": one["status"], "result": one["result"]} if one.get("status") else None
        for one in items
    ]
    complete_task(turn, number, status, [one and one["result"] for one in shown], {"items": shown})


def complete_task(turn: Turn, number: int, status: str, result: Any, shown: Any = None) -> None:
    """A task has ended: record it, retry it, or follow its transitions. `shown` is the result as
    `task()` shows it.
    """
    draft = turn.draft
    entry = draft.update(f"s/{number}", status=status)
    task, route = turn.workflow.tasks[entry["id"]], entry["route"]
    if turn.workflow.uses_task_results:
        value = result if shown is None else shown
        draft.update(
            f"x/{place(task.name, route)}", task_name=task.name, task_id=task.name, route=route
        )
        draft.update(f"x/{place(task.name, route)}", status=status, result=value)
    current = {"id": task.name, "route": route, "status": status, "result": result}
    scope = turn.scope(entry["in"], current)
    if status == "canceled":
        draft.update(f"s/{number}", ended=True)
        draft.run["canceled"] = True
        return
    try:
        if _retries(turn, entry, scope):
            _retry(turn, number, entry)
            return
    except ExpressionError as error:
        turn.fail(f"{error.kind}: {error}", task_id=task.name, route=route)
        return
    handled, reached = False, False
    for transition in task.next:
        followed = _follow(turn, number, entry, transition, scope)
        reached = reached or followed
        handled = handled or (followed and any(target != "continue" for target in transition.do))
    if not reached:
        draft.update(f"s/{number}", ended=True)
    if status == "failed" and not handled:
        draft.run["failed"] = True


def _retries(turn: Turn, entry: Mapping[str, Any], scope: Scope) -> bool:
    retry = entry.get("retry")
    if (
        not retry
        or retry["tally"] >= retry["count"]
        or turn.draft.run["failed"]
        or turn.draft.run["canceled"]
    ):
        return False
    if retry["when"] is None:
        return bool(entry["status"] == "failed")
    return bool(evaluate(retry["when"], scope))


def _retry(turn: Turn, number: int, entry: Mapping[str, Any]) -> None:
    retry = {**entry["retry"], "tally": entry["retry"]["tally"] + 1}
    turn.draft.update(f"s/{number}", status="retrying", retry=retry)
    turn.stage(
        entry["id"],
        entry["route"],
        contexts=entry["in"],
        came_from=entry["prev"],
        again=number,
        delay=retry["delay"] or 0,
    )


def _follow(
    turn: Turn, number: int, entry: Mapping[str, Any], transition: Transition, scope: Scope
) -> bool:
    """Take one transition if its condition holds; return whether it was taken."""
    where = {"task_id": entry["id"], "route": entry["route"]}
    try:
        if transition.when is not None and not evaluate(transition.when, scope):
            return False
        published: dict[str, Any] = {}
        for name, value in transition.publish:
            published[name] = evaluate(value, scope.with_delta(published))
    except ExpressionError as error:
        turn.fail(
            f"{error.kind}: {error}",
            **where,
            task_transition_id=f"{','.join(transition.do)}__t{transition.index}",
        )
        return False
    contexts = list(entry["in"])
    if published:
        contexts.append(turn.draft.add_context(published))
    staged = []
    commands = []
    for target in transition.do:
        if target in turn.workflow.tasks:
            ready = _arrive(turn, number, entry, transition, target, contexts)
            staged.extend([ready] if ready else [])
        else:
            commands.append(target)
    for command in commands:
        _command(turn, number, entry, command, contexts)
    if "fail" in commands:  # what is asked for beside the command still runs
        for ready in staged:
            turn.draft.update(f"g/{ready}", on_fail=True)
    return bool(transition.do)


def _command(
    turn: Turn, number: int, entry: Mapping[str, Any], command: str, contexts: list[int]
) -> None:
    """`noop`, `continue` and `fail` end a branch, with a record as of a task so that its variables
    reach the output.
    """
    failed = command == "fail"
    route = entry["route"]
    own = turn.draft.add_started(
        {
            "id": command,
            "route": route,
            "in": contexts,
            "prev": [number],
            "status": "failed" if failed else "succeeded",
            "ended": True,
        }
    )
    turn.draft.put(f"t/{place(command, route)}", own)
    if failed:
        turn.fail("Execution failed. See result for details.", task_id="fail")


def _arrive(
    turn: Turn,
    number: int,
    entry: Mapping[str, Any],
    transition: Transition,
    target: str,
    contexts: list[int],
) -> str | None:
    """Come to a task: a join waits for its branches, any other task is ready. Return where, if it
    is ready.
    """
    needs = turn.workflow.join_needs(target)
    if needs is not None:
        return _join(turn, number, entry, target, needs, contexts)
    route = _route(turn, transition, entry, target)
    return turn.stage(target, route, contexts=contexts, came_from=[number])


def _route(turn: Turn, transition: Transition, entry: Mapping[str, Any], target: str) -> int:
    """A task that several transitions lead to, without joining them, runs once for each: on a route
    of its own.
    """
    route: int = entry["route"]
    if not turn.workflow.is_split(target) or target in turn.workflow.in_cycle:
        return route
    details = turn.draft.get(f"r/{route}")
    step = f"{entry['id']}__t{transition.index}__{target}"
    return route if step in details else turn.draft.add_route([*details, step])


def _join(
    turn: Turn, number: int, entry: Mapping[str, Any], target: str, needs: int, contexts: list[int]
) -> str | None:
    """Count a branch in. A join fires once a round; a branch that comes after it has fired is let
    go.

    A round is over when a task that was already counted comes again, which happens in a cycle.
    """
    draft, route = turn.draft, entry["route"]
    where = place(target, route)
    arrival = f"a/{where}/{entry['id']}"
    join = draft.get(f"j/{where}") or {
        "round": 0,
        "arrived": 0,
        "fired": False,
        "in": [],
        "prev": [],
    }
    last = draft.get(arrival) or {}
    if (
        last.get("by") == number
    ):  # several transitions of one task lead here: one arrival, with the variables of all
        draft.update(f"j/{where}", **{"in": add_contexts(join["in"], contexts)})
        waiting = draft.get(f"g/{where}") is not None
        return turn.stage(target, route, contexts=contexts, came_from=[]) if waiting else None
    if last.get("round") != join["round"]:
        join = {**join, "arrived": join["arrived"] + 1}
    elif join["fired"]:
        join = {"round": join["round"] + 1, "arrived": 1, "fired": False, "in": [], "prev": []}
    draft.put(arrival, {"round": join["round"], "by": number})
    late = join["fired"]
    join = {**join, "in": add_contexts(join["in"], contexts), "prev": [*join["prev"], number]}
    fires = not late and join["arrived"] >= needs
    draft.put(f"j/{where}", {**join, "fired": late or fires})
    if late:
        return None
    if not fires:
        draft.add_to("open_joins", where)
        return None
    draft.remove_from("open_joins", where)
    return turn.stage(target, route, contexts=join["in"], came_from=join["prev"])
