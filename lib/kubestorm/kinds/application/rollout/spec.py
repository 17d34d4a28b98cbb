"""A Rollout's manifest, and the values of its spec. Pure."""

from __future__ import annotations

from typing import Any, Mapping

from kubestorm.clients import resources
from kubestorm.core.naming import GROUP, VERSION, Identity
from kubestorm.kinds.application.rollout.settings import RolloutSettings
from kubestorm.kinds.application.rollout.values import PUSH, ROLLBACK, NewRollout, RolloutSpec
from kubestorm.kinds.application.values import (
    BLUE_GREEN,
    CANARY,
    ROLLING_UPDATE,
    CanaryStep,
    Strategy,
)
from kubestorm.kinds.common.resource import Object


def rollout_manifest(application: Mapping[str, Any], spec: Any, new: NewRollout) -> Object:
    """The Rollout to create. `spec` is the Application's, parsed; the strategy is copied so that an
    edit does not change the course of what is under way."""
    metadata = application["metadata"]
    strategy = spec.strategy
    kind = strategy.type
    if new.cause == ROLLBACK and kind == CANARY:
        kind = ROLLING_UPDATE  # what ran well before needs no trial, and haste is wanted
    copied: Object = {"type": kind, "deadlineSeconds": strategy.deadline_seconds}
    if kind == BLUE_GREEN:
        waits = strategy.until_promoted and new.cause != ROLLBACK
        copied.update(keepSeconds=strategy.keep_seconds, untilPromoted=waits)
    if kind == CANARY:
        copied["steps"] = [
            {
                "weight": step.weight,
                "pauseSeconds": step.pause_seconds,
                "untilPromoted": step.until_promoted,
                "test": step.test,
            }
            for step in strategy.steps
        ]
    body: Object = {
        "applicationRef": {"name": metadata["name"], "uid": metadata["uid"]},
        "number": new.number,
        "image": {
            "registry": spec.registry,
            "repository": spec.repository,
            "tag": new.tag,
            "digest": new.digest,
        },
        "previousDigest": new.previous,
        "previousTag": new.previous_tag,
        "strategy": copied,
        "replicas": {
            "min": spec.replicas.min,
            "max": spec.replicas.max if spec.replicas.autoscaled else 0,
        },
        "tested": spec.test is not None,
        "cause": new.cause,
        "requestedBy": new.requested_by,
        **({"request": new.request} if new.request else {}),
        "wish": new.desired_id,
    }
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Application",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Rollout",
        "metadata": {
            "name": resources.rollout_name(metadata["name"], new.digest, new.number),
            "namespace": metadata["namespace"],
            "labels": {
                "app.kubernetes.io/name": metadata["name"],
                "app.kubernetes.io/managed-by": "kubestorm",
                resources.APPLICATION_LABEL: metadata["name"],
            },
            "ownerReferences": [owner],
        },
        "spec": {key: value for key, value in body.items() if value not in ("", None)},
    }


def read_spec(rollout: Mapping[str, Any], settings: RolloutSettings) -> RolloutSpec:
    """What one Rollout asks for."""
    spec = rollout["spec"]
    said = spec.get("strategy") or {}
    plain = Strategy()
    strategy = Strategy(
        type=said.get("type", plain.type),
        steps=tuple(
            CanaryStep(
                weight=int(step["weight"]),
                pause_seconds=int(step.get("pauseSeconds") or 0),
                until_promoted=bool(step.get("untilPromoted")),
                test=bool(step.get("test", True)),
            )
            for step in said.get("steps") or ()
        ),
        keep_seconds=int(said.get("keepSeconds", plain.keep_seconds)),
        until_promoted=bool(said.get("untilPromoted")),
        deadline_seconds=int(said.get("deadlineSeconds") or plain.deadline_seconds),
    )
    replicas = spec.get("replicas") or {}
    return RolloutSpec(
        digest=spec["image"]["digest"],
        previous=spec.get("previousDigest") or "",
        strategy=strategy,
        replicas=int(replicas.get("min", 1)),
        max_replicas=int(replicas.get("max") or 0),
        tested=bool(spec.get("tested")),
        cause=spec.get("cause") or PUSH,
        patience_seconds=settings.patience_seconds,
    )


def application_identity(rollout: Mapping[str, Any], cluster: str) -> Identity:
    """The Application that a Rollout belongs to."""
    return Identity(
        cluster,
        GROUP,
        VERSION,
        "applications",
        rollout["metadata"].get("namespace", ""),
        rollout["spec"]["applicationRef"]["name"],
        resources.application_uid(rollout),
    )
