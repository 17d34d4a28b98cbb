"""What becomes of workloads: the sandbox's controllers are held to what the real ones do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.controllers.conftest import Workloads
from tests.kube_fixtures import eventually

REVISION = "deployment.kubernetes.io/revision"


def test_deployment_becomes_available(workloads: Workloads) -> None:
    """A Deployment gets one ReplicaSet named after it, pods named after that, and conditions that
    say so.
    """
    workloads.deploy("web")
    done = workloads.wait_rolled_out("web")
    assert {key: value for key, value in done["status"].items() if key != "conditions"} == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
    }
    (replica_set,) = workloads.list("replicasets", "web")
    name = replica_set["metadata"]["name"]
    code = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert (name, replica_set["metadata"]["annotations"]) == (
        f"web-{code}",
        {
            REVISION: "1",
            "deployment.kubernetes.io/desired-replicas": "2",
            "deployment.kubernetes.io/max-replicas": "3",
        },
    )
    assert done["metadata"]["annotations"] == {REVISION: "1"}
    messages = {
        entry["type"]: (entry["reason"], entry["message"]) for entry in done["status"]["conditions"]
    }
    assert messages == {
        "Available": ("MinimumReplicasAvailable", "Deployment has minimum availability."),
        "Progressing": (
            "NewReplicaSetAvailable",
            f'ReplicaSet "{name}" has successfully progressed.',
        ),
    }
    pods = workloads.list("pods", "web")
    assert all(pod["metadata"]["name"].startswith(name + "-") for pod in pods)
    assert [pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods] == [
        replica_set["metadata"]["uid"]
    ] * 2


def test_new_image_replaces_pods_and_undo_reuses_the_old(workloads: Workloads) -> None:
    """A change of the template makes a second ReplicaSet; going back makes the first one the newest
    revision.
    """
    workloads.deploy("web")
    workloads.wait_rolled_out("web")
    workloads.set_image("web", "shop:2")
    second = workloads.wait_rolled_out("web")
    assert (second["metadata"]["annotations"][REVISION], workloads.sizes("web")) == (
        "2",
        {"shop:1": 0, "shop:2": 2},
    )
    workloads.set_image("web", "shop:1")
    third = workloads.wait_rolled_out("web")
    assert (third["metadata"]["annotations"][REVISION], workloads.sizes("web")) == (
        "3",
        {"shop:1": 2, "shop:2": 0},
    )
    histories = {
        item["metadata"]["annotations"].get("deployment.kubernetes.io/revision-history")
        for item in workloads.list("replicasets", "web")
    }
    assert histories == {None, "1"}


def test_broken_image_leaves_the_old_pods(workloads: Workloads) -> None:
    """A rollout that cannot be ready keeps what the strategy promises, and fails when its deadline
    is over.
    """
    workloads.deploy("web", replicas=4, progressDeadlineSeconds=10, minReadySeconds=0)
    workloads.wait_rolled_out("web")
    change = {"spec": {"progressDeadlineSeconds": 1}}
    workloads.change("deployments", "web", change)
    workloads.set_image("web", "shop:broken")
    failed = ("False", "ProgressDeadlineExceeded")
    eventually(
        lambda: workloads.conditions("deployments", "web").get("Progressing") == failed,
        "the deadline is exceeded",
    )
    # 25% of 4: one more than wanted, and one fewer available.
    eventually(
        lambda: workloads.sizes("web") == {"shop:1": 3, "shop:broken": 2},
        "three old pods and two new ones",
    )
    counts = ("availableReplicas", "unavailableReplicas", "updatedReplicas")
    eventually(
        lambda: (
            [workloads.get("deployments", "web")["status"].get(count) for count in counts]
            == [3, 2, 2]
        ),
        "the status counts them",
    )
    assert workloads.conditions("deployments", "web")["Available"] == (
        "True",
        "MinimumReplicasAvailable",
    )
    waiting = {
        entry["state"]["waiting"]["reason"]
        for pod in workloads.list("pods", "web")
        for entry in pod["status"].get("containerStatuses") or ()
        if "waiting" in entry["state"]
    }
    assert waiting <= {"ErrImagePull", "ImagePullBackOff", "ContainerCreating"}
    # What was refused can be taken back.
    workloads.set_image("web", "shop:1")
    workloads.wait_rolled_out("web")
    assert workloads.sizes("web") == {"shop:1": 4, "shop:broken": 0}


def test_unready_pods_are_not_available(workloads: Workloads) -> None:
    """Pods that run but fail their readiness probe count as unavailable."""
    workloads.deploy("web", "shop:unready")
    wanted = ("False", "MinimumReplicasUnavailable")
    eventually(
        lambda: (
            workloads.conditions("deployments", "web").get("Available") == wanted
            and [pod["status"]["phase"] for pod in workloads.list("pods", "web")] == ["Running"] * 2
        ),
        "running pods that are not available",
    )
    assert workloads.get("deployments", "web")["status"]["unavailableReplicas"] == 2


def test_recreate_removes_before_it_makes(workloads: Workloads) -> None:
    """With Recreate no new pod is older than the end of the last old one."""
    workloads.deploy("web", strategy={"type": "Recreate"})
    workloads.wait_rolled_out("web")
    workloads.set_image("web", "shop:2")
    workloads.wait_rolled_out("web")
    assert workloads.sizes("web") == {"shop:1": 0, "shop:2": 2}


def test_paused_deployment_waits(workloads: Workloads) -> None:
    """While paused a new template rolls nothing out, but scaling goes on; afterwards it is rolled
    out.
    """
    workloads.deploy("web")
    workloads.wait_rolled_out("web")
    workloads.change("deployments", "web", {"spec": {"paused": True}})
    eventually(
        lambda: (
            workloads.conditions("deployments", "web")["Progressing"]
            == ("Unknown", "DeploymentPaused")
        ),
        "a pause",
    )
    workloads.set_image("web", "shop:2")
    workloads.change("deployments", "web", {"spec": {"replicas": 3}})
    eventually(lambda: workloads.sizes("web") == {"shop:1": 3}, "the old pods are scaled")
    workloads.change("deployments", "web", {"spec": {"paused": False}})
    workloads.wait_rolled_out("web")
    assert workloads.sizes("web") == {"shop:1": 0, "shop:2": 3}


@pytest.mark.parametrize("replicas", [5, 1, 0])
def test_scaling(workloads: Workloads, replicas: int) -> None:
    """More and fewer pods come without a new revision."""
    workloads.deploy("web")
    workloads.wait_rolled_out("web")
    workloads.change("deployments", "web", {"spec": {"replicas": replicas}})
    done = workloads.wait_rolled_out("web")
    eventually(lambda: len(workloads.list("pods", "web")) == replicas, f"{replicas} pods")
    assert (done["metadata"]["annotations"][REVISION], workloads.sizes("web")) == (
        "1",
        {"shop:1": replicas},
    )


def test_history_is_limited(workloads: Workloads) -> None:
    """Empty ReplicaSets beyond revisionHistoryLimit are deleted."""
    workloads.deploy("web", revisionHistoryLimit=1)
    for number in (1, 2, 3):
        workloads.set_image("web", f"shop:{number}")
        workloads.wait_rolled_out("web")
    # Which one is kept among those made in one second differs: 1.20 goes by creation time, later
    # versions by revision.
    eventually(
        lambda: sorted(workloads.sizes("web").values()) == [0, 2], "one old ReplicaSet is kept"
    )
    assert workloads.sizes("web")["shop:3"] == 2


def test_deleted_pod_is_replaced(workloads: Workloads) -> None:
    """A pod that is deleted comes again under another name."""
    workloads.deploy("web")
    workloads.wait_rolled_out("web")
    victim = workloads.list("pods", "web")[0]["metadata"]["name"]
    workloads.http.delete(workloads.path("pods", victim))

    def replaced() -> bool:
        pods = workloads.list("pods", "web")
        return len(pods) == 2 and victim not in [pod["metadata"]["name"] for pod in pods]

    eventually(replaced, "another pod")
    workloads.wait_rolled_out("web")


def job(name: str, image: str, **spec: Any) -> dict[str, Any]:
    """A Job manifest."""
    template = {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "task", "image": image}]}
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template, **spec},
    }


def test_job_completes(workloads: Workloads) -> None:
    """A Job runs as many pods as it wants completions and then is Complete."""
    workloads.create("jobs", job("task", "task:1", completions=3, parallelism=2))
    eventually(
        lambda: workloads.conditions("jobs", "task").get("Complete", ("",))[0] == "True",
        "the job is complete",
    )
    status = workloads.get("jobs", "task")["status"]
    assert (status["succeeded"], "failed" in status, "active" in status) == (3, False, False)
    assert status["startTime"] <= status["completionTime"]


def test_job_fails(workloads: Workloads) -> None:
    """A Job whose pods fail more often than backoffLimit allows is Failed."""
    workloads.create("jobs", job("task", "task:fail", backoffLimit=0))
    wanted = ("True", "BackoffLimitExceeded")
    eventually(
        lambda: workloads.conditions("jobs", "task").get("Failed") == wanted, "the job has failed"
    )
    assert workloads.get("jobs", "task")["status"]["failed"] == 1


def test_job_deadline(workloads: Workloads) -> None:
    """A Job that takes longer than activeDeadlineSeconds is Failed and its pods are gone."""
    workloads.create("jobs", job("task", "task:broken", activeDeadlineSeconds=1))
    wanted = ("True", "DeadlineExceeded")
    eventually(
        lambda: workloads.conditions("jobs", "task").get("Failed") == wanted, "the job has failed"
    )
    eventually(lambda: not workloads.list("pods"), "no pods")


def test_stateful_set_counts_up(workloads: Workloads) -> None:
    """A StatefulSet's pods have ordinals and are replaced when the template changes."""
    template = {
        "metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [{"name": "db", "image": "db:1"}]},
    }
    spec = {
        "replicas": 2,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": template,
    }
    metadata = {"name": "db"}
    workloads.create(
        "statefulsets",
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec},
    )

    def ready_images() -> list[tuple[str, str]]:
        pods = workloads.list("pods", "db")
        if (workloads.get("statefulsets", "db").get("status") or {}).get("readyReplicas") != 2:
            return []
        return [(pod["metadata"]["name"], pod["spec"]["containers"][0]["image"]) for pod in pods]

    eventually(lambda: ready_images() == [("db-0", "db:1"), ("db-1", "db:1")], "two ready pods")
    containers = [{"name": "db", "image": "db:2"}]
    workloads.change(
        "statefulsets", "db", {"spec": {"template": {"spec": {"containers": containers}}}}
    )
    eventually(lambda: ready_images() == [("db-0", "db:2"), ("db-1", "db:2")], "two new ready pods")


