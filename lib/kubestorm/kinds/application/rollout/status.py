"""A Rollout's status: read, written, and summed up in its Application's status and Events."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional, Tuple

from kubestorm.clients import resources
from kubestorm.clients.services import Services
from kubestorm.core import conditions, untrusted
from kubestorm.core.conditions import FALSE, READY, TRUE, UNKNOWN, Condition, StrEnum
from kubestorm.core.errors import ConflictError, NotFoundError
from kubestorm.core.image_names import short_digest
from kubestorm.core.times import format_milliseconds, parse_time
from kubestorm.kinds.application.rollout import strategies
from kubestorm.kinds.application.rollout.values import (
    ABORTED,
    AWAITING_APPROVAL,
    COMPLETE,
    FAILED,
    PAUSED,
    PENDING,
    RETURNING,
    SUPERSEDED,
    TERMINAL,
    TESTING,
    WAITING,
    ObservedState,
    RolloutSpec,
    Stage,
    Status,
    TestView,
)
from kubestorm.kinds.application.status import ROLLED_OUT
from kubestorm.kinds.common.resource import ResourceHandle


class Reason(StrEnum):
    """Why a Rollout's conditions are as they are; pod failures add `core.pod_failures`."""

    INVALID_SPEC = "InvalidSpec"
    FROZEN = "Frozen"
    STRATEGY_REFUSED = "StrategyRefused"
    AWAITING_APPROVAL = "AwaitingApproval"
    APPROVAL_EXPIRED = "ApprovalExpired"
    APPROVAL_REFUSED = "ApprovalRefused"
    AWAITING_PROMOTION = "AwaitingPromotion"
    ABORTED_BY_REQUEST = "AbortedByRequest"
    PAUSED = "Paused"
    TESTING = "Testing"
    TEST_FAILED = "TestFailed"
    PASSED = "Passed"
    UNTESTED = "Untested"
    NOT_ASKED = "NotAsked"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    COMPLETE = "Complete"
    SUPERSEDED = "Superseded"
    READY = "Ready"


PROGRESSING_CONDITION, TESTED, COMPLETE_CONDITION = "Progressing", "Tested", "Complete"
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


def read_status(rollout: Mapping[str, Any]) -> Status:
    """The status as values; a new one where none was written."""
    said = untrusted.status(rollout)
    values: Dict[str, Any] = {name: parse_time(said.get(key)) for key, name in _TIMES.items()}
    values.update(
        {name: untrusted.text(said[key]) for key, name in _TEXTS.items() if said.get(key)}
    )
    values.update({name: untrusted.integer(said.get(key)) for key, name in _NUMBERS.items()})
    return replace(Status(), **values)


def read_test(rollout: Mapping[str, Any]) -> Optional[TestView]:
    """The post-deploy test under way."""
    said = untrusted.mapping(untrusted.status(rollout).get("test"))
    if not untrusted.text(said.get("key")):
        return None
    key, state, message = (untrusted.text(said.get(name)) for name in ("key", "state", "message"))
    return TestView(key, state, message)


def status_fields(
    spec: RolloutSpec,
    status: Status,
    observed: Optional[ObservedState],
    *,
    requeue_at: Optional[dt.datetime] = None,
) -> Dict[str, Any]:
    """The fields of the object's status; None takes a field away. Without an observed state, `pods`
    is left as it is.
    """
    fields: Dict[str, Any] = {
        key: format_milliseconds(getattr(status, name)) for key, name in _TIMES.items()
    }
    fields.update({key: getattr(status, name) or None for key, name in _TEXTS.items()})
    fields.update({key: getattr(status, name) for key, name in _NUMBERS.items()})
    stage = current_stage(spec, status)
    fields["step"] = stage.name if stage is not None else None
    if observed is not None:
        fields["pods"] = _pods(spec, observed)
    fields["requeueAt"] = format_milliseconds(requeue_at)
    return fields


def current_stage(spec: RolloutSpec, status: Status) -> Optional[Stage]:
    """The stage that it is in; None before it begins and after its end."""
    if not status.base or status.phase in TERMINAL:
        return None
    choose = strategies.way_back if status.phase == RETURNING else strategies.stages
    way = choose(spec, status.base, status.total)
    return way[status.stage] if status.stage < len(way) else None


def conditions_of(spec: RolloutSpec, status: Status) -> Tuple[List[Condition], Condition]:
    """Progressing, Tested and Complete; and Ready."""
    phase, message = status.phase, status.message
    moving = phase not in TERMINAL and phase not in WAITING and phase != PAUSED
    reason = status.reason if phase in WAITING else phase
    progressing = Condition(
        PROGRESSING_CONDITION, TRUE if moving else FALSE, reason or PENDING, message
    )
    complete = Condition(COMPLETE_CONDITION, FALSE, _why_not(status), message)
    if phase == COMPLETE:
        complete = Condition(COMPLETE_CONDITION, TRUE, Reason.COMPLETE, message)
    ready = Condition(
        READY, complete.status, Reason.READY if phase == COMPLETE else complete.reason, message
    )
    return [progressing, _tested(spec, status), complete], ready


