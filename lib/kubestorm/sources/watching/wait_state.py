"""What an object of ours waits for, by its own status, which decides when it is requeued. Pure.

An object that waits for people, or is done, is not requeued; one whose step failed is, with
back-off; one whose progress is watched (RDS, pods, Jobs) only as a backstop; and one whose event
no run has answered (the run may have died) after some minutes.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Mapping, NamedTuple, Optional

from kubestorm.core import untrusted
from kubestorm.core.conditions import (
    AWAITING_APPROVAL,
    POD_TROUBLE,
    READY,
    TRUE,
    WAITS_FOR_PEOPLE,
    WATCHED,
    find,
)
from kubestorm.core.times import parse_time

SETTLED, USER_ACTION, IN_PROGRESS, FAILED, UNANSWERED = (
    "settled",
    "user action",
    "in progress",
    "failed",
    "unanswered",
)
# Reasons for which a deletion waits for people.
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


class WaitState(NamedTuple):
    """`kind` is one of the words above; `at` is `status.requeueAt`."""

    kind: str
    at: Optional[dt.datetime] = None
    reason: str = ""
    """That of the condition Ready."""
    finished: bool = False
    """Whether it has finished, so that no run will act on it again."""

    @property
    def is_settled(self) -> bool:
        """Whether it needs no resync at all."""
        return self.kind == SETTLED and self.at is None


def wait_state(obj: Mapping[str, Any]) -> WaitState:
    """What an object of a kind of ours waits for.

    Source of the conventions: absent conditions read as Unknown; `observedGeneration` behind
    `generation` means that nobody has answered yet ("Typical status properties" in
    kubernetes/community's api-conventions.md).
    """
    status = obj.get("status")
    if not isinstance(status, dict):
        return WaitState(UNANSWERED)
    known = untrusted.mappings(status.get("conditions"))
    ready = find(known, READY) or {}
    reason = untrusted.text(ready.get("reason"))
    kind, at = _kind(obj, status, known, ready), requeue_at(obj)
    finished = kind == SETTLED and at is None and bool(status.get("finishedAt"))
    return WaitState(kind, at, reason, finished)


def _kind(
    obj: Mapping[str, Any], status: Mapping[str, Any], known: Any, ready: Mapping[str, Any]
) -> str:
    metadata = obj["metadata"]
    deleting = bool(metadata.get("deletionTimestamp"))
    reason = untrusted.text(ready.get("reason"))
    generation = metadata.get("generation")
    answers = (status.get("observedGeneration"), ready.get("observedGeneration"))
    # To ask for a deletion counts as a new generation, too.
    if any(is_behind(one, generation) for one in answers):
        return UNANSWERED
    if not deleting and status.get("finishedAt"):
        return SETTLED
    if not deleting and (find(known, "SpecValid") or {}).get("status") == "False":
        return USER_ACTION
    if ready.get("status") == TRUE:
        if deleting:
            return UNANSWERED  # older than the request to delete
        asked = status.get("requestedSnapshot")
        under_way = isinstance(asked, dict) and asked.get("state") in ("Pending", "Creating")
        return IN_PROGRESS if under_way else SETTLED
    if not ready or reason == "Reconciling":
        return UNANSWERED
    if deleting and reason not in WATCHED and reason not in DELETION_WAITS:
        return FAILED  # what kept it from being Ready does not keep a deletion waiting
    if reason in WAITS_FOR_PEOPLE or (reason in POD_TROUBLE and _has_failed_rollout(status)):
        return USER_ACTION
    return IN_PROGRESS if reason in WATCHED else FAILED


def _has_failed_rollout(status: Mapping[str, Any]) -> bool:
    """Whether an Application says that its rollout has failed: only another image helps."""
    rollout = status.get("rollout")
    return isinstance(rollout, dict) and rollout.get("phase") in ("Failed", "Aborted")


def requeue_at(obj: Mapping[str, Any]) -> Optional[dt.datetime]:
    """`status.requeueAt` (RFC 3339); None where there is none."""
    status = untrusted.status(obj)
    # An object that was not written since an upgrade may still hold the former name.
    return parse_time(status.get("requeueAt") or status.get("nextLookAt"))


def is_behind(observed: Any, generation: Any) -> bool:
    """Whether an observed generation is older; False where either is missing or 0."""
    return isinstance(observed, int) and isinstance(generation, int) and 0 < observed < generation
