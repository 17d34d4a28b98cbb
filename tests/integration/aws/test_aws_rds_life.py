"""An RDS instance's life in time, through the unchanged boto3; a minute to provision, on a clock
the tests move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox.aws import AwsServer
from sandbox.clock import ManualClock

MINUTE = 60


def described(rds: Any, name: str = "db") -> dict[str, Any]:
    return rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]


def test_an_instance_becomes_available_and_only_then_has_an_endpoint(
    rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """It is creating, then backing-up, then available; its address is unknown before."""
    seen = [create()]
    for seconds in (47, 1, 12):
        clock.advance(seconds)
        seen.append(described(rds))
    assert [entry["DBInstanceStatus"] for entry in seen] == [
        "creating",
        "creating",
        "backing-up",
        "available",
    ]
    assert [bool(entry.get("Endpoint")) for entry in seen] == [False, False, False, True]
    assert seen[-1]["Endpoint"]["Port"] == 5432


def test_without_backups_there_is_no_first_backup(
    rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """With a retention of 0 days creating leads to available."""
    create(BackupRetentionPeriod=0)
    clock.advance(48)
    assert described(rds)["DBInstanceStatus"] == "available"


def test_the_waiter_and_the_paginator_work(
    rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """boto3's own helpers see instances become available, and all of them."""
    for number in range(25):
        create(f"db-{number}")
    clock.advance(MINUTE)
    rds.get_waiter("db_instance_available").wait(
        DBInstanceIdentifier="db-0", WaiterConfig={"MaxAttempts": 1}
    )
    pages = list(
        rds.get_paginator("describe_db_instances").paginate(PaginationConfig={"PageSize": 20})
    )
    assert [len(page["DBInstances"]) for page in pages] == [20, 5]


