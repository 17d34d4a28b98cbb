"""The Deployment controller's arithmetic and judgements, as pure functions on manifests.

The rules are those of kube-controller-manager 1.20 (pkg/controller/deployment), in their documented
effect: how many pods the new and the old ReplicaSets may have, and what the conditions say.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from sandbox.kubernetes.client.api import Manifest, parse_timestamp, timestamp

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# What a ReplicaSet does not take over from its Deployment.
OWN_ANNOTATIONS = frozenset(
    {LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS}
)
SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
NO_DEADLINE_SECONDS = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How far a rolling update may go above and below the wanted number of pods."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        """The most pods there may be."""
        return self.replicas + self.surge

    @property
    def least_available(self) -> int:
        """The fewest pods that must be available."""
        return self.replicas - self.unavailable


@dataclass(frozen=True)
class Scale:
    """Set the ReplicaSet of this name to `replicas`."""

    name: str
    replicas: int


def is_rolling(deployment: Manifest) -> bool:
    """Whether new pods come while old ones still run."""
    return (deployment["spec"].get("strategy") or {}).get(
        "type", "RollingUpdate"
    ) == "RollingUpdate"


def bounds_of(deployment: Manifest) -> Bounds:
    """The bounds that the strategy sets: a surge is rounded up, unavailability down, and one of
    them is above zero.
    """
    replicas = replicas_of(deployment)
    if not is_rolling(deployment):
        return Bounds(replicas=replicas, surge=0, unavailable=0)
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = absolute(rolling.get("maxSurge", "25%"), replicas, math.ceil)
    unavailable = absolute(rolling.get("maxUnavailable", "25%"), replicas, math.floor)
    if not surge and not unavailable:
        unavailable = 1
    return Bounds(replicas=replicas, surge=surge, unavailable=min(unavailable, replicas))


def absolute(value: int | str, whole: int, rounded: Any) -> int:
    """A number, or the percentage of `whole` that the text names, as a number."""
    return int(rounded(whole * int(value.rstrip("%")) / 100)) if isinstance(value, str) else value


def replicas_of(manifest: Manifest) -> int:
    """The wanted number of pods."""
    return manifest["spec"].get("replicas", 1)


def available_of(replica_set: Manifest) -> int:
    """The pods of the ReplicaSet that are available."""
    return (replica_set.get("status") or {}).get("availableReplicas", 0)


def annotations_of(manifest: Manifest) -> dict[str, str]:
    """The annotations, never None."""
    return manifest["metadata"].get("annotations") or {}


def revision_of(manifest: Manifest) -> int:
    """The revision annotation, 0 where there is none."""
    return int(annotations_of(manifest).get(REVISION, "0"))


def without_hash(template: Manifest) -> Manifest:
    """The pod template without the label that tells ReplicaSets of one Deployment apart."""
    metadata = template.get("metadata") or {}
    labels = {
        key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL
    }
    return {**template, "metadata": {**metadata, "labels": labels}}


def template_hash(template: Manifest, collisions: int = 0) -> str:
    """A short name for the template; `collisions` changes it when the name turned out to be taken."""
    text = json.dumps([template, collisions], sort_keys=True)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(10):
        number, index = divmod(number, len(SAFE_LETTERS))
        letters.append(SAFE_LETTERS[index])
    return "".join(letters)


def split(deployment: Manifest, owned: list[Manifest]) -> tuple[Manifest | None, list[Manifest]]:
    """The ReplicaSet of the present template, if it is there, and the others, oldest first."""
    wanted = without_hash(deployment["spec"]["template"])
    owned = sorted(
        owned, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"])
    )
    new = next((item for item in owned if without_hash(item["spec"]["template"]) == wanted), None)
    return new, [item for item in owned if item is not new]


def plan_rolling_update(deployment: Manifest, new: Manifest, old: list[Manifest]) -> list[Scale]:
    """The next step: the new ReplicaSet up as far as the surge allows, or else old ones down as far
    as is safe.
    """
    bounds = bounds_of(deployment)
    everything = sum(replicas_of(item) for item in [new, *old])
    grown = min(bounds.replicas, replicas_of(new) + max(0, bounds.most - everything))
    if grown != replicas_of(new):
        return [Scale(new["metadata"]["name"], grown)]
    new_unavailable = replicas_of(new) - available_of(new)
    budget = everything - bounds.least_available - new_unavailable
    return _shrink(
        old, budget, sum(available_of(item) for item in [new, *old]) - bounds.least_available
    )


def _shrink(old: list[Manifest], budget: int, spare_available: int) -> list[Scale]:
    """First the pods that are not available, which cost nothing, then available ones as far as they
    can be spared.
    """
    left = {item["metadata"]["name"]: replicas_of(item) for item in old}
    for item in old:
        name = item["metadata"]["name"]
        drop = max(0, min(budget, left[name] - available_of(item)))
        left[name] -= drop
        budget -= drop
    for item in old:
        name = item["metadata"]["name"]
        drop = max(0, min(budget, spare_available, left[name]))
        left[name] -= drop
        budget -= drop
        spare_available -= drop
    return [
        Scale(item["metadata"]["name"], left[item["metadata"]["name"]])
        for item in old
        if _differs(item, left)
    ]


def _differs(item: Manifest, wanted: dict[str, int]) -> bool:
    return replicas_of(item) != wanted[item["metadata"]["name"]]


def is_being_scaled(deployment: Manifest, owned: list[Manifest]) -> bool:
    """Whether the wanted number changed since the ReplicaSets were last told: no rollout, only more
    or fewer pods.
    """
    wanted = str(replicas_of(deployment))
    told = [annotations_of(item).get(DESIRED_REPLICAS) for item in owned if replicas_of(item) > 0]
    return any(number is not None and number != wanted for number in told)


def plan_scaling(deployment: Manifest, new: Manifest | None, old: list[Manifest]) -> list[Scale]:
    """Spread a changed number of pods over the active ReplicaSets in proportion to their size,
    biggest first.
    """
    active = [item for item in [*old, *([new] if new else [])] if replicas_of(item) > 0]
    if len(active) <= 1:
        only = active[0] if active else new
        differs = only is not None and replicas_of(only) != replicas_of(deployment)
        return (
            [Scale(only["metadata"]["name"], replicas_of(deployment))] if only and differs else []
        )
    if not is_rolling(deployment):
        return []
    bounds = bounds_of(deployment)
    allowed = bounds.most if bounds.replicas else 0
    to_add = allowed - sum(replicas_of(item) for item in active)
    active.sort(
        key=lambda item: (-replicas_of(item), item["metadata"]["creationTimestamp"]), reverse=False
    )
    sizes, left = {}, to_add
    for item in active:
        part = _proportion(item, bounds) if to_add else 0
        part = min(part, left) if to_add > 0 else max(part, left)
        sizes[item["metadata"]["name"]] = replicas_of(item) + part
        left -= part
    first = active[0]["metadata"]["name"]
    sizes[first] = max(0, sizes[first] + left)
    return [
        Scale(item["metadata"]["name"], sizes[item["metadata"]["name"]])
        for item in active
        if _differs(item, sizes)
    ]


def _proportion(item: Manifest, bounds: Bounds) -> int:
    if not bounds.replicas:
        return -replicas_of(item)
    most_before = int(annotations_of(item).get(MAX_REPLICAS) or bounds.most)
    return round(replicas_of(item) * bounds.most / most_before) - replicas_of(item)


def obsolete(deployment: Manifest, old: list[Manifest]) -> list[Manifest]:
    """The empty ReplicaSets that the history limit no longer keeps, oldest revision first."""
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    empty = [
        item
        for item in old
        if not replicas_of(item) and not (item.get("status") or {}).get("replicas")
    ]
    empty.sort(key=revision_of)
    return empty[: max(0, len(old) - limit)]


# The status.


def deployment_status(
    deployment: Manifest, new: Manifest | None, old: list[Manifest], now: dt.datetime
) -> Manifest:
    """The status that these ReplicaSets amount to, conditions included."""
    everyone = [*old, *([new] if new else [])]
    counted = _counts(deployment, new, everyone)
    before = deployment.get("status") or {}
    conditions = {entry["type"]: entry for entry in before.get("conditions") or ()}
    bounds = bounds_of(deployment)
    available = counted.get("availableReplicas", 0)
    if available >= bounds.least_available:
        _set(
            conditions,
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            now,
        )
    else:
        message = "Deployment does not have minimum availability."
        _set(conditions, "Available", "False", "MinimumReplicasUnavailable", message, now)
    _judge_progress(deployment, new, counted, conditions, now)
    _copy_failure(everyone, conditions, now)
    return {**counted, "conditions": list(conditions.values())}


def _counts(deployment: Manifest, new: Manifest | None, everyone: list[Manifest]) -> Manifest:
    def total(field: str) -> int:
        return sum((item.get("status") or {}).get(field, 0) for item in everyone)

    available = total("availableReplicas")
    numbers = {
        "replicas": total("replicas"),
        "updatedReplicas": ((new or {}).get("status") or {}).get("replicas", 0),
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(replicas_of(item) for item in everyone) - available),
    }
    collisions = (deployment.get("status") or {}).get("collisionCount")
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        **{key: number for key, number in numbers.items() if number},
        **({"collisionCount": collisions} if collisions else {}),
    }


def deadline_seconds(deployment: Manifest) -> int | None:
    """Seconds without progress until a rollout counts as failed; None where there is no such limit."""
    seconds = deployment["spec"].get("progressDeadlineSeconds", 600)
    return None if seconds >= NO_DEADLINE_SECONDS else seconds


def _judge_progress(
    deployment: Manifest,
    new: Manifest | None,
    counted: Manifest,
    conditions: dict[str, Manifest],
    now: dt.datetime,
) -> None:
    if deadline_seconds(deployment) is None:
        conditions.pop("Progressing", None)
        return
    current = conditions.get("Progressing")
    if deployment["spec"].get("paused"):
        if not current or current["reason"] != "DeploymentPaused":
            _set(
                conditions,
                "Progressing",
                "Unknown",
                "DeploymentPaused",
                "Deployment is paused",
                now,
            )
        return
    if current and current["reason"] == "DeploymentPaused":
        _set(
            conditions, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now
        )
        return
    settled = counted.get("replicas", 0) == counted.get("updatedReplicas", 0)
    if settled and current and current["reason"] == "NewReplicaSetAvailable":
        return
    subject = (
        f'ReplicaSet "{new["metadata"]["name"]}"'
        if new
        else f'Deployment "{deployment["metadata"]["name"]}"'
    )
    if is_complete(deployment, counted):
        message = f"{subject} has successfully progressed."
        _set(conditions, "Progressing", "True", "NewReplicaSetAvailable", message, now)
    elif _progressed(deployment.get("status") or {}, counted):
        _set(
            conditions,
            "Progressing",
            "True",
            "ReplicaSetUpdated",
            f"{subject} is progressing.",
            now,
        )
    elif has_timed_out(deployment, now):
        message = f"{subject} has timed out progressing."
        _set(conditions, "Progressing", "False", "ProgressDeadlineExceeded", message, now)


def is_complete(deployment: Manifest, status: Manifest) -> bool:
    """Whether every wanted pod is of the new template and available, and no old one is left."""
    wanted = replicas_of(deployment)
    counts = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    return (
        counts == [wanted] * 3
        and status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    )


def _progressed(before: Manifest, after: Manifest) -> bool:
    def more(key: str) -> bool:
        return after.get(key, 0) > before.get(key, 0)

    def old_pods(status: Manifest) -> int:
        return status.get("replicas", 0) - status.get("updatedReplicas", 0)

    return (
        more("updatedReplicas")
        or more("readyReplicas")
        or more("availableReplicas")
        or (old_pods(after) < old_pods(before))
    )


def timeout_at(deployment: Manifest) -> dt.datetime | None:
    """When the rollout under way counts as failed unless there is progress before; None where none
    is under way.
    """
    conditions = (deployment.get("status") or {}).get("conditions") or ()
    current = next((entry for entry in conditions if entry["type"] == "Progressing"), None)
    seconds = deadline_seconds(deployment)
    done = ("NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused")
    if not current or seconds is None or current["reason"] in done:
        return None
    return parse_timestamp(current["lastUpdateTime"]) + dt.timedelta(seconds=seconds)


def has_timed_out(deployment: Manifest, now: dt.datetime) -> bool:
    """Whether the last progress is longer ago than the deadline allows."""
    at = timeout_at(deployment)
    return at is not None and now > at


def progressing(
    deployment: Manifest, reason: str, message: str, now: dt.datetime
) -> list[Manifest]:
    """The conditions with Progressing=True set to this reason, for when a ReplicaSet was made."""
    conditions = {
        entry["type"]: entry for entry in (deployment.get("status") or {}).get("conditions") or ()
    }
    _set(conditions, "Progressing", "True", reason, message, now)
    return list(conditions.values())


def _copy_failure(
    everyone: list[Manifest], conditions: dict[str, Manifest], now: dt.datetime
) -> None:
    found = [
        entry
        for item in everyone
        for entry in (item.get("status") or {}).get("conditions") or ()
        if entry["type"] == "ReplicaFailure" and entry["status"] == "True"
    ]
    if found:
        _set(conditions, "ReplicaFailure", "True", found[-1]["reason"], found[-1]["message"], now)
    else:
        conditions.pop("ReplicaFailure", None)


def _set(
    conditions: dict[str, Manifest],
    kind: str,
    status: str,
    reason: str,
    message: str,
    now: dt.datetime,
) -> None:
    """Set a condition; its times move as API conventions say, and not at all where status and
    reason stay.
    """
    before = conditions.get(kind)
    same_status = before is not None and before["status"] == status
    if before and same_status and before["reason"] == reason and kind != "Progressing":
        return
    conditions[kind] = {
        "type": kind,
        "status": status,
        "lastUpdateTime": timestamp(now),
        "lastTransitionTime": before["lastTransitionTime"]
        if before and same_status
        else timestamp(now),
        "reason": reason,
        "message": message,
    }
