"""What RDS accepts, as functions from a request to a refusal.

Nothing here knows moto or the time. The limits are those of the RDS API reference
(CreateDBInstance, ModifyDBInstance, DeleteDBInstance) and of the user guide's pages on storage and
on instance classes; the lists of versions and classes are the recent ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

MYSQL, MARIADB, POSTGRES = "mysql", "mariadb", "postgres"
# Engines whose whole life is timed and checked here; what moto knows beyond these it answers by
# itself.
ENGINES = (MYSQL, MARIADB, POSTGRES)

ENGINE_VERSIONS: Mapping[str, tuple[str, ...]] = {
    # 5.6.23 is of 2015 and offered to nobody new; platforms of that time have instances of it.
    MYSQL: ("5.6.23", "8.0.36", "8.0.39", "8.0.40", "8.0.41", "8.0.42", "8.4.3", "8.4.4", "8.4.5"),
    MARIADB: ("10.5.27", "10.6.20", "10.6.21", "10.11.10", "10.11.11", "11.4.4", "11.4.5"),
    POSTGRES: (
        *("13.18", "13.20", "14.15", "14.17", "15.7", "15.10", "15.12"),
        *("16.3", "16.4", "16.6", "16.8", "16.9", "17.2", "17.4", "17.5"),
    ),
}
DEFAULT_VERSION: Mapping[str, str] = {MYSQL: "8.0.42", MARIADB: "11.4.5", POSTGRES: "17.4"}
LICENSES: Mapping[str, str] = {
    MYSQL: "general-public-license",
    MARIADB: "general-public-license",
    POSTGRES: "postgresql-license",
}
# The most characters a master password (limits of CreateDBInstance) and a master user name may
# have.
MAX_PASSWORD: Mapping[str, int] = {MYSQL: 41, MARIADB: 41, POSTGRES: 128}
MAX_USERNAME: Mapping[str, int] = {MYSQL: 16, MARIADB: 16, POSTGRES: 63}
MIN_PASSWORD = 8
RESERVED_USERNAMES = frozenset({"rdsadmin", "rdsrepladmin", "root", "admin_rds"})

_SIZES = (
    "micro",
    "small",
    "medium",
    "large",
    "xlarge",
    "2xlarge",
    "4xlarge",
    "8xlarge",
    "12xlarge",
    "16xlarge",
    "24xlarge",
)
_BURSTABLE = dict.fromkeys(("t3", "t4g"), _SIZES[:6])
_STANDARD = dict.fromkeys(
    ("m5", "m6g", "m6i", "m7g", "m7i", "m8g", "r5", "r6g", "r6i", "r7g", "r7i", "r8g"), _SIZES[3:]
)
INSTANCE_CLASSES = frozenset(
    f"db.{f}.{s}" for f, sizes in {**_BURSTABLE, **_STANDARD}.items() for s in sizes
)

# Least and most GiB, by storage type, for the three engines.
STORAGE_LIMITS: Mapping[str, tuple[int, int]] = {
    "gp2": (20, 65536),
    "gp3": (20, 65536),
    "io1": (100, 65536),
    "io2": (100, 65536),
    "standard": (5, 3072),
}
IOPS_LIMITS: Mapping[str, tuple[int, int]] = {
    "gp3": (12000, 64000),
    "io1": (1000, 256000),
    "io2": (1000, 256000),
}
# Below this size gp3 has 3,000 IOPS and 125 MiB/s, and nothing to choose.
GP3_CHOICE_GIB = 400
MAX_RETENTION_DAYS = 35

_IDENTIFIER = re.compile(r"[a-zA-Z](?:-?[a-zA-Z0-9])*")
_IDENTIFIER_RULE = (
    "Identifiers must begin with a letter; must contain only ASCII letters, digits, and hyphens; "
    "and must not end with a hyphen or contain two consecutive hyphens."
)


class Refusal(Exception):
    """A request RDS turns down: the error code of the API reference and its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> Refusal:
    """InvalidParameterValue, the code for a value that is wrong by itself."""
    return Refusal("InvalidParameterValue", message)


def contradictory(message: str) -> Refusal:
    """InvalidParameterCombination, the code for values that do not fit each other or the instance."""
    return Refusal("InvalidParameterCombination", message)


class InstanceShape(NamedTuple):
    """What of an existing instance decides whether a change is allowed."""

    engine: str
    engine_version: str
    allocated_storage: int
    storage_type: str
    iops: int | None = None
    throughput: int | None = None


