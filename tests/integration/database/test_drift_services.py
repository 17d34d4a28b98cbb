"""Drift against the services themselves: found, told once, quoted when unreachable, and without a
secret.
"""

from __future__ import annotations

import dataclasses
import json
import logging

import boto3
import consul as consul_library
import hvac
import pytest
import yaml
from kubestorm.core.errors import DefinitionError
from kubestorm.core.naming import identity_of
from kubestorm.kinds.database import act as steps
from kubestorm.kinds.database.drift.observe import Scope, inspect
from kubestorm.kinds.database.drift.poller import DriftPoller
from kubestorm.kinds.database.drift.report import as_result, payload
from kubestorm.kinds.database.run import DatabaseRun
from kubestorm.people.notifications.drift import announce

from tests.integration.database.conftest import ROOT
from tests.kube_fixtures import eventually

MERGE = {"Content-Type": "application/merge-patch+json"}


class Memory:
    """A sensor's datastore, and what it dispatched."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.told: list[dict] = []

    def get_value(self, name):
        return self.values.get(name)

    def set_value(self, name, value):
        self.values[name] = value

    def delete_value(self, name):
        self.values.pop(name, None)

    def dispatch(self, trigger, payload):
        assert trigger == "kubestorm.drift_detected"
        self.told.append(json.loads(json.dumps(payload)))


@pytest.fixture(autouse=True)
def only_ours(world):
    """Let go of what earlier tests left behind: drift looks at the whole cluster, and that lasts
    for a session.
    """
    url = "/apis/kubestorm.io/v1alpha1/databases"
    for item in world.http.get(url).json()["items"]:
        metadata = item["metadata"]
        one = (
            f"/apis/kubestorm.io/v1alpha1/namespaces/{metadata['namespace']}/databases/"
            f"{metadata['name']}"
        )
        world.http.patch(one, json={"metadata": {"finalizers": None}}, headers=MERGE)
        world.http.delete(one)
    eventually(lambda: not world.http.get(url).json()["items"], "no Database is left")


@pytest.fixture
def other(world):
    """The same world, seen from another namespace."""
    name = f"{world.namespace}-b"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    world.http.post("/api/v1/namespaces", json=body).raise_for_status()
    yield dataclasses.replace(world, namespace=name)
    world.http.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def keys(consul):
    """Consul's keys as an administrator."""
    return consul_library.Consul(host=consul.host, port=consul.port).kv


@pytest.fixture
def secrets(vault):
    """Vault's KV engine as an administrator."""
    return hvac.Client(url=vault.url, token=vault.root_token).secrets.kv.v2


@pytest.fixture
def rds(world):
    """RDS as an administrator."""
    return boto3.client("rds", endpoint_url=world.aws.url, region_name="eu-central-1")


def drift(world, **scope):
    """(name, service, field, what) of all that is found."""
    report = inspect(world.services(), Scope(**scope))
    return sorted(
        (finding.place.name, one.service, one.field, one.what)
        for finding in report.findings
        for one in finding.differences
    )


def test_nothing_is_found_while_it_is_made_and_when_it_is_ready(world):
    """No look at any step of the journey reports what the journey is about to do."""
    world.apply()
    assert drift(world) == []
    for _ in range(3):
        world.reconcile()
        assert drift(world) == []
        world.let_aws_finish()
        assert drift(world) == []
    world.until_ready()
    assert drift(world) == []
    assert inspect(world.services()).compared == 1


def test_what_was_changed_by_hand_is_found_and_mended_by_a_run(world, keys, secrets, rds):
    """Consul's host, the class in RDS and the secret in Vault; a run brings all three back."""
    world.apply()
    world.until_ready()
    prefix = f"kubestorm/test/{world.namespace}/orders/"
    keys.put(f"{prefix}host", "elsewhere")
    keys.delete(f"{prefix}port")
    (instance,) = rds.describe_db_instances()["DBInstances"]
    rds.modify_db_instance(
        DBInstanceIdentifier=instance["DBInstanceIdentifier"],
        DBInstanceClass="db.t3.large",
        ApplyImmediately=True,
    )
    world.let_aws_finish()
    secrets.delete_metadata_and_all_versions(f"kubestorm/test/{world.namespace}/orders")
    assert drift(world) == [
        ("orders", "AWS RDS", "size", "different"),
        ("orders", "Consul", "host", "different"),
        ("orders", "Consul", "port", "missing"),
        ("orders", "Vault", "secret", "missing"),
    ]
    world.reconcile()
    world.let_aws_finish()
    world.until_ready()
    assert drift(world) == []


