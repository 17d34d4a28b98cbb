"""Builds as Jobs: the life of one, on the sandbox's API and on a real one. No container runs here;
what a pod would say is written into its status.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubestorm.clients.lease import LeaseTakenError
from kubestorm.core.naming import Identity
from kubestorm.core.times import parse_time
from kubestorm.kinds.build import commands, slots
from kubestorm.kinds.build.builders import manifests
from kubestorm.kinds.build.execution import run_build

from sandbox.vault.server import VaultServer
from tests.integration.building.conftest import PASSWORD, ROOT, USER, World, a_world, store
from tests.kube_fixtures import Kube, eventually

BUILDS = "kubestorm-builds"
DIGEST = "sha256:" + "7" * 64
JOBS = f"/apis/batch/v1/namespaces/{BUILDS}/jobs"
PODS = f"/api/v1/namespaces/{BUILDS}/pods"
SECRETS = f"/api/v1/namespaces/{BUILDS}/secrets"


@pytest.fixture
def cluster(kube: Kube, vault: VaultServer, tmp_path: Path) -> Iterator[World]:
    """Builds by BuildKit in the namespace that deploy/ makes, on both APIs."""
    with a_world(
        kube, vault, tmp_path, "registry.test:5000", builder="buildkit", max_concurrent=1
    ) as made:
        for manifest in yaml.safe_load_all(
            (ROOT / "deploy" / "kubernetes" / "builds-in-cluster.yaml").read_text()
        ):
            if manifest["kind"] in ("Namespace", "ServiceAccount"):
                place = (
                    f"/namespaces/{BUILDS}/serviceaccounts"
                    if manifest["kind"] == "ServiceAccount"
                    else "/namespaces"
                )
                made.http.post(f"/api/v1{place}", json=manifest)
        made.repository.commit(
            {"cart/Dockerfile": "FROM scratch\nCOPY main /main\n", "cart/main": "1"}
        )
        made.has_controllers = kube.is_real
        yield made
        for place in (JOBS, SECRETS):
            made.http.request(
                "DELETE", place, params={"labelSelector": "app.kubernetes.io/managed-by=kubestorm"}
            )


def jobs(world: World) -> list[dict[str, Any]]:
    """The Jobs of this test's namespace."""
    selector = f"{manifests.LABEL_NAMESPACE}={world.namespace}"
    return (
        world.http.get(JOBS, params={"labelSelector": selector}).raise_for_status().json()["items"]
    )


def secrets(world: World) -> list[dict[str, Any]]:
    selector = f"{manifests.LABEL_NAMESPACE}={world.namespace}"
    return (
        world.http.get(SECRETS, params={"labelSelector": selector})
        .raise_for_status()
        .json()["items"]
    )


def finish(
    world: World, job: dict[str, Any], *, kind: str, reason: str = "", said: str = "", code: int = 0
) -> None:
    """Play the kubelet: the pod says its last words. Where there is no Job controller, play that as
    well.
    """
    name = job["metadata"]["name"]
    pod = _pod_of(world, name) if world.has_controllers else _made_pod(world, name)
    ended = {"exitCode": code, "reason": "Completed" if not code else "Error", "message": said}
    state: dict[str, Any] = {
        "name": "build",
        "ready": False,
        "restartCount": 0,
        "image": "b",
        "imageID": "",
    }
    state["state"] = {"terminated": ended}
    _patch(
        world,
        f"{PODS}/{pod}/status",
        phase="Failed" if code else "Succeeded",
        containerStatuses=[state],
    )
    if world.has_controllers:
        eventually(lambda: _is_over(world, name), "the Job controller has seen the end")
        return
    moment = "2026-01-01T00:00:00Z"
    over = {
        "status": "True",
        "reason": reason,
        "lastProbeTime": moment,
        "lastTransitionTime": moment,
    }
    _patch(world, f"{JOBS}/{name}/status", conditions=[{"type": kind, **over}], startTime=moment)


def _patch(world: World, path: str, **status: Any) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    world.http.patch(path, json={"status": status}, headers=headers).raise_for_status()


def _pod_of(world: World, job: str) -> str:
    """The pod that the Job controller made."""

    def found() -> list[dict[str, Any]]:
        return (
            world.http.get(PODS, params={"labelSelector": f"job-name={job}"})
            .raise_for_status()
            .json()["items"]
        )

    return str(eventually(found, "the Job has a pod")[0]["metadata"]["name"])


