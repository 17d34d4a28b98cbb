"""What differs between a spec and its instance, by RDS's parameter names, and what cannot change.
Pure.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from kubestorm.clients.rds import ObservedInstance
from kubestorm.kinds.database.spec import DISKS, PROVISIONED_IOPS_TYPES, DatabaseSpec, least_ceiling
from kubestorm.kinds.database.status import Reason

LAST_POSTGRES_WITH_TWO_NUMBERS = 9


class Change(NamedTuple):
    """One difference: the field of `spec`, RDS's parameter, from what to what."""

    field: str
    parameter: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.field} from {self.old} to {self.new}"


class Refuse(NamedTuple):
    """Not carried out; a person has to decide. The message names the field and what can be done."""

    reason: str
    message: str
    change: bool = False
    """Only the change is refused: the instance goes on serving as it is."""


# Field of `spec`, RDS's parameter, attribute of both DatabaseSpec and ObservedInstance.
_CHANGEABLE = (
    ("size", "DBInstanceClass", "instance_class"),
    ("storage.sizeGiB", "AllocatedStorage", "storage_gib"),
    ("storage.type", "StorageType", "storage_type"),
    ("storage.iops", "Iops", "iops"),
    ("storage.throughputMiBps", "StorageThroughput", "throughput_mibps"),
    ("storage.maxSizeGiB", "MaxAllocatedStorage", "max_storage_gib"),
    ("multiAZ", "MultiAZ", "multi_az"),
    ("backup.retentionDays", "BackupRetentionPeriod", "backup_retention_days"),
    ("backup.window", "PreferredBackupWindow", "backup_window"),
    ("maintenanceWindow", "PreferredMaintenanceWindow", "maintenance_window"),
    ("deletionProtection", "DeletionProtection", "deletion_protection"),
    ("parameterGroup", "DBParameterGroupName", "parameter_group"),
    ("securityGroups", "VpcSecurityGroupIds", "security_groups"),
    ("monitoring.intervalSeconds", "MonitoringInterval", "monitoring_interval_seconds"),
)


def differences(spec: DatabaseSpec, observed: ObservedInstance) -> Tuple[Change, ...]:
    """What differs and can be changed in place.

    Only what the resource itself states is compared (decision 0066): the pack's defaults choose
    what a new instance is like, and a changed default, or an adoption, must not resize or upgrade
    what already holds data.
    """
    wanted = {
        "storage_gib": max(spec.storage_gib, observed.storage_gib),
        "max_storage_gib": _ceiling(spec, observed),
    }
    changes = []
    for name, parameter, attribute in _CHANGEABLE:
        old, new = getattr(observed, attribute), wanted.get(attribute, getattr(spec, attribute))
        if isinstance(new, tuple):
            old, new = tuple(sorted(old)), tuple(sorted(new))
        if name in spec.stated and new is not None and new != () and not _same(old, new):
            changes.append(Change(name, parameter, old, new))
    if "version" in spec.stated and not version_meets(spec.engine, spec.version, observed.version):
        changes.append(Change("version", "EngineVersion", observed.version, spec.version))
    return tuple(changes)


def modify_parameters(
    spec: DatabaseSpec, changes: Sequence[Change], observed: ObservedInstance
) -> Mapping[str, Any]:
    """What ModifyDBInstance is given for these changes, by RDS's parameter names: the new values,
    and those that RDS requires with them though they stay the same.

    Source: AllowMajorVersionUpgrade, StorageType, Iops and MonitoringRoleArn of ModifyDBInstance in
    the RDS API reference.
    """
    new: Dict[str, Any] = {
        change.parameter: list(change.new) if isinstance(change.new, tuple) else change.new
        for change in changes
    }
    same: Dict[str, Any] = {}
    if new.keys() & {"AllocatedStorage", "Iops", "StorageThroughput", "StorageType"}:
        kind = new.get("StorageType", observed.storage_type)
        size = new.get("AllocatedStorage", observed.storage_gib)
        rules, iops = DISKS.get(kind), new.get("Iops", observed.iops)
        # gp3 reports IOPS that nobody chose, too; what is below the least that can be chosen is not
        # sent back.
        if rules is not None and size >= rules.least_gib and iops and iops >= rules.iops[0]:
            same = {"AllocatedStorage": size, "Iops": iops}
            if kind == "gp3" and observed.throughput_mibps and rules.throughput_mibps:
                chosen = observed.throughput_mibps >= rules.throughput_mibps[0]
                same["StorageThroughput"] = observed.throughput_mibps if chosen else None
    if new.get("MonitoringInterval"):
        same["MonitoringRoleArn"] = spec.monitoring_role_arn
    if "EngineVersion" in new and is_major_upgrade(
        observed.engine, observed.version, new["EngineVersion"]
    ):
        same["AllowMajorVersionUpgrade"] = True
    return {**_given(same), **new}


