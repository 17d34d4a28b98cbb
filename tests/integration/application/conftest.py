"""The world around Applications: a Kubernetes API with the CRDs, Vault and Consul, and the run's
steps in order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import consul as py_consul
import httpx
import hvac
import pytest
import yaml
from kubestorm.clients.resources import ROLLOUTS
from kubestorm.clients.services import Services
from kubestorm.core import conditions
from kubestorm.core.errors import Error
from kubestorm.core.naming import identity_of
from kubestorm.core.settings import load_settings
from kubestorm.kinds.application.act import (
    ApplicationRun,
    ensure_configuration,
    ensure_deployment,
    ensure_objects,
)
from kubestorm.kinds.application.rollout.spec import rollout_manifest
from kubestorm.kinds.application.rollout.values import NewRollout
from kubestorm.kinds.application.spec import parse

from sandbox.consul import ConsulServer
from sandbox.vault.server import VaultServer
from tests.kube_fixtures import Kube, eventually
from tests.kube_shapes import apply_patch, patch
from tests.unit.application.conftest import ENOUGH

ROOT = Path(__file__).resolve().parents[3]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "/apis/kubestorm.io/v1alpha1"
DIGESTS = {letter: f"sha256:{letter * 64}" for letter in "abc"}
STEPS: dict[str, Callable[[ApplicationRun], dict[str, Any]]] = {
    "configuration": ensure_configuration,
    "objects": ensure_objects,
    "rollout": ensure_deployment,
}


@pytest.fixture
def applications(http: httpx.Client, namespace: str) -> str:
    """The kinds are served; the path of this namespace's Applications."""
    for plural in ("applications", "databases", "rollouts"):
        crd = yaml.safe_load((ROOT / "crds" / f"{plural}.kubestorm.io.yaml").read_text())
        assert http.post(CRDS, json=crd).status_code in (httpx.codes.CREATED, httpx.codes.CONFLICT)
        eventually(
            lambda plural=plural: http.get(f"{GROUP}/{plural}").is_success, f"{plural} are served"
        )
    return f"{GROUP}/namespaces/{namespace}/applications"


@pytest.fixture(scope="module")
def vault() -> Iterator[VaultServer]:
    """A Vault that is unsealed and has a KV version 2 engine at secret/."""
    with VaultServer(dev=True) as server:
        yield server


@pytest.fixture(scope="module")
def consul() -> Iterator[ConsulServer]:
    """A Consul without ACLs."""
    with ConsulServer() as server:
        yield server


@pytest.fixture
def kv(vault, consul):
    """The administrator's hands on Vault and Consul."""

    class Hands:
        def secret(self, path: str, **values: str) -> None:
            client = hvac.Client(url=vault.url, token=vault.root_token)
            client.secrets.kv.v2.create_or_update_secret(path=path, secret=values)

        def key(self, key: str, value: str | bytes) -> None:
            py_consul.Consul(host=consul.host, port=consul.port).kv.put(key, value)

        def seal(self) -> None:
            vault.seal()

        def unseal(self) -> None:
            vault.unseal()

    return Hands()


