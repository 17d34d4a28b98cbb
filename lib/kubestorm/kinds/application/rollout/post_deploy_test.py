"""Runs an Application's post-deploy test: HTTP requests, a Job, or both. Each call does one attempt
and returns.

Requests go through the API server (its `proxy` subresource): to the pods of a canary or a preview,
and at the end to the Service. With `through: ingress` the last ones go to the first ingress host
that the Application holds instead. Messages never repeat the content of a response.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import urllib3.exceptions

from kubestorm.clients import resources
from kubestorm.clients.kube import Answer, KubeClient
from kubestorm.clients.kube_errors import ForbiddenError
from kubestorm.clients.kube_errors import Request as Asked
from kubestorm.core import untrusted
from kubestorm.core.conditions import READY, TRUE, condition_in
from kubestorm.core.errors import ConflictError, DefinitionError, Error, NotFoundError
from kubestorm.core.times import parse_time
from kubestorm.kinds.application import render
from kubestorm.kinds.application.rollout.expectations import HttpAnswer, unmet
from kubestorm.kinds.application.rollout.ingress_request import IngressRoute, get
from kubestorm.kinds.application.rollout.observe import read_log, secret_values
from kubestorm.kinds.application.rollout.redact import last_lines, redact
from kubestorm.kinds.application.rollout.values import (
    NOT_PASSED,
    PASSED,
    RUNNING,
    RunTest,
    TestView,
)
from kubestorm.kinds.application.values import ApplicationSpec, HttpCheck, PostDeployTest

FINAL = "final"
PODS_ASKED = 3
"""Of a canary or a preview: they run the same image, a few stand for all."""
JOB_KEPT_SECONDS = 3600
FIRST_PAUSE_SECONDS, PAUSE_SECONDS = 2.0, 15.0
"""Between two tries of requests that are not answered as they should be."""
Object = Dict[str, Any]


class Target(NamedTuple):
    """Whom a request goes to: a `proxy` subresource of the API server, or an ingress host."""

    proxy: str = ""
    host: str = ""


class TestRun:
    """The post-deploy test of one Rollout."""

    __test__ = False

    def __init__(
        self,
        kube: KubeClient,
        rollout: Mapping[str, Any],
        spec: ApplicationSpec,
        *,
        route: IngressRoute,
        granted: Sequence[str] = (),
        timeout_seconds: float,
    ) -> None:
        """`granted` are the hosts that the Application holds; `timeout_seconds` is for one request
        of which the Application does not say it."""
        self._kube, self._rollout, self._spec = kube, rollout, spec
        self._route, self._granted, self._timeout_seconds = route, granted, timeout_seconds
        self._namespace = rollout["metadata"]["namespace"]
        self._test = spec.test or PostDeployTest()
        self._digest = str(rollout["spec"]["image"]["digest"])

    def run(
        self,
        effect: RunTest,
        known: Optional[TestView],
        began: dt.datetime,
        now: dt.datetime,
    ) -> TestView:
        """Ask once more. What does not pass is asked again until the test's time is over: requests
        after 2, 4, 8 and then every 15 seconds; a Job that runs at the end of that time, since
        its end is watched.
        """
        if known is not None and known.key == effect.key and known.state in (PASSED, NOT_PASSED):
            return known
        ends = began + dt.timedelta(seconds=self._test.timeout_seconds)
        again_at: Optional[dt.datetime] = ends
        wrong = self._ask(effect)
        if wrong is not None:
            state, message = RUNNING, wrong
            pause = min(max((now - began).total_seconds(), FIRST_PAUSE_SECONDS), PAUSE_SECONDS)
            again_at = min(ends, now + dt.timedelta(seconds=pause))
        elif self._test.job_command or self._test.job_image:
            state, message = self._job(effect)
        else:
            state, message = PASSED, ""
        if state == RUNNING and now >= ends:
            state, message = NOT_PASSED, f"{message} (after {self._test.timeout_seconds} s)"
        if state == PASSED:
            message = self._passed_message()
        return TestView(effect.key, state, message, again_at if state == RUNNING else None)

    def _passed_message(self) -> str:
        parts = (
            [f"{len(self._test.http)} request{'s' if len(self._test.http) > 1 else ''}"]
            if self._test.http
            else []
        )
        parts += ["the Job"] if self._test.job_command or self._test.job_image else []
        return f"Passed: {' and '.join(parts)}."

    # Requests.

    def _ask(self, effect: RunTest) -> Optional[str]:
        if not self._test.http:
            return None
        try:
            targets = self._targets(effect)
        except (NotFoundError, DefinitionError) as error:
            return str(error)
        for target in targets:
            for check in self._test.http:
                try:
                    answer = self._get(target, check)
                except (Error, urllib3.exceptions.HTTPError, OSError) as error:
                    return redact(f"GET {check.path}: {_no_answer(error)}")
                wrong = unmet(check, answer)
                if wrong is not None:
                    return redact(wrong)
        return None

    def _targets(self, effect: RunTest) -> List[Target]:
        if effect.key == FINAL and self._test.through == "ingress":
            return [Target(host=self._host())]
        if effect.key == FINAL:
            service = f"http:{self._spec.name}:{self._spec.exposure.port}"
            return [Target(resources.SERVICES.path(self._namespace, service, "proxy"))]
        pods = self._pods(effect.track)[:PODS_ASKED]
        if not pods:
            raise NotFoundError(
                f"No pod of track {effect.track} is ready to be tested.", service="Kubernetes"
            )
        return [
            Target(resources.PODS.path(self._namespace, f"http:{name}:{self._spec.port}", "proxy"))
            for name in (pod["metadata"]["name"] for pod in pods)
        ]

    def _host(self) -> str:
        """The first host that this Application holds: no requests are sent to one that it only
        asks for."""
        hosts = self._spec.exposure.hosts
        found = next((each for each in hosts if each in self._granted and "*" not in each), None)
        if found is None:
            raise DefinitionError(
                "test.through is ingress, and the Application holds no ingress host that can be "
                "requested; see its condition HostClaimed."
            )
        return found

    def _pods(self, track: str) -> List[Object]:
        selector = f"{resources.selector(self._spec.name)},{resources.TRACK_LABEL}={track}"
        found = self._kube.list_all(resources.PODS, self._namespace, label_selector=selector)
        return [pod for pod in found if _is_ready(pod) and self._digest in _image(pod)]

    def _get(self, target: Target, check: HttpCheck) -> HttpAnswer:
        timeout = (check.within_seconds or self._timeout_seconds) + 1
        begun = time.monotonic()
        answer = self._send(target, check, timeout)
        body = answer.body.decode("utf-8", "replace")
        return HttpAnswer(answer.status, answer.headers, body, time.monotonic() - begun)

    def _send(self, target: Target, check: HttpCheck, timeout: float) -> Answer:
        if target.host:
            return get(
                self._route,
                target.host,
                check.path,
                headers=check.headers,
                timeout_seconds=timeout,
            )
        kind = "pods/proxy" if "/pods/" in target.proxy else "services/proxy"
        asked = Asked("get", "", kind, self._namespace, self._spec.name)
        return self._kube.proxy(
            target.proxy, check.path, asked, headers=check.headers, timeout_seconds=timeout
        )

    # The Job.

    def _job(self, effect: RunTest) -> Tuple[str, str]:
        name = f"{self._rollout['metadata']['name']}-{effect.key}"
        try:
            job = self._kube.get(resources.JOBS, name, self._namespace)
        except NotFoundError:
            with contextlib.suppress(ConflictError):  # an earlier run created it
                self._kube.create(resources.JOBS, self._job_manifest(name, effect), self._namespace)
            return RUNNING, f"Created Job {name}."
        said = {
            one.get("type"): one
            for one in untrusted.mappings(untrusted.status(job).get("conditions"))
            if one.get("status") == "True"
        }
        if "Complete" in said:
            return PASSED, ""
        if "Failed" in said:
            why = (
                said["Failed"].get("message")
                or said["Failed"].get("reason")
                or "no reason reported"
            )
            return NOT_PASSED, f"Job {name}: {why}{self._job_log(name)}"
        return RUNNING, f"Job {name} is running."

    def _job_log(self, name: str) -> str:
        pods = list(
            self._kube.list_all(resources.PODS, self._namespace, label_selector=f"job-name={name}")
        )
        known = tuple(secret_values(self._kube, self._namespace, pods))
        for pod in pods:
            try:
                lines = last_lines(
                    read_log(self._kube, self._namespace, pod["metadata"]["name"]), known
                )
            except Error:
                continue
            if lines:
                return f" Its last lines: {lines}"
        return ""

    def _job_manifest(self, name: str, effect: RunTest) -> Object:
        """The Application's own container, with another command: the same variables, files and
        accounts.
        """
        image = f"{self._spec.image}@{self._digest}"
        rendered = render.deployment(
            self._spec, track=effect.track, image=image, replicas=1, config_hash=""
        )
        pod = rendered["spec"]["template"]["spec"]
        kept = ("env", "envFrom", "volumeMounts", "resources", "securityContext", "imagePullPolicy")
        own = pod["containers"][0]
        container = {key: own[key] for key in kept if key in own}
        container.update(name="test", image=self._test.job_image or image)
        if self._test.job_command:
            container["command"] = list(self._test.job_command)
        container["env"] = [
            *container.get("env", ()),
            {"name": "TEST_URL", "value": self._url(effect)},
        ]
        shared = (
            "volumes",
            "serviceAccountName",
            "imagePullSecrets",
            "automountServiceAccountToken",
        )
        metadata = self._rollout["metadata"]
        owner = {
            "apiVersion": self._rollout["apiVersion"],
            "kind": "Rollout",
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
            "blockOwnerDeletion": False,
        }
        # Not the application's own labels: the Service would send requests to the test.
        labels = {
            "app.kubernetes.io/managed-by": "kubestorm",
            resources.TEST_OF_LABEL: self._spec.name,
        }
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": self._test.timeout_seconds,
                "ttlSecondsAfterFinished": JOB_KEPT_SECONDS,
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [container],
                        **{key: pod[key] for key in shared if key in pod},
                    },
                },
            },
        }

    def _url(self, effect: RunTest) -> str:
        """The Job's target: the Service at the end, before that one pod of the new image."""
        if self._spec.port is None:
            return ""
        if effect.key == FINAL:
            return f"http://{self._spec.name}.{self._namespace}:{self._spec.exposure.port}"
        address = next((pod["status"].get("podIP") for pod in self._pods(effect.track)), None)
        return f"http://{address}:{self._spec.port}" if address else ""


