"""A Database's status: conditions, reasons, fields, and what RDS's status words mean. Pure."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from kubestorm.clients.rds import ObservedInstance
from kubestorm.core import conditions, untrusted
from kubestorm.core.conditions import FALSE, READY, TRUE, UNDER_WAY, Condition, StrEnum

SPEC_VALID = "SpecValid"
CREDENTIALS_STORED = "CredentialsStored"
INSTANCE_AVAILABLE = "InstanceAvailable"
PUBLISHED = "Published"
ORDER: Mapping[str, str] = {
    SPEC_VALID: "Waiting for the spec to be checked.",
    CREDENTIALS_STORED: "Waiting for Vault.",
    INSTANCE_AVAILABLE: "Waiting for RDS.",
    PUBLISHED: "Waiting for Consul.",
}
"""The conditions that lead to Ready, and the message of Ready while one is not written yet."""


class Reason(StrEnum):
    """Of a Database's conditions and Events. A step that failed has `kinds.common.resource`'s
    reason instead.
    """

    VALID = "Valid"
    INVALID_SPEC = "InvalidSpec"
    STORED = "Stored"
    ADOPTED_CREDENTIALS_MISSING = "AdoptedCredentialsMissing"
    AVAILABLE = "Available"
    PUBLISHED = "Published"
    # The instance is changing.
    BACKING_UP = "BackingUp"
    CREATING = "Creating"
    DELETING = "Deleting"
    INSTANCE_BUSY = "InstanceBusy"
    MODIFYING = "Modifying"
    OPTIMIZING = "Optimizing"
    PENDING_MAINTENANCE = "PendingMaintenance"
    REBOOTING = "Rebooting"
    RESTORING = "Restoring"
    ROTATING_CREDENTIALS = "RotatingCredentials"
    STARTING = "Starting"
    UPGRADING = "Upgrading"
    # There is no instance that this Database may use.
    ADOPTED_INSTANCE_MISSING = "AdoptedInstanceMissing"
    FOREIGN_INSTANCE = "ForeignInstance"
    INSTANCE_BROKEN = "InstanceBroken"
    INSTANCE_VANISHED = "InstanceVanished"
    # The change cannot be made; the instance serves on.
    CHANGE_REFUSED = "ChangeRefused"
    DOWNGRADE_REFUSED = "DowngradeRefused"
    ENGINE_CHANGE_REFUSED = "EngineChangeRefused"
    IMMUTABLE_FIELD = "ImmutableField"
    PARAMETERS_REFUSED = "ParametersRefused"
    RESTORE_REFUSED = "RestoreRefused"
    STORAGE_CEILING_REFUSED = "StorageCeilingRefused"
    STORAGE_PERFORMANCE_REFUSED = "StoragePerformanceRefused"
    STORAGE_SHRINK_REFUSED = "StorageShrinkRefused"
    # It is being deleted.
    APPROVAL_EXPIRED = "ApprovalExpired"
    APPROVAL_REFUSED = "ApprovalRefused"
    AWAITING_APPROVAL = conditions.AWAITING_APPROVAL
    CONFIRMATION_MISSING = "ConfirmationMissing"
    DELETION_PROTECTED = "DeletionProtected"
    FINISHED = "Finished"
    SNAPSHOT_FAILED = "SnapshotFailed"
    SNAPSHOT_IMPOSSIBLE = "SnapshotImpossible"
    SNAPSHOTTING = "Snapshotting"
    WAITING_FOR_INSTANCE = "WaitingForInstance"


# Reasons of SpecValid that only the state of the instance can cause or lift.
CHANGE_REFUSALS = frozenset(
    (
        Reason.CHANGE_REFUSED,
        Reason.DOWNGRADE_REFUSED,
        Reason.ENGINE_CHANGE_REFUSED,
        Reason.IMMUTABLE_FIELD,
        Reason.PARAMETERS_REFUSED,
        Reason.RESTORE_REFUSED,
        Reason.STORAGE_CEILING_REFUSED,
        Reason.STORAGE_PERFORMANCE_REFUSED,
        Reason.STORAGE_SHRINK_REFUSED,
    )
)
VALID = Condition(SPEC_VALID, TRUE, Reason.VALID, "Spec is valid.")

# Source: "Viewing Amazon RDS DB instance status" in the RDS user guide. In these a client can
# connect.
SERVING = frozenset(
    (
        "available",
        "backing-up",
        "storage-optimization",
        "storage-config-upgrade",
        "configuring-enhanced-monitoring",
        "configuring-log-exports",
    )
)
# In these RDS needs a person.
BROKEN = frozenset(
    (
        "failed",
        "restore-error",
        "storage-full",
        "inaccessible-encryption-credentials",
        "incompatible-credentials",
        "incompatible-network",
        "incompatible-option-group",
        "incompatible-parameters",
        "incompatible-restore",
        "insufficient-capacity",
        "stopped",
        "stopping",
    )
)
_REASON_OF_STATUS = {
    "creating": Reason.CREATING,
    "modifying": Reason.MODIFYING,
    "upgrading": Reason.UPGRADING,
    "rebooting": Reason.REBOOTING,
    "backing-up": Reason.BACKING_UP,
    "deleting": Reason.DELETING,
    "starting": Reason.STARTING,
    "resetting-master-credentials": Reason.MODIFYING,
    "storage-optimization": Reason.OPTIMIZING,
}


def busy_reason(instance_status: str) -> Reason:
    """What a condition says while RDS reports this status and nobody can change the instance."""
    return _REASON_OF_STATUS.get(instance_status, Reason.INSTANCE_BUSY)


def creating_message(identifier: str) -> str:
    return f"Creating RDS instance {identifier}; this usually takes 5 to 10 minutes."


def busy_message(observed: ObservedInstance) -> str:
    if observed.status == "creating":
        return creating_message(observed.identifier)
    return f"RDS instance {observed.identifier} is {observed.status}; waiting for `available`."


def unavailable(reason: str, message: str) -> Condition:
    return Condition(INSTANCE_AVAILABLE, FALSE, reason, message)


def available(observed: ObservedInstance) -> Condition:
    """Whether a client can connect now, whatever the spec asks for."""
    if observed.status not in SERVING:
        return unavailable(busy_reason(observed.status), busy_message(observed))
    if not observed.host:
        message = (
            f"RDS instance {observed.identifier} is {observed.status}; its endpoint is not known "
            "yet."
        )
        return unavailable(busy_reason(observed.status), message)
    message = f"Available at {observed.host}:{observed.port}."
    return Condition(INSTANCE_AVAILABLE, TRUE, Reason.AVAILABLE, message)


def instance_fields(
    identifier: str, observed: Optional[ObservedInstance], *, modified: bool
) -> Dict[str, Any]:
    """The fields of status that describe the instance; without one, it is being created."""
    fields: Dict[str, Any] = {"instanceIdentifier": identifier}
    if observed is None:
        # The endpoint is that of an instance that served: until this one does, there is none.
        fields.update(dict.fromkeys(("endpoint", "engineVersion", "storageGiB")))
        return {**fields, "instanceStatus": "creating"}
    fields.update(engineVersion=observed.version, storageGiB=observed.storage_gib)
    fields["instanceStatus"] = "modifying" if modified else observed.status
    if observed.host:
        fields["endpoint"] = {"host": observed.host, "port": observed.port}
    return fields


def is_available(resource: Mapping[str, Any]) -> bool:
    """Whether the instance step found the instance available."""
    condition = conditions.condition_in(untrusted.status(resource), INSTANCE_AVAILABLE)
    return condition.get("status") == TRUE


def has_endpoint(resource: Mapping[str, Any]) -> bool:
    """Whether its instance has served."""
    return bool(untrusted.mapping(untrusted.status(resource).get("endpoint")).get("host"))


def is_progressing(resource: Mapping[str, Any]) -> bool:
    """Whether it is not Ready and nothing is wrong: RDS or a person is at work."""
    ready = conditions.condition_in(untrusted.status(resource), READY)
    return ready.get("status") != TRUE and ready.get("reason") in UNDER_WAY
