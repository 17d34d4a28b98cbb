"""Why the pods of a Deployment's present template do not become available, in words for its
developer. Pure.

The manifests are the Kubernetes API's own. Reasons are those of the kubelet (`pkg/kubelet/images`,
`kuberuntime`), of the scheduler (`Unschedulable`) and of the Deployment and ReplicaSet controllers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from kubestorm.core import untrusted

IMAGE_PULL_FAILED, CRASH_LOOP, OUT_OF_MEMORY = "ImagePullFailed", "CrashLoop", "OutOfMemory"
PROBE_FAILING, QUOTA_EXCEEDED, PODS_REFUSED = "ProbeFailing", "QuotaExceeded", "PodsRefused"
UNSCHEDULABLE, CANNOT_START, DEADLINE, POD_FAILED = (
    "Unschedulable",
    "ContainerCannotStart",
    "DeadlineExceeded",
    "PodFailed",
)
FINAL_RESTARTS = 3
"""A container that has ended so often is not coming up by waiting longer."""
MESSAGE_LENGTH = 300

_PULL_REASONS = frozenset(
    (
        "ErrImagePull",
        "ImagePullBackOff",
        "RegistryUnavailable",
        "ErrImageNeverPull",
        "ImageInspectError",
    )
)
_NAME_REASONS = frozenset(("InvalidImageName",))
_START_REASONS = frozenset(
    (
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PostStartHookError",
    )
)
_PROBE = re.compile(r"^(Startup|Readiness|Liveness) probe (failed|errored)", re.IGNORECASE)

Object = Mapping[str, Any]


@dataclass(frozen=True)
class PodFailure:
    """Why pods do not become what they should."""

    reason: str
    message: str
    final: bool = False
    """Waiting will not help."""
    slow: bool = False
    """Only the deadline makes a failure of it: nodes are added in minutes, programs warm up."""


class Container(NamedTuple):
    """Which container's log would explain it."""

    pod: str
    container: str
    previous: bool
    """Whether the log of the run before is meant: the present one may not have begun."""


class Evidence(NamedTuple):
    """Everything that a diagnosis reads; `logs` and `events` may be empty while nothing seems
    wrong.
    """

    deployment: Object
    replica_sets: Sequence[Object]
    pods: Sequence[Object]
    events: Sequence[Object] = ()
    logs: Mapping[str, str] = {}
    """Pod's name -> the last lines of its container, already without secrets."""


def diagnose(evidence: Evidence) -> Optional[PodFailure]:
    """The worst thing wrong with pods of the present template; None while nothing is."""
    found = _worst(_failures(evidence))
    progressing = condition(evidence.deployment, "Progressing") or {}
    if progressing.get("reason") == "ProgressDeadlineExceeded" and is_observed(evidence.deployment):
        seconds = evidence.deployment["spec"].get("progressDeadlineSeconds", 600)
        if found is not None:
            return replace(found, final=True)
        message = f"No progress for {seconds} s; no pod reports a reason."
        return PodFailure(DEADLINE, message, final=True)
    return found


def present_pods(evidence: Evidence) -> List[Object]:
    """The pods of the present template."""
    current = present_replica_set(evidence.deployment, evidence.replica_sets)
    uid = current["metadata"].get("uid") if current is not None else None
    return [pod for pod in evidence.pods if uid is not None and _is_owned(pod, uid)]


def needs_events(evidence: Evidence) -> List[Object]:
    """The pods whose Events may explain more than their status does."""
    return [pod for pod in present_pods(evidence) if not _is_ready(pod)]


def needs_log(evidence: Evidence) -> Optional[Container]:
    """The one container whose log explains a crash best; None where nothing has crashed."""
    for pod in present_pods(evidence):
        for status in _statuses(pod):
            if _is_crashed(status):
                running = bool(untrusted.mapping(status.get("state")).get("running"))
                previous = running or untrusted.integer(status.get("restartCount")) > 0
                return Container(
                    pod["metadata"]["name"], untrusted.text(status.get("name")), previous
                )
    return None


def present_replica_set(deployment: Object, replica_sets: Iterable[Object]) -> Optional[Object]:
    """The ReplicaSet of the present template: the latest that has its images and its template's
    annotations.
    """
    uid = deployment["metadata"].get("uid")
    wanted = _template_facts(deployment)
    fitting = [
        one for one in replica_sets if _is_owned(one, uid) and _template_facts(one) == wanted
    ]
    return max(fitting, key=_revision, default=None)


