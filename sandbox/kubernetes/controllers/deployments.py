"""The Deployment controller: makes and scales ReplicaSets step by step, as `rollout` decides.

Left out: adoption of ReplicaSets that nobody owns, and the selector's expressions (owner references
decide).
"""

from __future__ import annotations

import copy

from sandbox.kubernetes.client.api import REPLICA_SETS, ApiError, Manifest, utc_now
from sandbox.kubernetes.client.informer import Key
from sandbox.kubernetes.controllers import rollout
from sandbox.kubernetes.controllers.pods import is_ended
from sandbox.kubernetes.controllers.world import Controller, World, owner_keys


class Deployments(Controller):
    """Level-triggered: every call of `sync` does at most one step of a rollout and writes the
    status.
    """

    name = "deployment"

    def __init__(self, world: World) -> None:
        super().__init__(world, world.deployments)
        self._replica_sets = world.replica_sets
        self.follow(world.replica_sets, owner_keys("Deployment"))
        # Recreate waits for pods to be gone, which no ReplicaSet's status tells.
        self.follow(world.pods, self._deployment_of_pod)

    def _deployment_of_pod(self, pod: Manifest) -> list[Key]:
        namespace = pod["metadata"].get("namespace", "")
        owners = [
            self._replica_sets.get(namespace, name) for _, name in owner_keys("ReplicaSet")(pod)
        ]
        return [key for owner in owners if owner for key in owner_keys("Deployment")(owner)]

    async def sync(self, key: Key) -> None:
        """Do the next step of the rollout, if there is one, and tell the status."""
        deployment = self.own.get(*key)
        if not deployment:
            return
        owned = self._replica_sets.controlled_by(deployment["metadata"]["uid"])
        new, old = rollout.split(deployment, owned)
        spec = deployment["spec"]
        if not deployment["metadata"].get("deletionTimestamp"):
            if spec.get("paused") or rollout.is_being_scaled(deployment, owned):
                await self._scale_all(deployment, rollout.plan_scaling(deployment, new, old))
            else:
                new = await self._roll(deployment, new, old)
        deployment = self.own.get(*key) or deployment
        new, old = rollout.split(
            deployment, self._replica_sets.controlled_by(deployment["metadata"]["uid"])
        )
        status = rollout.deployment_status(deployment, new, old, utc_now())
        deployment = await self.write_status(deployment, status)
        if rollout.is_complete(deployment, status):
            for replica_set in rollout.obsolete(deployment, old):
                await self.delete_owned(self._replica_sets, replica_set)
        elif at := rollout.timeout_at(deployment):
            # Timestamps are whole seconds: look when the deadline has surely passed.
            self.enqueue_after(key, (at - utc_now()).total_seconds() + 1)

    async def _roll(
        self, deployment: Manifest, new: Manifest | None, old: list[Manifest]
    ) -> Manifest | None:
        if not rollout.is_rolling(deployment):
            await self._scale_all(
                deployment,
                [rollout.Scale(i["metadata"]["name"], 0) for i in old if rollout.replicas_of(i)],
            )
            if self._old_pods_run(old):
                return new
        new = await self._ensure_new(deployment, new, old)
        if new is None:
            return None
        if rollout.is_rolling(deployment):
            steps = rollout.plan_rolling_update(deployment, new, old)
        else:
            wanted = rollout.replicas_of(deployment)
            steps = (
                []
                if rollout.replicas_of(new) == wanted
                else [rollout.Scale(new["metadata"]["name"], wanted)]
            )
        await self._scale_all(deployment, steps)
        return new

    def _old_pods_run(self, old: list[Manifest]) -> bool:
        pods = [
            pod for item in old for pod in self.world.pods.controlled_by(item["metadata"]["uid"])
        ]
        return any(not is_ended(pod) for pod in pods)

    async def _ensure_new(
        self, deployment: Manifest, new: Manifest | None, old: list[Manifest]
    ) -> Manifest | None:
        """The ReplicaSet of the present template, made where it is missing, with the newest
        revision.
        """
        revision = max((rollout.revision_of(item) for item in old), default=0) + 1
        if new is None:
            new = await self._make(deployment, old, revision)
        elif rollout.revision_of(new) < revision:
            new = await self._renumber(deployment, new, revision)
        if new and annotations_differ(deployment, rollout.revision_of(new)):
            number = {rollout.REVISION: str(rollout.revision_of(new))}
            # Through status: a change of a Deployment's annotations would otherwise count as a new
            # generation.
            path = self.own.resource.path_of(deployment, "status")
            self.own.remember(await self.api.merge(path, {"metadata": {"annotations": number}}))
        return new

    async def _make(
        self, deployment: Manifest, old: list[Manifest], revision: int
    ) -> Manifest | None:
        spec, status = deployment["spec"], deployment.get("status") or {}
        collisions = status.get("collisionCount", 0)
        template = copy.deepcopy(spec["template"])
        code = rollout.template_hash(rollout.without_hash(template), collisions)
        template.setdefault("metadata", {}).setdefault("labels", {})[rollout.HASH_LABEL] = code
        selector = copy.deepcopy(spec["selector"])
        selector.setdefault("matchLabels", {})[rollout.HASH_LABEL] = code
        bounds = rollout.bounds_of(deployment)
        present = sum(rollout.replicas_of(item) for item in old)
        rolling = rollout.is_rolling(deployment)
        replicas = (
            min(bounds.replicas, max(0, bounds.most - present)) if rolling else bounds.replicas
        )
        name = f"{deployment['metadata']['name']}-{code}"
        metadata = {
            "name": name,
            "labels": template["metadata"]["labels"],
            "annotations": {**self._annotations(deployment), rollout.REVISION: str(revision)},
        }
        body = {
            "metadata": metadata,
            "spec": {
                "replicas": replicas,
                "selector": selector,
                "template": template,
                "minReadySeconds": spec.get("minReadySeconds", 0),
            },
        }
        try:
            made = await self.create_owned(self._replica_sets, deployment, body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            # The name belongs to another template: count the collision, so that the next try has
            # another name.
            await self.write_status(deployment, {**status, "collisionCount": collisions + 1})
            return None
        self.events.normal(
            deployment, "ScalingReplicaSet", f"Scaled up replica set {name} to {replicas}"
        )
        if rollout.deadline_seconds(deployment) is not None:
            message = f'Created new replica set "{name}"'
            conditions = rollout.progressing(deployment, "NewReplicaSetCreated", message, utc_now())
            await self.write_status(deployment, {**status, "conditions": conditions})
        return made

    async def _renumber(self, deployment: Manifest, new: Manifest, revision: int) -> Manifest:
        """A template that was used before is wanted again: its ReplicaSet gets the newest revision."""
        before = rollout.annotations_of(new)
        history = [before.get(rollout.REVISION_HISTORY), before.get(rollout.REVISION)]
        annotations = {
            **self._annotations(deployment),
            rollout.REVISION: str(revision),
            rollout.REVISION_HISTORY: ",".join(part for part in history if part),
        }
        changed = await self.api.merge(
            REPLICA_SETS.path_of(new), {"metadata": {"annotations": annotations}}
        )
        self._replica_sets.remember(changed)
        return changed

    def _annotations(self, deployment: Manifest) -> dict[str, str]:
        bounds = rollout.bounds_of(deployment)
        copied = {
            key: value
            for key, value in rollout.annotations_of(deployment).items()
            if key not in rollout.OWN_ANNOTATIONS
        }
        return {
            **copied,
            rollout.DESIRED_REPLICAS: str(bounds.replicas),
            rollout.MAX_REPLICAS: str(bounds.most),
        }

    async def _scale_all(self, deployment: Manifest, steps: list[rollout.Scale]) -> None:
        """Carry out the steps, and tell every active ReplicaSet for how many pods it was last
        planned.
        """
        wanted = {step.name: step.replicas for step in steps}
        bounds = rollout.bounds_of(deployment)
        told = {
            rollout.DESIRED_REPLICAS: str(bounds.replicas),
            rollout.MAX_REPLICAS: str(bounds.most),
        }
        for item in self._replica_sets.controlled_by(deployment["metadata"]["uid"]):
            name, before = item["metadata"]["name"], rollout.replicas_of(item)
            replicas = wanted.get(name, before)
            stale = replicas > 0 and any(
                rollout.annotations_of(item).get(key) != told[key] for key in told
            )
            if replicas == before and not stale:
                continue
            change = {"metadata": {"annotations": told}, "spec": {"replicas": replicas}}
            self._replica_sets.remember(await self.api.merge(REPLICA_SETS.path_of(item), change))
            if replicas != before:
                way = "up" if replicas > before else "down"
                message = f"Scaled {way} replica set {name} to {replicas}"
                self.events.normal(deployment, "ScalingReplicaSet", message)


def annotations_differ(deployment: Manifest, revision: int) -> bool:
    """Whether the Deployment does not yet name this revision."""
    return rollout.revision_of(deployment) != revision
