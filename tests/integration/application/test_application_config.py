"""Consul's configuration, Vault's secrets and a Database's credentials on their way to the pods."""

from __future__ import annotations

import base64
import json
from typing import Any

from kubestorm.kinds.database.commands import DATABASES

PASSWORD = "s3cret-Canary"


def pod_hash(world) -> str:
    found = world.get("deployments")
    return found["spec"]["template"]["metadata"]["annotations"]["kubestorm.io/config-hash"]


def values(world, plural: str, name: str) -> dict[str, str]:
    """The contents of a ConfigMap or a Secret."""
    found = world.get(plural, name)
    data = found.get("data") or {}
    return (
        {key: base64.b64decode(value).decode() for key, value in data.items()}
        if plural == "secrets"
        else data
    )


def database(world, *, serves: bool) -> None:
    """A Database as its own journey would leave it."""
    url = f"/apis/kubestorm.io/v1alpha1/namespaces/{world.namespace}/databases"
    body = {
        "apiVersion": "kubestorm.io/v1alpha1",
        "kind": "Database",
        "metadata": {"name": "orders"},
        "spec": {"engine": "postgres"},
    }
    world.http.post(url, json=body)
    status = "True" if serves else "False"
    told = [("CredentialsStored", "True"), ("Published", status), ("Ready", status)]
    conditions = [
        {"type": kind, "status": each, "reason": "Creating", "message": "RDS creates it."}
        for kind, each in told
    ]
    services = world.services()
    services.kube.patch_status(DATABASES, "orders", {"conditions": conditions}, world.namespace)
    services.close()


def publish(world, kv, password: str = PASSWORD) -> None:
    """Address and credentials, where a Database's journey puts them."""
    for key, value in (
        ("host", "db.example.com"),
        ("port", "5432"),
        ("database", "orders"),
        ("username", "dbadmin"),
    ):
        kv.key(f"{world.own}/orders/{key}", value)
    kv.secret(f"{world.own}/orders", username="dbadmin", password=password)


def test_configuration_and_secrets_reach_the_pods_and_changes_roll_them(world, kv):
    """By a hash in the template; a look that finds nothing new leaves the pods alone."""
    kv.key(f"{world.own}/flags/log-level", "info")
    kv.secret(f"{world.own}/stripe", key=PASSWORD)
    world.apply(
        config=[{"prefix": f"{world.own}/flags"}],
        secrets=[{"path": f"{world.own}/stripe", "envPrefix": "STRIPE_"}],
    )
    world.want_image()
    results = world.reconcile()
    assert results["configuration"]["versions"] == {f"{world.own}/stripe": 1}
    assert values(world, "configmaps", "cart-config") == {"LOG_LEVEL": "info"}
    assert values(world, "secrets", "cart-secrets") == {"STRIPE_KEY": PASSWORD}
    seen = [pod_hash(world)]
    world.reconcile()
    assert pod_hash(world) == seen[0]
    kv.key(f"{world.own}/flags/log-level", "debug")
    world.reconcile()
    seen.append(pod_hash(world))
    kv.secret(f"{world.own}/stripe", key="another")
    world.reconcile()
    seen.append(pod_hash(world))
    assert len(set(seen)) == 3
    assert world.get()["status"]["secretVersions"] == {f"{world.own}/stripe": 2}
    assert "requeueAt" not in world.get()["status"], "one pass looks at all Applications"


def test_a_folder_of_the_consul_ui_is_passed_over(world, kv):
    """The prefix's own, and one below it."""
    kv.key(f"{world.own}/f2/", "")
    kv.key(f"{world.own}/f2/sub/", "")
    kv.key(f"{world.own}/f2/log-level", "info")
    world.apply(config=[{"prefix": f"{world.own}/f2/"}])
    world.want_image()
    world.reconcile()
    assert world.condition("Applied")[0] == "True"
    assert values(world, "configmaps", "cart-config") == {"LOG_LEVEL": "info"}


def test_bytes_in_consul_are_a_file_as_they_are_and_no_variable(world, kv):
    """In binaryData, also where text was before; as a variable it is refused."""
    wish = {"key": f"{world.own}/key.p12", "file": "/etc/cart/key.p12"}
    kv.key(wish["key"], "a text at first")
    world.apply(config=[wish])
    world.want_image()
    world.reconcile()
    assert values(world, "configmaps", "cart-files") == {"etc.cart.key.p12": "a text at first"}
    before = pod_hash(world)
    kv.key(wish["key"], bytes(range(256)))
    world.reconcile()
    found = world.get("configmaps", "cart-files")
    assert not found.get("data")
    assert base64.b64decode(found["binaryData"]["etc.cart.key.p12"]) == bytes(range(256))
    assert pod_hash(world) != before
    world.apply(config=[{"key": f"{world.own}/key.p12", "env": "KEY"}])
    world.reconcile()
    status, reason, message = world.condition("Applied")
    assert (status, reason) == ("False", "ConfigurationMissing")
    assert "is not text, which a variable has to be; read it as a file." in message


def test_null_in_a_secret_is_absent(world, kv):
    """Of a whole secret it gives no variable; asked for by its key, it is waited for."""
    kv.secret(f"{world.own}/stripe", key=PASSWORD, old=None, retries=3)
    world.apply(secrets=[{"path": f"{world.own}/stripe"}])
    world.want_image()
    world.reconcile()
    assert values(world, "secrets", "cart-secrets") == {"KEY": PASSWORD, "RETRIES": "3"}
    world.apply(secrets=[{"path": f"{world.own}/stripe", "key": "old", "env": "OLD"}])
    world.reconcile()
    status, reason, message = world.condition("Applied")
    assert (status, reason) == ("False", "ConfigurationMissing")
    assert f"Vault has no key old at {world.own}/stripe." in message