def test_bytes_and_folders_in_consul(world, keys):
    """A key that does not hold text is found and mended; the UI's folders are no leftovers."""
    world.apply()
    world.until_ready()
    prefix = f"kubestorm/test/{world.namespace}/"
    keys.put(f"{prefix}orders/host", b"\xff\xfe")
    keys.put(prefix, "")
    keys.put(f"{prefix}cart/", "")
    (finding,) = inspect(world.services()).findings
    assert [(one.field, one.found) for one in finding.differences] == [
        ("host", "(2 bytes that are not UTF-8)")
    ]
    world.reconcile()
    assert drift(world) == []


def test_a_vanished_instance_is_told_as_not_repairable(world, rds):
    """Before and after the run that refuses to make an empty one."""
    world.apply()
    world.until_ready()
    (instance,) = rds.describe_db_instances()["DBInstances"]
    rds.delete_db_instance(
        DBInstanceIdentifier=instance["DBInstanceIdentifier"], SkipFinalSnapshot=True
    )
    world.let_aws_finish()
    for _ in range(2):
        (finding,) = inspect(world.services()).findings
        assert [(one.field, one.what) for one in finding.differences] == [("instance", "missing")]
        assert not finding.repairable
        world.reconcile()


@pytest.mark.parametrize("policy", ["Retain", "Snapshot"])
def test_what_a_deletion_leaves_on_purpose_is_kept(world, policy):
    """No orphan, and the report says why each is there."""
    world.apply(deletionPolicy=policy)
    world.until_ready()
    world.delete()
    for _ in range(8):
        if world.get() is None:
            break
        world.reconcile()
        world.let_aws_finish()
    report = inspect(world.services())
    assert report.findings == ()
    services = {one.service for one in report.kept}
    assert services == ({"AWS RDS", "Vault", "Consul"} if policy == "Retain" else {"Vault"})
    assert all(one.reason for one in report.kept)


def test_what_a_forced_deletion_leaves_is_an_orphan(world):
    """Somebody took the finalizer off: instance, secret and keys are told, nothing is deleted."""
    world.apply()
    world.until_ready()
    world.delete()
    url = f"/apis/kubestorm.io/v1alpha1/namespaces/{world.namespace}/databases/orders"
    headers = {"content-type": "application/merge-patch+json"}
    world.http.patch(
        url, json={"metadata": {"finalizers": None}}, headers=headers
    ).raise_for_status()
    assert world.get() is None
    expected = [
        ("orders", "AWS RDS", "instance", "extra"),
        ("orders", "Consul", "keys", "extra"),
        ("orders", "Vault", "secret", "extra"),
    ]
    assert drift(world) == expected
    assert drift(world, namespace="elsewhere") == []
    assert drift(world, namespace=world.namespace, name="orders") == expected


def forced(world):
    """Take the finalizer off and delete, so that all of it is left over."""
    world.delete()
    url = f"/apis/kubestorm.io/v1alpha1/namespaces/{world.namespace}/databases/orders"
    world.http.patch(url, json={"metadata": {"finalizers": None}}, headers=MERGE)
    assert world.get() is None


def leftovers(world, **more):
    """(namespace, service) of all that is told as left over, and of what is kept."""
    report = inspect(world.services(**more))
    told = {
        (finding.place.namespace, one.service)
        for finding in report.findings
        for one in finding.differences
        if finding.orphan
    }
    return told, {(one.place.namespace, one.service) for one in report.kept}


def serving(world, *namespaces):
    """The section of Kubernetes that serves these namespaces."""
    return {"kubernetes": {**world.config["kubernetes"], "namespaces": list(namespaces)}}


def test_what_lives_in_a_namespace_that_is_not_served_is_no_leftover(world, rds, other):
    """In RDS, Vault and Consul, and without the tag that says its namespace; the served one's own
    leftovers are told, and those of every namespace where all are served.
    """
    for one in (world, other):
        one.apply()
        one.until_ready()
    forced(world)
    services = ("AWS RDS", "Consul", "Vault")
    own = {(world.namespace, service) for service in services}
    assert leftovers(world, **serving(world, world.namespace)) == (own, set())
    assert leftovers(world, **serving(world, other.namespace)) == (set(), set())
    assert leftovers(world) == (own, set())
    forced(other)
    for instance in rds.describe_db_instances()["DBInstances"]:
        rds.remove_tags_from_resource(
            ResourceName=instance["DBInstanceArn"],
            TagKeys=["kubestorm.io/namespace", "kubestorm.io/uid"],
        )
    lost = {(world.namespace, service) for service in ("Consul", "Vault")}
    assert leftovers(world, **serving(world, world.namespace)) == (lost, set())
    theirs = {(other.namespace, service) for service in ("Consul", "Vault")}
    assert leftovers(world) == (lost | theirs | {("", "AWS RDS")}, set())


