"""What somebody destroyed behind the pack's back: an instance, or its secret."""

from __future__ import annotations

import boto3
import hvac
import pytest


@pytest.fixture
def rds(world):
    """RDS as an administrator."""
    return boto3.client("rds", endpoint_url=world.aws.url, region_name="eu-central-1")


def destroy(world, rds):
    """Delete the instance by hand, with nothing kept."""
    (instance,) = rds.describe_db_instances()["DBInstances"]
    rds.delete_db_instance(
        DBInstanceIdentifier=instance["DBInstanceIdentifier"], SkipFinalSnapshot=True
    )
    world.let_aws_finish()
    assert rds.describe_db_instances()["DBInstances"] == []


def test_a_vanished_instance_is_told_and_replaced_only_when_asked(world, rds):
    """No empty instance by itself; one after the annotation, which is taken away so that it answers
    for one loss.
    """
    world.apply()
    world.until_ready()
    destroy(world, rds)
    for _ in range(2):
        world.reconcile()
        assert world.condition("Ready") == ("False", "InstanceVanished")
        assert rds.describe_db_instances()["DBInstances"] == []
    world.annotate(**{"kubestorm.io/recreate": "orders"})
    world.until_ready()
    assert len(rds.describe_db_instances()["DBInstances"]) == 1
    assert "kubestorm.io/recreate" not in (world.get()["metadata"].get("annotations") or {})
    destroy(world, rds)
    world.reconcile()
    assert world.condition("Ready") == ("False", "InstanceVanished")


def test_a_destroyed_secret_is_made_anew_and_given_to_the_instance(world, rds, vault):
    """Also where the new secret has the version number of the old one: the instance opens with what
    Vault holds.
    """
    world.apply()
    world.until_ready()
    path = f"kubestorm/test/{world.namespace}/orders"
    kv = hvac.Client(url=vault.url, token=vault.root_token).secrets.kv.v2
    kv.delete_metadata_and_all_versions(path)
    world.reconcile()
    world.until_ready()
    password = kv.read_secret_version(path, raise_on_deleted_version=True)["data"]["data"][
        "password"
    ]
    (instance,) = rds.describe_db_instances()["DBInstances"]
    assert world.aws.password_matches(instance["DBInstanceIdentifier"], password)
