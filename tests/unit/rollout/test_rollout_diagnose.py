"""Why pods do not become available, from manifests as the API serves them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.pod_failures import Container, Evidence, diagnose, needs_log
from kubestorm.kinds.application.rollout.redact import HIDDEN, MAX_TEXT, last_lines, redact

IMAGE = "registry.test/team/cart@sha256:" + "b" * 64


def template(image: str = IMAGE) -> dict[str, Any]:
    return {
        "metadata": {"annotations": {}},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }


def deployment(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": "cart", "uid": "d", "generation": 2},
        "spec": {"template": template(), "progressDeadlineSeconds": 60},
        "status": {"observedGeneration": 2, "conditions": list(conditions)},
    }


def replica_set(uid: str = "new", image: str = IMAGE, **condition: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"cart-{uid}", "uid": uid, "ownerReferences": [{"uid": "d"}]},
        "spec": {"template": template(image)},
        "status": {"conditions": [condition] if condition else []},
    }


def pod(
    state: dict[str, Any] | None = None, *, owner: str = "new", phase: str = "Pending", **more: Any
) -> dict[str, Any]:
    status = {
        "name": "app",
        "image": IMAGE,
        "restartCount": 0,
        "ready": False,
        "state": state or {},
    }
    status.update(
        {key: more.pop(key) for key in ("restartCount", "lastState", "ready") if key in more}
    )
    return {
        "metadata": {"name": "cart-1", "uid": "p", "ownerReferences": [{"uid": owner}]},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": phase, "containerStatuses": [status], **more},
    }


def event(reason: str, message: str, at: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {
        "involvedObject": {"name": "cart-1"},
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason}}


UNSCHEDULABLE = [
    {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes: Insufficient cpu",
    }
]
PULL = event("Failed", 'Failed to pull image "x": unauthorized: authentication required')
READINESS = event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
LIVENESS = event(
    "Unhealthy", 'Liveness probe failed: Get "http://10.0.0.1/": context deadline exceeded'
)


@pytest.mark.parametrize(
    "found, events, log, reason, words",
    [
        pytest.param(
            pod(waiting("ErrImagePull", "manifest unknown")),
            [],
            "",
            "ImagePullFailed",
            "manifest unknown",
            id="pull",
        ),
        pytest.param(
            pod(waiting("ImagePullBackOff", "Back-off pulling")),
            [PULL],
            "",
            "ImagePullFailed",
            "unauthorized: authentication required",
            id="pull backed off, the registry's word is in an Event",
        ),
        pytest.param(
            pod(waiting("InvalidImageName", "bad")),
            [],
            "",
            "ImagePullFailed",
            "not a valid image name",
            id="name",
        ),
        pytest.param(
            pod(waiting("CreateContainerConfigError", 'secret "cart-secrets" not found')),
            [],
            "",
            "ContainerCannotStart",
            'secret "cart-secrets" not found',
            id="a secret that is missing",
        ),
        pytest.param(
            pod(waiting("CrashLoopBackOff"), restartCount=2, lastState=ended(3), phase="Running"),
            [],
            "cannot open database",
            "CrashLoop",
            "exit code 3 (2 restarts). Its last lines: cannot open database",
            id="crash loop",
        ),
        pytest.param(
            pod({"running": {}}, restartCount=1, lastState=ended(1), phase="Running"),
            [],
            "",
            "CrashLoop",
            "exit code 1",
            id="between two crashes",
        ),
        pytest.param(
            pod(
                waiting("CrashLoopBackOff"),
                restartCount=1,
                lastState=ended(137, "OOMKilled"),
                phase="Running",
            ),
            [],
            "",
            "OutOfMemory",
            "more memory than its limit",
            id="out of memory",
        ),
        pytest.param(
            pod({"running": {}}, phase="Running"),
            [READINESS],
            "",
            "ProbeFailing",
            "statuscode: 503",
            id="readiness",
        ),
        pytest.param(
            pod(waiting("CrashLoopBackOff"), restartCount=2, lastState=ended(137), phase="Running"),
            [LIVENESS],
            "",
            "ProbeFailing",
            "context deadline exceeded",
            id="liveness",
        ),
        pytest.param(
            pod(conditions=UNSCHEDULABLE),
            [],
            "",
            "Unschedulable",
            "Insufficient cpu",
            id="unschedulable",
        ),
        pytest.param(
            pod(phase="Failed", message="The node was low on resource: memory."),
            [],
            "",
            "PodFailed",
            "low on resource",
            id="evicted",
        ),
    ],
)
def test_each_trouble_has_its_reason(found, events, log, reason, words):
    """And the words of whoever knows."""
    logs = {"cart-1": log} if log else {}
    failure = diagnose(Evidence(deployment(), [replica_set()], [found], events, logs))
    assert failure is not None
    assert failure.reason == reason
    assert words in failure.message


def test_a_quota_is_named():
    """The ReplicaSet knows, there is no pod to look at."""
    refusal = (
        'pods "cart-1" is forbidden: exceeded quota: compute, requested: cpu=1, used: cpu=4, '
        "limited: cpu=4"
    )
    refused = replica_set(
        type="ReplicaFailure", status="True", reason="FailedCreate", message=refusal
    )
    failure = diagnose(Evidence(deployment(), [refused], []))
    assert failure is not None
    assert failure.reason == "QuotaExceeded"
    assert "limited: cpu=4" in failure.message


def test_the_deadline_makes_it_final():
    """With what pods say where they say something."""
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    alone = diagnose(Evidence(deployment(late), [replica_set()], []))
    assert alone is not None
    assert (alone.reason, alone.final) == ("DeadlineExceeded", True)
    with_reason = diagnose(
        Evidence(deployment(late), [replica_set()], [pod(conditions=UNSCHEDULABLE)])
    )
    assert with_reason is not None
    assert (with_reason.reason, with_reason.final) == ("Unschedulable", True)


def test_what_only_time_can_tell_is_slow():
    """A program that warms up, a node that is being added."""
    for found, events in (
        (pod({"running": {}}, phase="Running"), [READINESS]),
        (pod(conditions=UNSCHEDULABLE), []),
    ):
        failure = diagnose(Evidence(deployment(), [replica_set()], [found], events))
        assert failure is not None
        assert failure.slow
        assert not failure.final


def test_three_restarts_are_final():
    """Before that it may have waited for something else to come up."""
    for restarts, final in ((2, False), (3, True)):
        crashed = pod(
            waiting("CrashLoopBackOff"), restartCount=restarts, lastState=ended(1), phase="Running"
        )
        failure = diagnose(Evidence(deployment(), [replica_set()], [crashed]))
        assert failure is not None
        assert failure.final is final


def test_pods_of_other_templates_say_nothing():
    """The old image's trouble is not the new one's."""
    old = replica_set("old", "registry.test/team/cart@sha256:" + "a" * 64)
    crashed = pod(waiting("CrashLoopBackOff"), owner="old", restartCount=9, lastState=ended(1))
    assert diagnose(Evidence(deployment(), [old, replica_set()], [crashed])) is None


def test_the_log_of_the_run_that_ended_is_asked_for():
    """Once a container runs again, its present log does not tell."""
    first = pod(ended(1), phase="Running")
    assert needs_log(Evidence(deployment(), [replica_set()], [first])) == Container(
        "cart-1", "app", False
    )
    later = pod({"running": {}}, restartCount=1, lastState=ended(1), phase="Running")
    assert needs_log(Evidence(deployment(), [replica_set()], [later])) == Container(
        "cart-1", "app", True
    )
    assert (
        needs_log(Evidence(deployment(), [replica_set()], [pod(waiting("ErrImagePull"))])) is None
    )


@pytest.mark.parametrize(
    "line, secret",
    [
        pytest.param("password=hunter22 x", "hunter22", id="assignment"),
        pytest.param('{"db_password": "hunter 22"}', "hunter 22", id="JSON"),
        pytest.param("DATABASE_PASSWORD: hunter22", "hunter22", id="YAML"),
        pytest.param("connect postgres://cart:hunter22@db:5432/cart", "hunter22", id="URL"),
        pytest.param("Authorization: Bearer abc.def-ghi123", "abc.def-ghi123", id="header"),
        pytest.param("key AKIAABCDEFGHIJKLMNOP refused", "AKIAABCDEFGHIJKLMNOP", id="AWS"),
        pytest.param("token is hvs.CAESIJabcdefghijkl", "hvs.CAESIJabcdefghijkl", id="Vault"),
        pytest.param("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.sig", "eyJhbGciOiJIUzI1NiJ9", id="JWT"),
        pytest.param(
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE", id="PEM"
        ),
        pytest.param("it said opensesame aloud", "opensesame", id="known value"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(line, secret):
    """And what is known to be one."""
    clean = redact(line, ["opensesame"])
    assert secret not in clean
    assert HIDDEN in clean


def test_plain_words_stay():
    """A log that tells why is of use."""
    line = "could not connect to db:5432: connection refused (token bucket empty)"
    assert "connection refused" in last_lines(line)


@given(st.text(max_size=4000), st.text("abcdef0123456789", min_size=8, max_size=20))
def test_the_end_of_a_log_is_bounded_and_holds_no_known_secret(text, secret):
    """Whatever a program writes."""
    shown = last_lines(f"{text}\nx {secret} y\n{secret}", [secret])
    assert secret not in shown
    assert len(shown) <= MAX_TEXT + 3
    assert "\n" not in shown