def is_observed(obj: Object) -> bool:
    """Whether its status answers for its present spec."""
    observed = untrusted.integer(untrusted.status(obj).get("observedGeneration"))
    return observed >= untrusted.integer(obj["metadata"].get("generation"))


def condition(obj: Object, kind: str) -> Optional[Mapping[str, Any]]:
    """The condition of that type."""
    found = untrusted.mappings(untrusted.status(obj).get("conditions"))
    return next((entry for entry in found if entry.get("type") == kind), None)


# What each thing says.


def _failures(evidence: Evidence) -> List[PodFailure]:
    found: List[PodFailure] = []
    current = present_replica_set(evidence.deployment, evidence.replica_sets)
    refused = failure_of_replica_set(current) if current is not None else None
    if refused is not None:
        found.append(refused)
    by_pod: Dict[str, List[Object]] = {}
    for event in evidence.events:
        by_pod.setdefault(str((event.get("involvedObject") or {}).get("name")), []).append(event)
    for pod in present_pods(evidence):
        if pod["metadata"].get("deletionTimestamp"):
            continue
        name = pod["metadata"]["name"]
        failure = failure_of_pod(pod, by_pod.get(name, []), evidence.logs.get(name, ""))
        if failure is not None:
            found.append(failure)
    return found


_ORDER = (
    IMAGE_PULL_FAILED,
    CANNOT_START,
    OUT_OF_MEMORY,
    CRASH_LOOP,
    POD_FAILED,
    QUOTA_EXCEEDED,
    PODS_REFUSED,
    UNSCHEDULABLE,
    PROBE_FAILING,
)


def _worst(found: Sequence[PodFailure]) -> Optional[PodFailure]:
    return min(found, key=lambda one: (not one.final, _ORDER.index(one.reason)), default=None)


def failure_of_replica_set(replica_set: Object) -> Optional[PodFailure]:
    """Why Kubernetes makes no pods of it; None where it does."""
    refusal = condition(replica_set, "ReplicaFailure") or {}
    if refusal.get("status") != "True":
        return None
    return _refused(str(refusal.get("message") or ""))


def _refused(message: str) -> PodFailure:
    if "exceeded quota" in message or "quota" in message.lower():
        return PodFailure(QUOTA_EXCEEDED, f"The namespace's quota is exceeded: {_cut(message)}")
    return PodFailure(PODS_REFUSED, f"Kubernetes rejects the pods: {_cut(message)}")


def failure_of_pod(
    pod: Object, events: Sequence[Object] = (), log: str = ""
) -> Optional[PodFailure]:
    """What is wrong with one pod. Without its Events, a probe that fails is not seen."""
    name = pod["metadata"]["name"]
    status = untrusted.status(pod)
    scheduled = condition(pod, "PodScheduled") or {}
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        said = scheduled.get("message") or _said(events, ("FailedScheduling",))
        return PodFailure(
            UNSCHEDULABLE, f"Pod {name} cannot be scheduled: {_cut(str(said))}", slow=True
        )
    for container in _statuses(pod):
        failure = _of_container(name, container, events, log)
        if failure is not None:
            return failure
    if status.get("phase") == "Failed":
        said = status.get("message") or status.get("reason") or "its containers ended"
        return PodFailure(POD_FAILED, f"Pod {name} has failed: {_cut(str(said))}")
    if status.get("phase") == "Running" and not _is_ready(pod):
        return _of_probe(name, events)
    return None


def _of_container(
    pod: str, status: Object, events: Sequence[Object], log: str
) -> Optional[PodFailure]:
    waiting = untrusted.mapping(untrusted.mapping(status.get("state")).get("waiting"))
    reason, said = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    image = status.get("image") or "the image"
    if reason in _NAME_REASONS:
        return PodFailure(
            IMAGE_PULL_FAILED, f"{image} is not a valid image name: {_cut(said)}", final=True
        )
    if reason in _PULL_REASONS:
        told = said if reason != "ImagePullBackOff" else _said(events, ("Failed",), "pull") or said
        return PodFailure(IMAGE_PULL_FAILED, f"{image} cannot be pulled: {_cut(told)}")
    if reason in _START_REASONS:
        return PodFailure(
            CANNOT_START, f"Container {status.get('name')} of pod {pod} cannot start: {_cut(said)}"
        )
    if _is_crashed(status):
        return _crashed(pod, status, events, log)
    return None


