"""What a pretend kubelet says of a pod: pure functions from a pod and a stage of its life to its
status.

What becomes of a container is written in its image's name, or in the pod's annotation
`sandbox.kubestorm.io/fate`:

| word | fate |
|---|---|
| `broken` | the image cannot be pulled: ErrImagePull, then ImagePullBackOff, never ready |
| `crash` | starts and exits with 1, again and again: CrashLoopBackOff, restarts counted |
| `unready` | runs, but its readiness probe never passes |
| `fail` | in a pod that is to end (a Job's): exits with 1; elsewhere it runs like any other |
| `unwell` | runs and is ready, but answers every request with 500 (`sandbox.kubernetes.proxying`) |
| none | runs and is ready; in a pod that is to end: exits with 0 |

Where an image is named by its digest the name says nothing: `FATES_OF_DIGESTS` may, for this
process. `sandbox.kubestorm.io/ready-delay-seconds` on the pod overrides how long it takes, and
`.../pull-error` says why an image is broken. Images of a registry on loopback decide for themselves
(`sandbox.kubernetes.pulling`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

Manifest = dict[str, Any]

FATE_ANNOTATION = "sandbox.kubestorm.io/fate"
PULL_ERROR_ANNOTATION = "sandbox.kubestorm.io/pull-error"
DELAY_ANNOTATION = "sandbox.kubestorm.io/ready-delay-seconds"
QUICK_START_SECONDS = 0.2
FIRST_CRASH_BACKOFF_SECONDS = 1.0
LAST_CRASH_BACKOFF_SECONDS = 30.0
TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})


class Fate(StrEnum):
    """What becomes of a container; the values are the words looked for in image names."""

    BROKEN = "broken"
    CRASH = "crash"
    UNREADY = "unready"
    FAIL = "fail"
    FINE = "fine"


class Stage(StrEnum):
    """The stages a pod is led through, in the order of a life without trouble."""

    CREATING = "creating"
    PULL_FAILED = "pull failed"
    PULL_BACKED_OFF = "pull backed off"
    RUNNING = "running"
    CRASHED = "crashed"
    ENDED = "ended"


class Step(NamedTuple):
    """Report `stage` after so many seconds."""

    after_seconds: float
    stage: Stage


# Digest -> a word of the table above. Of the whole process, as a registry's images are of the whole
# world.
FATES_OF_DIGESTS: dict[str, str] = {}


UNWELL = "unwell"


def decreed_for(pod: Manifest, image: str) -> str:
    """The text in which a fate is looked for: the pod's annotation, or what the image's digest or
    name says.
    """
    said = (pod["metadata"].get("annotations") or {}).get(FATE_ANNOTATION)
    name, _, digest = image.partition("@")
    return str(said or FATES_OF_DIGESTS.get(digest) or name)


def fate_of(pod: Manifest, container: Manifest) -> Fate:
    """The fate that the pod's annotation or else the image's digest or name decrees."""
    decreed = decreed_for(pod, container["image"])
    return next((fate for fate in Fate if fate.value in decreed), Fate.FINE)


def is_to_end(pod: Manifest) -> bool:
    """Whether the pod's containers finish by themselves: those of a Job, or with another restart
    policy.
    """
    owners = pod["metadata"].get("ownerReferences") or ()
    return (
        any(owner["kind"] == "Job" for owner in owners)
        or pod["spec"].get("restartPolicy", "Always") != "Always"
    )


def delay_of(pod: Manifest, default_seconds: float) -> float:
    """Seconds from the start of the pod until it is ready, or has failed to be."""
    text = (pod["metadata"].get("annotations") or {}).get(DELAY_ANNOTATION, "")
    try:
        return max(0.0, float(text))
    except ValueError:
        return default_seconds


def life_of(pod: Manifest, default_delay_seconds: float) -> Iterator[Step]:
    """The steps from binding on; endless for a pod that crashes for ever."""
    delay = delay_of(pod, default_delay_seconds)
    fates = {fate_of(pod, container) for container in pod["spec"]["containers"]}
    if (pod.get("status") or {}).get("phase") != "Running":
        yield Step(0, Stage.CREATING)
    if Fate.BROKEN in fates:
        yield Step(delay / 2, Stage.PULL_FAILED)
        yield Step(delay / 2, Stage.PULL_BACKED_OFF)
    elif Fate.CRASH in fates or (
        is_to_end(pod) and Fate.FAIL in fates and restarts_on_failure(pod)
    ):
        yield Step(delay, Stage.CRASHED)
        wait = FIRST_CRASH_BACKOFF_SECONDS
        while restarts_on_failure(pod):
            yield Step(wait, Stage.CRASHED)
            wait = min(wait * 2, LAST_CRASH_BACKOFF_SECONDS)
    elif is_to_end(pod):
        yield Step(min(delay, QUICK_START_SECONDS), Stage.RUNNING)
        yield Step(delay, Stage.ENDED)
    else:
        yield Step(delay, Stage.RUNNING)


def restarts_on_failure(pod: Manifest) -> bool:
    """Whether a container that exits with an error is started again in the same pod."""
    return pod["spec"].get("restartPolicy", "Always") != "Never"


def pod_status(pod: Manifest, stage: Stage, now: str, ip: str) -> Manifest:
    """The status for `stage`, keeping what earlier statuses said of restarts and transition times.

    `now` is a metav1.Time; `ip` is used where the pod has none yet.
    """
    before = pod.get("status") or {}
    old = {status["name"]: status for status in before.get("containerStatuses") or ()}
    containers = [
        _container_status(pod, container, stage, old.get(container["name"], {}), now)
        for container in pod["spec"]["containers"]
    ]
    ready = all(status["ready"] for status in containers)
    why_not = "PodCompleted" if stage == Stage.ENDED else "ContainersNotReady"
    names = [status["name"] for status in containers if not status["ready"]]
    message = f"containers with unready status: [{' '.join(names)}]"
    ip = before.get("podIP") or ip
    earlier = {condition["type"]: condition for condition in before.get("conditions") or ()}

    def condition(kind: str, holds: bool) -> Manifest:
        status = "True" if holds else "False"
        previous = earlier.get(kind, {})
        since = previous.get("lastTransitionTime") if previous.get("status") == status else None
        made = {
            "type": kind,
            "status": status,
            "lastProbeTime": None,
            "lastTransitionTime": since or now,
        }
        return made if holds else {**made, "reason": why_not, "message": message}

    init = [
        _ended(container, {}, 0, before.get("startTime") or now, ready=True)
        for container in _init_containers(pod)
    ]
    return {
        "phase": _phase(pod, stage, containers),
        "hostIP": "127.0.0.1",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "startTime": before.get("startTime") or now,
        "containerStatuses": containers,
        **({"initContainerStatuses": init} if init else {}),
        "conditions": [
            condition("Initialized", True),
            condition("Ready", ready),
            condition("ContainersReady", ready),
            condition("PodScheduled", True),
        ],
    }


def _init_containers(pod: Manifest) -> list[Manifest]:
    return pod["spec"].get("initContainers") or []


def _phase(pod: Manifest, stage: Stage, containers: list[Manifest]) -> str:
    if stage == Stage.ENDED:
        codes = [status["state"]["terminated"]["exitCode"] for status in containers]
        return "Failed" if any(codes) else "Succeeded"
    if stage == Stage.CREATING or any(not status["containerID"] for status in containers):
        return "Pending"
    if stage == Stage.CRASHED and not restarts_on_failure(pod):
        return "Failed"
    return "Running"


def _container_status(
    pod: Manifest, container: Manifest, stage: Stage, old: Manifest, now: str
) -> Manifest:
    fate = fate_of(pod, container)
    if stage == Stage.CREATING:
        return _waiting(container, old, "ContainerCreating", "")
    if fate == Fate.BROKEN:
        image = container["image"]
        if stage == Stage.PULL_FAILED:
            why = (pod["metadata"].get("annotations") or {}).get(PULL_ERROR_ANNOTATION, "not found")
            return _waiting(
                container, old, "ErrImagePull", f'failed to pull and unpack image "{image}": {why}'
            )
        return _waiting(container, old, "ImagePullBackOff", f'Back-off pulling image "{image}"')
    if stage == Stage.CRASHED and fate in (Fate.CRASH, Fate.FAIL):
        return _crashed(pod, container, old, now)
    if stage == Stage.ENDED:
        return _ended(container, old, 1 if fate == Fate.FAIL else 0, now)
    return _running(pod, container, old, now, ready=fate != Fate.UNREADY)


def _base(container: Manifest, old: Manifest) -> Manifest:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "containerID": "",
        "restartCount": old.get("restartCount", 0),
        "ready": False,
        "started": False,
        "lastState": old.get("lastState") or {},
    }


def _waiting(container: Manifest, old: Manifest, reason: str, message: str) -> Manifest:
    waiting = {"reason": reason, **({"message": message} if message else {})}
    return {**_base(container, old), "state": {"waiting": waiting}}


def _pulled(container: Manifest, old: Manifest) -> Manifest:
    base = _base(container, old)
    identity = f"{container['name']} {container['image']} {base['restartCount']}"
    return {
        **base,
        "imageID": image_id(container["image"]),
        "containerID": "pretend://" + hashlib.sha256(identity.encode()).hexdigest(),
    }


def _running(
    pod: Manifest, container: Manifest, old: Manifest, now: str, *, ready: bool
) -> Manifest:
    running = (old.get("state") or {}).get("running")
    if running and old["image"] != container["image"]:
        # The image was changed in place: the kubelet restarts the container.
        old, running = {**old, "restartCount": old.get("restartCount", 0) + 1}, None
    state = {"running": running or {"startedAt": now}}
    return {**_pulled(container, old), "ready": ready, "started": True, "state": state}


def _crashed(pod: Manifest, container: Manifest, old: Manifest, now: str) -> Manifest:
    ended = _terminated(container, old, 1, now)
    if not restarts_on_failure(pod):
        return {**_pulled(container, old), "state": {"terminated": ended}}
    again = {
        **old,
        "restartCount": old.get("restartCount", 0) + 1,
        "lastState": {"terminated": ended},
    }
    message = (
        f"back-off restarting failed container={container['name']} pod={pod['metadata']['name']}"
    )
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    return {**_pulled(container, again), "state": state}


def _ended(
    container: Manifest, old: Manifest, code: int, now: str, *, ready: bool = False
) -> Manifest:
    return {
        **_pulled(container, old),
        "ready": ready,
        "state": {"terminated": _terminated(container, old, code, now)},
    }


def _terminated(container: Manifest, old: Manifest, code: int, now: str) -> Manifest:
    begun = ((old.get("state") or {}).get("running") or {}).get("startedAt") or now
    return {
        "exitCode": code,
        "reason": "Error" if code else "Completed",
        "startedAt": begun,
        "finishedAt": now,
    }


def image_id(image: str) -> str:
    """`repository@sha256:...`: the digest that the image names, or else one made from its name."""
    repository, _, digest = image.partition("@")
    head, slash, tail = repository.rpartition("/")
    digest = digest or "sha256:" + hashlib.sha256(image.encode()).hexdigest()
    return f"{head}{slash}{tail.split(':', 1)[0]}@{digest}"
