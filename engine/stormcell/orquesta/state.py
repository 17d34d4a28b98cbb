"""The state of a run as small keys, so that a step writes what it touched and no more.

run                    status, counters and the few lists that every step looks at
c/<n>                  a delta of variables; c/0 is the initial context (input, vars, st2, parent)
r/<n>                  a route: the transitions into split tasks that it consists of
s/<n>                  a started task: id, route, in (contexts), prev (what led to it), status,
                       retry, ended, on_fail
t/<task>/<route>       the last s/<n> of a task on a route
g/<task>/<route>       a task that is ready and not yet started
j/<task>/<route>       a join: round, arrived, fired, and the contexts and predecessors that came
                       so far
a/<task>/<route>/<from>  the last arrival of a task at a join: round, and by which s/<n>
w/<n>                  a task with items: count, concurrency, delay, total (to run), next, open,
                       failed, canceled
q/<n>                  the numbers of the items to run, in order
i/<n>/<m>              item m of it: item, status, result
k/<key>                a child that has not ended: s, i, waiting
x/<task>/<route>       what task() shows, kept only for workflows that call it
e/<n>                  an error, as the result shows it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

State = Mapping[str, Any]


def fresh_run() -> dict[str, Any]:
    """Return the key `run` of a run that has not started."""
    return {
        "status": "running",
        "contexts": 0,
        "routes": 0,
        "started": 0,
        "errors": 0,
        "running": 0,
        "pending": 0,
        "paused": 0,
        "cleaning": 0,
        "failed": False,
        "canceled": False,
        "pause": False,
        "ready": [],
        "itemized": [],
        "open_joins": [],
    }


class Draft:
    """A state with changes on top. Values are replaced, never changed in place, so that the state
    stays as it was.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.changes: dict[str, Any] = {}
        self.run: dict[str, Any] = {**fresh_run(), **state.get("run", {})}

    def get(self, key: str) -> Any:
        """Return a value, None where there is none. Not to be changed in place."""
        return self.changes[key] if key in self.changes else self._state.get(key)

    def put(self, key: str, value: Any) -> None:
        self.changes[key] = value

    def update(self, key: str, **fields: Any) -> dict[str, Any]:
        """Replace some fields of a mapping."""
        value = {**(self.get(key) or {}), **fields}
        self.changes[key] = value
        return value

    def drop(self, key: str) -> None:
        if key in self._state:
            self.changes[key] = None
        else:
            self.changes.pop(key, None)

    def finish(self) -> dict[str, Any]:
        """Return the changes, the run's own key among them."""
        return {**self.changes, "run": self.run}

    # Appending: each returns the number of the new entry.

    def add_context(self, variables: dict[str, Any]) -> int:
        return self._append("c", "contexts", variables)

    def add_route(self, transitions: list[str]) -> int:
        return self._append("r", "routes", transitions)

    def add_started(self, entry: dict[str, Any]) -> int:
        return self._append("s", "started", entry)

    def add_error(self, message: str, **fields: Any) -> None:
        """Record an error once; fields that are None are left out."""
        entry = {
            "type": "error",
            "message": message,
            **{key: value for key, value in fields.items() if value is not None},
        }
        if entry not in self.errors():
            self._append("e", "errors", entry)

    def _append(self, prefix: str, counter: str, value: Any) -> int:
        number = int(self.run[counter])
        self.run[counter] = number + 1
        self.changes[f"{prefix}/{number}"] = value
        return number

    def errors(self) -> list[dict[str, Any]]:
        return [
            one
            for number in range(self.run["errors"])
            if (one := self.get(f"e/{number}")) is not None
        ]

    def context(self, number: int) -> dict[str, Any]:
        return self.get(f"c/{number}") or {}

    def started(self) -> list[tuple[int, dict[str, Any]]]:
        """All tasks that were started, in order. Costs what the run is long: for its end and for a
        re-run.
        """
        return [(number, self.get(f"s/{number}")) for number in range(self.run["started"])]

    def count(self, counter: str, by: int) -> None:
        self.run[counter] += by

    def add_to(self, name: str, value: Any) -> None:
        if value not in self.run[name]:
            self.run[name] = [*self.run[name], value]

    def remove_from(self, name: str, value: Any) -> None:
        self.run[name] = [one for one in self.run[name] if one != value]


def place(task: str, route: int) -> str:
    """Return what names a task on a route inside a key."""
    return f"{task}/{route}"
