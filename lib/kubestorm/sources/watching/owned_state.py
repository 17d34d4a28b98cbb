"""Which states of the Deployments, ReplicaSets, Pods and Jobs that we own matter to their owner.

Pure.

A rolling update of three pods sends dozens of watch events, and two or three of them matter to its
rollout: all pods are available, or one fails. `state_of` names those states, `wakes_owner` compares
two of them, `owner_of` says whose an object is.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional

from kubestorm.clients import resources
from kubestorm.core import naming, untrusted
from kubestorm.core.conditions import TRUE, condition_in, find
from kubestorm.core.pod_failures import failure_of_pod, failure_of_replica_set, is_observed

DELETING, SETTLED, STALLED, UNREADY, GONE = "deleting", "settled", "stalled", "unready", "gone"


class OwnedState(NamedTuple):
    """What matters of one object to its owner; empty (and false) while nothing does."""

    name: str = ""
    """One of the words above, a failure's reason, or how a Job has ended."""
    generation: int = 0
    """Of a Deployment that has settled: distinguishes two ends where the time between was missed.
    """
    final: bool = False
    """Of a failure: waiting will not help."""

    def __bool__(self) -> bool:
        return bool(self.name)


NOTHING = OwnedState()


class Owner(NamedTuple):
    """Whose an object is. `uid` is empty where only the name is known."""

    plural: str
    namespace: str
    name: str
    uid: str = ""


def owner_of(kind: str, obj: Mapping[str, Any]) -> Optional[Owner]:
    """The Application that an object is a part of, or the ImageBuild whose Job or Pod it is.

    Jobs of a post-deploy test belong to the Application too: its Rollout under way runs them. The
    name of an ImageBuild is exact for Jobs; Pods have it as a label, which is cut where it is long.
    """
    metadata = obj["metadata"]
    labels, annotations = (
        untrusted.texts(metadata.get("labels")),
        untrusted.texts(metadata.get("annotations")),
    )
    build = labels.get(naming.IMAGE_BUILD_LABEL, "")
    if build:
        namespace = labels.get(naming.IMAGE_BUILD_NAMESPACE_LABEL, "")
        _, _, exact = annotations.get(naming.IMAGE_BUILD_LABEL, "").partition("/")
        uid = labels.get(naming.IMAGE_BUILD_UID_LABEL, "")
        return Owner("imagebuilds", namespace, exact or build, uid)
    label = resources.TEST_OF_LABEL if kind == "Job" else resources.APPLICATION_LABEL
    app = labels.get(label, "")
    return Owner("applications", str(metadata.get("namespace") or ""), app) if app else None


def state_of(kind: str, obj: Mapping[str, Any]) -> OwnedState:
    """What matters of the object to its owner."""
    judge = _JUDGES.get(kind)
    return judge(obj) if judge is not None else NOTHING


def wakes_owner(before: OwnedState, after: OwnedState) -> bool:
    """Whether the owner is to be woken. `before` is NOTHING for an object that was not known.

    Pods that recover wake it as well. A Deployment that begins to replace its pods does not:
    whoever changed it waits for the end.
    """
    return before != after and (bool(after) or before.name != SETTLED)


def _deployment(obj: Mapping[str, Any]) -> OwnedState:
    status = untrusted.status(obj)
    if obj["metadata"].get("deletionTimestamp"):
        return OwnedState(DELETING)
    if not is_observed(obj):
        return NOTHING
    wanted = untrusted.integer(untrusted.mapping(obj.get("spec")).get("replicas"), 1)
    counts = {untrusted.integer(status.get(key)) for key in _COUNTS}
    if counts == {wanted}:
        return OwnedState(SETTLED, generation=untrusted.integer(obj["metadata"].get("generation")))
    progressing = condition_in(status, "Progressing")
    stalled = progressing.get("reason") == "ProgressDeadlineExceeded"
    return OwnedState(STALLED) if stalled else NOTHING


def _replica_set(obj: Mapping[str, Any]) -> OwnedState:
    failure = failure_of_replica_set(obj)
    return OwnedState(failure.reason) if failure is not None else NOTHING


def _pod(obj: Mapping[str, Any]) -> OwnedState:
    if obj["metadata"].get("deletionTimestamp"):
        return NOTHING
    ends_once = untrusted.mapping(obj.get("spec")).get("restartPolicy") == "Never"
    if ends_once and untrusted.status(obj).get("phase") == "Failed":
        return NOTHING  # its Job has the outcome
    failure = failure_of_pod(obj)
    if failure is not None:
        return OwnedState(failure.reason, final=failure.final)
    return OwnedState(UNREADY) if _has_lost_readiness(obj) else NOTHING


def _has_lost_readiness(pod: Mapping[str, Any]) -> bool:
    """Whether a pod was ready in the present run of its containers: Ready has become False after
    they were started. A pod that only starts has been unready since before that.
    """
    status = untrusted.status(pod)
    ready = condition_in(status, "Ready")
    started = [
        untrusted.text(
            untrusted.mapping(untrusted.mapping(each.get("state")).get("running")).get("startedAt")
        )
        for each in untrusted.mappings(status.get("containerStatuses"))
    ]
    since = untrusted.text(ready.get("lastTransitionTime"))
    # RFC 3339 in UTC to the second, as Kubernetes writes it, sorts as text.
    return bool(
        ready.get("status") == "False" and started and all(started) and since > max(started)
    )


def _job(obj: Mapping[str, Any]) -> OwnedState:
    conditions = untrusted.mappings(untrusted.status(obj).get("conditions"))
    for kind in ("Complete", "Failed"):
        if (find(conditions, kind) or {}).get("status") == TRUE:
            return OwnedState(kind)
    return OwnedState(DELETING) if obj["metadata"].get("deletionTimestamp") else NOTHING


_COUNTS = ("replicas", "updatedReplicas", "availableReplicas")
_JUDGES = {"Deployment": _deployment, "ReplicaSet": _replica_set, "Pod": _pod, "Job": _job}