def create_parameters(spec: DatabaseSpec) -> Mapping[str, Any]:
    """What CreateDBInstance is given, by RDS's parameter names; without identifier, username,
    password and tags.
    """
    monitored = spec.monitoring_interval_seconds != 0
    more = {
        "KmsKeyId": spec.encryption_key,
        "MaxAllocatedStorage": spec.max_storage_gib or None,
        "PreferredBackupWindow": spec.backup_window,
        "PreferredMaintenanceWindow": spec.maintenance_window,
        "MonitoringRoleArn": spec.monitoring_role_arn if monitored else None,
    }
    return {
        **restore_parameters(spec),
        "AllocatedStorage": spec.storage_gib,
        "BackupRetentionPeriod": spec.backup_retention_days,
        "EngineVersion": spec.version,
        "StorageEncrypted": True,
        "DBName": spec.database_name,
        "MonitoringInterval": spec.monitoring_interval_seconds,
        **_given(more),
    }


def restore_parameters(spec: DatabaseSpec) -> Mapping[str, Any]:
    """What both ways to restore are given; the rest of the spec is modified once it is there."""
    more = {
        "Iops": spec.iops,
        "StorageThroughput": spec.throughput_mibps,
        "DBSubnetGroupName": spec.subnet_group,
        "DBParameterGroupName": spec.parameter_group,
        "VpcSecurityGroupIds": list(spec.security_groups) or None,
    }
    return {
        "DBInstanceClass": spec.instance_class,
        "Engine": spec.engine,
        "StorageType": spec.storage_type,
        "MultiAZ": spec.multi_az,
        "PubliclyAccessible": False,
        "AutoMinorVersionUpgrade": True,
        "CopyTagsToSnapshot": True,
        "DeletionProtection": spec.deletion_protection,
        **_given(more),
    }


