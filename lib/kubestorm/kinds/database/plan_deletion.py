"""How a Database ends: the steps from the deletion request to the release of the finalizer. Pure.

Retain is the default. Snapshot leaves two snapshots, of which the first was `available` before
anything was deleted. Delete needs the object's name in an annotation; in a namespace that is being
deleted it is carried out as Snapshot, because nobody was asked about this one database.

Each call decides the next step from what is there now, so a run that died is simply repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, NamedTuple, Optional, Union

from kubestorm.clients.rds import ObservedInstance, ObservedSnapshot
from kubestorm.core.naming import CONFIRM_DELETE_ANNOTATION
from kubestorm.kinds.common.approval import EXPIRED, NO_APPROVAL_NEEDED, REFUSED, Approval
from kubestorm.kinds.database.spec import DELETE, RETAIN, SNAPSHOT
from kubestorm.kinds.database.status import Reason

# A snapshot can be made of an instance in these states only. Source: CreateDBSnapshot in the RDS
# API reference.
SNAPSHOT_POSSIBLE = frozenset(("available", "storage-optimization"))
# RDS accepts no requests for the instance in these states; they end by themselves.
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
    """What the decision needs."""

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
    """Whether people approved, where they have to be asked."""
    identifier: str = ""
    """Of the instance, also of one that is gone."""
    manual_identifier: str = ""
    final_identifier: str = ""


class CreateSnapshot(NamedTuple):
    """Create the manual snapshot."""

    message: str
    reason: str = Reason.SNAPSHOTTING


class DeleteInstance(NamedTuple):
    """Delete the instance; `keep`: with a final snapshot, automated backups kept."""

    keep: bool
    message: str
    reason: str = Reason.DELETING


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
            f"RDS instance {instance.identifier} belongs to another owner; not changed.",
        )
    if policy == RETAIN:
        kept = (
            f"RDS instance {instance.identifier} is kept"
            if instance
            else "There is no RDS instance"
        )
        return Finish(
            False,
            False,
            f"{kept}; credentials in Vault and endpoint in Consul are kept.",
        )
    if policy == DELETE and state.annotations.get(CONFIRM_DELETE_ANNOTATION) != state.name:
        message = (
            "deletionPolicy is Delete, which destroys the data permanently. Confirm with: kubectl "
            "annotate "
            f"databases.kubestorm.io {state.name} {CONFIRM_DELETE_ANNOTATION}={state.name}, or "
            "set spec.deletionPolicy "
            "to Snapshot or Retain."
        )
        return Blocked(Reason.CONFIRMATION_MISSING, message)
    if policy == DELETE and not state.approval.is_open:
        return _unapproved(state.approval, state.name)
    if instance is None:
        return _after_instance(state, policy)
    if instance.status == "deleting":
        return WaitFor(
            Reason.DELETING,
            f"Deleting RDS instance {instance.identifier}; this usually takes several minutes.",
        )
    if instance.status in BUSY:
        message = (
            f"RDS instance {instance.identifier} is {instance.status}; the deletion continues "
            "after that."
        )
        return WaitFor(Reason.WAITING_FOR_INSTANCE, message)
    if instance.deletion_protection:
        message = (
            f"Deletion protection is on for RDS instance {instance.identifier}. To continue, turn "
            "it off in AWS: aws rds modify-db-instance --no-deletion-protection "
            f"--db-instance-identifier {instance.identifier}"
        )
        return Blocked(Reason.DELETION_PROTECTED, message)
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
                f"RDS instance {instance.identifier} is {instance.status}, and RDS cannot make a "
                "snapshot in that state. Repair it in AWS, or set spec.deletionPolicy to Retain to "
                "delete this resource only."
            )
            return Blocked(Reason.SNAPSHOT_IMPOSSIBLE, message)
        return CreateSnapshot(
            f"Creating a snapshot of RDS instance {instance.identifier} before it is deleted."
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
            "to have it created again, or set spec.deletionPolicy to Retain."
        )
        return Blocked(Reason.SNAPSHOT_FAILED, message)
    return WaitFor(
        Reason.SNAPSHOTTING,
        f"Creating snapshot {snapshot.identifier}; this usually takes several minutes.",
    )


def _after_instance(state: DeletionState, policy: str) -> Step:
    if policy == DELETE:
        return Finish(
            True,
            True,
            "The instance, its credentials in Vault and its endpoint in Consul are deleted.",
        )
    final, manual = state.final_snapshot, state.manual_snapshot
    if final is not None and final.status not in ("available", "failed"):
        return WaitFor(
            Reason.SNAPSHOTTING,
            f"Creating the final snapshot {final.identifier}; this usually takes several minutes.",
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
            "The RDS instance no longer existed and left no snapshot; credentials stay in Vault.",
        )
    return Finish(True, True, "No RDS instance was created; nothing is left.")


def _unapproved(approval: Approval, name: str) -> Blocked:
    again = (
        f"To ask again: kubectl patch databases.kubestorm.io {name} --subresource=status "
        """--type=merge -p '{"status": {"approval": null}}'"""
    )
    if approval.state == REFUSED:
        return Blocked(
            Reason.APPROVAL_REFUSED,
            f"{approval.by or 'Somebody'} refused the deletion of the data. {again}",
        )
    if approval.state == EXPIRED:
        return Blocked(Reason.APPROVAL_EXPIRED, f"Nobody approved the deletion in time. {again}")
    return Blocked(
        Reason.AWAITING_APPROVAL,
        "Waiting for approval: another person has to approve the deletion of the data.",
    )


def describe_step(step: Step) -> Mapping[str, Any]:
    """A step as data, for an execution's result."""
    values = step._asdict()
    if "reason" in values:
        values["reason"] = str(values["reason"])
    return {"step": type(step).__name__, **values}