def _no_answer(error: Exception) -> str:
    """Why there was none, in our own words: what a library or a server says may hold parts of an
    answer."""
    if isinstance(error, DefinitionError):
        return str(error)  # the trust boundary's own sentence
    if isinstance(error, ForbiddenError):
        return "Kubernetes forbids it (403); grant the role kubestorm-application-test-requests"
    if isinstance(error, Error):
        code = error.status_code
        return (
            f"Kubernetes answered {code} for the pod" if code else "the API server did not answer"
        )
    reason = getattr(error, "reason", None) or error
    cause = next(
        (each for each in getattr(reason, "args", ()) if isinstance(each, Exception)), reason
    )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError) or isinstance(reason, urllib3.exceptions.SSLError):
        return "TLS failed"
    if isinstance(cause, (socket.timeout, TimeoutError, urllib3.exceptions.TimeoutError)):
        return "timed out"
    if isinstance(cause, socket.gaierror):
        return "the host name cannot be resolved"
    if isinstance(cause, (OSError, urllib3.exceptions.NewConnectionError)):
        return "the connection failed"
    return "the answer was not HTTP"


def started_at(rollout: Mapping[str, Any], key: str) -> Optional[dt.datetime]:
    """When the test of this stage was run first."""
    said = untrusted.mapping(untrusted.status(rollout).get("test"))
    return parse_time(said.get("since")) if said.get("key") == key else None


def _is_ready(pod: Mapping[str, Any]) -> bool:
    ready = condition_in(untrusted.status(pod), READY).get("status") == TRUE
    return ready and not pod["metadata"].get("deletionTimestamp")


def _image(pod: Mapping[str, Any]) -> str:
    return str((pod["spec"].get("containers") or [{}])[0].get("image") or "")
