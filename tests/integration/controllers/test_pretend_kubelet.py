"""The pretend kubelet on a real control plane: real controllers find their pods running on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config

from sandbox.kubernetes.kubelet import NODE_NAME, Kubelet
from sandbox.realkube import RealKube
from tests.kube_fixtures import eventually

pytestmark = pytest.mark.realkube

READY_DELAY_SECONDS = 0.05


@pytest.fixture(scope="module")
def core(real_kube: RealKube) -> Iterator[client.CoreV1Api]:
    """The core API of a control plane with the pretend kubelet beside it."""
    with Kubelet(
        real_kube.url, real_kube.token, real_kube.ca, ready_delay_seconds=READY_DELAY_SECONDS
    ):
        configuration = client.Configuration()
        config.load_kube_config(str(real_kube.kubeconfig), client_configuration=configuration)
        with client.ApiClient(configuration) as api:
            yield client.CoreV1Api(api)


def template(image: str, **spec: Any) -> dict[str, Any]:
    """A pod template with one container."""
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image}], **spec},
    }


def deploy(core: client.CoreV1Api, name: str, image: str) -> None:
    """Make a Deployment of two pods."""
    body = {
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
        },
    }
    client.AppsV1Api(core.api_client).create_namespaced_deployment("default", body)


def pod_waiting_reasons(core: client.CoreV1Api, name: str) -> list[str]:
    """Why the containers of this Deployment's pods wait."""
    pods = [
        pod
        for pod in core.list_namespaced_pod("default").items
        if pod.metadata.name.startswith(name + "-")
    ]
    states = [status.state for pod in pods for status in pod.status.container_statuses or ()]
    return [state.waiting.reason for state in states if state.waiting]


def test_node_is_ready(core: client.CoreV1Api) -> None:
    """The node is registered, Ready and without taints that keep pods away."""
    node = core.read_node(NODE_NAME)
    ready = {condition.type: condition.status for condition in node.status.conditions}["Ready"]
    assert (ready, node.spec.unschedulable) == ("True", None)


def test_real_deployment_becomes_available(core: client.CoreV1Api) -> None:
    """The real Deployment controller counts the pretend pods as available."""
    deploy(core, "fine", "shop:1")
    apps = client.AppsV1Api(core.api_client)
    eventually(
        lambda: apps.read_namespaced_deployment("fine", "default").status.available_replicas == 2,
        "two available pods",
    )


def test_broken_image_is_never_pulled(core: client.CoreV1Api) -> None:
    """Pods of an image named broken wait with ImagePullBackOff."""
    deploy(core, "hopeless", "shop:broken")
    eventually(
        lambda: pod_waiting_reasons(core, "hopeless") == ["ImagePullBackOff"] * 2,
        "ImagePullBackOff twice",
    )


def test_crashing_container_is_restarted(core: client.CoreV1Api) -> None:
    """Pods of an image named crash wait with CrashLoopBackOff, and their restarts are counted."""
    deploy(core, "unsteady", "shop:crash")
    eventually(
        lambda: pod_waiting_reasons(core, "unsteady") == ["CrashLoopBackOff"] * 2,
        "CrashLoopBackOff twice",
    )
    pods = [
        pod
        for pod in core.list_namespaced_pod("default").items
        if pod.metadata.name.startswith("unsteady-")
    ]
    assert all(pod.status.container_statuses[0].restart_count >= 1 for pod in pods)


@pytest.mark.parametrize("image, condition", [("task:1", "Complete"), ("task:fail", "Failed")])
def test_real_job_ends(core: client.CoreV1Api, image: str, condition: str) -> None:
    """The real Job controller sees pods succeed, and fail where the image says so."""
    name = condition.lower()
    body = {
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template(image, restartPolicy="Never")},
    }
    batch = client.BatchV1Api(core.api_client)
    batch.create_namespaced_job("default", body)

    def conditions() -> list[str]:
        found = batch.read_namespaced_job(name, "default").status.conditions or ()
        return [entry.type for entry in found if entry.status == "True"]

    assert eventually(conditions, f"a condition of job {name}") == [condition]


def test_deleted_pod_goes(core: client.CoreV1Api) -> None:
    """A pod that is deleted with a grace period is really removed."""
    body = {"metadata": {"name": "short-lived"}, "spec": template("shop:1")["spec"]}
    core.create_namespaced_pod("default", body)
    eventually(
        lambda: core.read_namespaced_pod("short-lived", "default").status.phase == "Running",
        "a running pod",
    )
    core.delete_namespaced_pod("short-lived", "default")
    eventually(
        lambda: (
            "short-lived"
            not in [pod.metadata.name for pod in core.list_namespaced_pod("default").items]
        ),
        "no pod short-lived",
    )


def test_outage_of_the_api_is_survived(core: client.CoreV1Api, real_kube: RealKube) -> None:
    """After the API server was away, and forgot its history, new pods are started as before."""
    real_kube.compact()
    body = {"metadata": {"name": "afterwards"}, "spec": template("shop:1")["spec"]}
    core.create_namespaced_pod("default", body)
    eventually(
        lambda: core.read_namespaced_pod("afterwards", "default").status.phase == "Running",
        "a running pod",
    )