def _why_not(status: Status) -> str:
    """For a rollout that is over, what ended it; else what it does or waits for."""
    if status.phase in (FAILED, ABORTED, SUPERSEDED):
        return status.reason or status.phase
    if status.phase in WAITING or status.reason == Reason.AWAITING_PROMOTION:
        return status.reason or status.phase
    return status.phase


def _tested(spec: RolloutSpec, status: Status) -> Condition:
    if not spec.tested:
        return Condition(TESTED, TRUE, Reason.NOT_ASKED, "The Application has no post-deploy test.")
    if status.reason == Reason.TEST_FAILED:
        return Condition(TESTED, FALSE, Reason.TEST_FAILED, status.tested or status.message)
    if status.phase == COMPLETE:
        return Condition(TESTED, TRUE, Reason.PASSED, status.tested)
    if status.phase == TESTING:
        return Condition(TESTED, UNKNOWN, Reason.TESTING, status.message)
    return Condition(
        TESTED, UNKNOWN, Reason.UNTESTED, status.tested or "The test was not completed."
    )


def _pods(spec: RolloutSpec, observed: ObservedState) -> Dict[str, int]:
    tracks = [view for view in observed.tracks.values() if view.digest == spec.digest]
    return {
        "wanted": sum(view.wanted for view in tracks),
        "updated": sum(view.updated for view in tracks),
        "available": sum(view.updated_available for view in tracks),
    }


WARNING_PHASES = frozenset((FAILED, ABORTED, RETURNING))


def write_rollout(
    handle: ResourceHandle,
    rollout: Mapping[str, Any],
    spec: RolloutSpec,
    status: Status,
    fields: Mapping[str, Any],
) -> None:
    """Write a Rollout's conditions and fields; nothing where nothing differs."""
    told, ready = conditions_of(spec, status)
    handle.write_status(
        *told,
        fields=fields,
        ready=ready,
        generation=handle.generation(dict(rollout)),
        since=rollout,
    )


def update_application(
    application: ResourceHandle,
    resource: Mapping[str, Any],
    rollout: Mapping[str, Any],
    before: Status,
    after: Status,
    more: Mapping[str, Any],
) -> None:
    """Sum a rollout up in its Application's status; `more` are fields that are written with it. It
    answers for no edit of the Application: that is for the Application's own run.
    """
    if (before.phase, before.reason, before.message) == (after.phase, after.reason, after.message):
        return
    name = rollout["metadata"]["name"]
    condition = rolled_out_condition(name, _tag(rollout), after)
    said: Dict[str, Any] = {
        "name": name,
        "phase": after.phase,
        "weight": after.weight,
        "message": after.message[: conditions.MESSAGE_LENGTH],
    }
    told = [condition] if condition is not None else []
    observed = untrusted.integer(untrusted.status(resource).get("observedGeneration"))
    application.write_status(*told, fields={"rollout": said, **more}, generation=observed)


def record_event(
    application: ResourceHandle,
    resource: Mapping[str, Any],
    rollout: Mapping[str, Any],
    before: Status,
    after: Status,
) -> None:
    """Record an Event on the Application when the phase or the pods' failure changes."""
    if after.phase == before.phase and after.trouble == before.trouble:
        return
    by = rollout["spec"].get("requestedBy") or ""
    who = f" (requested by {by})" if by else ""
    message = f"{rollout['metadata']['name']}, {_tag(rollout)}{who}: {after.phase}. {after.message}"
    warning = after.phase in WARNING_PHASES or bool(after.trouble)
    application.event(resource, _event_reason(after), message, warning=warning)


def rolled_out_condition(name: str, tag: str, status: Status) -> Optional[Condition]:
    """The Application's RolledOut while its rollout is under way or has failed; None otherwise, as
    its pods decide then.
    """
    if status.phase in (COMPLETE, SUPERSEDED):
        return None
    if status.phase in (FAILED, RETURNING) and status.outcome in (FAILED, ""):
        message = f"{tag} failed ({name}): {status.message}"
        return Condition(ROLLED_OUT, FALSE, status.reason or FAILED, message)
    if status.phase in (ABORTED, RETURNING):
        message = f"{tag} was aborted ({name}): {status.message}"
        return Condition(ROLLED_OUT, FALSE, status.reason or ABORTED, message)
    word = status.reason if status.phase in (PENDING, AWAITING_APPROVAL, PAUSED) else status.phase
    message = f"Rolling out {tag} ({name}): {status.message}"
    return Condition(ROLLED_OUT, FALSE, word or status.phase, message)


def wake(services: Services, rollout: str, namespace: str) -> None:
    """Have the sensor dispatch a Rollout now."""
    patch_status(services, rollout, namespace, {"requeueAt": format_milliseconds(services.now())})


def patch_status(
    services: Services, rollout: str, namespace: str, fields: Mapping[str, Any]
) -> None:
    """Write single fields of a Rollout's status; harmless where it is gone."""
    with contextlib.suppress(NotFoundError, ConflictError):
        services.kube.patch_status(resources.ROLLOUTS, rollout, dict(fields), namespace)


def _tag(rollout: Mapping[str, Any]) -> str:
    image = rollout["spec"]["image"]
    return str(image.get("tag") or short_digest(image["digest"]))


def _event_reason(status: Status) -> str:
    if status.phase in (RETURNING, FAILED) or status.trouble:
        return status.trouble or status.reason or status.phase
    return f"Rollout{status.phase}"
