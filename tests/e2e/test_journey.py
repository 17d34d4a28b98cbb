"""The main job from end to end: real clients, real processes, the pack's narrow credentials."""

from __future__ import annotations

import pytest

from sandbox.proxy import Weather
from tests.e2e import leaks


def test_a_database_comes_changes_and_goes(world):
    """Applied it becomes Ready, resized it follows, deleted with Snapshot it leaves a snapshot and nothing else."""
    world.apply_example(deletionPolicy="Snapshot", size="small")
    world.wait_until(world.is_ready, "Ready")
    (instance,) = world.instances()
    assert instance["DBInstanceStatus"] == "available"
    small = instance["DBInstanceClass"]
    status = world.database()["status"]
    assert world.environment.aws.password_matches(instance["DBInstanceIdentifier"], world.password())
    published = world.environment.consul_tree("kubestorm/")
    prefix = f"kubestorm/{world.environment.cluster}/default/orders/"
    assert published[prefix + "host"] == status["endpoint"]["host"] == instance["Endpoint"]["Address"]
    assert published[prefix + "port"] == str(instance["Endpoint"]["Port"])
    assert set(published) == {prefix + key for key in ("host", "port", "database", "username", "vault_path")}

    world.apply_example(deletionPolicy="Snapshot", size="large")
    world.wait_until(lambda: world.instances()[0]["DBInstanceClass"] != small, "the larger class")
    world.wait_until(world.is_ready, "Ready again")

    world.environment.delete("kubestorm.io/v1alpha1", "Database", "orders", "default")
    world.wait_until(lambda: world.database() is None, "the resource is gone")
    assert world.instances() == []
    snapshots = world.environment.rds().describe_db_snapshots()["DBSnapshots"]
    assert {snapshot["Status"] for snapshot in snapshots} == {"available"}
    assert world.environment.consul_tree("kubestorm/") == {}
    assert world.password(), "the secret stays while the snapshot exists"


INVALID = {
    "size": ({"size": "gigantic"}, "spec.size"),
    "version": ({"version": "3.23"}, "spec.version"),
    "iops": ({"storage": {"sizeGiB": 20, "type": "gp2", "iops": 3000}}, "spec.storage.iops"),
}


@pytest.mark.parametrize("spec, field", INVALID.values(), ids=INVALID.keys())
def test_an_invalid_resource_gets_a_sentence_and_touches_nothing(world, spec, field):
    """What the schema cannot refuse becomes SpecValid=False with the field; AWS, Vault and Consul are not called."""
    world.apply_example(**spec)
    status, reason, message = world.wait_until(
        lambda: world.condition("SpecValid")[0] == "False" and world.condition("SpecValid"), "SpecValid=False"
    )
    assert (status, reason) == ("False", "InvalidSpec")
    assert field in message
    world.wait_until(lambda: world.condition("Ready")[:2] == ("False", "InvalidSpec"), "Ready=False")
    assert world.instances() == []
    assert world.environment.consul_tree("kubestorm/") == {}
    assert world.environment.vault_paths("kubestorm/") == []


def test_what_the_schema_can_refuse_never_gets_in(world):
    """An unknown engine and storage below the minimum are refused when they are applied, naming the field."""
    for spec, field in (({"engine": "oracle"}, "spec.engine"), ({"storage": {"sizeGiB": 5}}, "spec.storage.sizeGiB")):
        refusal = world.environment.refusal(lambda spec=spec: world.apply_example(**spec))
        assert field in refusal


@pytest.mark.parametrize("service, name", [("aws", "AWS RDS"), ("vault", "Vault"), ("consul", "Consul")])
def test_an_unreachable_service_is_named_and_tried_again(world, service, name):
    """With one service down the condition says which; once it is back the journey ends Ready with nothing lost."""
    with world.environment.proxies[service].bad(Weather.REFUSED):
        world.apply_example()
        world.wait_until(
            lambda: world.condition("Ready")[0] == "False" and name in world.condition("Ready")[2],
            f"{name} in the condition",
        )
    world.wait_until(world.is_ready, "Ready")
    assert len(world.instances()) == 1


def test_the_password_is_nowhere_in_what_the_engine_wrote(world):
    """Database file, logs and API answers hold no form of the password, and the same search finds a planted one."""
    planted = "pl4nted+canary/secret=Zz"
    world.apply_example()
    world.wait_until(world.is_ready, "Ready")
    password = world.password()
    world.engine.client.put("/v1/keys/canary", json={"name": "canary", "value": planted}).raise_for_status()
    answers = [
        (path, world.engine.client.get(f"/v1/{path}", params={"limit": 1000}).content)
        for path in ("executions", "triggerinstances", "ruleenforcements", "rules", "actions", "keys", "packs")
    ]
    answers += [
        (f"executions/{execution['id']}", world.engine.client.get(f"/v1/executions/{execution['id']}").content)
        for execution in world.engine.get("executions", limit=1000)
    ]
    status = [("status", repr(world.database()).encode())]
    world.engine.stop()
    written = [*leaks.files_below(world.engine.data), ("log", world.engine.log_path.read_bytes()), *answers, *status]
    assert {name for name, _form in leaks.find(planted, written)} >= {"keys"}
    assert any(".db" in name or "sqlite" in name for name, _form in leaks.find(planted, written))
    assert list(leaks.find(password, written)) == []
