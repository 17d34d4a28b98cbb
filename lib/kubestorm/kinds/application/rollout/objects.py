"""Rollout objects to values and back: the only place that knows how a Rollout is written down.
Pure.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional, Tuple

from kubestorm.clients import resources
from kubestorm.core import untrusted
from kubestorm.core.conditions import FALSE, READY, TRUE, UNKNOWN, Condition
from kubestorm.core.naming import GROUP, VERSION, Identity
from kubestorm.kinds.application.rollout import strategies
from kubestorm.kinds.application.rollout.intents import format_moment
from kubestorm.kinds.application.rollout.model import (
    ABORTED,
    CANARY,
    COMPLETE,
    FAILED,
    PAUSED,
    PENDING,
    PUSH,
    RETURNING,
    ROLLBACK,
    ROLLING_UPDATE,
    SUPERSEDED,
    TERMINAL,
    TESTING,
    WAITING,
    CanaryStep,
    Request,
    Stage,
    Status,
    Strategy,
    TestView,
    World,
)
from kubestorm.kinds.application.rollout.planning import NewRollout, Past
from kubestorm.kinds.application.rollout.settings import RolloutSettings

PROGRESSING_CONDITION, TESTED, COMPLETE_CONDITION = "Progressing", "Tested", "Complete"
NOT_ASKED = "NotAsked"
TEST_FAILED = "TestFailed"
AWAITING_PROMOTION = "AwaitingPromotion"
Object = Dict[str, Any]

_TIMES = {
    "since": "since",
    "troubleSince": "trouble_since",
    "unsettledSince": "unsettled_since",
    "startedAt": "started_at",
    "finishedAt": "finished_at",
    "keepUntil": "keep_until",
}
_TEXTS = {
    "phase": "phase",
    "base": "base",
    "outcome": "outcome",
    "reason": "reason",
    "message": "message",
    "trouble": "trouble",
    "tested": "tested",
}
_NUMBERS = {"stage": "stage", "weight": "weight", "total": "total"}


def manifest(application: Mapping[str, Any], spec: Any, new: NewRollout) -> Object:
    """The Rollout to create. `spec` is the Application's, parsed; the strategy is copied so that an
    edit does not change the course of what is under way."""
    metadata = application["metadata"]
    strategy = spec.strategy
    kind = strategy.type
    if new.cause == ROLLBACK and kind == CANARY:
        kind = ROLLING_UPDATE  # what ran well before needs no trial, and haste is wanted
    copied: Object = {"type": kind, "deadlineSeconds": strategy.deadline_seconds}
    if kind == "BlueGreen":
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
        "wish": new.wish,
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


def request_of(rollout: Mapping[str, Any], settings: RolloutSettings) -> Request:
    """What one Rollout asks for."""
    spec = rollout["spec"]
    said = spec.get("strategy") or {}
    plain = Strategy()
    strategy = Strategy(
        type=said.get("type", plain.type),
        steps=tuple(
            CanaryStep(
                weight=int(step["weight"]),
                pause_seconds=float(step.get("pauseSeconds") or 0),
                until_promoted=bool(step.get("untilPromoted")),
                test=bool(step.get("test", True)),
            )
            for step in said.get("steps") or ()
        ),
        keep_seconds=float(said.get("keepSeconds", plain.keep_seconds)),
        until_promoted=bool(said.get("untilPromoted")),
        deadline_seconds=float(said.get("deadlineSeconds") or plain.deadline_seconds),
    )
    replicas = spec.get("replicas") or {}
    return Request(
        digest=spec["image"]["digest"],
        previous=spec.get("previousDigest") or "",
        strategy=strategy,
        replicas=int(replicas.get("min", 1)),
        max_replicas=int(replicas.get("max") or 0),
        tested=bool(spec.get("tested")),
        cause=spec.get("cause") or PUSH,
        patience_seconds=settings.patience_seconds,
    )


def status_of(rollout: Mapping[str, Any]) -> Status:
    """What was remembered of it; a fresh one where nothing was."""
    said = untrusted.status(rollout)
    values: Dict[str, Any] = {name: untrusted.moment(said.get(key)) for key, name in _TIMES.items()}
    values.update(
        {name: untrusted.text(said[key]) for key, name in _TEXTS.items() if said.get(key)}
    )
    values.update({name: untrusted.integer(said.get(key)) for key, name in _NUMBERS.items()})
    return replace(Status(), **values)


def test_of(rollout: Mapping[str, Any]) -> Optional[TestView]:
    """The post-deploy test under way."""
    said = untrusted.mapping(untrusted.status(rollout).get("test"))
    if not untrusted.text(said.get("key")):
        return None
    key, state, message = (untrusted.text(said.get(name)) for name in ("key", "state", "message"))
    return TestView(key, state, message)


def status_fields(
    request: Request,
    status: Status,
    world: Optional[World],
    *,
    requeue_at: Optional[dt.datetime] = None,
) -> Dict[str, Any]:
    """The fields of the object's status; None takes a field away. Without a world, the pods stay as
    they were told.
    """
    fields: Dict[str, Any] = {
        key: format_moment(getattr(status, name)) for key, name in _TIMES.items()
    }
    fields.update({key: getattr(status, name) or None for key, name in _TEXTS.items()})
    fields.update({key: getattr(status, name) for key, name in _NUMBERS.items()})
    stage = stage_of(request, status)
    fields["step"] = stage.name if stage is not None else None
    if world is not None:
        fields["pods"] = _pods(request, world)
    fields["requeueAt"] = format_moment(requeue_at)
    return fields


def stage_of(request: Request, status: Status) -> Optional[Stage]:
    """The stage that it is in; None before it begins and after its end."""
    if not status.base or status.phase in TERMINAL:
        return None
    choose = strategies.way_back if status.phase == RETURNING else strategies.stages
    way = choose(request, status.base, status.total)
    return way[status.stage] if status.stage < len(way) else None


def conditions_of(request: Request, status: Status) -> Tuple[List[Condition], Condition]:
    """Progressing, Tested and Complete; and Ready."""
    phase, message = status.phase, status.message
    moving = phase not in TERMINAL and phase not in WAITING and phase != PAUSED
    reason = status.reason if phase in WAITING else phase
    progressing = Condition(
        PROGRESSING_CONDITION, TRUE if moving else FALSE, reason or PENDING, message
    )
    complete = Condition(COMPLETE_CONDITION, FALSE, _why_not(status), message)
    if phase == COMPLETE:
        complete = Condition(COMPLETE_CONDITION, TRUE, "Complete", message)
    ready = Condition(
        READY, complete.status, "Ready" if phase == COMPLETE else complete.reason, message
    )
    return [progressing, _tested(request, status), complete], ready


def _why_not(status: Status) -> str:
    """For a rollout that is over, what ended it; else what it does or waits for."""
    if status.phase in (FAILED, ABORTED, SUPERSEDED):
        return status.reason or status.phase
    if status.phase in WAITING or status.reason == AWAITING_PROMOTION:
        return status.reason or status.phase
    return status.phase


def _tested(request: Request, status: Status) -> Condition:
    if not request.tested:
        return Condition(TESTED, TRUE, NOT_ASKED, "The Application has no post-deploy test.")
    if status.reason == TEST_FAILED:
        return Condition(TESTED, FALSE, TEST_FAILED, status.tested or status.message)
    if status.phase == COMPLETE:
        return Condition(TESTED, TRUE, "Passed", status.tested)
    if status.phase == TESTING:
        return Condition(TESTED, UNKNOWN, "Testing", status.message)
    return Condition(TESTED, UNKNOWN, "Untested", status.tested or "It was not run to its end.")


def _pods(request: Request, world: World) -> Dict[str, int]:
    tracks = [view for view in world.tracks.values() if view.digest == request.digest]
    return {
        "wanted": sum(view.wanted for view in tracks),
        "updated": sum(view.updated for view in tracks),
        "available": sum(view.updated_available for view in tracks),
    }


def past_of(rollout: Mapping[str, Any]) -> Past:
    """One line of an Application's history."""
    metadata, spec, status = rollout["metadata"], rollout["spec"], untrusted.status(rollout)
    return Past(
        name=metadata["name"],
        number=untrusted.integer(spec.get("number")),
        digest=spec["image"]["digest"],
        tag=spec["image"].get("tag") or "",
        phase=untrusted.text(status.get("phase"), PENDING),
        reason=untrusted.text(status.get("reason")),
        message=untrusted.text(status.get("message")),
        cause=spec.get("cause") or PUSH,
        wish=spec.get("wish") or "",
        request=untrusted.text(spec.get("request")),
        requested_by=spec.get("requestedBy") or "",
        created_at=untrusted.moment(metadata.get("creationTimestamp")),
        finished_at=untrusted.moment(status.get("finishedAt")),
    )


def identity_of_application(rollout: Mapping[str, Any], cluster: str) -> Identity:
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