def check_identifier(parameter: str, value: str | None, longest: int = 63) -> None:
    """Refuse a name RDS would not take. `longest` is 63 for instances and 255 for snapshots."""
    if not value:
        raise invalid(f"The parameter {parameter} must be provided and must not be blank.")
    if len(value) > longest or not _IDENTIFIER.fullmatch(value):
        raise invalid(f"The parameter {parameter} is not a valid identifier. {_IDENTIFIER_RULE}")


def check_password(engine: str, password: str | None) -> None:
    """Refuse a master password that is missing, too short, too long, or has one of the characters /
    @ " or space.
    """
    if not password:
        raise invalid("The parameter MasterUserPassword must be provided and must not be blank.")
    problem = "The parameter MasterUserPassword is not a valid password"
    if len(password) < MIN_PASSWORD:
        raise invalid(f"{problem} because it is shorter than {MIN_PASSWORD} characters.")
    if len(password) > MAX_PASSWORD[engine]:
        raise invalid(f"{problem} because it is longer than {MAX_PASSWORD[engine]} characters.")
    if any(not "!" <= character <= "~" or character in '/@"' for character in password):
        raise invalid(
            f"{problem}. Only printable ASCII characters besides '/', '@', '\"', ' ' may be used."
        )


def check_username(engine: str, username: str | None) -> None:
    """Refuse a master user name that is missing, malformed, too long or reserved."""
    if not username:
        raise invalid("The parameter MasterUsername must be provided and must not be blank.")
    if len(username) > MAX_USERNAME[engine] or not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", username):
        raise invalid(
            "The parameter MasterUsername is not a valid identifier: it must begin with a letter, "
            f"contain only letters, digits and underscores, and have at most {MAX_USERNAME[engine]} characters."
        )
    if username.lower() in RESERVED_USERNAMES:
        raise invalid(
            f"MasterUsername {username} cannot be used as it is a reserved word used by the engine"
        )


def check_class(instance_class: str | None) -> None:
    """Refuse an instance class that RDS does not offer."""
    if instance_class not in INSTANCE_CLASSES:
        raise invalid(f"Invalid DB Instance class: {instance_class}")


def resolve_version(engine: str, version: str | None) -> str:
    """The full version: the default without one, the newest of a line when only the line is named
    (16, 8.0).
    """
    if version is None:
        return DEFAULT_VERSION[engine]
    matching = [
        known
        for known in ENGINE_VERSIONS[engine]
        if known == version or known.startswith(version + ".")
    ]
    if not matching:
        raise contradictory(f"Cannot find version {version} for {engine}")
    return version if version in matching else matching[-1]


def check_storage(
    engine: str,
    storage_type: str,
    size: int | None,
    iops: int | None,
    throughput: int | None = None,
) -> None:
    """Refuse a size outside the storage type's limits, and IOPS or throughput that are missing or
    not allowed.
    """
    limits = STORAGE_LIMITS.get(storage_type)
    if limits is None:
        raise invalid(f"Invalid storage type: {storage_type}")
    if size is None or not limits[0] <= size <= limits[1]:
        raise invalid(
            f"Invalid storage size for engine name {engine} and storage type {storage_type}: {size}"
        )
    if storage_type in ("io1", "io2") and not iops:
        raise contradictory(
            f"You must specify both a storage size and iops when using storage type {storage_type}."
        )
    if iops and storage_type in ("gp2", "standard"):
        raise contradictory(f"You can't specify IOPS for the storage type {storage_type}.")
    if throughput and storage_type != "gp3":
        raise contradictory(
            f"You can't specify storage throughput for the storage type {storage_type}."
        )
    if storage_type == "gp3" and (iops or throughput) and size < GP3_CHOICE_GIB:
        what = f"engine {engine} and a storage size less than {GP3_CHOICE_GIB}"
        raise contradictory(f"You can't specify IOPS or storage throughput for {what}.")
    low, high = IOPS_LIMITS.get(storage_type, (0, 0))
    if iops and not low <= iops <= high:
        raise contradictory(
            f"IOPS must be between {low} and {high} for the storage type {storage_type}: {iops}"
        )
    if iops and throughput and throughput * 4 > iops:
        raise contradictory("The storage throughput to IOPS ratio must be no more than 0.25.")


def check_ceiling(size: int, ceiling: int | None) -> None:
    """Refuse a ceiling of storage autoscaling that is not a tenth above the disk; its own size
    turns it off.
    """
    if ceiling is not None and ceiling != size and ceiling * 10 < size * 11:
        raise contradictory(
            f"Max storage size {ceiling} must be at least 10% greater than the storage size {size}."
        )


def check_monitoring(interval: int | None, role: str | None) -> None:
    """Refuse readings that nobody may write."""
    if interval and not role:
        raise contradictory(
            "A MonitoringRoleARN value is required if you specify a MonitoringInterval value other than 0."
        )


