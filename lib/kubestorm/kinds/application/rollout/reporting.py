"""What is told of a rollout: its own status, the sum of it in its Application's, and Events."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Mapping, Optional

from kubestorm.clients import resources
from kubestorm.clients.services import Services
from kubestorm.core import conditions, untrusted
from kubestorm.core.conditions import FALSE, Condition
from kubestorm.core.errors import ConflictError, NotFoundError
from kubestorm.kinds.application.rollout import objects
from kubestorm.kinds.application.rollout.intents import format_moment
from kubestorm.kinds.application.rollout.machine import short
from kubestorm.kinds.application.rollout.model import (
    ABORTED,
    AWAITING_APPROVAL,
    COMPLETE,
    FAILED,
    PAUSED,
    PENDING,
    RETURNING,
    SUPERSEDED,
    Request,
    Status,
)
from kubestorm.kinds.common.resource import ResourceHandle

ROLLED_OUT = "RolledOut"
INVALID_SPEC = "InvalidSpec"
"""Of a Rollout whose Application cannot be rendered any more."""
WORDS_OF_WARNING = frozenset((FAILED, ABORTED, RETURNING))


def write_rollout(
    handle: ResourceHandle,
    rollout: Mapping[str, Any],
    request: Request,
    status: Status,
    fields: Mapping[str, Any],
) -> None:
    """Write a Rollout's conditions and fields; nothing where nothing differs."""
    told, ready = objects.conditions_of(request, status)
    handle.write_status(
        *told,
        fields=fields,
        ready=ready,
        generation=handle.generation(dict(rollout)),
        since=rollout,
    )


def tell_application(
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
    condition = summary(name, _tag(rollout), after)
    said: Dict[str, Any] = {
        "name": name,
        "phase": after.phase,
        "weight": after.weight,
        "message": after.message[: conditions.MESSAGE_LENGTH],
    }
    told = [condition] if condition is not None else []
    observed = untrusted.integer(untrusted.status(resource).get("observedGeneration"))
    application.write_status(*told, fields={"rollout": said, **more}, generation=observed)


def leave_event(
    application: ResourceHandle,
    resource: Mapping[str, Any],
    rollout: Mapping[str, Any],
    before: Status,
    after: Status,
) -> None:
    """Leave an Event on the Application of what its developer wants to know."""
    if after.phase == before.phase and after.trouble == before.trouble:
        return
    by = rollout["spec"].get("requestedBy") or ""
    who = f" (requested by {by})" if by else ""
    message = f"{rollout['metadata']['name']}, {_tag(rollout)}{who}: {after.phase}. {after.message}"
    warning = after.phase in WORDS_OF_WARNING or bool(after.trouble)
    application.event(resource, _event_reason(after), message, warning=warning)


def summary(name: str, tag: str, status: Status) -> Optional[Condition]:
    """What an Application says of its rollout; None of one that is over well, as its pods are
    judged then.
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
    patch_status(services, rollout, namespace, {"requeueAt": format_moment(services.now())})


def patch_status(
    services: Services, rollout: str, namespace: str, fields: Mapping[str, Any]
) -> None:
    """Write single fields of a Rollout's status; harmless where it is gone."""
    with contextlib.suppress(NotFoundError, ConflictError):
        services.kube.patch_status(resources.ROLLOUTS, rollout, dict(fields), namespace)


def _tag(rollout: Mapping[str, Any]) -> str:
    image = rollout["spec"]["image"]
    return str(image.get("tag") or short(image["digest"]))


def _event_reason(status: Status) -> str:
    if status.phase in (RETURNING, FAILED) or status.trouble:
        return status.trouble or status.reason or status.phase
    return f"Rollout{status.phase}"