def test_endpoints_follow_ready_pods(workloads: Workloads) -> None:
    """A Service's Endpoints name the ready pods, and the others as not ready."""
    ports = [{"port": 80, "targetPort": 8080}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    workloads.create("services", {**service, "spec": {"selector": {"app": "web"}, "ports": ports}})
    workloads.deploy("web")
    workloads.wait_rolled_out("web")
    addresses = sorted(pod["status"]["podIP"] for pod in workloads.list("pods", "web"))

    def subsets() -> list[tuple[list[str], int, list[int]]]:
        answer = workloads.http.get(workloads.path("endpoints", "web"))
        found = answer.json().get("subsets") or [] if answer.status_code == 200 else []
        return [
            (
                sorted(entry["ip"] for entry in subset.get("addresses") or ()),
                len(subset.get("notReadyAddresses") or ()),
                [port["port"] for port in subset["ports"]],
            )
            for subset in found
        ]

    eventually(lambda: subsets() == [(addresses, 0, [8080])], "both pods stand behind the service")
    workloads.deploy("web2", "shop:unready", replicas=1)
    workloads.change("services", "web", {"spec": {"selector": {"app": "web2"}}})
    eventually(lambda: subsets() == [([], 1, [8080])], "the pod is known as not ready")


def test_events_tell_the_story(workloads: Workloads) -> None:
    """Events tell what was scaled, and why a pod does not start."""
    workloads.deploy("web", "shop:broken", replicas=1)
    wanted = {
        ("ScalingReplicaSet", "Deployment"),
        ("SuccessfulCreate", "ReplicaSet"),
        ("BackOff", "Pod"),
    }

    def told() -> bool:
        events = workloads.list("events")
        return wanted <= {(event["reason"], event["involvedObject"]["kind"]) for event in events}

    eventually(told, "the events")
