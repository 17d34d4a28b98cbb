"""A Database becomes an instance, credentials and an address, and ends as its policy says; whatever
happens between.
"""

from __future__ import annotations

import json

import pytest
from kubestorm.core.secrets import make_password


def test_a_database_becomes_ready(world):
    """Credentials, then an instance, then an address; Ready only when all is there."""
    world.apply()
    first = world.reconcile()
    assert first["credentials"]["created"]
    assert first["instance"]["decisions"] == ["Create"]
    assert world.condition("Ready") == ("False", "Creating")
    assert first["publish"] == {"skipped": True}
    world.until_ready()
    status = world.get()["status"]
    assert status["observedGeneration"] == 1
    assert status["vaultPath"] == f"secret/kubestorm/test/{world.namespace}/orders"
    observed = world.services().rds.describe(status["instanceIdentifier"])
    assert (observed.engine, observed.instance_class, observed.storage_gib) == (
        "postgres",
        "db.t3.small",
        20,
    )
    assert world.services().consul.read_tree(status["consulPath"]) == {
        "host": observed.host,
        "port": "5432",
        "database": "orders",
        "username": "dbadmin",
        "vault_path": status["vaultPath"],
    }


def test_the_password_in_vault_opens_the_instance_and_is_nowhere_else(world):
    """Neither in a step's result nor in the object nor in its Events."""
    world.apply()
    results = [world.reconcile()]
    world.until_ready()
    results.append(world.reconcile())
    path = f"kubestorm/test/{world.namespace}/orders"
    password = world.services().vault.read(path).password.reveal()
    assert world.aws.password_matches(world.get()["status"]["instanceIdentifier"], password)
    events = world.http.get(f"/api/v1/namespaces/{world.namespace}/events").json()
    assert password not in json.dumps([results, world.get(), events], default=repr)


def test_a_second_look_changes_nothing(world):
    """Not even a byte of status, so that no watcher wakes."""
    world.apply()
    world.until_ready()
    before = world.get()
    result = world.reconcile()
    assert result["instance"]["decisions"] == []
    assert result["publish"]["written"] == []
    assert world.get()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


@pytest.mark.parametrize("step", ["credentials", "instance", "publish"])
def test_a_run_that_dies_is_finished_by_the_next(world, step):
    """One instance, one password, wherever it died; until its Lease runs out others stay away."""
    world.config["lease"] = {"duration_seconds": 60}
    world.apply()
    world.reconcile(stop_after=step)
    assert "taken" in world.reconcile()
    lease = (
        f"/apis/coordination.k8s.io/v1/namespaces/{world.namespace}/leases/"
        f"{world.get()['metadata']['uid']}"
    )
    world.http.delete(lease).raise_for_status()
    world.until_ready()
    services = world.services()
    assert services.vault.describe(f"kubestorm/test/{world.namespace}/orders")["version"] == 1
    assert len(list(services.rds.list_instances())) == 1


def test_a_larger_size_arrives(world):
    """Ready goes to False with the edit and comes back for the new generation."""
    world.apply()
    world.until_ready()
    world.apply(size="large", storage={"sizeGiB": 40})
    result = world.reconcile()
    assert result["instance"]["decisions"] == ["Modify"]
    assert world.condition("Ready") == ("False", "Modifying")
    world.until_ready()
    status = world.get()["status"]
    assert status["observedGeneration"] == 2
    observed = world.services().rds.describe(status["instanceIdentifier"])
    assert (observed.instance_class, observed.storage_gib) == ("db.m6i.large", 40)


def test_storage_does_not_shrink(world):
    """It is refused before AWS is asked, with what can be done."""
    world.apply(storage={"sizeGiB": 40})
    world.until_ready()
    world.apply(storage={"sizeGiB": 20})
    world.reconcile()
    assert world.condition("Ready") == ("False", "StorageShrinkRefused")


def test_an_invalid_spec_touches_nothing(world):
    """The field and what is offered are in the message; no service is called."""
    world.config["aws"]["endpoint_url"] = world.config["vault"]["url"] = world.config["consul"][
        "url"
    ] = "http://127.0.0.1:1"
    world.apply(size="enormous")
    result = world.reconcile()
    assert all(step == {"skipped": True} for step in result.values())
    assert "error" not in result
    assert world.condition("SpecValid") == ("False", "InvalidSpec")
    assert world.condition("Ready") == ("False", "InvalidSpec")
    message = next(
        c["message"] for c in world.get()["status"]["conditions"] if c["type"] == "Ready"
    )
    assert "spec.size" in message
    assert "small, medium, large, xlarge, huge" in message


