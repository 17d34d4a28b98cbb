"""Which states of what we own wake the owner."""

from __future__ import annotations

from typing import Any

import pytest
from kubestorm.sources.watching.owned_state import (
    NOTHING,
    OwnedState,
    Owner,
    owner_of,
    state_of,
    wakes_owner,
)

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
        pytest.param("Deployment", deployment(), OwnedState("settled", 5), id="all pods are there"),
        pytest.param("Deployment", deployment(observed=4), NOTHING, id="not observed yet"),
        pytest.param("Deployment", deployment(4, 1), NOTHING, id="pods are replaced"),
        pytest.param("Deployment", deployment(available=2), NOTHING, id="a pod is not available"),
        pytest.param(
            "Deployment",
            deployment(available=2, reason="ProgressDeadlineExceeded"),
            OwnedState("stalled"),
            id="no progress within the deadline",
        ),
        pytest.param(
            "Deployment",
            deployment(deletionTimestamp=BEFORE),
            OwnedState("deleting"),
            id="it is being deleted",
        ),
        pytest.param("ReplicaSet", replica_set("False", ""), NOTHING, id="pods are made"),
        pytest.param(
            "ReplicaSet",
            replica_set("True", "exceeded quota"),
            OwnedState("QuotaExceeded"),
            id="quota",
        ),
        pytest.param(
            "ReplicaSet", replica_set("True", "denied"), OwnedState("PodsRefused"), id="refused"
        ),
        pytest.param("Pod", pod(), NOTHING, id="a pod begins"),
        pytest.param("Pod", pod({"running": {}}, phase="Running"), NOTHING, id="a pod runs"),
        pytest.param(
            "Pod", pod(waiting("ErrImagePull")), OwnedState("ImagePullFailed"), id="no image"
        ),
        pytest.param(
            "Pod", pod(waiting("ImagePullBackOff")), OwnedState("ImagePullFailed"), id="still none"
        ),
        pytest.param(
            "Pod",
            pod(waiting("InvalidImageName")),
            OwnedState("ImagePullFailed", final=True),
            id="no image's name",
        ),
        pytest.param(
            "Pod",
            pod(waiting("CreateContainerConfigError")),
            OwnedState("ContainerCannotStart"),
            id="config",
        ),
        pytest.param("Pod", CRASHED, OwnedState("CrashLoop"), id="crashed once"),
        pytest.param("Pod", BETWEEN, OwnedState("CrashLoop"), id="runs again after a crash"),
        pytest.param("Pod", OFTEN, OwnedState("CrashLoop", final=True), id="crashed often"),
        pytest.param(
            "Pod", pod(conditions=UNSCHEDULABLE), OwnedState("Unschedulable"), id="no node"
        ),
        pytest.param("Pod", unready(BEFORE), NOTHING, id="not ready since it was started"),
        pytest.param(
            "Pod", unready(AFTER), OwnedState("unready"), id="was ready, and is no longer"
        ),
        pytest.param("Pod", going(CRASHED), NOTHING, id="a pod that is being deleted"),
        pytest.param(
            "Pod", never(pod(ended(1), phase="Failed")), NOTHING, id="a pod whose Job tells the end"
        ),
        pytest.param(
            "Pod", never(pod(waiting("ErrImagePull"))), OwnedState("ImagePullFailed"), id="of a Job"
        ),
        pytest.param("Job", job(), NOTHING, id="a Job runs"),
        pytest.param("Job", job("Complete"), OwnedState("Complete"), id="a Job is done"),
        pytest.param("Job", job("Failed"), OwnedState("Failed"), id="a Job failed"),
        pytest.param(
            "Job",
            job("Complete", deletionTimestamp=BEFORE),
            OwnedState("Complete"),
            id="removed in its time",
        ),
        pytest.param(
            "Job",
            job(deletionTimestamp=BEFORE),
            OwnedState("deleting"),
            id="removed before its end",
        ),
        pytest.param("Service", {"metadata": {"name": "cart"}}, NOTHING, id="another kind"),
    ],
)
def test_what_an_object_tells(kind, obj, state):
    """Nothing, unless its owner may have something to decide."""
    assert state_of(kind, obj) == state


@pytest.mark.parametrize(
    "before, after, wakes",
    [
        pytest.param(NOTHING, NOTHING, False, id="nothing"),
        pytest.param(NOTHING, OwnedState("settled", 5), True, id="all pods are there"),
        pytest.param(OwnedState("settled", 5), NOTHING, False, id="pods begin to be replaced"),
        pytest.param(
            OwnedState("settled", 5),
            OwnedState("settled", 6),
            True,
            id="the time between was missed",
        ),
        pytest.param(NOTHING, OwnedState("CrashLoop"), True, id="trouble"),
        pytest.param(
            OwnedState("CrashLoop"), OwnedState("CrashLoop", final=True), True, id="worse trouble"
        ),
        pytest.param(OwnedState("CrashLoop"), NOTHING, True, id="out of trouble"),
        pytest.param(OwnedState("stalled"), OwnedState("settled", 5), True, id="late, but there"),
    ],
)
def test_what_wakes_the_owner(before, after, wakes):
    """Every change but the beginning of one that somebody has just made."""
    assert wakes_owner(before, after) is wakes


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