def test_what_is_kept_elsewhere_is_not_told_either(world, other):
    """What Retain left in a namespace is that namespace's business."""
    other.apply(deletionPolicy="Retain")
    other.until_ready()
    other.delete()
    other.until_gone()
    assert leftovers(world, **serving(world, world.namespace)) == (set(), set())
    kept = {(other.namespace, service) for service in ("AWS RDS", "Consul", "Vault")}
    assert leftovers(world, **serving(world, other.namespace)) == (set(), kept)
    assert leftovers(world) == (set(), kept)


def test_without_the_part_of_databases_nothing_is_a_leftover(world):
    """No Database is asked for, so nobody knows whose anything is."""
    world.apply()
    world.until_ready()
    assert leftovers(world, parts=["applications"]) == (set(), set())


@pytest.mark.parametrize(
    "section, service",
    [("aws", "AWS RDS"), ("vault", "Vault"), ("consul", "Consul")],
)
def test_an_unreachable_service_is_unknown_and_the_rest_is_judged(world, keys, section, service):
    """The others' drift is found all the same."""
    world.apply()
    world.until_ready()
    keys.put(f"kubestorm/test/{world.namespace}/orders/host", "elsewhere")
    field = "endpoint_url" if section == "aws" else "url"
    broken = {**world.config[section], field: "http://127.0.0.1:9"}
    report = inspect(world.services(**{section: broken}))
    assert set(report.unknown) == {service}
    assert [one.field for finding in report.findings for one in finding.differences] == (
        [] if section == "consul" else ["host"]
    )


def test_a_drift_is_told_once_and_again_after_it_changed_or_came_back(world, keys):
    """Also by another process, which finds what the first one remembered."""
    world.apply()
    world.until_ready()
    key, memory = f"kubestorm/test/{world.namespace}/orders/host", Memory()
    right = keys.get(key)[1]["Value"].decode()

    def look(**more):
        poller = DriftPoller(memory, memory.dispatch, logging.getLogger("drift"), "test", announce)
        before = len(memory.told)
        poller.poll(world.services(**more))
        return [one["found"] for payload in memory.told[before:] for one in payload["differences"]]

    away = {"consul": {**world.config["consul"], "url": "http://127.0.0.1:9"}}
    assert look() == []
    keys.put(key, "first")
    assert look() == ["first"]
    assert look() == []
    assert look(**away) == []
    assert look() == []
    keys.put(key, "second")
    assert look() == ["second"]
    keys.put(key, right)
    assert look() == []
    keys.put(key, "second")
    assert look() == ["second"]


def test_a_wrong_section_for_announcements_repeats_nothing(world, keys, caplog):
    """The rules are told once; the log says what is wrong with the configuration."""
    world.apply()
    world.until_ready()
    keys.put(f"kubestorm/test/{world.namespace}/orders/host", "elsewhere")
    memory = Memory()
    poller = DriftPoller(memory, memory.dispatch, logging.getLogger("drift"), "test", announce)
    for _ in range(2):
        poller.poll(world.services(announcements={"nonsense": True}))
    assert len(memory.told) == 1
    assert "drift.not_announced" in caplog.text


def test_no_secret_is_in_what_is_told(world, secrets, keys):
    """Nor what a person keeps beside the address in Consul."""
    world.apply()
    world.until_ready()
    path = f"kubestorm/test/{world.namespace}/orders"
    password = secrets.read_secret_version(path, raise_on_deleted_version=True)["data"]["data"][
        "password"
    ]
    keys.put(f"{path}/theirs", "pl4nted")
    keys.put(f"{path}/host", "elsewhere")
    memory = Memory()
    DriftPoller(memory, memory.dispatch, logging.getLogger("drift"), "test", announce).poll(
        world.services()
    )
    text = json.dumps([memory.told, memory.values, as_result(inspect(world.services()))])
    assert "elsewhere" in text
    assert password not in text
    assert "pl4nted" not in text


def test_parameters_changed_by_hand_are_found_and_mended(world, rds):
    """The group's contents, name by name; a run brings them back."""
    world.apply(parameters={"work_mem": "4096", "rds.force_ssl": 1})
    world.until_ready()
    assert drift(world) == []
    group = world.get()["status"]["parameterGroup"]
    by_hand = {"ParameterName": "work_mem", "ParameterValue": "1", "ApplyMethod": "immediate"}
    rds.modify_db_parameter_group(DBParameterGroupName=group, Parameters=[by_hand])
    assert drift(world) == [("orders", "AWS RDS", "parameters.work_mem", "different")]
    world.reconcile()
    assert drift(world) == []


