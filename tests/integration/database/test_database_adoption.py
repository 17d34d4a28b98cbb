"""Instances that were there before their resource: adopted as they are, or restored from what is
left of them.
"""

from __future__ import annotations

import boto3
import hvac
import pytest


@pytest.fixture
def rds(aws):
    """The plain client of whoever made the instance by hand."""
    return boto3.client("rds", endpoint_url=aws.url, region_name="eu-central-1")


def test_an_adopted_instance_is_tagged_and_otherwise_left_alone(world, rds, vault):
    """Larger than the defaults and of another size: nothing of that is changed until the resource
    asks.
    """
    rds.create_db_instance(
        DBInstanceIdentifier="legacy",
        DBInstanceClass="db.m5.large",
        Engine="postgres",
        EngineVersion="16",
        AllocatedStorage=100,
        MasterUsername="boss",
        MasterUserPassword="by-hand-once",
        BackupRetentionPeriod=0,
    )
    world.let_aws_finish()
    world.apply(size=None, adopt="legacy")
    result = world.reconcile()
    assert result["instance"]["decisions"] == ["Tag"]
    observed = world.services().rds.describe("legacy")
    assert (observed.instance_class, observed.storage_gib) == ("db.m5.large", 100)
    assert observed.owner_uid == world.get()["metadata"]["uid"]
    assert world.condition("Ready") == ("False", "AdoptedCredentialsMissing")
    by_hand = hvac.Client(url=vault.url, token=vault.root_token)
    by_hand.secrets.kv.v2.create_or_update_secret(
        f"kubestorm/test/{world.namespace}/orders", {"username": "boss", "password": "by-hand-once"}
    )
    world.until_ready()
    assert (
        world.services().consul.read_tree(f"kubestorm/test/{world.namespace}/orders/")["username"]
        == "boss"
    )
    assert world.aws.password_matches("legacy", "by-hand-once")


def test_a_disk_that_grew_by_itself_below_its_own_ceiling_is_left(world, rds, vault):
    """The adopted instance brought the ceiling; the growth is told, and a later change is made."""
    rds.create_db_instance(
        DBInstanceIdentifier="legacy-pg",
        DBInstanceClass="db.t3.small",
        Engine="postgres",
        EngineVersion="15",
        AllocatedStorage=50,
        MaxAllocatedStorage=500,
        MasterUsername="boss",
        MasterUserPassword="by-hand-once",
        BackupRetentionPeriod=0,
    )
    world.let_aws_finish()
    by_hand = hvac.Client(url=vault.url, token=vault.root_token)
    by_hand.secrets.kv.v2.create_or_update_secret(
        f"kubestorm/test/{world.namespace}/orders", {"username": "boss", "password": "by-hand-once"}
    )
    wish = {"version": "15", "adopt": "legacy-pg", "storage": {"sizeGiB": 50}}
    world.apply(**wish)
    world.until_ready()
    rds.modify_db_instance(
        DBInstanceIdentifier="legacy-pg", AllocatedStorage=60, ApplyImmediately=True
    )
    world.let_aws_finish()
    world.until_ready()
    assert world.condition("SpecValid") == ("True", "Valid")
    assert world.get()["status"]["storageGiB"] == 60
    world.apply(**wish, size="large")
    world.until_ready()
    observed = world.services().rds.describe("legacy-pg")
    assert (observed.instance_class, observed.storage_gib) == ("db.m6i.large", 60)


def test_a_database_is_restored_from_a_snapshot_and_gets_a_new_password(world, rds):
    """The old password is nobody's any more; the username is the snapshot's. Made by hand, it has
    no tags: operations allow it by its name.
    """
    rds.create_db_instance(
        DBInstanceIdentifier="old",
        DBInstanceClass="db.t3.small",
        Engine="postgres",
        EngineVersion="16",
        AllocatedStorage=20,
        MasterUsername="boss",
        MasterUserPassword="by-hand-once",
        BackupRetentionPeriod=0,
    )
    world.let_aws_finish()
    rds.create_db_snapshot(DBInstanceIdentifier="old", DBSnapshotIdentifier="kept")
    world.let_aws_finish()
    world.config["database"]["limits"] = [{"restore_from": ["kept"]}]
    world.apply(restoreFrom={"snapshot": "kept"})
    assert world.reconcile()["instance"]["decisions"] == ["Create"]
    assert world.condition("Ready") == ("False", "Restoring")
    world.until_ready()
    identifier = world.get()["status"]["instanceIdentifier"]
    credentials = world.services().vault.read(f"kubestorm/test/{world.namespace}/orders")
    assert credentials.username == "boss"
    assert world.aws.password_matches(identifier, credentials.password.reveal())
