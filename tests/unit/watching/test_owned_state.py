"""Which states of what we own wake the owner."""

from __future__ import annotations

from typing import Any

import pytest
from kubestorm.sources.watching.owned_state import Owner, is_worth_a_look, owner_of, telling_state

from tests.unit.rollout.test_rollout_diagnose import UNSCHEDULABLE, ended, pod, waiting

BEFORE, AFTER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"


def deployment(
    total: int = 3, updated: int = 3, available: int = 3, *, observed: int = 5, **more: Any
) -> dict[str, Any]:
    reason = more.pop("reason", "ReplicaSetUpdated")
    return {
        "metadata": {"name": "cart", "generation": 5, **more},
        "spec": {"replicas": 3},
        "status": {
            "observedGeneration": observed,
            "replicas": total,
            "updatedReplicas": updated,
            "availableReplicas": available,
            "conditions": [{"type": "Progressing", "status": "True", "reason": reason}],
        },
    }


def unready(since: str, started: str = BEFORE) -> dict[str, Any]:
    return pod(
        {"running": {"startedAt": started}},
        phase="Running",
        conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": since}],
    )


def job(*types: str, **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": kind, "status": "True"} for kind in types]
    return {"metadata": {"name": "test", **metadata}, "status": {"conditions": conditions}}


def replica_set(status: str, message: str) -> dict[str, Any]:
    refused = {"type": "ReplicaFailure", "status": status, "message": message}
    return {"metadata": {"name": "cart-1"}, "status": {"conditions": [refused]}}


def never(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "spec": {**found["spec"], "restartPolicy": "Never"}}


def going(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "metadata": {**found["metadata"], "deletionTimestamp": BEFORE}}


CRASHED = pod(waiting("CrashLoopBackOff"), restartCount=1, lastState=ended(3), phase="Running")
BETWEEN = pod({"running": {}}, restartCount=1, lastState=ended(3), phase="Running")
OFTEN = pod(waiting("CrashLoopBackOff"), restartCount=7, lastState=ended(3), phase="Running")


@pytest.mark.parametrize(
    "kind, obj, state",
    [
        pytest.param("Deployment", deployment(), "settled 5", id="all pods are there"),
        pytest.param("Deployment", deployment(observed=4), "", id="not observed yet"),
        pytest.param("Deployment", deployment(4, 1), "", id="pods are replaced"),
        pytest.param("Deployment", deployment(available=2), "", id="a pod is not available"),
        pytest.param(
            "Deployment",
            deployment(available=2, reason="ProgressDeadlineExceeded"),
            "stalled",
            id="no progress within the deadline",
        ),
        pytest.param(
            "Deployment", deployment(deletionTimestamp=BEFORE), "deleting", id="it is being deleted"
        ),
        pytest.param("ReplicaSet", replica_set("False", ""), "", id="pods are made"),
        pytest.param(
            "ReplicaSet", replica_set("True", "exceeded quota"), "QuotaExceeded", id="quota"
        ),
        pytest.param("ReplicaSet", replica_set("True", "denied"), "PodsRefused", id="refused"),
        pytest.param("Pod", pod(), "", id="a pod begins"),
        pytest.param("Pod", pod({"running": {}}, phase="Running"), "", id="a pod runs"),
        pytest.param("Pod", pod(waiting("ErrImagePull")), "ImagePullFailed", id="no image"),
        pytest.param("Pod", pod(waiting("ImagePullBackOff")), "ImagePullFailed", id="still none"),
        pytest.param(
            "Pod", pod(waiting("InvalidImageName")), "ImagePullFailed, final", id="no image's name"
        ),
        pytest.param(
            "Pod", pod(waiting("CreateContainerConfigError")), "ContainerCannotStart", id="config"
        ),
        pytest.param("Pod", CRASHED, "CrashLoop", id="crashed once"),
        pytest.param("Pod", BETWEEN, "CrashLoop", id="runs again after a crash"),
        pytest.param("Pod", OFTEN, "CrashLoop, final", id="crashed often"),
        pytest.param("Pod", pod(conditions=UNSCHEDULABLE), "Unschedulable", id="no node"),
        pytest.param("Pod", unready(BEFORE), "", id="not ready since it was started"),
        pytest.param("Pod", unready(AFTER), "unready", id="was ready, and is no longer"),
        pytest.param("Pod", going(CRASHED), "", id="a pod that is being deleted"),
        pytest.param(
            "Pod", never(pod(ended(1), phase="Failed")), "", id="a pod whose Job tells the end"
        ),
        pytest.param("Pod", never(pod(waiting("ErrImagePull"))), "ImagePullFailed", id="of a Job"),
        pytest.param("Job", job(), "", id="a Job runs"),
        pytest.param("Job", job("Complete"), "Complete", id="a Job is done"),
        pytest.param("Job", job("Failed"), "Failed", id="a Job failed"),
        pytest.param(
            "Job", job("Complete", deletionTimestamp=BEFORE), "Complete", id="removed in its time"
        ),
        pytest.param("Job", job(deletionTimestamp=BEFORE), "deleting", id="removed before its end"),
        pytest.param("Service", {"metadata": {"name": "cart"}}, "", id="another kind"),
    ],
)
def test_what_an_object_tells(kind, obj, state):
    """Nothing, unless its owner may have something to decide."""
    assert telling_state(kind, obj) == state


@pytest.mark.parametrize(
    "before, after, wakes",
    [
        pytest.param("", "", False, id="nothing"),
        pytest.param("", "settled 5", True, id="all pods are there"),
        pytest.param("settled 5", "", False, id="pods begin to be replaced"),
        pytest.param("settled 5", "settled 6", True, id="the time between was missed"),
        pytest.param("", "CrashLoop", True, id="trouble"),
        pytest.param("CrashLoop", "CrashLoop, final", True, id="worse trouble"),
        pytest.param("CrashLoop", "", True, id="out of trouble"),
        pytest.param("stalled", "settled 5", True, id="late, but there"),
    ],
)
def test_what_wakes_the_owner(before, after, wakes):
    """Every change but the beginning of one that somebody has just made."""
    assert is_worth_a_look(before, after) is wakes


BUILD = {
    "kubestorm.io/image-build": "orders",
    "kubestorm.io/image-build-namespace": "shop",
    "kubestorm.io/image-build-uid": "u1",
}


@pytest.mark.parametrize(
    "kind, metadata, owner",
    [
        pytest.param(
            "Pod",
            {"labels": {"kubestorm.io/application": "cart"}},
            Owner("applications", "here", "cart"),
            id="an Application's pod",
        ),
        pytest.param(
            "Job",
            {"labels": {"kubestorm.io/test-of": "cart"}},
            Owner("applications", "here", "cart"),
            id="a post-deploy test",
        ),
        pytest.param(
            "Pod", {"labels": {"kubestorm.io/test-of": "cart"}}, None, id="a post-deploy test's pod"
        ),
        pytest.param(
            "Job",
            {"labels": BUILD, "annotations": {"kubestorm.io/image-build": "shop/orders-of-old"}},
            Owner("imagebuilds", "shop", "orders-of-old", "u1"),
            id="a build's Job",
        ),
        pytest.param(
            "Pod",
            {"labels": BUILD},
            Owner("imagebuilds", "shop", "orders", "u1"),
            id="a build's pod",
        ),
        pytest.param("Deployment", {}, None, id="somebody else's"),
    ],
)
def test_whose_an_object_is(kind, metadata, owner):
    """By its labels."""
    assert owner_of(kind, {"metadata": {"name": "x", "namespace": "here", **metadata}}) == owner
