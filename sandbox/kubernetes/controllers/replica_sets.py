"""The ReplicaSet controller: as many pods as asked for, and a count of how they are.

Left out: adoption of pods that nobody owns.
"""

from __future__ import annotations

import datetime as dt

from sandbox.kubernetes.client.api import ApiError, Manifest, timestamp, utc_now
from sandbox.kubernetes.client.informer import Key
from sandbox.kubernetes.controllers.pods import (
    condition_of,
    first_to_go,
    is_active,
    is_ready,
    seconds_until_available,
)
from sandbox.kubernetes.controllers.rollout import replicas_of
from sandbox.kubernetes.controllers.world import Controller, World, owner_keys

# A refused pod (a quota, an admission) is tried again; what refuses it may change.
REFUSED_RETRY_SECONDS = 2.0


class ReplicaSets(Controller):
    """Creates and deletes pods until their number is right."""

    name = "replicaset"

    def __init__(self, world: World) -> None:
        super().__init__(world, world.replica_sets)
        self.follow(world.pods, owner_keys("ReplicaSet"))

    async def sync(self, key: Key) -> None:
        """Create or delete what is missing or too many, then tell the counts."""
        replica_set = self.own.get(*key)
        if not replica_set:
            return
        refusal = None
        if not replica_set["metadata"].get("deletionTimestamp"):
            refusal = await self._adjust(replica_set)
        replica_set = self.own.get(*key) or replica_set
        pods = self._active_pods(replica_set)
        now = utc_now()
        await self.write_status(replica_set, replica_set_status(replica_set, pods, refusal, now))
        if refusal:
            self.enqueue_after(key, REFUSED_RETRY_SECONDS)
        waits = [seconds_until_available(pod, _min_ready(replica_set), now) for pod in pods]
        if soon := [seconds for seconds in waits if seconds is not None and seconds > 0]:
            self.enqueue_after(key, min(soon))

    def _active_pods(self, replica_set: Manifest) -> list[Manifest]:
        return [
            pod
            for pod in self.world.pods.controlled_by(replica_set["metadata"]["uid"])
            if is_active(pod)
        ]

    async def _adjust(self, replica_set: Manifest) -> ApiError | None:
        pods = self._active_pods(replica_set)
        wanted = replicas_of(replica_set)
        for pod in first_to_go(pods)[: max(0, len(pods) - wanted)]:
            await self.delete_owned(self.world.pods, pod)
            self.events.normal(
                replica_set, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}"
            )
        template = replica_set["spec"]["template"]
        name = replica_set["metadata"]["name"]
        for _ in range(wanted - len(pods)):
            metadata = {**_kept(template.get("metadata") or {}), "generateName": f"{name}-"}
            try:
                pod = await self.create_owned(
                    self.world.pods, replica_set, {"metadata": metadata, "spec": template["spec"]}
                )
            except ApiError as error:
                if error.code >= 500:
                    raise
                self.events.warning(replica_set, "FailedCreate", f"Error creating: {error.message}")
                return error
            self.events.normal(
                replica_set, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}"
            )
        return None


def _kept(metadata: Manifest) -> Manifest:
    """What pods take from their template's metadata."""
    return {
        key: metadata[key] for key in ("labels", "annotations", "finalizers") if metadata.get(key)
    }


def _min_ready(replica_set: Manifest) -> int:
    return replica_set["spec"].get("minReadySeconds", 0)


def replica_set_status(
    replica_set: Manifest, pods: list[Manifest], refusal: ApiError | None, now: dt.datetime
) -> Manifest:
    """The status for these active pods; `refusal` is why a pod could not be made."""
    labels = (replica_set["spec"]["template"].get("metadata") or {}).get("labels") or {}
    labelled = [
        pod for pod in pods if labels.items() <= (pod["metadata"].get("labels") or {}).items()
    ]
    waits = [seconds_until_available(pod, _min_ready(replica_set), now) for pod in pods]
    counts = {
        "fullyLabeledReplicas": len(labelled),
        "readyReplicas": sum(is_ready(pod) for pod in pods),
        "availableReplicas": sum(seconds is not None and seconds <= 0 for seconds in waits),
    }
    status: Manifest = {
        "replicas": len(pods),
        **{key: count for key, count in counts.items() if count},
        "observedGeneration": replica_set["metadata"]["generation"],
    }
    if refusal:
        before = condition_of(replica_set, "ReplicaFailure") or {}
        status["conditions"] = [
            {
                "type": "ReplicaFailure",
                "status": "True",
                "lastTransitionTime": before.get("lastTransitionTime") or timestamp(now),
                "reason": "FailedCreate",
                "message": refusal.message,
            }
        ]
    return status
