"""What an engine did in a stretch of time, counted through StackStorm's API: the same on StackStorm
and on stormcell.

The number of executions is the speed of the pack on StackStorm, where each costs a process, and a
number is never noisy.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

Json = dict[str, Any]
UNFINISHED = ("requested", "scheduled", "delayed", "running", "pausing", "resuming", "canceling")
RED = frozenset({"failed", "timeout", "abandoned"})
OURS = "kubestorm."
DATASTORE = "core.st2.key_value_pair."


class Api(Protocol):
    """`GET /v1/PATH`, decoded."""

    def get(self, path: str, **params: Any) -> Any:
        """`path` without the leading slash."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What began in a stretch of time."""

    executions: Counter[str]
    """Action -> how many, those inside workflows included."""
    red: tuple[str, ...]
    """The executions that failed, as `action (id)`."""
    events: Counter[str]
    """Trigger -> how many instances."""
    failed_rules: tuple[str, ...]
    """Rules that could not be matched or enforced, each with its reason."""

    @property
    def count(self) -> int:
        """All executions."""
        return self.executions.total()

    @property
    def datastore_events(self) -> int:
        """Trigger instances for writes to the datastore."""
        return sum(n for name, n in self.events.items() if name.startswith(DATASTORE))

    def __str__(self) -> str:
        return ", ".join(f"{name} {n}" for name, n in sorted(self.executions.items())) or "none"


def tally(api: Api, since: dt.datetime) -> Tally:
    """Count what the pack did since an instant: its executions, and what ran inside of them."""
    after = text_of(since)
    fields = "id,parent,status,action.ref"
    executions = list(
        _of_pack(api.get("executions", timestamp_gt=after, limit=-1, include_attributes=fields))
    )
    instances = api.get(
        "triggerinstances", timestamp_gt=after, limit=-1, include_attributes="trigger"
    )
    enforcements = api.get("ruleenforcements", enforced_at_gt=after, limit=-1)
    return Tally(
        executions=Counter(_action(each) for each in executions),
        red=tuple(f"{_action(e)} ({e['id']})" for e in executions if e["status"] in RED),
        events=Counter(each["trigger"] for each in instances),
        failed_rules=tuple(
            f"{each['rule']['ref']}: {each.get('failure_reason')}"
            for each in enforcements
            if each.get("failure_reason") and each["rule"]["ref"].startswith(OURS)
        ),
    )


def unfinished(api: Api, since: dt.datetime) -> dict[str, str]:
    """Id -> action of the executions that began since an instant and have not ended. Those that
    wait for a person have no part in it.
    """
    asked = {"timestamp_gt": text_of(since), "include_attributes": "id,parent,status,action.ref"}
    found = [
        each
        for status in UNFINISHED
        for each in api.get("executions", status=status, limit=-1, **asked)
    ]
    return {each["id"]: _action(each) for each in _of_pack(found)}


def wait_until_quiet(
    api: Api,
    since: dt.datetime,
    *,
    still_seconds: float,
    timeout_seconds: float,
    ignored: Iterable[str] = (),
) -> None:
    """Wait until nothing that began since an instant has been under way for a while, looking three
    times in it. Raises TimeoutError naming what is.
    """
    deadline, quiet_since, passed = time.monotonic() + timeout_seconds, None, set(ignored)
    while True:
        busy = {id_: name for id_, name in unfinished(api, since).items() if id_ not in passed}
        now = time.monotonic()
        quiet_since = None if busy else quiet_since or now
        if quiet_since is not None and now - quiet_since >= still_seconds:
            return
        if now > deadline:
            raise TimeoutError(f"still under way: {', '.join(busy.values())}")
        time.sleep(still_seconds / 3)


def count(
    api: Api, work: Callable[[], object], *, still_seconds: float, timeout_seconds: float
) -> Tally:
    """Do some work, wait until all that came of it has ended, and count that."""
    since = dt.datetime.now(dt.UTC)
    work()
    wait_until_quiet(api, since, still_seconds=still_seconds, timeout_seconds=timeout_seconds)
    return tally(api, since)


def _of_pack(executions: Iterable[Json]) -> Iterable[Json]:
    """Those of the pack's actions, and those inside its workflows, such as `core.ask`."""
    found = list(executions)
    known = {each["id"] for each in found if _action(each).startswith(OURS)}
    return [each for each in found if each["id"] in known or each.get("parent") in known]


def text_of(instant: dt.datetime) -> str:
    """An instant as the API's filters take it."""
    return instant.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _action(execution: Json) -> str:
    return str(execution["action"]["ref"])