def _crashed(pod: str, status: Object, events: Sequence[Object], log: str) -> PodFailure:
    ended = _ended(status)
    restarts = untrusted.integer(status.get("restartCount"))
    final = restarts >= FINAL_RESTARTS
    probe = _probe_event(events, ("Liveness", "Startup"))
    if ended.get("reason") == "OOMKilled":
        message = (
            f"Container {status.get('name')} of pod {pod} needs more memory than its limit and was "
            "killed"
        )
        return PodFailure(OUT_OF_MEMORY, f"{message} ({restarts} restarts).", final=final)
    if probe:
        return PodFailure(
            PROBE_FAILING,
            f"Pod {pod} is restarted: {_cut(probe)} ({restarts} restarts).",
            final=final,
        )
    code = ended.get("exitCode")
    how = f"ended with exit code {code}" if code is not None else "keeps ending"
    told = str(ended.get("message") or "").strip()
    message = f"Container {status.get('name')} of pod {pod} {how} ({restarts} restarts)."
    last = log or _cut(told)
    return PodFailure(
        CRASH_LOOP, f"{message} Its last lines: {last}" if last else message, final=final
    )


def _of_probe(pod: str, events: Sequence[Object]) -> Optional[PodFailure]:
    said = _probe_event(events, ("Startup", "Readiness", "Liveness"))
    return (
        PodFailure(PROBE_FAILING, f"Pod {pod} is not ready: {_cut(said)}", slow=True)
        if said
        else None
    )


# Reading manifests.


def _statuses(pod: Object) -> List[Object]:
    status = untrusted.status(pod)
    return [
        *untrusted.mappings(status.get("initContainerStatuses")),
        *untrusted.mappings(status.get("containerStatuses")),
    ]


def _is_crashed(status: Object) -> bool:
    state = untrusted.mapping(status.get("state"))
    if untrusted.mapping(state.get("waiting")).get("reason") == "CrashLoopBackOff":
        return True
    terminated = untrusted.mapping(state.get("terminated"))
    if terminated and terminated.get("exitCode", 0) != 0:
        return True
    # Between two crashes it runs for a moment; what it ended with the last time still counts while
    # it is not ready.
    return bool(
        untrusted.integer(status.get("restartCount"))
        and not status.get("ready")
        and _ended(status).get("exitCode")
    )


def _ended(status: Object) -> Mapping[str, Any]:
    for key in ("state", "lastState"):
        ended = untrusted.mapping(untrusted.mapping(status.get(key)).get("terminated"))
        if ended:
            return ended
    return {}


def _is_ready(pod: Object) -> bool:
    return (condition(pod, "Ready") or {}).get("status") == "True"


def _is_owned(obj: Object, uid: Any) -> bool:
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences") or ())


def _template_facts(obj: Object) -> Any:
    template = obj["spec"]["template"]
    images = [container.get("image") for container in template["spec"].get("containers") or ()]
    return images, (template.get("metadata") or {}).get("annotations") or {}


def _revision(obj: Object) -> int:
    return untrusted.integer(untrusted.annotations_of(obj).get("deployment.kubernetes.io/revision"))


def _said(events: Sequence[Object], reasons: Sequence[str], word: str = "") -> str:
    fitting = [
        one
        for one in events
        if one.get("reason") in reasons and word in str(one.get("message") or "")
    ]
    latest = max(fitting, key=_event_time, default=None)
    return str(latest.get("message") or "") if latest is not None else ""


def _probe_event(events: Sequence[Object], kinds: Sequence[str]) -> str:
    fitting = []
    for event in events:
        found = _PROBE.match(str(event.get("message") or ""))
        if (
            event.get("reason") in ("Unhealthy", "ProbeError")
            and found
            and found.group(1).capitalize() in kinds
        ):
            fitting.append(event)
    latest = max(fitting, key=_event_time, default=None)
    return str(latest.get("message") or "") if latest is not None else ""


def _event_time(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or ""
    )


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 1] + "…"