def check_retention(days: int | None) -> None:
    """Refuse a backup retention outside 0 to 35 days."""
    if days is not None and not 0 <= days <= MAX_RETENTION_DAYS:
        raise invalid(
            f"Invalid backup retention period: {days}. Retention period must be between 0 and {MAX_RETENTION_DAYS}."
        )


def check_create(request: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse a CreateDBInstance (snake-case keys) that RDS would.

    Return what it fills in where the request is silent.
    """
    check_identifier("DBInstanceIdentifier", request.get("db_instance_identifier"))
    check_class(request.get("db_instance_class"))
    engine = request["engine"]
    version = resolve_version(engine, request.get("engine_version"))
    check_username(engine, request.get("master_username"))
    if request.get("manage_master_user_password"):
        if request.get("master_user_password"):
            raise contradictory(
                "You can't specify MasterUserPassword when ManageMasterUserPassword is turned on."
            )
    else:
        check_password(engine, request.get("master_user_password"))
    storage_type = request.get("storage_type") or ("io1" if request.get("iops") else "gp2")
    size = request.get("allocated_storage")
    check_storage(
        engine, storage_type, size, request.get("iops"), request.get("storage_throughput")
    )
    check_ceiling(size or 0, request.get("max_allocated_storage"))
    check_retention(request.get("backup_retention_period"))
    return {
        "engine_version": version,
        "storage_type": storage_type,
        "license_model": request.get("license_model") or LICENSES[engine],
    }


def check_modify(current: InstanceShape, request: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse a ModifyDBInstance that RDS would; return the values it rounds or completes.

    Storage never shrinks, and grows by a tenth at least: a smaller step is rounded up, as the API
    reference says.
    """
    changed: dict[str, Any] = {}
    if "db_instance_class" in request:
        check_class(request["db_instance_class"])
    if request.get("master_user_password") is not None:
        check_password(current.engine, request["master_user_password"])
    check_retention(request.get("backup_retention_period"))
    if request.get("new_db_instance_identifier"):
        check_identifier("NewDBInstanceIdentifier", request["new_db_instance_identifier"])
    if request.get("engine_version"):
        changed["engine_version"] = _check_upgrade(current, request)
    changed.update(_check_growth(current, request))
    return changed


def check_delete(skip_final_snapshot: bool, final_snapshot: str | None) -> None:
    """Refuse a DeleteDBInstance that asks for both or neither of a final snapshot and none."""
    if skip_final_snapshot and final_snapshot:
        raise contradictory(
            "FinalDBSnapshotIdentifier cannot be specified when SkipFinalSnapshot is true."
        )
    if not skip_final_snapshot and not final_snapshot:
        raise contradictory(
            "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
        )
    if final_snapshot:
        check_identifier("FinalDBSnapshotIdentifier", final_snapshot, longest=255)


def _check_upgrade(current: InstanceShape, request: Mapping[str, Any]) -> str:
    target = resolve_version(current.engine, request["engine_version"])
    known = ENGINE_VERSIONS[current.engine]
    if known.index(target) < known.index(current.engine_version):
        raise contradictory(
            f"Cannot upgrade {current.engine} from {current.engine_version} to {target}"
        )
    next_major = _line(current.engine, target) != _line(current.engine, current.engine_version)
    if next_major and not request.get("allow_major_version_upgrade"):
        raise contradictory(
            "The AllowMajorVersionUpgrade flag must be present when upgrading to a new major version."
        )
    return target


def _line(engine: str, version: str) -> str:
    """What counts as the major version: the first number of PostgreSQL, the first two of the
    others.
    """
    return ".".join(version.split(".")[: 1 if engine == POSTGRES else 2])


def _check_growth(current: InstanceShape, request: Mapping[str, Any]) -> dict[str, Any]:
    if not {"allocated_storage", "storage_type", "iops", "storage_throughput"} & set(request):
        return {}
    size = request.get("allocated_storage") or current.allocated_storage
    storage_type = request.get("storage_type") or current.storage_type
    same = storage_type == current.storage_type
    iops = request.get("iops") or (current.iops if same else None)
    throughput = request.get("storage_throughput") or (current.throughput if same else None)
    if size < current.allocated_storage:
        raise contradictory(
            "Invalid storage size: the allocated storage can't be reduced "
            f"(requested {size} GiB, allocated {current.allocated_storage} GiB)."
        )
    if size > current.allocated_storage:
        size = max(size, -(-current.allocated_storage * 11 // 10))
    check_storage(current.engine, storage_type, size, iops, throughput)
    return {"allocated_storage": size} if "allocated_storage" in request else {}
