"""Conditions as Kubernetes keeps them: how one is set, and how `Ready` follows from the others.

Pure: the time is passed in. Source of the rules: "Typical status properties" in
kubernetes/community's api-conventions.md (`lastTransitionTime` moves only when `status` does;
absent reads as Unknown).
"""

from __future__ import annotations

import datetime as dt
from enum import Enum
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional

from kubestorm.core import untrusted
from kubestorm.core.times import format_time

READY = "Ready"
TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"
AWAITING_APPROVAL = "AwaitingApproval"
"""The reason of a condition that waits for people; the sensor then has somebody asked."""
# etcd is no place for a service's long answer, and kubectl describe shows it in one line.
MESSAGE_LENGTH = 1024
# What ends these is watched (RDS, the pods and Jobs that we own, other objects of ours), or a time.
PROGRESSING = frozenset(
    (
        "BackingUp",
        "Building",
        "Complete",
        "Creating",
        "Deleting",
        "InstanceBusy",
        "Modifying",
        "Optimizing",
        "Pending",
        "Progressing",
        "Promoting",
        "Queued",
        "Rebooting",
        "Restoring",
        "Returning",
        "RollingOut",
        "RotatingCredentials",
        "Settling",
        "Snapshotting",
        "Starting",
        "Superseded",
        "Testing",
        "Untested",
        "Upgrading",
        "WaitingForBuilder",
        "WaitingForConfiguration",
        "WaitingForDatabase",
        "WaitingForInstance",
    )
)
# Trouble that is watched as well: pods that come up after all, a host that becomes free.
POD_TROUBLE = frozenset(
    (
        "ContainerCannotStart",
        "CrashLoop",
        "DeadlineExceeded",
        "FailedCreate",
        "ImagePullFailed",
        "OutOfMemory",
        "PodFailed",
        "PodsRefused",
        "ProbeFailing",
        "ProgressDeadlineExceeded",
        "QuotaExceeded",
        "ReplicaFailure",
        "Unschedulable",
    )
)
WATCHED = PROGRESSING | POD_TROUBLE | frozenset(("ConfigurationMissing", "HostTaken"))
# These end when somebody does something, which is an event of its own; of a build, also by its next
# try, whose time is in status.requeueAt.
WAITS_FOR_PEOPLE = frozenset(
    (
        "AbortedByRequest",
        "ApprovalExpired",
        "ApprovalRefused",
        AWAITING_APPROVAL,
        "AwaitingPromotion",
        "BaseImageMissing",
        "BuildFailed",
        "Canceled",
        "ConfirmationMissing",
        "DeletionProtected",
        "DigestLost",
        "DigestRefused",
        "DiskFull",
        "FieldsOwnedByOthers",
        "Frozen",
        "HostFailed",
        "InstanceVanished",
        "InvalidSpec",
        "JobGone",
        "NetworkFailed",
        "NoSuchRollout",
        "NotSupportedByCluster",
        "Paused",
        "PodLost",
        "PushFailed",
        "RegistryDenied",
        "SnapshotFailed",
        "SnapshotImpossible",
        "SourceRefused",
        "SourceUnavailable",
        "StrategyRefused",
        "Suspended",
        "TestFailed",
        "TimedOut",
        "WaitingForImage",
        "WaitingForPush",
    )
)
# A condition with one of these reasons is under way; any other False one is worth a warning.
UNDER_WAY = PROGRESSING | frozenset(
    (
        AWAITING_APPROVAL,
        "AwaitingPromotion",
        "Frozen",
        "Paused",
        "Reconciling",
        "WaitingForImage",
        "WaitingForPush",
    )
)


class StrEnum(str, Enum):
    """Words of a status; each is the string that is stored."""

    def __str__(self) -> str:
        return str(self.value)


class Condition(NamedTuple):
    """What a step found. `reason` is one CamelCase word, `message` a sentence for the developer."""

    type: str
    status: str
    reason: str
    message: str


Conditions = List[Dict[str, Any]]


def set_condition(
    conditions: Iterable[Mapping[str, Any]], new: Condition, *, generation: int, now: dt.datetime
) -> Conditions:
    """The list with `new` in its place (or at the end); others, ours or not, stay as they are."""
    before = [dict(item) for item in untrusted.mappings(list(conditions))]
    old = next((item for item in before if item.get("type") == new.type), None)
    entry = {
        "type": new.type,
        "status": new.status,
        "reason": str(new.reason),
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
    conditions: Iterable[Mapping[str, Any]], order: Mapping[str, str], *, generation: int
) -> Condition:
    """`Ready` from the conditions that are the keys of `order`: the first one that is not True, or
    answers for an older spec, decides. Its values are the messages while a condition is missing.

    A condition that was True for an earlier generation does not count: without that, `kubectl wait`
    would see Ready between the edit of a size and the call that changes it.
    """
    by_type = {
        untrusted.text(item.get("type")): item for item in untrusted.mappings(list(conditions))
    }
    for kind, waiting in order.items():
        item = by_type.get(kind)
        if item is None:
            return Condition(READY, FALSE, "Reconciling", waiting)
        if item.get("status") != TRUE:
            return Condition(
                READY,
                FALSE,
                untrusted.text(item.get("reason"), "Unknown"),
                untrusted.text(item.get("message")),
            )
        if untrusted.integer(item.get("observedGeneration")) < generation:
            return Condition(
                READY, FALSE, "Reconciling", f"{kind} has not observed the latest change yet."
            )
    return Condition(READY, TRUE, READY, "Ready.")


def find(conditions: Iterable[Mapping[str, Any]], kind: str) -> Optional[Mapping[str, Any]]:
    """The condition of that type, if it is there."""
    return next(
        (item for item in untrusted.mappings(list(conditions)) if item.get("type") == kind), None
    )


def condition_in(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of that type in an object's `status`, whatever is written there; empty where
    there is none.
    """
    return find(untrusted.mappings(status.get("conditions")), kind) or {}


def is_true(conditions: Iterable[Mapping[str, Any]], kind: str, *, generation: int = 0) -> bool:
    """Whether it is True, for this generation or a later one."""
    item = find(conditions, kind)
    return bool(
        item
        and item.get("status") == TRUE
        and untrusted.integer(item.get("observedGeneration")) >= generation
    )