def test_a_rotation_under_way_is_no_drift_and_what_one_left_behind_is(world, secrets):
    """Its copy beside the secret is no orphan at any step; one that no rotation needs is told, and
    mended by a run.
    """
    world.apply()
    world.until_ready()
    world.annotate(**{"kubestorm.io/rotate-credentials": "now"})
    path = f"kubestorm/test/{world.namespace}/orders"
    for _ in range(3):
        assert drift(world) == []
        world.reconcile()
        assert drift(world) == []
        world.let_aws_finish()
    world.until_ready()
    assert drift(world) == []
    current = secrets.read_secret_version(path, raise_on_deleted_version=True)["data"]["data"]
    left = {**current, "request": "now", "replaces": 1, "token": "t"}
    secrets.create_or_update_secret(f"{path}/pending", left)
    assert drift(world) == [("orders", "Vault", "pending", "extra")]
    world.reconcile()
    assert drift(world) == []
    assert (
        secrets.read_secret_version(path, raise_on_deleted_version=True)["data"]["metadata"][
            "version"
        ]
        == 2
    )


def test_two_kinds_of_one_group_are_each_read_and_repaired_as_their_own(world, rds):
    """The second one is not taken for the first: its engine is right, and so is the plural that a
    repair is given.
    """
    group = "db.example.com"
    kinds = {"mysqls": "mysql", "postgreses": "postgres"}
    for plural in kinds:
        names = {"kind": plural.capitalize(), "plural": plural, "singular": plural[:-1]}
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema},
        }
        crd = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
        }
        world.http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=crd)
        url = f"/apis/{group}/v1/namespaces/{world.namespace}/{plural}"
        eventually(lambda url=url: world.http.get(url).is_success, "the kind is served")
    world.config["database"]["kinds"] = [
        {"group": group, "version": "v1", "plural": plural, "values": {"engine": engine}}
        for plural, engine in kinds.items()
    ]
    body = {"apiVersion": f"{group}/v1", "kind": "Postgreses", "metadata": {"name": "orders"}}
    world.http.post(url, json=body).raise_for_status()
    for _ in range(5):
        found = world.http.get(f"{url}/orders").json()
        for step in (steps.ensure_credentials, steps.ensure_instance, steps.publish):
            step(DatabaseRun(world.services(), identity_of("test", "postgreses", found), "run"))
        world.let_aws_finish()
    (instance,) = rds.describe_db_instances()["DBInstances"]
    assert instance["Engine"] == "postgres"
    report = inspect(world.services())
    assert (report.compared, report.findings, dict(report.under_way)) == (1, (), {})
    rds.remove_tags_from_resource(
        ResourceName=instance["DBInstanceArn"], TagKeys=["kubestorm.io/name"]
    )
    (finding,) = inspect(world.services()).findings
    assert finding.repairable
    assert payload(finding, "test")["plural"] == "postgreses"
    world.http.patch(f"{url}/orders", json={"metadata": {"finalizers": None}}, headers=MERGE)
    world.http.delete(f"{url}/orders")


def test_another_kind_that_asks_for_a_database_owns_what_is_its_own(world, keys):
    """Keys at its place are no orphan while it is there, and are one without it."""
    crd = yaml.safe_load((ROOT / "examples" / "mysqldb" / "mysqldbs.yaml").read_text())
    group, names = crd["spec"]["group"], crd["spec"]["names"]
    version = crd["spec"]["versions"][0]["name"]
    world.http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=crd)
    url = f"/apis/{group}/{version}/namespaces/{world.namespace}/{names['plural']}"
    eventually(lambda: world.http.get(url).is_success, "the kind is served")
    kind = {
        "group": group,
        "version": version,
        "plural": names["plural"],
        "values": {"engine": "mysql"},
    }
    world.config["database"]["kinds"] = [kind]
    manifest = yaml.safe_load((ROOT / "examples" / "mysqldb" / "mysqldb.yaml").read_text())
    manifest["metadata"] = {"name": "legacy", "namespace": world.namespace}
    world.http.post(url, json=manifest).raise_for_status()
    keys.put(f"kubestorm/test/{world.namespace}/legacy/host", "somewhere")
    assert drift(world) == []
    world.apply()
    counted = {
        kind: inspect(world.services(), Scope(kind=kind)).compared
        for kind in ("", "Database", f"mysqldbs.{group}")
    }
    assert counted == {"": 2, "Database": 1, f"mysqldbs.{group}": 1}
    with pytest.raises(DefinitionError, match=r"has no things\.example\.com"):
        inspect(world.services(), Scope(kind="things.example.com"))
    world.http.delete(f"{url}/legacy").raise_for_status()
    assert drift(world, kind=f"mysqldbs.{group}") == []
    assert drift(world) == [("legacy", "Consul", "keys", "extra")]
