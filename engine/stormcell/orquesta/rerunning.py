"""Running a finished workflow again from some of its tasks, keeping what the others did.

Source: `request_workflow_rerun` of orquesta/conducting.py and `request_rerun` of
st2common/services/workflows.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stormcell.conducting import Rerun
from stormcell.errors import InvalidInputError
from stormcell.orquesta.spec import RESERVED
from stormcell.orquesta.state import Draft, place
from stormcell.orquesta.transitions import Turn

_ENDED = frozenset({"succeeded", "failed", "canceled"})


def prepare_rerun(turn: Turn, rerun: Rerun) -> None:
    """Change the draft of an ended run so that the named tasks, or those that failed, are ready
    again.

    Raises InvalidInputError where the run has not ended or a task never ran.
    """
    draft = turn.draft
    if draft.run["status"] not in _ENDED or "s/0" not in draft.changes:
        raise InvalidInputError("Unable to rerun workflow because it is not in a completed state.")
    entries = dict(draft.started())
    candidates = _candidates(draft, entries, rerun.tasks)
    later = {number: _later(entries, number) for number in candidates}
    # A task that comes after another one that runs again will be reached from there.
    chosen = [
        number
        for number in candidates
        if not any(number in later[other] for other in candidates if other != number)
    ]
    _clear(draft, entries, {number for one in chosen for number in (one, *later[one])})
    for number in chosen:
        _run_again(turn, number, entries[number], everything=entries[number]["id"] in rerun.reset)


def _candidates(
    draft: Draft, entries: Mapping[int, dict[str, Any]], names: Iterable[str]
) -> list[int]:
    last = {(entry["id"], entry["route"]): number for number, entry in entries.items()}
    wanted = list(names)
    missing = [
        name for name in wanted if not any(task == name for task, _ in last) or name in RESERVED
    ]
    if missing:
        raise InvalidInputError(
            f"Unable to rerun workflow because one or more tasks is not found: {','.join(missing)}"
        )
    if wanted:
        return sorted(number for (task, _), number in last.items() if task in wanted)
    return sorted(
        number
        for (task, _), number in last.items()
        if task not in RESERVED and _failed(entries[number], number, entries)
    )


def _failed(entry: Mapping[str, Any], number: int, entries: Mapping[int, dict[str, Any]]) -> bool:
    """Whether a run stopped here: at a failure nobody handled, or in the middle of a task whose
    result never came.
    """
    if entry["status"] in ("running", "retrying", "abandoned", "canceled"):
        return True
    led_to = [one for one in entries.values() if number in one["prev"]]
    return entry["status"] == "failed" and all(one["id"] in ("fail", "continue") for one in led_to)


def _later(entries: Mapping[int, dict[str, Any]], number: int) -> set[int]:
    """Everything that came of a task."""
    found = {number}
    for other in sorted(entries):  # what leads to a task was started before it
        if found.intersection(entries[other]["prev"]):
            found.add(other)
    return found - {number}


def _clear(draft: Draft, entries: Mapping[int, dict[str, Any]], numbers: set[int]) -> None:
    """Forget children, errors and ends of what runs again, and that it ever came to a join."""
    for key in [key for key in draft.changes if key.startswith("k/")]:
        draft.drop(key)
    ready = [
        where
        for where in draft.run["ready"]
        if not numbers.intersection(draft.get(f"g/{where}")["prev"])
    ]
    for where in set(draft.run["ready"]).difference(ready):
        draft.drop(f"g/{where}")
    names = {entries[number]["id"] for number in numbers} | {"fail"}
    for number in range(draft.run["errors"]):
        error = draft.get(f"e/{number}")
        if error is not None and error.get("task_id") in names:
            draft.drop(f"e/{number}")
    for number in numbers:
        draft.update(f"s/{number}", ended=False)
    _reopen_joins(draft, entries, numbers)
    counters = dict.fromkeys(("running", "pending", "paused", "cleaning"), 0)
    flags = dict.fromkeys(("failed", "canceled", "pause"), False)
    draft.run = {
        **draft.run,
        **counters,
        **flags,
        "status": "running",
        "ready": ready,
        "itemized": [],
    }


def _reopen_joins(draft: Draft, entries: Mapping[int, dict[str, Any]], numbers: set[int]) -> None:
    for key in [key for key in draft.changes if key.startswith("j/")]:
        where, join = key[2:], draft.changes[key]
        if not numbers.intersection(join["prev"]):
            continue
        kept = [number for number in join["prev"] if number not in numbers]
        again = {entries[number]["id"] for number in join["prev"] if number in numbers}
        gone = again - {entries[number]["id"] for number in kept}
        for name in gone:
            draft.drop(f"a/{where}/{name}")
        draft.put(
            key, {**join, "prev": kept, "arrived": join["arrived"] - len(gone), "fired": False}
        )
        draft.add_to("open_joins", where)
        if not kept:
            draft.remove_from("open_joins", where)


def _run_again(turn: Turn, number: int, entry: Mapping[str, Any], *, everything: bool) -> None:
    draft = turn.draft
    tally = draft.get(f"w/{number}")
    retry = {**entry["retry"], "tally": 0} if entry.get("retry") else None
    if tally is None:
        turn.stage(entry["id"], entry["route"], contexts=entry["in"], came_from=entry["prev"])
        return
    items = {index: draft.get(f"i/{number}/{index}") for index in range(tally["count"])}
    todo = [index for index, one in items.items() if everything or one.get("status") != "succeeded"]
    if not todo:
        todo = list(items)
    for index in todo:
        draft.put(f"i/{number}/{index}", {"item": items[index]["item"]})
    draft.update(f"w/{number}", total=len(todo), next=0, open=0, failed=0, canceled=0)
    draft.put(f"q/{number}", todo)
    draft.update(f"s/{number}", status="running", **({"retry": retry} if retry else {}))
    draft.put(f"t/{place(entry['id'], entry['route'])}", number)
    draft.add_to("itemized", number)
