"""Clusters in which workloads live: the sandbox's controllers, and for comparison the real ones."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.kubernetes.controllers import Controllers
from sandbox.kubernetes.kubelet import Kubelet
from sandbox.realkube import RealKube
from tests.kube_fixtures import SKIPPED_BECAUSE, Kube, eventually, http_client, kube_of
from tests.kube_shapes import deployment, patch

READY_DELAY_SECONDS = 0.05


class Workloads:
    """A namespace in which things run, with the few verbs that the tests need."""

    def __init__(self, http: httpx.Client, namespace: str) -> None:
        self.http = http
        self.namespace = namespace

    def path(self, plural: str, name: str = "") -> str:
        """The URL path of a collection or an object of this namespace."""
        groups = {
            "deployments": "apps/v1",
            "replicasets": "apps/v1",
            "statefulsets": "apps/v1",
            "jobs": "batch/v1",
        }
        prefix = f"/apis/{groups[plural]}" if plural in groups else "/api/v1"
        return f"{prefix}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def create(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object."""
        answer = self.http.post(self.path(plural), json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def get(self, plural: str, name: str) -> dict[str, Any]:
        """Read an object."""
        answer = self.http.get(self.path(plural, name))
        answer.raise_for_status()
        return answer.json()

    def list(self, plural: str, app: str | None = None) -> list[dict[str, Any]]:
        """Everything of a kind, or what belongs to the app of this name."""
        query = {"labelSelector": f"app={app}"} if app else {}
        return self.http.get(self.path(plural), params=query).json()["items"]

    def change(self, plural: str, name: str, change: dict[str, Any]) -> dict[str, Any]:
        """Merge into an object."""
        answer = patch(self.http, self.path(plural, name), change, "merge")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def deploy(
        self, name: str, image: str = "shop:1", replicas: int = 2, **spec: Any
    ) -> dict[str, Any]:
        """Make a Deployment."""
        body = deployment(name, image, replicas)
        body["spec"].update(spec)
        return self.create("deployments", body)

    def set_image(self, name: str, image: str) -> dict[str, Any]:
        """Change the Deployment's image, which begins a rollout."""
        containers = [{"name": "web", "image": image}]
        return self.change(
            "deployments", name, {"spec": {"template": {"spec": {"containers": containers}}}}
        )

    def conditions(self, plural: str, name: str) -> dict[str, tuple[str, str]]:
        """Status and reason by the condition's type."""
        found = (self.get(plural, name).get("status") or {}).get("conditions") or ()
        return {entry["type"]: (entry["status"], entry.get("reason", "")) for entry in found}

    def wait_rolled_out(self, name: str) -> dict[str, Any]:
        """The Deployment, once it has come to rest as asked for."""

        def done() -> dict[str, Any] | None:
            found = self.get("deployments", name)
            status, wanted = found.get("status") or {}, found["spec"]["replicas"]
            counts = [
                status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")
            ]
            progress = {
                entry["type"]: entry["reason"] for entry in status.get("conditions") or ()
            }.get("Progressing")
            current = status.get("observedGeneration") == found["metadata"]["generation"]
            return (
                found
                if counts == [wanted] * 3 and current and progress == "NewReplicaSetAvailable"
                else None
            )

        return eventually(done, f"deployment {name} is rolled out")

    def sizes(self, name: str) -> dict[str, int]:
        """The wanted pods of each ReplicaSet of the app, by image."""
        return {
            item["spec"]["template"]["spec"]["containers"][0]["image"]: item["spec"]["replicas"]
            for item in self.list("replicasets", name)
        }


@pytest.fixture(scope="module")
def bare_kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKube]:
    """A real API server that only collects garbage and empties namespaces, as the sandbox's API
    does by itself.
    """
    assets = RealKube.assets_from_environment()
    if assets is None:
        pytest.skip(SKIPPED_BECAUSE)
    folder = tmp_path_factory.mktemp("barekube")
    with RealKube(assets, folder, only_controllers=("garbagecollector", "namespace")) as kube:
        yield kube


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("sandbox", id="sandbox"),
        pytest.param("ours-on-real", id="ours-on-real", marks=pytest.mark.realkube),
        pytest.param("real", id="real", marks=pytest.mark.realkube),
    ],
)
def running_kube(request: pytest.FixtureRequest) -> Iterator[Kube]:
    """Our controllers on our API, ours on the real API, and the real ones: all are held to the
    same.
    """
    if request.param == "real":
        kube = kube_of(request.getfixturevalue("real_kube"))
        running: Kubelet | Controllers = Kubelet(
            kube.url, kube.token, kube.ca, ready_delay_seconds=READY_DELAY_SECONDS
        )
    else:
        ours = request.param == "sandbox"
        kube = (
            request.getfixturevalue("sandbox_kube")
            if ours
            else kube_of(request.getfixturevalue("bare_kube"))
        )
        running = Controllers(
            kube.url, kube.token, kube.ca, ready_delay_seconds=READY_DELAY_SECONDS
        )
    with running:
        yield kube


@pytest.fixture(scope="module")
def cluster(running_kube: Kube) -> Iterator[httpx.Client]:
    """A bare HTTP client of the running cluster, as administrator."""
    with http_client(running_kube, running_kube.token) as http:
        yield http


@pytest.fixture
def workloads(cluster: httpx.Client) -> Iterator[Workloads]:
    """A fresh namespace whose service account is there."""
    name = f"work-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    cluster.post("/api/v1/namespaces", json=body).raise_for_status()
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    eventually(
        lambda: cluster.get(account).status_code == 200, "the namespace has its service account"
    )
    yield Workloads(cluster, name)
    cluster.delete(f"/api/v1/namespaces/{name}")