def test_a_change_shows_as_pending_until_it_is_applied(
    rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """With ApplyImmediately the instance is modifying for a while, and then has the new values."""
    create()
    clock.advance(MINUTE)
    changed = rds.modify_db_instance(
        DBInstanceIdentifier="db",
        DBInstanceClass="db.m5.large",
        AllocatedStorage=100,
        ApplyImmediately=True,
    )["DBInstance"]
    assert changed["DBInstanceStatus"] == "modifying"
    assert changed["PendingModifiedValues"] == {
        "DBInstanceClass": "db.m5.large",
        "AllocatedStorage": 100,
    }
    assert changed["DBInstanceClass"] == "db.t3.micro"
    clock.advance(MINUTE / 2)
    after = described(rds)
    assert (after["DBInstanceStatus"], after["PendingModifiedValues"]) == ("available", {})
    assert (after["DBInstanceClass"], after["AllocatedStorage"]) == ("db.m5.large", 100)


def test_a_change_for_later_waits_for_the_maintenance_window(
    aws: AwsServer, rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """Without ApplyImmediately the instance stays available with pending values, however long,
    until the window.
    """
    create()
    clock.advance(MINUTE)
    rds.modify_db_instance(
        DBInstanceIdentifier="db", DBInstanceClass="db.m5.large", DeletionProtection=True
    )
    clock.advance(MINUTE * 60)
    waiting = described(rds)
    assert waiting["DBInstanceStatus"] == "available"
    assert waiting["PendingModifiedValues"] == {"DBInstanceClass": "db.m5.large"}
    assert waiting["DeletionProtection"] is True
    aws.run_maintenance()
    clock.advance(MINUTE)
    assert described(rds)["DBInstanceClass"] == "db.m5.large"


def test_a_new_password_is_set_soon_and_never_shown(
    aws: AwsServer, rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """The password changes even without ApplyImmediately; answers have asterisks at most."""
    answers = [create(MasterUserPassword="planted-password-1")]
    clock.advance(MINUTE)
    answers.append(
        rds.modify_db_instance(DBInstanceIdentifier="db", MasterUserPassword="planted-password-2")
    )
    assert answers[1]["DBInstance"]["DBInstanceStatus"] == "resetting-master-credentials"
    assert answers[1]["DBInstance"]["PendingModifiedValues"] == {"MasterUserPassword": "****"}
    assert aws.password_matches("db", "planted-password-1")
    clock.advance(MINUTE)
    answers.append(described(rds))
    assert answers[2]["DBInstanceStatus"] == "available"
    assert aws.password_matches("db", "planted-password-2")
    assert "planted-password" not in repr(answers)


def test_growth_below_a_tenth_is_rounded_up(
    rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """As the API reference says of AllocatedStorage."""
    create(AllocatedStorage=100)
    clock.advance(MINUTE)
    changed = rds.modify_db_instance(
        DBInstanceIdentifier="db", AllocatedStorage=101, ApplyImmediately=True
    )
    assert changed["DBInstance"]["PendingModifiedValues"] == {"AllocatedStorage": 110}


def test_deletion_takes_its_time_and_leaves_the_final_snapshot(
    rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """The instance is deleting, its snapshot creating and then available; then the instance is
    gone.
    """
    create()
    clock.advance(MINUTE)
    rds.delete_db_instance(DBInstanceIdentifier="db", FinalDBSnapshotIdentifier="last")
    assert described(rds)["DBInstanceStatus"] == "deleting"
    assert (
        rds.describe_db_snapshots(DBSnapshotIdentifier="last")["DBSnapshots"][0]["Status"]
        == "creating"
    )
    clock.advance(20)
    assert (
        rds.describe_db_snapshots(DBSnapshotIdentifier="last")["DBSnapshots"][0]["Status"]
        == "available"
    )
    assert described(rds)["DBInstanceStatus"] == "deleting"
    clock.advance(30)
    with pytest.raises(rds.exceptions.DBInstanceNotFoundFault, match="DBInstance db not found"):
        described(rds)
    rds.get_waiter("db_instance_deleted").wait(
        DBInstanceIdentifier="db", WaiterConfig={"MaxAttempts": 1}
    )


def test_an_instance_can_be_deleted_while_it_is_created(
    rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """Without a final snapshot that is allowed, and it does not come back to life."""
    create()
    rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
    clock.advance(10)
    assert described(rds)["DBInstanceStatus"] == "deleting"
    clock.advance(MINUTE * 10)
    assert rds.describe_db_instances()["DBInstances"] == []


def test_a_snapshot_is_restored_into_a_new_instance(
    rds: Any, create: Callable[..., Any], clock: ManualClock
) -> None:
    """The restored instance has the storage and engine of the snapshot, its own id, and its own
    time to wait.
    """
    made = create(AllocatedStorage=50)
    clock.advance(MINUTE)
    rds.create_db_snapshot(DBInstanceIdentifier="db", DBSnapshotIdentifier="snap")
    clock.advance(20)
    rds.get_waiter("db_snapshot_available").wait(
        DBSnapshotIdentifier="snap", WaiterConfig={"MaxAttempts": 1}
    )
    restored = rds.restore_db_instance_from_db_snapshot(
        DBInstanceIdentifier="db-2", DBSnapshotIdentifier="snap"
    )
    assert restored["DBInstance"]["DBInstanceStatus"] == "creating"
    assert restored["DBInstance"]["AllocatedStorage"] == 50
    assert restored["DBInstance"]["DbiResourceId"] != made["DbiResourceId"]
    clock.advance(MINUTE)
    assert described(rds, "db-2")["Endpoint"]["Address"].startswith("db-2.")


@pytest.mark.parametrize("copies", [True, False])
def test_a_snapshot_has_tags_of_its_own(
    rds: Any, create: Callable[..., Any], clock: ManualClock, copies: bool
) -> None:
    """Those it was given; else the instance's of that moment, where the instance copies them."""
    mine, team = [{"Key": "team", "Value": "a"}], [{"Key": "team", "Value": "b"}]
    made = create(Tags=mine, CopyTagsToSnapshot=copies)
    clock.advance(MINUTE)
    for name, given in (("plain", {}), ("given", {"Tags": team})):
        rds.create_db_snapshot(DBInstanceIdentifier="db", DBSnapshotIdentifier=name, **given)
        clock.advance(20)
    rds.add_tags_to_resource(ResourceName=made["DBInstanceArn"], Tags=team)
    rds.delete_db_instance(DBInstanceIdentifier="db", FinalDBSnapshotIdentifier="last")
    clock.advance(MINUTE)
    found = {
        each["DBSnapshotIdentifier"]: each["TagList"]
        for each in rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    }
    assert found == {
        "plain": mine if copies else [],
        "given": team,
        "last": team if copies else [],
    }


@pytest.mark.parametrize(
    "engine, version, full",
    [("postgres", "16", "16.9"), ("mysql", "8.0", "8.0.42"), ("mariadb", None, "11.4.5")],
    ids=["major", "line", "default"],
)
def test_a_part_of_a_version_means_its_newest(
    create: Callable[..., Any], engine: str, version: str | None, full: str
) -> None:
    """RDS fills in the minor version, or the whole of it."""
    assert create(Engine=engine, EngineVersion=version)["EngineVersion"] == full


def test_tags_are_kept_and_changed(rds: Any, create: Callable[..., Any]) -> None:
    """Tags given at creation are shown, and others added later."""
    made = create(Tags=[{"Key": "uid", "Value": "1"}])
    rds.add_tags_to_resource(
        ResourceName=made["DBInstanceArn"], Tags=[{"Key": "team", "Value": "a"}]
    )
    tags = rds.list_tags_for_resource(ResourceName=made["DBInstanceArn"])["TagList"]
    assert sorted(tag["Key"] for tag in tags) == ["team", "uid"]
    assert described(rds)["TagList"] == tags