@pytest.mark.parametrize(
    "section, key, condition, reason",
    [
        ("vault", "url", "CredentialsStored", "VaultUnavailable"),
        ("aws", "endpoint_url", "InstanceAvailable", "AWSRDSUnavailable"),
    ],
)
def test_a_service_that_is_away_is_named_and_nothing_is_lost(
    world, section, key, condition, reason
):
    """The next run, when it is back, goes on."""
    world.apply()
    there = world.config[section][key]
    world.config[section][key] = "http://127.0.0.1:1"
    assert "error" in world.reconcile()
    assert world.condition(condition) == ("False", reason)
    assert world.condition("Ready") == ("False", reason)
    world.config[section][key] = there
    world.until_ready()


def test_consul_away_keeps_it_from_being_ready(world):
    """The instance is there; only its address is not."""
    world.apply()
    there = world.config["consul"]["url"]
    world.config["consul"]["url"] = "http://127.0.0.1:1"
    for _ in range(3):
        world.reconcile()
        world.let_aws_finish()
    assert world.condition("InstanceAvailable") == ("True", "Available")
    assert world.condition("Ready") == ("False", "ConsulUnavailable")
    world.config["consul"]["url"] = there
    world.until_ready()


def test_a_throttled_call_is_a_condition_and_then_forgotten(world):
    """AWS's refusal for rate is told, and the next look succeeds."""
    world.apply()
    world.aws.throttle_next(1, "CreateDBInstance")
    world.reconcile()
    assert world.condition("InstanceAvailable") == ("False", "AWSRDSUnavailable")
    world.until_ready()


def test_deletion_with_snapshot(world):
    """Manual snapshot, seen available, deletion with a final one; the secret stays, the address
    goes.
    """
    world.apply(deletionPolicy="Snapshot")
    world.until_ready()
    status = world.get()["status"]
    world.delete()
    seen = []
    for _ in range(12):
        result = world.reconcile()
        seen.append(result["teardown"]["step"])
        if world.get() is None:
            break
        world.let_aws_finish()
    assert list(dict.fromkeys(step for step in seen if step != "WaitFor")) == [
        "CreateSnapshot",
        "DeleteInstance",
        "Finish",
    ]
    assert world.get() is None
    services = world.services()
    assert services.rds.describe(status["instanceIdentifier"]) is None
    assert services.consul.read_tree(status["consulPath"]) == {}
    assert services.vault.describe(f"kubestorm/test/{world.namespace}/orders")["version"] == 1


def test_deletion_with_retain_keeps_all(world):
    """The default."""
    world.apply()
    world.until_ready()
    status = world.get()["status"]
    world.delete()
    world.reconcile()
    assert world.get() is None
    services = world.services()
    assert services.rds.describe(status["instanceIdentifier"]).status == "available"
    assert services.consul.read_tree(status["consulPath"])["host"]


def test_destruction_takes_a_second_key(world):
    """Nothing moves without the annotation; with it, nothing is left."""
    world.apply(deletionPolicy="Delete")
    world.until_ready()
    status = world.get()["status"]
    world.delete()
    world.reconcile()
    assert world.condition("Ready") == ("False", "ConfirmationMissing")
    assert world.services().rds.describe(status["instanceIdentifier"]).status == "available"
    world.annotate(**{"kubestorm.io/confirm-delete": "orders"})
    for _ in range(6):
        world.reconcile()
        if world.get() is None:
            break
        world.let_aws_finish()
    assert world.get() is None
    services = world.services()
    assert services.rds.describe(status["instanceIdentifier"]) is None
    assert services.vault.describe(f"kubestorm/test/{world.namespace}/orders") is None
    assert services.consul.read_tree(status["consulPath"]) == {}


def test_an_instance_of_somebody_else_is_left_alone(world):
    """Found under the name with another uid: refused, and not taken down with the object."""
    world.apply()
    world.until_ready()
    identifier = world.get()["status"]["instanceIdentifier"]
    world.delete()
    world.reconcile()  # Retain: the instance stays, with the old uid
    world.apply(deletionPolicy="Snapshot")
    world.reconcile()
    assert world.condition("Ready") == ("False", "ForeignInstance")
    world.delete()
    world.reconcile()
    assert world.get() is None
    assert world.services().rds.describe(identifier).status == "available"


def test_a_changed_secret_is_given_to_the_instance(world):
    """What Vault holds and what opens the instance come together again."""
    world.apply()
    world.until_ready()
    path = f"kubestorm/test/{world.namespace}/orders"
    world.services().vault.write(path, "dbadmin", make_password(), replaces=1)
    assert world.reconcile()["instance"]["decisions"] == ["RotatePassword"]
    world.until_ready()
    password = world.services().vault.read(path).password.reveal()
    assert world.aws.password_matches(world.get()["status"]["instanceIdentifier"], password)
