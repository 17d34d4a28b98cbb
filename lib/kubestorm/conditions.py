"""Conditions as Kubernetes keeps them: how one is set, and how `Ready` follows from the others.

Pure: the time is passed in. Source of the rules: "Typical status properties" in
kubernetes/community's api-conventions.md (`lastTransitionTime` moves only when `status` does;
absent reads as Unknown).
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

READY = "Ready"
TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"
# etcd is no place for a service's long answer, and kubectl describe shows it in one line.
MESSAGE_LENGTH = 1024
# A condition with one of these reasons is on its way; any other False one is worth a warning.
UNDER_WAY = frozenset(
    (
        "AwaitingApproval",
        "BackingUp",
        "Creating",
        "Deleting",
        "InstanceBusy",
        "Modifying",
        "Optimizing",
        "Rebooting",
        "Reconciling",
        "Restoring",
        "RotatingCredentials",
        "Snapshotting",
        "Starting",
        "Upgrading",
        "WaitingForConfiguration",
        "WaitingForDatabase",
        "WaitingForImage",
        "WaitingForInstance",
        # Rollouts.
        "AwaitingPromotion",
        "Complete",
        "Frozen",
        "Paused",
        "Pending",
        "Progressing",
        "Promoting",
        "RollingOut",
        "Settling",
        "Superseded",
        "Testing",
        "Untested",
        "WaitingForPush",
    )
)


class Condition(NamedTuple):
    """What one step found. `reason` is one CamelCase word, `message` a sentence for the developer."""

    type: str
    status: str
    reason: str
    message: str


Conditions = List[Dict[str, Any]]


def set_condition(
    conditions: Iterable[Mapping[str, Any]], new: Condition, *, generation: int, now: dt.datetime
) -> Conditions:
    """The list with `new` in its place (or at the end); the others, ours or not, stay as they are."""
    before = [dict(item) for item in conditions]
    old = next((item for item in before if item.get("type") == new.type), None)
    entry = {
        "type": new.type,
        "status": new.status,
        "reason": new.reason,
        "message": new.message[:MESSAGE_LENGTH],
        "observedGeneration": generation,
        "lastTransitionTime": format_time(now),
    }
    if old is None:
        return [*before, entry]
    if old.get("status") == new.status and old.get("lastTransitionTime"):
        entry["lastTransitionTime"] = old["lastTransitionTime"]
    return [entry if item is old else item for item in before]


def roll_up(
    conditions: Iterable[Mapping[str, Any]], order: Sequence[str], *, generation: int
) -> Condition:
    """`Ready` out of the conditions in `order`: the first one that is not True, or answers for an
    older spec, decides.

    A condition that was True for an earlier generation does not count: without that, `kubectl wait`
    would see Ready between the edit of a size and the call that changes it.
    """
    by_type = {item.get("type"): item for item in conditions}
    for kind in order:
        item = by_type.get(kind)
        if item is None:
            return Condition(READY, FALSE, "Reconciling", f"{kind} is not known yet.")
        if item.get("status") != TRUE:
            return Condition(
                READY, FALSE, str(item.get("reason", "Unknown")), str(item.get("message", ""))
            )
        if int(item.get("observedGeneration", 0)) < generation:
            return Condition(
                READY, FALSE, "Reconciling", f"{kind} does not answer for the latest change yet."
            )
    return Condition(READY, TRUE, "Ready", "Everything that was asked for is in place.")


def find(conditions: Iterable[Mapping[str, Any]], kind: str) -> Optional[Mapping[str, Any]]:
    """The condition of that type, if it is there."""
    return next((item for item in conditions if item.get("type") == kind), None)


def is_true(conditions: Iterable[Mapping[str, Any]], kind: str, *, generation: int = 0) -> bool:
    """Whether it is True, for this generation or a later one."""
    item = find(conditions, kind)
    return bool(
        item and item.get("status") == TRUE and int(item.get("observedGeneration", 0)) >= generation
    )


def format_time(moment: dt.datetime) -> str:
    """RFC 3339 in UTC, to the second, as Kubernetes writes it."""
    return moment.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
