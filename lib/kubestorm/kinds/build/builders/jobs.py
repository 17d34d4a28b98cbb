"""Images built in the cluster: how Jobs and their Secrets are created, observed and removed. The
manifests are in manifests.py.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any, Dict, List, Mapping, Optional

from kubestorm.clients.git.credentials import GitCredentials
from kubestorm.clients.kube import KubeClient, Resource
from kubestorm.clients.kube_errors import Request
from kubestorm.core import untrusted
from kubestorm.core.conditions import TRUE, condition_in
from kubestorm.core.errors import ConflictError, Error, NotFoundError, PermanentError
from kubestorm.core.naming import Identity
from kubestorm.core.times import parse_time
from kubestorm.kinds.build.builders import (
    GONE,
    PUSHED,
    RUNNING,
    Order,
    Progress,
    Say,
    Stage,
    failed,
)
from kubestorm.kinds.build.builders import manifests as m
from kubestorm.kinds.build.credentials import Logins, docker_config
from kubestorm.kinds.build.failures import Failure, classify
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.kinds.build.status import Reason

JOBS = Resource("batch", "v1", "jobs")
PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
GIT_KEYS = ("username", "password", "ssh-key", "known_hosts")
LEFT_OVER_SECONDS = 600.0
DIGEST = "sha256:"
LOST = ("Evicted", "NodeLost", "Preempting", "Shutdown", "NodeShutdown", "Terminated")

Object = Dict[str, Any]


class JobBuilder:
    """Builds by Jobs of one builder in the namespace for builds."""

    def __init__(
        self,
        kube: KubeClient,
        settings: BuildSettings,
        builder: str,
        *,
        logins: Optional[Logins] = None,
        git: Optional[GitCredentials] = None,
    ) -> None:
        self._kube, self._settings, self._builder = kube, settings, builder
        self._logins, self._git = logins or {}, git or GitCredentials()
        self._namespace = settings.cluster.namespace

    def start(self, order: Order, say: Say, stage: Stage) -> Progress:
        """Create the Secret and the Job, or find those that an earlier run created."""
        name = self._name(order)
        config = docker_config(self._logins.get(order.image.name, ()))
        secret = m.secret(order, name, self._namespace, self._git, config)
        keys = [key for key in GIT_KEYS if key in secret["data"]]
        try:
            with contextlib.suppress(ConflictError):
                self._kube.create(SECRETS, secret, self._namespace)
            made = self._kube.create(
                JOBS, m.job(order, self._builder, self._settings, git_keys=keys), self._namespace
            )
        except ConflictError:
            made = self._kube.get(JOBS, name, self._namespace)
        except NotFoundError as error:
            message = (
                f"Namespace {self._namespace} does not exist; kubestorm-rbac prints it with "
                "everything else that builds in the cluster need."
            )
            raise PermanentError(message, service="Kubernetes") from error
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": name,
            "uid": made["metadata"]["uid"],
        }
        self._kube.patch(SECRETS, name, {"metadata": {"ownerReferences": [owner]}}, self._namespace)
        stage("build")
        say(f"Job {self._namespace}/{name} builds {order.image.name}.")
        return Progress(RUNNING, job=name, message=f"Job {self._namespace}/{name} is running.")

    def progress(self, order: Order) -> Progress:
        name = self._name(order)
        try:
            job = self._kube.get(JOBS, name, self._namespace)
        except NotFoundError:
            return Progress(GONE, job=name)
        pod = self._pod(name)
        return job_progress(job, pod, self._tail(pod) if _is_over(job) else "")._replace(job=name)

    def logs(self, order: Order, tail_bytes: int) -> str:
        pod = self._pod(self._name(order))
        return self._log(pod, tail_bytes) if pod else ""

    def cancel(self, order: Order) -> None:
        self._delete(self._name(order))

    def collect(self) -> List[str]:
        """Delete the Secrets whose Job was never created; the names."""
        selector = ",".join(f"{key}={value}" for key, value in m.MANAGED_BY.items())
        jobs = {job["metadata"]["name"]: job for job in self._list(JOBS, selector)}
        removed: List[str] = []
        for secret in self._list(SECRETS, selector):
            name = secret["metadata"]["name"]
            if name not in jobs and _age_seconds(secret) > LEFT_OVER_SECONDS:
                self._delete(name)
                removed.append(name)
        return removed

    def remove_all(self, identity: Identity) -> List[str]:
        """Delete every Job and Secret of an ImageBuild; the names of those found. Safe to
        repeat.
        """
        found = [
            job["metadata"]["name"] for job in self._list(JOBS, f"{m.LABEL_UID}={identity.uid}")
        ]
        found += [
            each["metadata"]["name"]
            for each in self._list(SECRETS, f"{m.LABEL_UID}={identity.uid}")
        ]
        for name in dict.fromkeys(found):
            self._delete(name)
        return list(dict.fromkeys(found))

    def active(self, namespace: str) -> int:
        """How many Jobs of a namespace's ImageBuilds have not finished."""
        jobs = self._list(JOBS, f"{m.LABEL_NAMESPACE}={namespace},{m.MANAGED_BY_SELECTOR}")
        return sum(not _is_over(job) for job in jobs)

    def _list(self, resource: Resource, selector: str) -> List[Object]:
        try:
            return list(self._kube.list_all(resource, self._namespace, label_selector=selector))
        except NotFoundError:
            return []

    def _delete(self, name: str) -> None:
        for resource in (JOBS, SECRETS):
            with contextlib.suppress(NotFoundError):
                self._kube.delete(resource, name, self._namespace, propagation="Background")

    @staticmethod
    def _name(order: Order) -> str:
        return m.job_name(order.identity, order.image.name, order.number, order.attempt)

    def _pod(self, job: str) -> Optional[Object]:
        pods = list(self._kube.list_all(PODS, self._namespace, label_selector=f"job-name={job}"))
        return max(
            pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), default=None
        )

    def _tail(self, pod: Optional[Object]) -> str:
        limit = self._settings.log_tail_bytes
        return self._log(pod, limit) if pod and limit else ""

    def _log(self, pod: Object, tail_bytes: int) -> str:
        """The end of the log of the container that ran last; empty where it cannot be read."""
        container = "build" if _state(pod, "build") in ("running", "terminated") else "source"
        with contextlib.suppress(Error):
            query = {"container": container, "tailLines": max(tail_bytes // 20, 20)}
            name = pod["metadata"]["name"]
            asked = Request("get", "", "pods/log", self._namespace, name)
            return self._kube.read_text(
                PODS.path(self._namespace, name, "log"), asked, query=query
            )[-tail_bytes:]
        return ""


def job_progress(job: Mapping[str, Any], pod: Optional[Mapping[str, Any]], log: str) -> Progress:
    """How far a Job is, by its status and its pod's. Pure."""
    last, ended = _termination_message(pod), _ending(job, "Failed")
    if _ending(job, "Complete"):
        if last.strip().startswith(DIGEST):
            return Progress(PUSHED, digest=last.strip(), message="Pushed.", log_tail=log)
        message = "The Job succeeded, but its pod with the digest is gone."
        return failed("push", Failure(Reason.DIGEST_LOST, message, True), log)
    if not ended:
        return Progress(RUNNING, message=_waiting(pod))
    if ended.get("reason") == "DeadlineExceeded":
        message = "The Job exceeded its deadline (spec.timeoutSeconds)."
        failure = Failure(Reason.TIMED_OUT, message, False)
    elif _lost(pod):
        failure = Failure(Reason.POD_LOST, _lost(pod), True)
    else:
        failure = classify("build", log or last, _exit_code(pod))
    return failed("build", failure, log or last)


def _waiting(pod: Optional[Mapping[str, Any]]) -> str:
    """Why a pod does not run yet, as Kubernetes reports it."""
    if pod is None:
        return "Waiting for the pod."
    status = untrusted.status(pod)
    for item in untrusted.mappings(status.get("conditions")):
        if item.get("type") == "PodScheduled" and item.get("status") == "False":
            return f"The pod cannot be scheduled: {item.get('message', item.get('reason', ''))}"
    for item in _containers(pod):
        waiting = (item.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            return f"{item.get('name')}: {waiting['reason']} {waiting.get('message', '')}".strip()
    return "The pod is running."


def _lost(pod: Optional[Mapping[str, Any]]) -> str:
    """Why the pod was lost for a reason other than the build's own: eviction, a lost node; empty
    where it was not.
    """
    if pod is None:
        return "The pod no longer exists."
    status = untrusted.status(pod)
    if status.get("reason") in LOST:
        return f"The pod was evicted: {status.get('message') or status['reason']}"
    return ""


def _containers(pod: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    status = untrusted.status(pod)
    return [
        *untrusted.mappings(status.get("initContainerStatuses")),
        *untrusted.mappings(status.get("containerStatuses")),
    ]


def _state(pod: Mapping[str, Any], container: str) -> str:
    for item in _containers(pod):
        if item.get("name") == container:
            return next(iter(untrusted.mapping(item.get("state"))), "")
    return ""


def _terminated(pod: Optional[Mapping[str, Any]]) -> Mapping[str, Any]:
    """How the builder's container ended, or the init container where that failed."""
    found: Mapping[str, Any] = {}
    for item in _containers(pod or {}):
        ended = untrusted.mapping(untrusted.mapping(item.get("state")).get("terminated"))
        if ended and (item.get("name") == "build" or ended.get("exitCode")):
            found = ended
    return found


def _termination_message(pod: Optional[Mapping[str, Any]]) -> str:
    return str(_terminated(pod).get("message") or "")


def _exit_code(pod: Optional[Mapping[str, Any]]) -> int:
    return untrusted.integer(_terminated(pod).get("exitCode")) or 1


def _ending(job: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The Job's condition Complete or Failed; empty where it is not True."""
    found = condition_in(untrusted.status(job), kind)
    return found if found.get("status") == TRUE else {}


def _is_over(job: Mapping[str, Any]) -> bool:
    return bool(_ending(job, "Complete") or _ending(job, "Failed"))


def _age_seconds(obj: Mapping[str, Any]) -> float:
    made = parse_time(obj["metadata"].get("creationTimestamp"))
    return (dt.datetime.now(dt.timezone.utc) - made).total_seconds() if made else 0.0
