"""How a Database ends: the steps from the deletion request to the release of the finalizer. Pure.

Data outlives mistakes: retain is the default, Snapshot leaves two snapshots of which the first was
seen `available` before anything was deleted, Delete needs the object's name in an annotation, and
in a namespace that is being deleted it is carried out as Snapshot, because nobody was asked about
this one database.

Each call looks at the world as it is and returns the one next step, so that a run that died is
simply run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, NamedTuple, Optional, Union

from kubestorm.clients.rds import ObservedInstance, ObservedSnapshot
from kubestorm.core.conditions import AWAITING_APPROVAL
from kubestorm.core.naming import CONFIRM_DELETE_ANNOTATION
from kubestorm.kinds.common.approval import EXPIRED, NO_APPROVAL_NEEDED, REFUSED, Approval
from kubestorm.kinds.database.spec import DELETE, RETAIN, SNAPSHOT

# A snapshot can be made of an instance in these states only. Source: CreateDBSnapshot in the RDS
# API reference.
SNAPSHOT_POSSIBLE = frozenset(("available", "storage-optimization"))
# Nothing can be asked of the instance while it is in these; they pass by themselves.
BUSY = frozenset(
    (
        "creating",
        "modifying",
        "backing-up",
        "rebooting",
        "upgrading",
        "starting",
        "stopping",
        "renaming",
    )
)


@dataclass(frozen=True)
class DeletionState:
    """All that the decision needs."""

    name: str
    uid: str
    policy: str
    annotations: Mapping[str, str]
    namespace_terminating: bool
    instance: Optional[ObservedInstance]
    manual_snapshot: Optional[ObservedSnapshot]
    final_snapshot: Optional[ObservedSnapshot]
    destroyed_before: bool = False
    """Status says that this object had an instance, so its absence now means that we deleted it."""
    approval: Approval = NO_APPROVAL_NEEDED
    """Whether people have agreed, where they have to be asked."""


class CreateSnapshot(NamedTuple):
    """Make the manual snapshot."""

    message: str


class DeleteInstance(NamedTuple):
    """Delete the instance; `keep`: with a final snapshot, automated backups kept."""

    keep: bool
    message: str


class WaitFor(NamedTuple):
    """AWS is busy."""

    reason: str
    message: str


class Blocked(NamedTuple):
    """A person has to decide; nothing moves until then."""

    reason: str
    message: str


class Finish(NamedTuple):
    """Remove what is to be removed outside RDS and release the finalizer."""

    remove_address: bool
    remove_credentials: bool
    message: str


Step = Union[CreateSnapshot, DeleteInstance, WaitFor, Blocked, Finish]


def effective_policy(policy: str, *, namespace_terminating: bool) -> str:
    """What is carried out: in a namespace that is being deleted, Delete becomes Snapshot."""
    return SNAPSHOT if policy == DELETE and namespace_terminating else policy


def next_step(state: DeletionState) -> Step:
    """The one next thing to do."""
    policy = effective_policy(state.policy, namespace_terminating=state.namespace_terminating)
    instance = state.instance
    if instance is not None and instance.owner_uid != state.uid:
        return Finish(
            False,
            False,
            f"The RDS instance {instance.identifier} is not this Database's and is left alone.",
        )
    if policy == RETAIN:
        kept = f"The RDS instance {instance.identifier}" if instance else "Nothing in RDS"
        return Finish(
            False,
            False,
            f"{kept} is kept, with its credentials in Vault and its address in Consul.",
        )
    if policy == DELETE and state.annotations.get(CONFIRM_DELETE_ANNOTATION) != state.name:
        message = (
            "deletionPolicy is Delete, which destroys the data for ever. Confirm with: kubectl "
            "annotate "
            f"databases.kubestorm.io {state.name} {CONFIRM_DELETE_ANNOTATION}={state.name}, or "
            "set spec.deletionPolicy "
            "to Snapshot or Retain."
        )
        return Blocked("ConfirmationMissing", message)
    if policy == DELETE and not state.approval.is_open:
        return _unapproved(state.approval, state.name)
    if instance is None:
        return _after_instance(state, policy)
    if instance.status == "deleting":
        return WaitFor(
            "Deleting", f"RDS is deleting instance {instance.identifier}; this takes minutes."
        )
    if instance.status in BUSY:
        message = (
            f"RDS says {instance.status} of instance {instance.identifier}; the deletion goes on "
            "after that."
        )
        return WaitFor("WaitingForInstance", message)
    if instance.deletion_protection:
        message = (
            f"Deletion protection is on for instance {instance.identifier}. Turn it off in AWS, "
            "and the deletion goes on: aws rds modify-db-instance --no-deletion-protection "
            f"--db-instance-identifier {instance.identifier}"
        )
        return Blocked("DeletionProtected", message)
    if policy == DELETE:
        return DeleteInstance(
            False,
            f"Deleting instance {instance.identifier} and its automated backups, as confirmed.",
        )
    return _snapshot_first(state, instance)


def _snapshot_first(state: DeletionState, instance: ObservedInstance) -> Step:
    snapshot = state.manual_snapshot
    if snapshot is None:
        if instance.status not in SNAPSHOT_POSSIBLE:
            message = (
                f"RDS says {instance.status} of instance {instance.identifier}, and makes no "
                "snapshot in that state; "
                "operations have to look at it, or set spec.deletionPolicy to Retain to let the "
                "object go."
            )
            return Blocked("SnapshotImpossible", message)
        return CreateSnapshot(
            f"Making a snapshot of instance {instance.identifier} before it is deleted."
        )
    if snapshot.status == "available":
        message = (
            f"Snapshot {snapshot.identifier} is available; deleting {instance.identifier} with a "
            "final one."
        )
        return DeleteInstance(True, message)
    if snapshot.status == "failed":
        message = (
            f"Snapshot {snapshot.identifier} failed, so instance {instance.identifier} is kept. "
            "Delete that snapshot "
            "to have another one made, or set spec.deletionPolicy to Retain."
        )
        return Blocked("SnapshotFailed", message)
    return WaitFor(
        "Snapshotting", f"RDS is making snapshot {snapshot.identifier}; this takes minutes."
    )


def _after_instance(state: DeletionState, policy: str) -> Step:
    if policy == DELETE:
        return Finish(
            True,
            True,
            "The instance is gone, with its credentials in Vault and its address in Consul.",
        )
    final, manual = state.final_snapshot, state.manual_snapshot
    if final is not None and final.status not in ("available", "failed"):
        return WaitFor(
            "Snapshotting",
            f"RDS is making the final snapshot {final.identifier}; this takes minutes.",
        )
    kept = next(
        (item for item in (final, manual) if item is not None and item.status == "available"), None
    )
    if kept is not None:
        return Finish(
            True,
            False,
            f"The data is in snapshot {kept.identifier}; its credentials stay in Vault.",
        )
    if state.destroyed_before:
        return Finish(
            True,
            False,
            "The RDS instance was gone already and left no snapshot; its credentials stay in "
            "Vault.",
        )
    return Finish(True, True, "There was no RDS instance yet; nothing is left behind.")


def _unapproved(approval: Approval, name: str) -> Blocked:
    again = (
        f"To ask again: kubectl patch databases.kubestorm.io {name} --subresource=status "
        """--type=merge -p '{"status": {"approval": null}}'"""
    )
    if approval.state == REFUSED:
        return Blocked(
            "ApprovalRefused",
            f"{approval.by or 'Somebody'} refused the deletion of the data. {again}",
        )
    if approval.state == EXPIRED:
        return Blocked("ApprovalExpired", f"Nobody approved the deletion in time. {again}")
    return Blocked(
        AWAITING_APPROVAL,
        "Waiting for approval: another person has to approve the deletion of the data.",
    )


def describe_step(step: Step) -> Mapping[str, Any]:
    """A step as data, for an execution's result."""
    return {"step": type(step).__name__, **step._asdict()}