@dataclass
class World:
    """One namespace, what the pack is configured with, and the few questions that tests ask."""

    http: httpx.Client
    namespace: str
    config: dict[str, Any]
    runs: Iterator[int] = field(default_factory=itertools.count)
    rollouts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def services(self) -> Services:
        """Fresh clients, as each action of a run has its own."""
        return Services(load_settings(self.config))

    @property
    def own(self) -> str:
        """What this namespace may read without being allowed more."""
        return f"kubestorm/test/{self.namespace}"

    def apply(self, name: str = "cart", namespace: str = "", **spec: Any) -> dict[str, Any]:
        """Create the Application, or give it this spec; None leaves a field out. With an image
        wished for.
        """
        merged = {**ENOUGH, **spec}
        body = {
            "apiVersion": "kubestorm.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": name},
            "spec": {key: value for key, value in merged.items() if value is not None},
        }
        path = f"{GROUP}/namespaces/{namespace or self.namespace}/applications"
        answer = self.http.post(path, json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            body["metadata"] = self.http.get(f"{path}/{name}").json()["metadata"]
            answer = self.http.put(f"{path}/{name}", json=body)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def want_image(self, letter: str = "a", name: str = "cart") -> None:
        """A Rollout of the image with that digest has come to all pods."""
        resource = self.get("applications", name)
        assert resource is not None
        services = self.services()
        number = next(self.rollouts)
        new = NewRollout(
            number, DIGESTS[letter], f"1.{letter}", "", "", "push", "", f"push-{number}"
        )
        made = rollout_manifest(resource, parse(resource, services.settings), new)
        services.kube.create(ROLLOUTS, made, self.namespace)
        services.kube.patch_status(
            ROLLOUTS, made["metadata"]["name"], {"phase": "Complete"}, self.namespace
        )
        services.close()

    def annotate(self, name: str = "cart", **annotations: str | None) -> None:
        """Write annotations; None removes one."""
        body = {"metadata": {"annotations": annotations}}
        url = f"{GROUP}/namespaces/{self.namespace}/applications/{name}"
        patch(self.http, url, body, "merge").raise_for_status()

    def get(
        self, plural: str = "applications", name: str = "cart", group: str = ""
    ) -> dict[str, Any] | None:
        """An object of this namespace, None where there is none."""
        answer = self.http.get(self.url(plural, name))
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def url(self, plural: str, name: str) -> str:
        """Where an object is, in the version of it that the cluster serves."""
        bases = {
            "applications": GROUP,
            "databases": GROUP,
            "deployments": "/apis/apps/v1",
            "ingresses": "/apis/networking.k8s.io/v1",
            "horizontalpodautoscalers": "/apis/autoscaling/v1",
            "poddisruptionbudgets": self._policy(),
        }
        return f"{bases.get(plural, '/api/v1')}/namespaces/{self.namespace}/{plural}/{name}"

    def _policy(self) -> str:
        return f"/apis/{self.http.get('/apis/policy').json()['preferredVersion']['groupVersion']}"

    def reconcile(self, name: str = "cart", namespace: str = "") -> dict[str, Any]:
        """Run the steps as the chain does."""
        url = f"{GROUP}/namespaces/{namespace or self.namespace}/applications/{name}"
        resource = self.http.get(url).raise_for_status().json()
        services = self.services()
        run = ApplicationRun(
            services, identity_of("test", "applications", resource), f"run-{next(self.runs)}"
        )
        results: dict[str, Any] = {}
        try:
            for step, call in STEPS.items():
                results[step] = run.handle.while_leased(lambda call=call: call(run))
        except Error as error:
            results["error"] = error
        services.close()
        return results

    def condition(self, kind: str, name: str = "cart") -> tuple[str, str, str]:
        """(status, reason, message) of a condition."""
        status = (self.get("applications", name) or {}).get("status") or {}
        found = conditions.find(status.get("conditions") or [], kind) or {}
        return found.get("status", "Unknown"), found.get("reason", ""), found.get("message", "")

    def apply_as(
        self, manager: str, plural: str, body: dict[str, Any], *, force: bool = True
    ) -> httpx.Response:
        """Somebody else's server-side apply."""
        name = body["metadata"]["name"]
        return apply_patch(
            self.http, self.url(plural, name), body, manager, **({"force": "true"} if force else {})
        )


@pytest.fixture
def world(
    kube: Kube,
    http: httpx.Client,
    namespace: str,
    applications: str,
    vault: VaultServer,
    consul: ConsulServer,
    tmp_path: Path,
) -> World:
    """An Application's world on the sandbox's Kubernetes API and on the real one."""
    token = tmp_path / "vault-token"
    token.write_text(vault.root_token)
    config = {
        "cluster": "test",
        "kubernetes": {"kubeconfig": str(kube.kubeconfig), "namespace": namespace},
        "vault": {"url": vault.url, "auth": {"method": "token", "token_file": str(token)}},
        "consul": {"url": consul.url},
    }
    return World(http, namespace, config)
