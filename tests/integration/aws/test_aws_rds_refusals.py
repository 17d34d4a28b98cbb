"""What RDS refuses and moto would let through, with the API reference's error codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.clock import ManualClock

VALUE, COMBINATION, STATE = (
    "InvalidParameterValue",
    "InvalidParameterCombination",
    "InvalidDBInstanceState",
)

CREATE: list[tuple[str, dict[str, Any], str, str]] = [
    ("short-password", {"MasterUserPassword": "short"}, VALUE, "shorter than 8 characters"),
    ("no-password", {"MasterUserPassword": None}, VALUE,
     "MasterUserPassword must be provided and must not be blank"),
    ("slash", {"MasterUserPassword": "has/a-slash"}, VALUE,
     "Only printable ASCII characters besides"),
    ("quote", {"MasterUserPassword": 'has"a-quote'}, VALUE,
     "Only printable ASCII characters besides"),
    ("at", {"MasterUserPassword": "has@an-at"}, VALUE, "Only printable ASCII characters besides"),
    ("space", {"MasterUserPassword": "has a space"}, VALUE,
     "Only printable ASCII characters besides"),
    ("long-for-mysql", {"Engine": "mysql", "EngineVersion": "8.0", "MasterUserPassword": "x" * 42},
     VALUE,
     "longer than 41 characters"),
    ("long-for-postgres", {"MasterUserPassword": "x" * 129}, VALUE, "longer than 128 characters"),
    ("no-username", {"MasterUsername": None}, VALUE, "MasterUsername must be provided"),
    ("reserved-username", {"MasterUsername": "rdsadmin"}, VALUE, "reserved word"),
    ("class", {"DBInstanceClass": "db.t3.enormous"}, VALUE,
     "Invalid DB Instance class: db.t3.enormous"),
    ("engine", {"Engine": "oracle9", "EngineVersion": None}, VALUE, "oracle9"),
    ("version", {"EngineVersion": "99.1"}, COMBINATION, "Cannot find version 99.1 for postgres"),
    ("small-gp3", {"AllocatedStorage": 19, "StorageType": "gp3"}, VALUE, "Invalid storage size"),
    ("small-io1", {"AllocatedStorage": 99, "StorageType": "io1", "Iops": 1000}, VALUE,
     "Invalid storage size"),
    ("io1-without-iops", {"AllocatedStorage": 100, "StorageType": "io1"}, COMBINATION,
     "storage size and iops"),
    ("no-storage", {"AllocatedStorage": None}, VALUE, "Invalid storage size"),
    ("retention", {"BackupRetentionPeriod": 36}, VALUE, "between 0 and 35"),
    ("identifier-digit", {"DBInstanceIdentifier": "1db"}, VALUE, "must begin with a letter"),
    ("identifier-hyphens", {"DBInstanceIdentifier": "a--b"}, VALUE, "two consecutive hyphens"),
    ("identifier-end", {"DBInstanceIdentifier": "a-"}, VALUE, "must not end with a hyphen"),
    ("identifier-long", {"DBInstanceIdentifier": "a" * 64}, VALUE, "not a valid identifier"),
    ("subnet-group", {"DBSubnetGroupName": "none"}, "DBSubnetGroupNotFoundFault", "none"),
]  # fmt: skip


@pytest.mark.parametrize(
    "changes, code, message", [case[1:] for case in CREATE], ids=[case[0] for case in CREATE]
)
def test_a_creation_that_rds_refuses(
    rds: Any, create: Callable[..., Any], changes: dict[str, Any], code: str, message: str
) -> None:
    """It is refused by code and reason, and nothing comes of it."""
    with pytest.raises(ClientError, match=message) as caught:
        create(**changes)
    assert caught.value.response["Error"]["Code"] == code
    assert rds.describe_db_instances()["DBInstances"] == []


MODIFY: list[tuple[str, dict[str, Any], str, str]] = [
    ("shrink", {"AllocatedStorage": 49}, COMBINATION, "can't be reduced"),
    (
        "downgrade",
        {"EngineVersion": "16.3"},
        COMBINATION,
        "Cannot upgrade postgres from 16.4 to 16.3",
    ),
    ("major-unasked", {"EngineVersion": "17.4"}, COMBINATION, "AllowMajorVersionUpgrade"),
    ("class", {"DBInstanceClass": "db.x"}, VALUE, "Invalid DB Instance class"),
    ("password", {"MasterUserPassword": "short"}, VALUE, "shorter than 8"),
    ("version", {"EngineVersion": "99"}, COMBINATION, "Cannot find version 99"),
]


@pytest.mark.parametrize(
    "changes, code, message", [case[1:] for case in MODIFY], ids=[case[0] for case in MODIFY]
)
def test_a_change_that_rds_refuses(
    rds: Any,
    create: Callable[..., Any],
    clock: ManualClock,
    changes: dict[str, Any],
    code: str,
    message: str,
) -> None:
    """It is refused whole: what else was asked for is not done either."""
    create(AllocatedStorage=50)
    clock.advance(60)
    with pytest.raises(ClientError, match=message) as caught:
        rds.modify_db_instance(
            DBInstanceIdentifier="db", DeletionProtection=True, ApplyImmediately=True, **changes
        )
    assert caught.value.response["Error"]["Code"] == code
    assert rds.describe_db_instances()["DBInstances"][0]["DeletionProtection"] is False


DELETE: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "both",
        {"SkipFinalSnapshot": True, "FinalDBSnapshotIdentifier": "s"},
        COMBINATION,
        "cannot be specified",
    ),
    (
        "neither",
        {},
        COMBINATION,
        "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.",
    ),
    (
        "bad-name",
        {"FinalDBSnapshotIdentifier": "s-"},
        VALUE,
        "FinalDBSnapshotIdentifier is not a valid identifier",
    ),
    (
        "taken",
        {"FinalDBSnapshotIdentifier": "taken"},
        "DBSnapshotAlreadyExists",
        "taken already exists",
    ),
]


@pytest.mark.parametrize(
    "arguments, code, message", [case[1:] for case in DELETE], ids=[case[0] for case in DELETE]
)
def test_a_deletion_that_rds_refuses(
    rds: Any,
    create: Callable[..., Any],
    clock: ManualClock,
    arguments: dict[str, Any],
    code: str,
    message: str,
) -> None:
    """The instance stays available."""
    create()
    clock.advance(60)
    rds.create_db_snapshot(DBInstanceIdentifier="db", DBSnapshotIdentifier="taken")
    with pytest.raises(ClientError, match=message) as caught:
        rds.delete_db_instance(DBInstanceIdentifier="db", **arguments)
    assert caught.value.response["Error"]["Code"] == code
    assert rds.describe_db_instances()["DBInstances"][0]["DBInstanceStatus"] == "available"


def test_a_protected_instance_is_not_deleted(
    rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """DeletionProtection has to be taken off first."""
    create(DeletionProtection=True)
    clock.advance(60)
    with pytest.raises(ClientError, match="Cannot delete protected DB Instance"):
        rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
    rds.modify_db_instance(DBInstanceIdentifier="db", DeletionProtection=False)
    rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)


@pytest.mark.parametrize("busy", ["creating", "modifying", "deleting"])
def test_a_busy_instance_takes_no_change(
    rds: Any, create: Callable[..., Any], clock: ManualClock, busy: str
) -> None:
    """Modifying, rebooting and snapshots need an available instance; deleting twice is refused."""
    create()
    if busy != "creating":
        clock.advance(60)
    if busy == "modifying":
        rds.modify_db_instance(
            DBInstanceIdentifier="db", DBInstanceClass="db.m5.large", ApplyImmediately=True
        )
    if busy == "deleting":
        rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
    refused = [
        lambda: rds.modify_db_instance(DBInstanceIdentifier="db", AllocatedStorage=50),
        lambda: rds.reboot_db_instance(DBInstanceIdentifier="db"),
        lambda: rds.create_db_snapshot(DBInstanceIdentifier="db", DBSnapshotIdentifier="s"),
    ]
    if busy == "deleting":
        refused.append(
            lambda: rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
        )
    for call in refused:
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == STATE


def test_names_are_taken_once(rds: Any, create: Callable[..., Any], clock: ManualClock) -> None:
    """A second instance or snapshot of a name is refused, also while the first is deleted."""
    create()
    with pytest.raises(rds.exceptions.DBInstanceAlreadyExistsFault):
        create()
    clock.advance(60)
    rds.create_db_snapshot(DBInstanceIdentifier="db", DBSnapshotIdentifier="s")
    with pytest.raises(rds.exceptions.DBSnapshotAlreadyExistsFault):
        rds.create_db_snapshot(DBInstanceIdentifier="db", DBSnapshotIdentifier="s")
    rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
    with pytest.raises(rds.exceptions.DBInstanceAlreadyExistsFault):
        create()


def test_a_snapshot_under_way_is_not_restored_or_deleted(
    rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """Both need it to be available."""
    create()
    clock.advance(60)
    rds.create_db_snapshot(DBInstanceIdentifier="db", DBSnapshotIdentifier="s")
    with pytest.raises(rds.exceptions.InvalidDBSnapshotStateFault):
        rds.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier="db-2", DBSnapshotIdentifier="s"
        )
    with pytest.raises(rds.exceptions.InvalidDBSnapshotStateFault):
        rds.delete_db_snapshot(DBSnapshotIdentifier="s")
