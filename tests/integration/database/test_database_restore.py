"""What a Database may begin with: a hostile one names another team's data and has nothing of it."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

THEIRS = "ks-test-team-b-orders"
SNAPSHOT = f"{THEIRS}-by-hand"


@pytest.fixture
def rds(aws):
    """An administrator's client."""
    return boto3.client("rds", endpoint_url=aws.url, region_name="eu-central-1")


@pytest.fixture
def theirs(world, rds):
    """The instance orders of another team as the pack makes it, with a manual snapshot and the one
    that RDS takes by itself.
    """
    tags = {
        "kubestorm.io/cluster": "test",
        "kubestorm.io/namespace": "team-b",
        "kubestorm.io/name": "orders",
        "kubestorm.io/uid": "77777777-2222-3333-4444-555555555555",
    }
    rds.create_db_instance(
        DBInstanceIdentifier=THEIRS, DBInstanceClass="db.t3.small", Engine="postgres",
        EngineVersion="16", AllocatedStorage=20, MasterUsername="boss",
        MasterUserPassword="by-hand-once", BackupRetentionPeriod=7, CopyTagsToSnapshot=True,
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )  # fmt: skip
    world.let_aws_finish()
    rds.create_db_snapshot(DBInstanceIdentifier=THEIRS, DBSnapshotIdentifier=SNAPSHOT)
    world.let_aws_finish()
    (automated,) = rds.describe_db_snapshots(SnapshotType="automated")["DBSnapshots"]
    return {
        "snapshot": {"snapshot": SNAPSHOT},
        "snapshot in another case": {"snapshot": SNAPSHOT.upper()},
        "automated snapshot": {"snapshot": automated["DBSnapshotIdentifier"]},
        "snapshot by its ARN": {
            "snapshot": f"arn:aws:rds:eu-central-1:123456789012:snapshot:{SNAPSHOT}"
        },
        "point in time": {"pointInTime": {"sourceInstance": THEIRS}},
    }


def made(recorder) -> list[str]:
    """What the pack has asked AWS to make."""
    return [
        call["Action"]
        for call in recorder.calls
        if call["Action"].startswith(("Create", "Restore", "Modify"))
    ]


def told(world, kind: str = "SpecValid") -> dict[str, Any]:
    """A condition with its message."""
    conditions: list[dict[str, Any]] = world.get()["status"]["conditions"]
    return next(each for each in conditions if each["type"] == kind)


@pytest.mark.parametrize(
    "source",
    [
        "snapshot",
        "snapshot in another case",
        "automated snapshot",
        "snapshot by its ARN",
        "point in time",
    ],
)
def test_another_namespaces_data_is_not_restored(world, recorder, theirs, source):
    """Refused at every look, in a sentence with its field, before AWS is asked for anything."""
    world.apply(restoreFrom=theirs[source], parameters={"work_mem": "4096"})
    for _ in range(2):
        assert world.reconcile()["instance"]["decisions"] == ["Refuse"]
        assert world.condition("SpecValid") == ("False", "RestoreRefused")
        assert world.condition("Ready") == ("False", "RestoreRefused")
        field = "pointInTime.sourceInstance" if source == "point in time" else "snapshot"
        assert told(world)["message"].startswith(f"spec.restoreFrom.{field}: ")
        assert "restore_from in database.limits" in told(world)["message"]
    assert made(recorder) == []


@pytest.mark.parametrize("source", ["snapshot", "point in time"])
def test_operations_allow_another_namespaces_data(world, theirs, source):
    """By a pattern of names, in the entry of the namespace; what was refused before goes on."""
    world.apply(restoreFrom=theirs[source])
    world.reconcile()
    assert world.condition("Ready") == ("False", "RestoreRefused")
    elsewhere = {"namespaces": ["elsewhere"], "restore_from": ["*"]}
    world.config["database"]["limits"] = [elsewhere]
    world.reconcile()
    assert world.condition("Ready") == ("False", "RestoreRefused")
    here = {"namespaces": [world.namespace], "restore_from": ["ks-test-team-b-*"]}
    world.config["database"]["limits"] = [elsewhere, here]
    world.until_ready()
    assert world.condition("SpecValid") == ("True", "Valid")


def test_what_is_of_the_namespace_is_restored(world, recorder):
    """A snapshot that was asked for, and a point in time of a living instance."""
    world.apply()
    world.until_ready()
    source = world.get()["status"]["instanceIdentifier"]
    world.annotate(**{"kubestorm.io/snapshot": "before"})
    for _ in range(2):
        world.reconcile()
        world.let_aws_finish()
    snapshot = world.get()["status"]["requestedSnapshot"]["identifier"]
    world.apply("again", restoreFrom={"snapshot": snapshot})
    world.until_ready("again")
    world.apply("copy", restoreFrom={"pointInTime": {"sourceInstance": source}})
    world.until_ready("copy")
    assert [each for each in made(recorder) if each.startswith("Restore")] == [
        "RestoreDBInstanceFromDBSnapshot",
        "RestoreDBInstanceToPointInTime",
    ]


def test_after_a_loss_a_refused_source_can_be_put_right(world, rds, theirs):
    """The loss was answered by restoring; another source goes on with that answer at once."""
    world.apply()
    world.until_ready()
    own = world.get()["status"]["instanceIdentifier"]
    rds.delete_db_instance(DBInstanceIdentifier=own, FinalDBSnapshotIdentifier="kept")
    world.let_aws_finish()
    world.reconcile()
    assert world.condition("Ready") == ("False", "InstanceVanished")
    world.apply(restoreFrom=theirs["snapshot"])
    for _ in range(2):
        world.reconcile()
        assert world.condition("Ready") == ("False", "RestoreRefused")
    world.apply(restoreFrom={"snapshot": "kept"})
    world.reconcile()
    assert world.condition("Ready") == ("False", "Restoring")
    world.until_ready()
