"""Starting what is ready: rendering a task's action and input, taking `with` apart, delays.

Source: `get_next_tasks`, `get_task` and `_evaluate_task_actions` of orquesta/conducting.py, and
`request_task_execution` of st2common/services/workflows.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormcell.conducting import StartTask
from stormcell.expressions.errors import ExpressionError
from stormcell.orquesta.expressions import evaluate
from stormcell.orquesta.scope import Scope
from stormcell.orquesta.spec import Items, Task
from stormcell.orquesta.state import place
from stormcell.orquesta.transitions import Turn, complete_task

MAX_STARTS = 10_000
"""In one step: a cycle of tasks without actions would never come to an end."""


def start_ready(turn: Turn, *, only_on_fail: bool = False) -> None:
    """Start every task that is ready, and items that have room; tasks without an action are done at
    once.

    An error while rendering is recorded and fails the run; what else is ready is tried too, so that
    its author sees all errors at once, but then nothing is started.
    """
    starts = 0
    before = len(turn.decisions)
    while True:
        for number in () if only_on_fail else turn.draft.run["itemized"]:
            _start_items(turn, number)
        ready = [
            where
            for where in sorted(turn.draft.run["ready"])
            if _may_start(turn, where, only_on_fail)
        ]
        if not ready:
            break
        starts += len(ready)
        if starts > MAX_STARTS:
            turn.fail(
                "The workflow starts tasks without an action in a circle; give the circle a condition to leave it."
            )
            break
        for where in ready:
            _start(turn, where)
        if turn.draft.run["failed"] and not only_on_fail:
            break
    if turn.draft.run["failed"] and not only_on_fail:
        _take_back(turn, before)


def _may_start(turn: Turn, where: str, only_on_fail: bool) -> bool:
    return not only_on_fail or bool(turn.draft.get(f"g/{where}").get("on_fail"))


def _take_back(turn: Turn, before: int) -> None:
    """Undo the starts of a step that failed while rendering: none of its tasks must run."""
    for decision in turn.decisions[before:]:
        if isinstance(decision, StartTask):
            child = turn.draft.get(f"k/{decision.key}")
            turn.draft.drop(f"k/{decision.key}")
            turn.draft.count("running", -1)
            turn.draft.update(f"s/{child['s']}", status="abandoned")
    del turn.decisions[before:]


def _start(turn: Turn, where: str) -> None:
    draft = turn.draft
    ready = draft.get(f"g/{where}")
    draft.drop(f"g/{where}")
    draft.remove_from("ready", where)
    task = turn.workflow.tasks[ready["id"]]
    scope = turn.scope(ready["in"], {"id": task.name, "route": ready["route"]})
    number = _record(turn, task, ready)
    try:
        _set_retry(turn, number, task, scope)
        delay = (
            ready["delay"]
            if "delay" in ready
            else _whole(task.delay, scope, "The value of task delay")
        )
        if task.items is not None:
            _open_items(turn, number, task.items, scope, delay)
        elif task.action is None:
            complete_task(turn, number, "succeeded", None)
        else:
            _request(turn, number, task, scope, delay=delay)
    except ExpressionError as error:
        draft.update(f"s/{number}", status="failed", ended=True)
        turn.fail(f"{error.kind}: {error}", task_id=task.name, route=ready["route"])


def _record(turn: Turn, task: Task, ready: Mapping[str, Any]) -> int:
    """Return the number of the started task: its own again for a retry."""
    draft = turn.draft
    number: int | None = ready.get("again")
    if number is None:
        entry = {
            "id": task.name,
            "route": ready["route"],
            "in": ready["in"],
            "prev": ready["prev"],
            "status": "running",
        }
        number = draft.add_started({**entry, "on_fail": True} if ready.get("on_fail") else entry)
        draft.put(f"t/{place(task.name, ready['route'])}", number)
    else:
        draft.update(f"s/{number}", status="running")
    return number


def _set_retry(turn: Turn, number: int, task: Task, scope: Scope) -> None:
    if task.retry is None or "retry" in turn.draft.get(f"s/{number}"):
        return
    retry = {
        "when": task.retry.when,
        "count": _whole(task.retry.count, scope, f'The retry count for task "{task.name}"'),
        "delay": _whole(task.retry.delay, scope, f'The retry delay for task "{task.name}"'),
        "tally": 0,
    }
    turn.draft.update(f"s/{number}", retry=retry)


def _whole(value: Any, scope: Scope, what: str) -> int:
    """Return a whole number that is written or evaluated; nothing is 0."""
    found = evaluate(value, scope)
    if found is None:
        return 0
    if isinstance(found, bool) or not isinstance(found, int):
        raise ExpressionError(
            f"{what} is not type of integer.", expression=str(value), kind="TypeError"
        )
    return int(found)


def _open_items(turn: Turn, number: int, items: Items, scope: Scope, delay: int) -> None:
    """Take the list apart and note each item, so that one item costs the same in a list of any
    length.
    """
    found = evaluate(items.expression, scope)
    if not isinstance(found, list):
        message = f'The value of "{items.expression}" is not type of list.'
        raise ExpressionError(message, expression=items.expression, kind="TypeError")
    concurrency = evaluate(items.concurrency, scope)
    if concurrency is not None:
        concurrency = max(1, _whole(concurrency, scope, "The concurrency of the items"))
    draft = turn.draft
    tally = {"count": len(found), "concurrency": concurrency, "total": len(found), "delay": delay}
    draft.put(f"w/{number}", {**tally, "next": 0, "open": 0, "failed": 0, "canceled": 0})
    draft.put(f"q/{number}", list(range(len(found))))
    for index, value in enumerate(found):
        draft.put(f"i/{number}/{index}", {"item": _named(items.names, value)})
    if found:
        draft.add_to("itemized", number)
    else:
        complete_task(turn, number, "succeeded", [], {"items": []})


def _named(names: tuple[str, ...], value: Any) -> Any:
    if names and isinstance(value, list):
        return dict(zip(names, value, strict=False))
    return {names[0]: value} if len(names) == 1 else value


def _start_items(turn: Turn, number: int) -> None:
    """Start as many items as have room."""
    draft = turn.draft
    entry, tally = draft.get(f"s/{number}"), draft.get(f"w/{number}")
    task = turn.workflow.tasks[entry["id"]]
    limit = tally["concurrency"] or tally["total"]
    if tally["open"] >= limit or tally["next"] >= tally["total"] or tally["canceled"]:
        return
    todo = draft.get(f"q/{number}")
    scope = turn.scope(entry["in"], {"id": task.name, "route": entry["route"]})
    position, opened = tally["next"], tally["open"]
    try:
        while opened < limit and position < len(todo):
            index = todo[position]
            delay = tally["delay"] if index < limit else 0
            own = scope.with_item(draft.get(f"i/{number}/{index}")["item"])
            _request(turn, number, task, own, delay=delay, item=index)
            position, opened = position + 1, opened + 1
    except ExpressionError as error:
        turn.fail(f"{error.kind}: {error}", task_id=task.name, route=entry["route"])
    draft.update(f"w/{number}", next=position, open=opened)


def _request(
    turn: Turn, number: int, task: Task, scope: Scope, *, delay: float, item: int | None = None
) -> None:
    """Ask for the action of a task, or of one of its items."""
    draft = turn.draft
    entry = draft.get(f"s/{number}")
    action = evaluate(task.action, scope)
    given = evaluate(task.input, scope)
    if not isinstance(action, str) or not isinstance(given, dict):
        what = "action is not text" if not isinstance(action, str) else "input is not an object"
        raise ExpressionError(
            f'The {what} in task "{task.name}".', expression=str(task.action), kind="TypeError"
        )
    attempts = entry.get("attempts", 0) + 1
    draft.update(f"s/{number}", attempts=attempts)
    key = (
        f"{task.name}/r{entry['route']}/{number}"
        + ("" if item is None else f"/i{item}")
        + f"/a{attempts}"
    )
    context = {
        "workflow_execution_id": (draft.get("c/0") or {})
        .get("st2", {})
        .get("workflow_execution_id", ""),
        "task_execution_id": f"{task.name}/r{entry['route']}/{number}",
        "task_name": task.name,
        "task_id": task.name,
        "task_route": entry["route"],
    }
    child: dict[str, Any] = {"s": number}
    if item is not None:
        context["item_id"] = child["i"] = item
    draft.put(f"k/{key}", child)
    draft.count("running", 1)
    if entry.get("on_fail"):
        draft.count("cleaning", 1)
    turn.decisions.append(
        StartTask(
            key=key,
            task=task.name,
            action=action,
            parameters=given,
            delay_seconds=float(delay),
            context=context,
        )
    )
