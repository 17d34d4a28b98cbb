"""Turns what the engine recorded and what the resource says into one line a step, in the order it
happened.

It reads the engine's API only, as any client of StackStorm could; nothing here knows how the pack
works.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.tally import Api

Json = dict[str, Any]
ENDED = frozenset({"succeeded", "failed", "timeout", "abandoned", "canceled"})
PAGE = 200


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that happened. `kind` chooses the colour; `quiet` ones belong to a look that
    changed nothing.
    """

    at: dt.datetime
    kind: str
    what: str
    detail: str = ""
    failed: bool = False
    quiet: bool = False


@dataclass(kw_only=True)
class Follower:
    """Reads what is new since the last call."""

    engine: Api
    _seen: set[str] = field(default_factory=set)
    _conditions: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    _quiet: set[str] = field(default_factory=set)

    def lines_of(self, read_resource: Callable[[], Json | None]) -> Callable[[], list[Line]]:
        """What reads the new lines, with the conditions of one resource (None once it is gone)."""
        self._conditions.clear()
        return lambda: self.new_lines(read_resource)

    def new_lines(self, read_resource: Callable[[], Json | None]) -> list[Line]:
        """Return the lines for all that has happened since the last call, oldest first. Reads,
        changes nothing.
        """
        # Read from the effects back to the causes, so that nothing is shown before what led to it.
        executions, enforcements = self._new("executions"), self._new("ruleenforcements")
        instances = self._new("triggerinstances")
        lines = [*self._events(instances), *self._rules(enforcements), *self._actions(executions)]
        lines.sort(key=lambda line: line.at)
        return [*lines, *self._status(read_resource() or {})]

    def _new(self, path: str, **params: Any) -> list[Json]:
        documents = self.engine.get(path, limit=PAGE, **params)
        return [document for document in documents if document["id"] not in self._seen]

    def _events(self, instances: list[Json]) -> Iterator[Line]:
        for instance in instances:
            self._seen.add(instance["id"])
            payload = instance.get("payload") or {}
            if "digest" in payload and "repository" in payload:
                yield _pushed(instance)
            if "change" not in payload:
                continue
            # Looks again, and changes of status, which the conditions below tell better.
            quiet = payload["change"] in ("resync", "status")
            if quiet:
                self._quiet.add(instance["id"])
            yield Line(
                at=_time(instance["occurrence_time"]),
                kind="event",
                what=f"{payload['change']} {payload.get('kind', '')} {payload.get('namespace')}/{payload.get('name')}",
                detail=", ".join(payload.get("changed_fields") or ()),
                quiet=quiet,
            )

    def _rules(self, enforcements: list[Json]) -> Iterator[Line]:
        for enforcement in enforcements:
            self._seen.add(enforcement["id"])
            yield Line(
                at=_time(enforcement["enforced_at"]),
                kind="rule",
                what=enforcement["rule"]["ref"],
                detail=enforcement.get("failure_reason") or "matched",
                failed=enforcement.get("status") == "failed",
                quiet=enforcement["trigger_instance_id"] in self._quiet,
            )

    def _actions(self, executions: list[Json]) -> Iterator[Line]:
        for execution in executions:
            if execution["status"] not in ENDED or not execution.get("parent"):
                continue
            self._seen.add(execution["id"])
            origin = (execution.get("context") or {}).get("trigger_instance") or {}
            inner = _inner_result(execution)
            # Another run at work is no failure, only the reason to end; a step with nothing to do
            # is no news.
            idle = bool(inner.get("skipped") or inner.get("taken"))
            failed = execution["status"] != "succeeded" and not idle
            yield Line(
                at=_time(execution["end_timestamp"]),
                kind="action",
                what=execution["action"]["ref"],
                detail=f"{execution['status']} in {float(execution.get('elapsed_seconds') or 0):.2f} s  "
                + str(inner.get("message", "")),
                failed=failed,
                quiet=idle or (origin.get("id") in self._quiet and not failed),
            )

    def _status(self, resource: Json) -> Iterator[Line]:
        for condition in (resource.get("status") or {}).get("conditions") or ():
            said = (condition["status"], condition.get("reason", ""), condition.get("message", ""))
            if self._conditions.get(condition["type"]) == said:
                continue
            self._conditions[condition["type"]] = said
            yield Line(
                at=dt.datetime.now(dt.UTC),
                kind="status",
                what=f"{condition['type']}={said[0]}",
                detail=f"{said[1]}: {said[2]}" if said[2] else said[1],
            )


def _pushed(instance: Json) -> Line:
    """A registry's report of a push."""
    payload = instance["payload"]
    what = f"pushed {payload['repository']}:{payload.get('tag', '')}"
    return Line(
        at=_time(instance["occurrence_time"]),
        kind="event",
        what=what,
        detail=payload["digest"][:19],
    )


def _inner_result(execution: Json) -> Json:
    """What a Python action returned, where that is an object."""
    result = execution.get("result")
    inner = result.get("result") if isinstance(result, dict) else None
    return inner if isinstance(inner, dict) else {}


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)
