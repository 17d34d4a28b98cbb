"""Pull secrets in namespaces, and the wishes that people write on ImageBuilds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubestorm.core.errors import DefinitionError, NotFoundError, PermanentError
from kubestorm.kinds.build import commands
from kubestorm.kinds.build.pull_secret import ensure_pull_secret

from sandbox.vault.server import VaultServer
from tests.integration.building.conftest import PASSWORD, USER, World, a_world, store
from tests.kube_fixtures import Kube


@pytest.fixture
def cluster(kube: Kube, vault: VaultServer, tmp_path: Path) -> Iterator[World]:
    """A namespace on both APIs, and a registry's credentials in Vault."""
    registry = {"host": "registry.test:5000", "pull_vault_path": "registries/main"}
    with a_world(kube, vault, tmp_path, registry["host"], registries=[registry]) as made:
        yield made


def test_a_namespace_gets_its_pull_secret(cluster, vault):
    """As kubelets want it; written again only after a rotation; and a service account uses it,
    once.
    """
    namespace = cluster.namespace
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app"}}
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    cluster.http.post(accounts, json=account).raise_for_status()
    made = ensure_pull_secret(cluster.services(), namespace, service_account="app")
    assert (made["changed"], made["linked"], made["registries"]) == (
        True,
        True,
        [f"registry.test:5000/{namespace}"],
    )
    secret = cluster.http.get(f"/api/v1/namespaces/{namespace}/secrets/kubestorm-registry").json()
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    auths = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]
    (auth,) = auths.values()
    assert base64.b64decode(auth["auth"]).decode() == f"{USER}:{PASSWORD}"
    again = ensure_pull_secret(cluster.services(), namespace, service_account="app")
    assert (again["changed"], again["linked"]) == (False, False)
    store(vault, "registries/main", {"username": USER, "password": "rotated-password"})
    assert ensure_pull_secret(cluster.services(), namespace)["changed"]
    found = cluster.http.get(f"{accounts}/app").json()
    assert [each["name"] for each in found["imagePullSecrets"]] == ["kubestorm-registry"]
    assert PASSWORD not in json.dumps(made)


def test_a_secret_of_somebody_else_is_left_alone(cluster):
    """Its name is taken, and the refusal says what to do."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "kubestorm-registry"},
        "stringData": {"a": "b"},
    }
    cluster.http.post(
        f"/api/v1/namespaces/{cluster.namespace}/secrets", json=body
    ).raise_for_status()
    with pytest.raises(PermanentError, match="is not managed by kubestorm"):
        ensure_pull_secret(cluster.services(), cluster.namespace)


def test_wishes_are_checked_before_they_are_written(cluster):
    """An image that is not there is a sentence with those that are."""
    cluster.apply(source={"url": "ssh://git@git.test/shop", "branch": "main"})
    services = cluster.services()
    with pytest.raises(DefinitionError, match=r"no image web; its images are cart"):
        commands.start(services, cluster.namespace, "shop", images=["web"])
    with pytest.raises(NotFoundError, match="does not exist"):
        commands.start(services, cluster.namespace, "gone")
    assert commands.cancel(services, cluster.namespace, "shop")["canceled"] is False
    asked = commands.start(services, cluster.namespace, "shop", images=["cart"], by="ada")
    annotation = cluster.get()["metadata"]["annotations"]["kubestorm.io/build-request"]
    assert json.loads(annotation)["id"] == asked["request_id"]
    assert (
        commands.show(services, cluster.namespace, "shop")["source"]["url"]
        == "ssh://git@git.test/shop"
    )