def test_what_is_no_longer_read_is_removed(world, kv):
    """ConfigMap, Secret and the versions in status."""
    kv.key(f"{world.own}/a", "1")
    kv.secret(f"{world.own}/b", key="2")
    world.apply(
        config=[{"key": f"{world.own}/a"}],
        secrets=[{"path": f"{world.own}/b", "key": "key", "file": "/etc/b"}],
    )
    world.want_image()
    world.reconcile()
    assert values(world, "secrets", "cart-secret-files") == {"etc.b": "2"}
    world.apply()
    world.reconcile()
    assert world.get("configmaps", "cart-config") is None
    assert world.get("secrets", "cart-secret-files") is None
    status = world.get()["status"]
    assert not status.get("secretVersions")
    assert "requeueAt" not in status


def test_a_missing_key_is_waited_for_and_pods_keep_what_they_have(world, kv):
    """The condition says what is missing where; a new Application gets no pods before that."""
    world.apply(config=[{"key": f"{world.own}/late", "env": "LATE"}])
    world.want_image()
    world.reconcile()
    status, reason, message = world.condition("Applied")
    assert (status, reason) == ("False", "ConfigurationMissing")
    assert f"Consul has nothing at {world.own}/late." in message
    assert world.condition("RolledOut")[:2] == ("False", "WaitingForConfiguration")
    assert world.get("deployments") is None
    kv.key(f"{world.own}/late", "now")
    world.reconcile()
    assert world.condition("Applied")[0] == "True"
    assert world.get("deployments") is not None
    world.apply(
        config=[{"key": f"{world.own}/late", "env": "LATE"}, {"key": f"{world.own}/later"}],
        env={"A": "1"},
    )
    world.reconcile()
    assert world.condition("Applied")[1] == "ConfigurationMissing"
    assert values(world, "configmaps", "cart-config") == {"LATE": "now"}
    assert world.get("deployments")["spec"]["template"]["spec"]["containers"][0]["env"], (
        "other changes go on"
    )


def test_a_database_is_waited_for_bound_and_its_rotation_rolls_the_pods(world, kv):
    """Address in the ConfigMap, credentials in the Secret; a new version is a new template."""
    world.apply(databases=[{"name": "orders"}])
    world.want_image()
    world.reconcile()
    assert world.condition("Applied")[:2] == ("False", "WaitingForDatabase")
    assert "there is no Database orders" in world.condition("Applied")[2]
    database(world, serves=False)
    world.reconcile()
    assert (
        "Database orders is not Ready yet (Creating: RDS creates it.)"
        in world.condition("Applied")[2]
    )
    assert world.get("deployments") is None
    publish(world, kv)
    database(world, serves=True)
    world.reconcile()
    assert world.condition("Applied")[0] == "True"
    assert values(world, "configmaps", "cart-config")["DATABASE_HOST"] == "db.example.com"
    assert values(world, "secrets", "cart-secrets")["DATABASE_PASSWORD"] == PASSWORD
    before = pod_hash(world)
    publish(world, kv, password="rotated-Canary")
    world.reconcile()
    assert values(world, "secrets", "cart-secrets")["DATABASE_URL"].startswith(
        "postgresql://dbadmin:rotated-Canary@"
    )
    assert pod_hash(world) != before


def test_a_sealed_vault_stops_no_other_change(world, kv):
    """The pods keep their secrets, the condition names Vault, and another image still comes."""
    kv.secret(f"{world.own}/stripe", key="1")
    world.apply(secrets=[{"path": f"{world.own}/stripe"}])
    world.want_image("a")
    world.reconcile()
    before = pod_hash(world)
    kv.seal()
    try:
        world.want_image("b")
        world.reconcile()
        status, reason, _message = world.condition("Applied")
        assert (status, reason) == ("False", "VaultUnavailable")
        template = world.get("deployments")["spec"]["template"]
        assert template["spec"]["containers"][0]["image"].endswith("b" * 64)
        assert pod_hash(world) == before
    finally:
        kv.unseal()
    world.reconcile()
    assert world.condition("Applied")[0] == "True"


def test_a_secret_is_in_no_result_status_or_event(world, kv):
    """Not its value, nor a hash of it that could be tried."""
    publish(world, kv)
    kv.secret(f"{world.own}/stripe", key=PASSWORD)
    database(world, serves=True)
    world.apply(databases=[{"name": "orders"}], secrets=[{"path": f"{world.own}/stripe"}])
    world.want_image()
    told: list[Any] = [
        world.reconcile(),
        world.get(),
        world.get("deployments"),
        world.get("configmaps", "cart-config"),
    ]
    events = world.http.get(f"/api/v1/namespaces/{world.namespace}/events").json()
    text = json.dumps([*told, events], default=repr)
    assert events["items"]
    assert PASSWORD not in text
    assert base64.b64encode(PASSWORD.encode()).decode() not in text
    metadata = world.get("secrets", "cart-secrets")["metadata"]
    before = metadata["annotations"]
    kv.secret(f"{world.own}/other", key="x")
    assert PASSWORD not in json.dumps(before)


def test_a_forbidden_path_is_refused_before_vault_is_asked(world, kv):
    """Another team's secret stays unread."""
    kv.secret("kubestorm/test/bank/vault", key=PASSWORD)
    world.apply(secrets=[{"path": "kubestorm/test/bank/vault"}])
    assert all(result["skipped"] for result in world.reconcile().values())
    message = world.condition("SpecValid")[2]
    assert (
        f"'kubestorm/test/bank/vault' may not be read from namespace {world.namespace}" in message
    )
    assert world.get("secrets", "cart-secrets") is None
