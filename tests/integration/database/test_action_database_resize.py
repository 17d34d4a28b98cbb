"""Asking for another size: the resource is changed and never RDS, or a sentence says why not."""

from __future__ import annotations

import boto3
import pytest
import yaml

from tests.integration.database.conftest import ROOT
from tests.kube_fixtures import eventually


def test_a_larger_size_and_disk_are_written_on_the_resource(world, act):
    """RDS follows with the next run; who asked is on the object and in an Event."""
    world.apply(storage={"sizeGiB": 20, "type": "gp3"})
    world.until_ready()
    identifier = world.get()["status"]["instanceIdentifier"]
    succeeded, result = act("database_resize", size="large", storage_gib=40, requested_by="alice")
    assert succeeded, result
    assert result["changed"]
    assert world.get()["spec"]["storage"] == {"sizeGiB": 40, "type": "gp3"}
    assert world.services().rds.describe(identifier).instance_class == "db.t3.small"
    (event,) = [each for each in world.events() if each["reason"] == "ResizeRequested"]
    assert "alice requested spec.size large (was small)" in event["message"]
    assert world.get()["metadata"]["annotations"]["kubestorm.io/requested-by"] == "alice"
    world.until_ready()
    observed = world.services().rds.describe(identifier)
    assert (observed.instance_class, observed.storage_gib) == ("db.m6i.large", 40)


def test_a_size_that_it_has_already_changes_nothing(world, act):
    """Not even the name of who asked."""
    world.apply(size="small")
    before = world.get()
    succeeded, result = act("database_resize", size="small", requested_by="alice")
    assert (succeeded, result["changed"]) == (True, False)
    assert world.get() == before


REFUSED = {
    "not-offered": (
        {"size": "gigantic"},
        "spec.size: 'gigantic' is not offered here; allowed: small, medium",
    ),
    "shrink": ({"storage_gib": 20}, "RDS cannot shrink storage from 40 to 20 GiB"),
    "nothing": ({}, "Give size, storage_gib, or both"),
    "unknown": ({"name": "nobody", "size": "large"}, "databases.kubestorm.io nobody not found"),
    "unknown-kind": (
        {"kind": "things.example.com", "size": "large"},
        "has no things.example.com",
    ),
}


@pytest.mark.parametrize("parameters, says", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_in_a_sentence(world, act, parameters, says):
    """Before anything is written."""
    world.apply(storage={"sizeGiB": 40})
    world.until_ready()
    before = world.get()
    succeeded, result = act("database_resize", **parameters)
    assert not succeeded
    assert says in result["message"]
    assert world.get() == before


def test_a_disk_that_has_grown_by_itself_is_not_asked_to_be_smaller(world, act):
    """The journey would leave it as it is; whoever asks is told instead of being agreed with."""
    world.apply(storage={"sizeGiB": 20, "maxSizeGiB": 100})
    world.until_ready()
    rds = boto3.client("rds", endpoint_url=world.aws.url, region_name="eu-central-1")
    identifier = world.get()["status"]["instanceIdentifier"]
    rds.modify_db_instance(
        DBInstanceIdentifier=identifier, AllocatedStorage=60, ApplyImmediately=True
    )
    world.let_aws_finish()
    succeeded, result = act("database_resize", storage_gib=40)
    assert not succeeded
    assert "cannot shrink storage from 60 to 40 GiB; set it to 60 or more" in result["message"]
    assert world.get()["spec"]["storage"]["sizeGiB"] == 20


def test_limits_of_the_namespace_count_for_whoever_asks(world, act):
    """A chat is no way around what operations allow."""
    world.apply(size="small")
    world.config["database"]["limits"] = [
        {"namespaces": [world.namespace], "sizes": ["small", "medium"]}
    ]
    succeeded, result = act("database_resize", size="huge")
    assert not succeeded
    assert "allowed: small, medium" in result["message"]


def test_one_that_is_being_deleted_is_not_changed(world, act):
    """And what holds it is said."""
    world.apply(deletionPolicy="Delete")
    world.until_ready()
    world.delete()
    world.reconcile()
    succeeded, result = act("database_resize", size="large")
    assert not succeeded
    assert "being deleted (ConfirmationMissing)" in result["message"]


def test_another_kind_is_changed_where_its_own_field_is(world, act):
    """MysqlDb says instance_size at the top level; refusals name that field."""
    crd = yaml.safe_load((ROOT / "examples" / "mysqldb" / "mysqldbs.yaml").read_text())
    world.http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=crd)
    url = f"/apis/mysqldbs.prsn.io/v1/namespaces/{world.namespace}/mysqldbs"
    eventually(lambda: world.http.get(url).is_success, "the kind is served")
    world.config["database"].update(
        yaml.safe_load((ROOT / "examples" / "mysqldb" / "config.yaml").read_text())["database"]
    )
    manifest = yaml.safe_load((ROOT / "examples" / "mysqldb" / "mysqldb.yaml").read_text())
    manifest["metadata"]["namespace"] = world.namespace
    world.http.post(url, json=manifest).raise_for_status()
    asked = {"name": "legacy", "kind": "mysqldbs.mysqldbs.prsn.io"}
    succeeded, result = act("database_resize", size="small", **asked)
    assert succeeded, result
    assert world.http.get(f"{url}/legacy").json()["instance_size"] == "small"
    succeeded, result = act("database_resize", size="gigantic", **asked)
    assert not succeeded
    assert result["message"].startswith("instance_size: 'gigantic' is not offered here")
