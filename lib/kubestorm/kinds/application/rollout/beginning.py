"""From an Application's wish to the Rollout that is under way: what the Application's own run does
about rollouts.

Works under the Lease of the Application. What a Rollout does once it exists is in `steps`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any, Dict, Mapping, NamedTuple, Optional

from kubestorm.clients import resources
from kubestorm.clients.kube import KubeClient
from kubestorm.clients.services import Services
from kubestorm.core import status_requests, untrusted
from kubestorm.core.errors import ConflictError, Error, NotFoundError, TemporaryError
from kubestorm.core.naming import identity_of
from kubestorm.kinds.application import render, versions
from kubestorm.kinds.application.rollout import history, objects, reporting
from kubestorm.kinds.application.rollout.image_policy import first_wish, write
from kubestorm.kinds.application.rollout.intents import (
    Wish,
    format_moment,
    freeze_of,
    rollback_of,
    wish_of,
)
from kubestorm.kinds.application.rollout.machine import decide, short
from kubestorm.kinds.application.rollout.model import (
    CANARY_TRACK,
    PENDING,
    ROLLBACK,
    Approval,
    Intents,
    World,
)
from kubestorm.kinds.application.rollout.observe import digest_of, observe
from kubestorm.kinds.application.rollout.planning import Past, Plan, plan
from kubestorm.kinds.application.rollout.settings import RolloutSettings
from kubestorm.kinds.application.spec import parse
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.common.resource import ResourceHandle, reason_of

Result = Dict[str, Any]


class _First(NamedTuple):
    """What an Application without a wish begins with, or why there is nothing."""

    wish: Optional[Wish] = None
    reason: str = ""
    message: str = ""


def ensure_rollout(services: Services, application: ResourceHandle) -> Result:
    """Make the Rollout that an Application's wish leads to, if it leads to one now; end those that
    it supersedes, and prune the history.

    Safe to repeat: a Rollout's name follows from its number and digest, so that a run that died and
    one that follows make the same. Says which rollout is under way, and which digest is the good
    one.
    """
    resource = application.read()
    if resource is None or resource["metadata"].get("deletionTimestamp"):
        gone = dict.fromkeys(("created", "active", "good", "good_tag", "reason"), "")
        return {**gone, "message": "The Application is gone."}
    spec = parse(resource, services.settings)
    settings = RolloutSettings.from_config(services.settings.raw)
    kube, metadata, now = services.kube, resource["metadata"], services.now()
    past = history.look(kube, metadata["namespace"], metadata["name"], metadata["uid"])
    running = "" if past.good is not None else _running(services, resource)
    first = _First(wish_of(resource))
    if first.wish is None and not past.pasts and not running:
        first = _first_wish(services, resource, spec, now)
    planned = plan(
        first.wish,
        rollback_of(resource),
        untrusted.annotations_of(resource).get(resources.RETRY_DIGEST, ""),
        freeze_of(resource),
        past.pasts,
        settings,
        now,
        running=running,
        alone_seconds=float(spec.strategy.settle_seconds),
    )
    made = ""
    if planned.new is not None:
        body = objects.manifest(resource, spec, planned.new)
        made = body["metadata"]["name"]
        with contextlib.suppress(ConflictError):  # a run that died has made it
            kube.create(resources.ROLLOUTS, body, metadata["namespace"])
        by = f", requested by {planned.new.requested_by}" if planned.new.requested_by else ""
        message = f"Created {made} for {planned.new.tag or short(planned.new.digest)}{by}."
        application.event(resource, "RolloutCreated", message)
    if resources.RETRY_DIGEST in planned.consume:
        application.remove_annotation(resources.RETRY_DIGEST)
    if status_requests.ROLLBACK_TO in planned.consume:
        application.take_back(status_requests.ROLLBACK_TO, resource)
    for name in planned.prune:
        with contextlib.suppress(NotFoundError):
            kube.delete(resources.ROLLOUTS, name, metadata["namespace"])
    active = made or (past.active.name if past.active is not None else "")
    if not active:
        _remove_stray_canary(kube, resource)
    for older in past.pasts:
        if active and older.name != active and not older.is_over:
            _supersede(services, application, resource, older, active)
    if not made and past.active is not None and _concerns(resource, past.active):
        reporting.wake(services, past.active.name, metadata["namespace"])
    good = past.good
    return {
        "created": made,
        "active": active,
        "good": good.digest if good is not None else "",
        "good_tag": good.tag if good is not None else "",
        "reason": planned.reason or first.reason,
        "message": planned.message or first.message,
        "pruned": list(planned.prune),
        "look_at": _look_at(planned, now),
    }


def _concerns(resource: Mapping[str, Any], active: Past) -> bool:
    """Whether the Application says something now that the Rollout under way has not acted upon: it
    waits for events of its own and does not watch the Application.
    """
    if active.reason == reporting.INVALID_SPEC:
        return True
    was_frozen, held = active.reason == "Frozen", freeze_of(resource) is not None
    may_be_held = active.phase == PENDING and active.cause != ROLLBACK
    return was_frozen != held and (was_frozen or may_be_held)


def _supersede(
    services: Services,
    application: ResourceHandle,
    resource: Mapping[str, Any],
    older: Past,
    newer: str,
) -> None:
    """End a rollout that a newer one takes over from. It changes nothing in the cluster, so that it
    needs no run of its own.
    """
    with contextlib.suppress(NotFoundError):
        found = services.kube.get(resources.ROLLOUTS, older.name, resource["metadata"]["namespace"])
        identity = identity_of(application.identity.cluster, resources.ROLLOUTS.plural, found)
        settings = RolloutSettings.from_config(services.settings.raw)
        request, status = objects.request_of(found, settings), objects.status_of(found)
        intents = Intents(superseded_by=newer, latest=False)
        decision = decide(request, status, World(), intents, Approval(), services.now())
        handle = ResourceHandle(services, identity, application.run_id)
        fields = objects.status_fields(request, decision.status, None)
        reporting.write_rollout(handle, found, request, decision.status, fields)
        reporting.leave_event(application, resource, found, status, decision.status)


def _remove_stray_canary(kube: KubeClient, resource: Mapping[str, Any]) -> None:
    """What a Rollout leaves behind that somebody deleted while it was under way."""
    metadata = resource["metadata"]
    name = render.deployment_name(metadata["name"], CANARY_TRACK)
    with contextlib.suppress(NotFoundError):
        live = kube.get(resources.DEPLOYMENTS, name, metadata["namespace"])
        if any(
            owner.get("uid") == metadata["uid"]
            for owner in live["metadata"].get("ownerReferences") or ()
        ):
            kube.delete(
                resources.DEPLOYMENTS, name, metadata["namespace"], uid=live["metadata"]["uid"]
            )


def _first_wish(
    services: Services, resource: Mapping[str, Any], spec: ApplicationSpec, now: dt.datetime
) -> _First:
    """What the registry holds now, for an Application that nobody has pushed for yet. A registry
    that is away is asked again; one that refuses is not, the next push brings an image.
    """
    if not spec.follow:
        return _First()
    try:
        wish = first_wish(services, spec, now)
    except TemporaryError as error:
        return _First(None, reason_of(error), f"Cannot list the tags of {spec.image}: {error}")
    except Error as error:
        message = f"Cannot list the tags of {spec.image}: {error} Waiting for the next push."
        return _First(None, "WaitingForPush", message)
    if wish is None:
        message = f"{spec.image} has no tag yet that spec.follow selects; waiting for a push."
        return _First(None, "WaitingForPush", message)
    with contextlib.suppress(ConflictError):  # a push came first; it is read by the next run
        write(services, resource, wish)
        return _First(wish)
    return _First()


def _look_at(planned: Plan, now: dt.datetime) -> Optional[str]:
    after = planned.look_after_seconds
    return format_moment(now + dt.timedelta(seconds=after)) if after is not None else None


def _running(services: Services, resource: Mapping[str, Any]) -> str:
    """The digest on the active track, where no history says what is good: it runs, so it is what is
    returned to.
    """
    api = versions.discover(services.kube)
    observed = observe(services.kube, resource, autoscalers=api.autoscalers)
    deployment = observed.deployments.get(observed.world.active)
    view = observed.world.tracks.get(observed.world.active)
    if deployment is None or view is None or not view.available:
        return ""
    return digest_of(deployment)