def _made_pod(world: World, job: str) -> str:
    spec = {"containers": [{"name": "build", "image": "builder"}], "restartPolicy": "Never"}
    metadata = {"name": f"{job}-x", "labels": {"job-name": job}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    world.http.post(PODS, json=pod).raise_for_status()
    return f"{job}-x"


def _is_over(world: World, job: str) -> bool:
    status = world.http.get(f"{JOBS}/{job}").raise_for_status().json().get("status") or {}
    return any(each["type"] in ("Complete", "Failed") for each in status.get("conditions") or ())


def begin(world: World, **build: Any) -> dict[str, Any]:
    """The run that asks for a build, and the execution that makes its Jobs."""
    world.reconcile(**build)
    assert world.take("build_requested"), world.condition("Ready")
    return run_build(world.run(**build))


def test_a_build_becomes_a_job_and_its_end_an_image(cluster: World):
    """The chain looks at the Job; the digest is what the pod said last."""
    cluster.apply()
    begin(cluster)
    (job,) = jobs(cluster)
    assert (cluster.image()["state"], cluster.image()["job"]) == (
        "Building",
        job["metadata"]["name"],
    )
    cluster.reconcile()
    assert cluster.get()["status"]["build"]["phase"] == "Running"
    finish(cluster, job, kind="Complete", said=DIGEST)
    cluster.reconcile()
    assert (cluster.image()["state"], cluster.image()["digest"]) == ("Pushed", DIGEST)
    assert cluster.condition("Ready")[0] == "True"
    assert cluster.take("build_finished")[0]["outcome"] == "Succeeded"
    assert cluster.take("build_requested") == []


def test_the_pod_has_no_privilege_and_its_secrets_are_apart(cluster: World, vault):
    """An API server takes the manifest as it is; the builder does not see what git is shown."""
    store(
        vault,
        f"builds/test/{cluster.namespace}/git",
        {"username": "ada", "password": "git-password-3"},
    )
    url = "http://git.invalid/shop.git"
    cluster.apply(source={"url": cluster.repository.url, "branch": "main"})
    begin(cluster)
    (job,) = jobs(cluster)
    pod = job["spec"]["template"]["spec"]
    containers = [*pod["initContainers"], *pod["containers"]]
    assert not any((each.get("securityContext") or {}).get("privileged") for each in containers)
    assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    assert not any("hostPath" in volume for volume in pod["volumes"])
    assert pod["automountServiceAccountToken"] is False
    assert all(each["securityContext"]["runAsUser"] for each in containers)
    (secret,) = secrets(cluster)
    registry = json.loads(base64.b64decode(secret["data"]["config.json"]))["auths"][
        "registry.test:5000"
    ]["auth"]
    assert base64.b64decode(registry).decode() == f"{USER}:{PASSWORD}"
    assert secret["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert PASSWORD not in json.dumps(job)
    assert registry not in json.dumps(job)
    assert url not in json.dumps(job)


@pytest.mark.parametrize(
    "said, reason, again",
    [
        (
            "error: failed to solve: process /bin/sh did not complete: exit code: 1",
            "BuildFailed",
            False,
        ),
        ("dial tcp 10.0.0.1:443: i/o timeout", "NetworkFailed", True),
        ("unexpected status: 401 Unauthorized", "RegistryDenied", False),
    ],
)
def test_only_what_may_pass_is_tried_again(cluster: World, said, reason, again):
    """Each try is a Job of its own; the first one's log tells why."""
    cluster.apply()
    begin(cluster)
    (job,) = jobs(cluster)
    finish(cluster, job, kind="Failed", reason="BackoffLimitExceeded", said=said, code=1)
    cluster.reconcile()
    image = cluster.image()
    assert (image["reason"], image["state"]) == (reason, "Waiting" if again else "Failed")
    assert said[:20] in image["logTail"]
    if again:
        run_build(cluster.run())
        assert len(jobs(cluster)) == 2


def test_a_step_that_is_repeated_makes_one_job(cluster: World):
    """A crash between the Job and the status ends with one Job."""
    cluster.apply()
    begin(cluster)
    resource = cluster.get()
    images = [{**resource["status"]["images"][0], "state": "Waiting", "attempts": 0}]
    build = {**resource["status"]["build"], "phase": "Requested"}
    run = cluster.run(max_concurrent=5)
    run.write(resource, build=build, images=images)
    run_build(run)
    assert len(jobs(cluster)) == 1
    assert len(secrets(cluster)) == 1


def test_jobs_wait_for_their_turn(cluster: World):
    """No more at a time than the namespace may have; the next begins when one is over."""
    cluster.repository.commit(
        {"web/Dockerfile": "FROM scratch\nCOPY main /main\n", "web/main": "1"}
    )
    images = [
        {"name": n, "context": n, "repository": f"{cluster.namespace}/{n}"} for n in ("cart", "web")
    ]
    cluster.apply(images=images)
    begin(cluster)
    (first,) = jobs(cluster)
    assert [cluster.image(each)["state"] for each in ("cart", "web")] == ["Building", "Waiting"]
    run_build(cluster.run())
    assert len(jobs(cluster)) == 1
    finish(cluster, first, kind="Complete", said=DIGEST)
    cluster.reconcile()
    run_build(cluster.run())
    assert [cluster.image(each)["state"] for each in ("cart", "web")] == ["Pushed", "Building"]
    assert len(jobs(cluster)) == 2


def test_a_count_that_another_build_holds_for_long_is_no_build_under_way(
    cluster: World, monkeypatch
):
    """It is told as what it is, and tried again; "Already being built" would have hidden it."""
    monkeypatch.setattr(slots, "COUNTING_WAIT_SECONDS", 0.0)
    cluster.apply()
    cluster.reconcile()
    run = cluster.run()
    with (
        slots.counting(run.services, run.identity, "another build"),
        pytest.raises(LeaseTakenError, match="held by another build"),
    ):
        run_build(run)
    assert jobs(cluster) == []
    build = cluster.get()["status"]["build"]
    assert (build["phase"], build["interruptions"]) == ("Requested", 1)
    assert "held by another build" in build["message"]


def test_a_job_that_ends_calls_the_build_that_waits(cluster: World):
    """One of the same namespace, by a trigger; nobody asks for its turn by time."""
    cluster.apply()
    begin(cluster)
    cluster.apply("other")
    cluster.reconcile("other")
    run_build(cluster.run("other"))
    assert cluster.condition("Ready", "other")[1] == "WaitingForBuilder"
    assert cluster.get("other")["status"]["build"]["awaitsTurn"]
    cluster.take("build_requested")
    cluster.reconcile()
    assert cluster.take("build_requested") == []
    finish(cluster, jobs(cluster)[0], kind="Complete", said=DIGEST)
    cluster.reconcile()
    assert [each["name"] for each in cluster.take("build_requested")] == ["other"]
    run_build(cluster.run("other"))
    assert cluster.image(name="other")["state"] == "Building"


def test_a_job_is_looked_at_by_time_only_when_it_is_overdue(cluster: World):
    """Its end is watched: the label says whose it is."""
    cluster.apply(timeoutSeconds=900)
    begin(cluster)
    status = cluster.get()["status"]
    due = parse_time(status["requeueAt"])
    assert (due - parse_time(status["build"]["startedAt"])).total_seconds() >= 900
    (job,) = jobs(cluster)
    assert job["metadata"]["labels"][manifests.LABEL_UID] == cluster.get()["metadata"]["uid"]
    finish(cluster, job, kind="Complete", said=DIGEST)
    cluster.reconcile()
    assert "requeueAt" not in cluster.get()["status"]


def test_cancel_deletes_the_job(cluster: World):
    """Its pod goes with it, and the Secret."""
    cluster.apply()
    begin(cluster)
    commands.cancel(cluster.services(), cluster.namespace, "shop", by="ada")
    cluster.reconcile()
    assert cluster.get()["status"]["build"]["outcome"] == "Canceled"
    assert [job for job in jobs(cluster) if not job["metadata"].get("deletionTimestamp")] == []
    assert secrets(cluster) == []


def test_a_job_that_somebody_deleted_is_made_again(cluster: World):
    """What is gone is no end of the build."""
    cluster.apply()
    begin(cluster)
    (job,) = jobs(cluster)
    cluster.http.request(
        "DELETE", f"{JOBS}/{job['metadata']['name']}", json={"propagationPolicy": "Background"}
    ).raise_for_status()
    cluster.reconcile()
    assert (cluster.image()["reason"], cluster.image()["state"]) == ("JobGone", "Waiting")
    run_build(cluster.run())
    assert (
        len([each for each in jobs(cluster) if not each["metadata"].get("deletionTimestamp")]) == 1
    )


def test_a_deleted_image_build_takes_its_jobs_along(cluster: World):
    """The finalizer holds it until they are gone."""
    cluster.apply()
    begin(cluster)
    cluster.http.delete(
        f"/apis/kubestorm.io/v1alpha1/namespaces/{cluster.namespace}/imagebuilds/shop"
    )
    cluster.reconcile()
    assert not cluster.exists()
    assert [job for job in jobs(cluster) if not job["metadata"].get("deletionTimestamp")] == []
    assert secrets(cluster) == []


@pytest.mark.parametrize("builder", ["buildkit", "buildah", "kaniko"])
def test_an_api_server_takes_every_builders_job(cluster: World, builder):
    """Also with all that an image can ask for."""
    image = {
        "name": "cart",
        "context": "cart",
        "repository": f"{cluster.namespace}/cart",
        "buildArgs": {"A": "it's; rm -rf /", "B": "$(x)"},
        "target": "final",
        "platforms": ["linux/amd64"],
        "cache": f"{cluster.namespace}/cache",
    }
    cluster.apply(builder=builder, images=[image])
    begin(cluster)
    assert len(jobs(cluster)) == 1


def test_a_missing_namespace_is_a_sentence(cluster: World):
    """Operations learn what to apply."""
    cluster.apply()
    with pytest.raises(Exception, match="kubestorm-rbac"):
        begin(cluster, cluster={"namespace": "no-such-namespace"})


def test_logs_come_from_the_job_or_the_status(cluster: World):
    """Where a pod's log cannot be had, the status has its end."""
    cluster.apply()
    begin(cluster)
    (job,) = jobs(cluster)
    finish(cluster, job, kind="Failed", reason="BackoffLimitExceeded", said="it went wrong", code=1)
    cluster.reconcile()
    found = commands.read_logs(cluster.services(), cluster.namespace, "shop")
    assert "it went wrong" in found["logs"]["cart"]


def test_a_jobs_log_is_followed_until_it_is_over(sandbox_kube, vault, tmp_path):
    """Each line once, as it comes."""
    with a_world(sandbox_kube, vault, tmp_path, "registry.test:5000", builder="buildkit") as world:
        world.repository.commit({"cart/Dockerfile": "FROM scratch\n"})
        world.http.post("/api/v1/namespaces", json={"metadata": {"name": BUILDS}})
        world.apply()
        begin(world)
        (job,) = jobs(world)
        pod = _made_pod(world, job["metadata"]["name"])
        running = {
            "name": "build",
            "ready": True,
            "restartCount": 0,
            "image": "b",
            "imageID": "",
            "state": {"running": {}},
        }
        _patch(world, f"{PODS}/{pod}/status", phase="Running", containerStatuses=[running])
        lines: list[str] = []

        def write(text: str) -> None:
            annotations = {"sandbox.kubestorm.io/log": text}
            headers = {"Content-Type": "application/merge-patch+json"}
            body = {"metadata": {"annotations": annotations}}
            world.http.patch(f"{PODS}/{pod}", json=body, headers=headers).raise_for_status()

        def hear(line: str) -> None:
            lines.append(line)
            if line == "step 1":
                write("step 1\nstep 2\nhalf a li")
            if line == "step 2":
                write("step 1\nstep 2\nhalf a line\n")
            if line == "half a line":
                commands.cancel(world.services(), world.namespace, "shop")
                world.reconcile()

        write("step 1\n")
        commands.follow_logs(
            world.services(), world.namespace, "shop", hear, seconds=30, pause_seconds=0.01
        )
        assert lines[:3] == ["step 1", "step 2", "half a line"]


def test_every_word_of_buildahs_script_is_quoted():
    """Names of jobs are labels, whatever the object is called."""
    identity = Identity("test", "kubestorm.io", "v1alpha1", "imagebuilds", "a" * 63, "b" * 253, "u")
    name = manifests.job_name(identity, "c" * 63, 123456, 1)
    assert len(name) <= 63
    assert manifests.job_name(identity, "c" * 63, 123456, 2) != name
    assert len(manifests.label_value("b" * 253)) == 63