def _given(values: Mapping[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _ceiling(spec: DatabaseSpec, observed: ObservedInstance) -> Optional[int]:
    """MaxAllocatedStorage for what is asked; RDS is told to stop growing by a ceiling that is the
    disk's own size.
    """
    if spec.max_storage_gib != 0:
        at_ceiling = observed.max_storage_gib is None and _is_at_ceiling(spec, observed)
        return None if at_ceiling else spec.max_storage_gib
    return None if observed.max_storage_gib is None else max(spec.storage_gib, observed.storage_gib)


def version_meets(engine: str, wanted: str, found: str) -> bool:
    """Whether nothing is left to do about the version: it is the one wanted, a minor version of it
    (16 is met by 16.3, not by 1.6), or a later one of the same major version, as RDS's own minor
    upgrades leave it.
    """
    if found == wanted or found.startswith(f"{wanted}."):
        return True
    newer = version_key(found) >= version_key(wanted)
    return newer and not is_major_upgrade(engine, wanted, found)


def version_key(version: str) -> Tuple[int, ...]:
    """A version as numbers, for comparing: `8.0.35` is (8, 0, 35), `11.22-rds.20240418` of extended
    support (11, 22, 20240418); a part that does not begin with a number counts as 0.
    """
    digits = (re.match("[0-9]+", part) for part in version.split("."))
    return tuple(int(found.group()) if found else 0 for found in digits)


def major_of(engine: str, version: str) -> str:
    """`16` of PostgreSQL 16.3 (`9.6` of 9.6.2), `8.0` of MySQL 8.0.35."""
    one = engine == "postgres" and version_key(version)[0] > LAST_POSTGRES_WITH_TWO_NUMBERS
    return ".".join(version.split(".")[: 1 if one else 2])


def is_major_upgrade(engine: str, old: str, new: str) -> bool:
    """Whether RDS wants AllowMajorVersionUpgrade."""
    return version_key(major_of(engine, old)) != version_key(major_of(engine, new))


def refuse_impossible(spec: DatabaseSpec, observed: ObservedInstance) -> Optional[Refuse]:
    """Why AWS could not carry the spec out on this instance; None where it could."""
    if spec.engine != observed.engine:
        message = (
            f"spec.engine: {observed.engine} cannot become {spec.engine}; set it back to "
            f"{observed.engine}, "
            "or create a new Database and move the data."
        )
        return Refuse(Reason.ENGINE_CHANGE_REFUSED, message, change=True)
    shrinks = "storage.sizeGiB" in spec.stated and spec.storage_gib < observed.storage_gib
    if shrinks and not _grew_by_itself(spec, observed):
        return refuse_shrinking(spec, observed)
    if (
        "version" in spec.stated
        and _is_older(spec.version, observed.version)
        and not version_meets(spec.engine, spec.version, observed.version)
    ):
        return _refuse_downgrade(spec, observed)
    too_little = _refuse_performance(spec, observed) or _refuse_ceiling(spec, observed)
    if too_little:
        return too_little
    immutable = (
        ("databaseName", observed.database_name, spec.database_name),
        ("subnetGroup", observed.subnet_group, spec.subnet_group),
        ("encryptionKey", observed.encryption_key, spec.encryption_key),
    )
    for name, old, new in immutable:
        # A key may be given by its id, and is told by its ARN.
        if (
            name in spec.stated
            and new is not None
            and not _same(old, new)
            and not (old or "").endswith(f"/{new}")
        ):
            message = (
                f"spec.{name}: it is {old} and cannot be changed to {new} on an existing instance; "
                f"set it back to {old}."
            )
            return Refuse(Reason.IMMUTABLE_FIELD, message, change=True)
    return None


def _refuse_performance(spec: DatabaseSpec, observed: ObservedInstance) -> Optional[Refuse]:
    """IOPS or throughput that a disk of this type and size cannot have. The parser knows only the
    spec.
    """
    kind = spec.storage_type if "storage.type" in spec.stated else observed.storage_type
    size = (
        max(spec.storage_gib, observed.storage_gib)
        if "storage.sizeGiB" in spec.stated
        else observed.storage_gib
    )
    stated = spec.stated & {"storage.iops", "storage.throughputMiBps"}
    rules = DISKS.get(kind)
    if not stated and not ("storage.type" in spec.stated and kind in PROVISIONED_IOPS_TYPES):
        return None
    if rules is None:
        message = (
            f"spec.{min(stated)}: storage of type {kind} has no IOPS or throughput to choose; set "
            "spec.storage.type: gp3 as well."
        )
        return Refuse(Reason.STORAGE_PERFORMANCE_REFUSED, message, change=True)
    if size < rules.least_gib:
        message = (
            f"spec.storage: {kind} of {size} GiB cannot have the IOPS or throughput in spec; raise "
            "spec.storage.sizeGiB to "
            f"{rules.least_gib} or more, or leave IOPS and throughput to RDS."
        )
        return Refuse(Reason.STORAGE_PERFORMANCE_REFUSED, message, change=True)
    return None


def _refuse_ceiling(spec: DatabaseSpec, observed: ObservedInstance) -> Optional[Refuse]:
    ceiling = spec.max_storage_gib
    size = max(spec.storage_gib if "storage.sizeGiB" in spec.stated else 0, observed.storage_gib)
    if (
        "storage.maxSizeGiB" not in spec.stated
        or not ceiling
        or ceiling == observed.max_storage_gib
        or _is_at_ceiling(spec, observed)
    ):
        return None
    if ceiling >= least_ceiling(size):
        return None
    message = (
        f"spec.storage.maxSizeGiB: {ceiling} GiB is too small for a disk of {size} GiB; give "
        f"{least_ceiling(size)} or "
        "more, or 0 to turn storage autoscaling off."
    )
    return Refuse(Reason.STORAGE_CEILING_REFUSED, message, change=True)


def refuse_shrinking(spec: DatabaseSpec, observed: ObservedInstance) -> Refuse:
    """A disk can only grow."""
    message = (
        f"spec.storage.sizeGiB: RDS cannot shrink storage from {observed.storage_gib} to "
        f"{spec.storage_gib} GiB; set it to {observed.storage_gib} or more, or create a smaller "
        "Database and move the data."
    )
    return Refuse(Reason.STORAGE_SHRINK_REFUSED, message, change=True)


def _is_older(wanted: str, found: str) -> bool:
    """16.3 is older than 16.4; 16 is not, which stands for any of its minor versions."""
    numbers = version_key(wanted)
    return numbers < version_key(found)[: len(numbers)]


def _refuse_downgrade(spec: DatabaseSpec, observed: ObservedInstance) -> Refuse:
    """The advice names only what operations offer: another version would be refused at once."""
    possible = [
        version for version in spec.offered_versions if not _is_older(version, observed.version)
    ]
    advice = (
        f"set it to {' or '.join(possible)}"
        if possible
        else f"ask operations to offer {major_of(spec.engine, observed.version)}"
    )
    message = (
        f"spec.version: RDS cannot downgrade from {observed.version} to {spec.version}; {advice}, "
        "or restore a snapshot taken before the upgrade into a new Database."
    )
    return Refuse(Reason.DOWNGRADE_REFUSED, message, change=True)


def _grew_by_itself(spec: DatabaseSpec, observed: ObservedInstance) -> bool:
    """Storage autoscaling raised it within the ceiling that the resource states, or that the
    instance has (an adopted one brings its own): nobody asked to shrink.
    """
    stated = spec.max_storage_gib if "storage.maxSizeGiB" in spec.stated else None
    return observed.storage_gib <= max(stated or 0, observed.max_storage_gib or 0)


def _is_at_ceiling(spec: DatabaseSpec, observed: ObservedInstance) -> bool:
    """The disk has grown to the ceiling: RDS has nothing left to grow, and reports none."""
    grown = "storage.sizeGiB" in spec.stated and spec.storage_gib < observed.storage_gib
    return grown and observed.storage_gib == spec.max_storage_gib


def is_pending(change: Change, observed: ObservedInstance) -> bool:
    """Whether RDS has accepted the change and is still to carry it out."""
    if change.parameter not in observed.pending:
        return False
    accepted = observed.pending[change.parameter]
    if change.parameter == "EngineVersion":
        # 16 is asked for, and RDS says which of its minor versions that will be.
        return version_meets(observed.engine, str(change.new), str(accepted))
    return _same(accepted, change.new)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, str) and isinstance(new, str):
        return old.lower() == new.lower()  # RDS writes windows and group names in small letters
    return bool(old == new)
