"""What an object of ours waits for, by its own status: what will wake it, or when to look again.

Pure. An object that waits for people, or is done, is not looked at again by itself; one whose
step failed is, with back-off; one whose progress is watched (RDS, pods, Jobs) only as a backstop;
and one of which nothing is heard (the run for it died) after some minutes.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Mapping, NamedTuple, Optional

from kubestorm.core import untrusted
from kubestorm.core.conditions import POD_TROUBLE, READY, TRUE, WAITS_FOR_PEOPLE, WATCHED, find
from kubestorm.core.times import parse_time

SETTLED, PEOPLE, WATCH, FAILED, UNHEARD = "settled", "people", "watch", "failed", "unheard"
AWAITING_APPROVAL = "AwaitingApproval"
# What a deletion waits for people for.
DELETION_WAITS = frozenset(
    (
        "ApprovalExpired",
        "ApprovalRefused",
        AWAITING_APPROVAL,
        "ConfirmationMissing",
        "DeletionProtected",
        "SnapshotFailed",
        "SnapshotImpossible",
    )
)


class Expectation(NamedTuple):
    """`what` is one of the words above; `at` is when the object itself asks for a look."""

    what: str
    at: Optional[dt.datetime] = None
    reason: str = ""
    """That of the condition Ready."""
    finished: bool = False
    """Whether it has come to its end and no run will ever do anything about it."""


def expectation(obj: Mapping[str, Any]) -> Expectation:
    """What an object of a kind of ours waits for.

    Source of the conventions: absent conditions read as Unknown; `observedGeneration` behind
    `generation` means that nobody has answered yet ("Typical status properties" in
    kubernetes/community's api-conventions.md).
    """
    status = obj.get("status")
    if not isinstance(status, dict):
        return Expectation(UNHEARD)
    known = untrusted.mappings(status.get("conditions"))
    ready = find(known, READY) or {}
    reason = untrusted.text(ready.get("reason"))
    what, at = _what(obj, status, known, ready), requeue_at(obj)
    finished = what == SETTLED and at is None and bool(status.get("finishedAt"))
    return Expectation(what, at, reason, finished)


def _what(
    obj: Mapping[str, Any], status: Mapping[str, Any], known: Any, ready: Mapping[str, Any]
) -> str:
    metadata = obj["metadata"]
    deleting = bool(metadata.get("deletionTimestamp"))
    reason = untrusted.text(ready.get("reason"))
    generation = metadata.get("generation")
    answers = (status.get("observedGeneration"), ready.get("observedGeneration"))
    # To ask for a deletion counts as a new generation, too.
    if any(is_behind(one, generation) for one in answers):
        return UNHEARD
    if not deleting and status.get("finishedAt"):
        return SETTLED
    if not deleting and (find(known, "SpecValid") or {}).get("status") == "False":
        return PEOPLE
    if ready.get("status") == TRUE:
        if deleting:
            return UNHEARD  # it says so since before the deletion was asked for
        asked = status.get("requestedSnapshot")
        under_way = isinstance(asked, dict) and asked.get("state") in ("Pending", "Creating")
        return WATCH if under_way else SETTLED
    if not ready or reason == "Reconciling":
        return UNHEARD
    if deleting and reason not in WATCHED and reason not in DELETION_WAITS:
        return FAILED  # what kept it from being Ready before keeps no deletion waiting
    if reason in WAITS_FOR_PEOPLE or (reason in POD_TROUBLE and _has_failed_rollout(status)):
        return PEOPLE
    return WATCH if reason in WATCHED else FAILED


def _has_failed_rollout(status: Mapping[str, Any]) -> bool:
    """Whether an Application says that its rollout has failed: only another image helps."""
    rollout = status.get("rollout")
    return isinstance(rollout, dict) and rollout.get("phase") in ("Failed", "Aborted")


def requeue_at(obj: Mapping[str, Any]) -> Optional[dt.datetime]:
    """When the object asks to be looked at (`status.requeueAt`, RFC 3339); None if it does not."""
    return parse_time(untrusted.status(obj).get("requeueAt"))


def is_behind(observed: Any, generation: Any) -> bool:
    """Whether an answer is for an older spec; False where one of the two is not told, or is 0."""
    return isinstance(observed, int) and isinstance(generation, int) and 0 < observed < generation
