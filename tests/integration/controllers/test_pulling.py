"""The pretend node really asks a registry on loopback for its images, and the images say what
becomes of their pods.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.registry import RegistryProcess, is_installed, push_image
from tests.integration.controllers.conftest import Workloads
from tests.kube_fixtures import eventually

pytestmark = pytest.mark.skipif(not is_installed(), reason="docker-registry is not installed")
USER, PASSWORD = "robot", "a-password-of-the-test"
FATE, LOG = "sandbox.kubestorm.io/fate", "sandbox.kubestorm.io/log"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with RegistryProcess(tmp_path_factory.mktemp("registry"), users={USER: PASSWORD}) as running:
        yield running


@pytest.fixture
def pull_secret(workloads: Workloads, registry: RegistryProcess) -> str:
    """A pull secret in the namespace, as `kubectl create secret docker-registry` makes it."""
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    document = base64.b64encode(
        json.dumps({"auths": {registry.host: {"auth": auth}}}).encode()
    ).decode()
    body = {
        "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": document},
    }
    workloads.create("secrets", body)
    return "pull"


def pod_of(workloads: Workloads, image: str, *pull_secrets: str) -> None:
    """Make a pod of the image."""
    spec = {
        "containers": [{"name": "web", "image": image}],
        "imagePullSecrets": [{"name": name} for name in pull_secrets],
    }
    workloads.create("pods", {"metadata": {"name": "web"}, "spec": spec})


def container(workloads: Workloads) -> dict[str, Any]:
    """The status of the pod's container as it is now."""
    statuses = (workloads.get("pods", "web").get("status") or {}).get("containerStatuses") or [{}]
    return statuses[0]


def waiting(workloads: Workloads) -> dict[str, Any]:
    """Why the container waits, once it does for a reason other than its creation."""

    def look() -> dict[str, Any] | None:
        found = (container(workloads).get("state") or {}).get("waiting") or {}
        return found if found.get("reason") not in (None, "ContainerCreating") else None

    return eventually(look, "the container waits for a reason")


def test_an_image_that_is_there_runs_by_its_digest(
    workloads: Workloads, registry: RegistryProcess, pull_secret: str
) -> None:
    """With the pull secret, a pod pinned by digest becomes ready."""
    with registry.client() as client:
        digest = push_image(client, "shop/cart", "1.0.0")
    pod_of(workloads, f"{registry.host}/shop/cart@{digest}", pull_secret)
    eventually(lambda: container(workloads).get("ready"), "the pod is ready")


def test_an_image_without_its_secret_is_not_pulled(
    workloads: Workloads, registry: RegistryProcess
) -> None:
    """The registry's refusal is the message of the pod."""
    with registry.client() as client:
        push_image(client, "shop/cart", "1.0.0")
    pod_of(workloads, f"{registry.host}/shop/cart:1.0.0")
    said = waiting(workloads)
    assert said["reason"] in ("ErrImagePull", "ImagePullBackOff")
    broken = workloads.get("pods", "web")["metadata"]["annotations"][
        "sandbox.kubestorm.io/pull-error"
    ]
    assert broken == "401 UNAUTHORIZED: authentication required"


def test_the_login_of_a_folder_comes_before_that_of_its_host(
    workloads: Workloads, registry: RegistryProcess
) -> None:
    """The longest key that fits, as a kubelet has it."""
    with registry.client() as client:
        push_image(client, "shop/cart", "1.0.0")
    places = {registry.host: "wrong", f"{registry.host}/shop": PASSWORD, f"{registry.host}/z": "no"}
    auths = {key: {"username": USER, "password": word} for key, word in places.items()}
    body = {
        "metadata": {"name": "folders"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps({"auths": auths})},
    }
    workloads.create("secrets", body)
    pod_of(workloads, f"{registry.host}/shop/cart:1.0.0", "folders")
    eventually(lambda: container(workloads).get("ready"), "the pod is ready")


def test_an_image_that_is_not_there_is_not_pulled(
    workloads: Workloads, registry: RegistryProcess, pull_secret: str
) -> None:
    """A tag that nobody pushed gives ErrImagePull and then the back-off."""
    pod_of(workloads, f"{registry.host}/shop/nothing:9", pull_secret)
    eventually(lambda: waiting(workloads)["reason"] == "ImagePullBackOff", "the pull is backed off")


def test_an_image_that_crashes_leaves_its_log(
    workloads: Workloads, registry: RegistryProcess, cluster: httpx.Client, pull_secret: str
) -> None:
    """The labels of the image decree the crash and what the program wrote."""
    labels = {FATE: "crash", LOG: "no route to the database\n"}
    with registry.client() as client:
        digest = push_image(client, "shop/cart", "1.0.1", labels=labels)
    pod_of(workloads, f"{registry.host}/shop/cart@{digest}", pull_secret)
    assert waiting(workloads)["reason"] == "CrashLoopBackOff"
    assert workloads.get("pods", "web")["metadata"]["annotations"][LOG] == labels[LOG]
