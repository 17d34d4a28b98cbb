"""A simple StatefulSet controller: pods with ordinals, made and replaced in order.

Left out: volume claims, partitions and revision history; a template's hash stands for its revision.
"""

from __future__ import annotations

from sandbox.kubernetes.client.api import Manifest
from sandbox.kubernetes.client.informer import Key
from sandbox.kubernetes.controllers.pods import is_active, is_ready
from sandbox.kubernetes.controllers.rollout import replicas_of, template_hash
from sandbox.kubernetes.controllers.world import Controller, World, owner_keys

REVISION_LABEL = "controller-revision-hash"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"


class StatefulSets(Controller):
    """One step a call: make the first missing pod, or remove the last that is too many or out of
    date.
    """

    name = "statefulset"

    def __init__(self, world: World) -> None:
        super().__init__(world, world.stateful_sets)
        self.follow(world.pods, owner_keys("StatefulSet"))

    async def sync(self, key: Key) -> None:
        """Do the next step and tell the counts."""
        owner = self.own.get(*key)
        if not owner:
            return
        revision = f"{owner['metadata']['name']}-{template_hash(owner['spec']['template'])}"
        if not owner["metadata"].get("deletionTimestamp"):
            await self._step(owner, revision)
        pods = list(self._pods(owner).values())
        await self.write_status(owner, stateful_set_status(owner, pods, revision))

    def _pods(self, owner: Manifest) -> dict[int, Manifest]:
        found = self.world.pods.controlled_by(owner["metadata"]["uid"])
        return {int(pod["metadata"]["name"].rsplit("-", 1)[1]): pod for pod in found}

    async def _step(self, owner: Manifest, revision: str) -> None:
        pods, wanted = self._pods(owner), replicas_of(owner)
        in_parallel = owner["spec"].get("podManagementPolicy") == "Parallel"
        for ordinal in range(wanted):
            pod = pods.get(ordinal)
            if pod is None:
                made = await self.create_owned(
                    self.world.pods, owner, _pod(owner, ordinal, revision)
                )
                self.events.normal(
                    owner, "SuccessfulCreate", f"create Pod {made['metadata']['name']} successful"
                )
            elif not is_active(pod) and not pod["metadata"].get("deletionTimestamp"):
                await self.delete_owned(self.world.pods, pod)
            elif is_active(pod) and is_ready(pod):
                continue
            if not in_parallel:
                break
        too_many = [pods[ordinal] for ordinal in sorted(pods, reverse=True) if ordinal >= wanted]
        rolling = (owner["spec"].get("updateStrategy") or {}).get(
            "type", "RollingUpdate"
        ) == "RollingUpdate"
        outdated = [
            pods[ordinal]
            for ordinal in sorted(pods, reverse=True)
            if _revision(pods[ordinal]) != revision
        ]
        for pod in too_many or (outdated if rolling and self._is_settled(pods, revision) else []):
            if not pod["metadata"].get("deletionTimestamp"):
                await self.delete_owned(self.world.pods, pod)
            if not in_parallel or pod not in too_many:
                break

    @staticmethod
    def _is_settled(pods: dict[int, Manifest], revision: str) -> bool:
        """Whether every pod that was already replaced is ready: then the next may go, even if it
        never was ready.
        """
        return all(is_ready(pod) for pod in pods.values() if _revision(pod) == revision)


def _revision(pod: Manifest) -> str | None:
    return (pod["metadata"].get("labels") or {}).get(REVISION_LABEL)


def _pod(owner: Manifest, ordinal: int, revision: str) -> Manifest:
    template, name = owner["spec"]["template"], f"{owner['metadata']['name']}-{ordinal}"
    metadata = template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), REVISION_LABEL: revision, POD_NAME_LABEL: name}
    identity = {"hostname": name, "subdomain": owner["spec"].get("serviceName", "")}
    return {
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": metadata.get("annotations") or {},
        },
        "spec": {**template["spec"], **{key: text for key, text in identity.items() if text}},
    }


def stateful_set_status(owner: Manifest, pods: list[Manifest], revision: str) -> Manifest:
    """The status for these pods; the current revision follows once every pod has the new one."""
    updated = [pod for pod in pods if _revision(pod) == revision]
    ready = [pod for pod in pods if is_ready(pod)]
    done = len(updated) == len(ready) == len(pods) == replicas_of(owner)
    before = owner.get("status") or {}
    current = revision if done or not before.get("currentRevision") else before["currentRevision"]
    counts = {
        "readyReplicas": len(ready),
        "currentReplicas": sum(_revision(pod) == current for pod in pods),
        "updatedReplicas": len(updated),
    }
    known = {key: count for key, count in counts.items() if count}
    return {
        "replicas": len(pods),
        **known,
        "currentRevision": current,
        "updateRevision": revision,
        "observedGeneration": owner["metadata"]["generation"],
        "collisionCount": before.get("collisionCount", 0),
    }
