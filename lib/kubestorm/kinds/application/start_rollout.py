"""Creates the Rollout that is due for an Application, ends those that it supersedes, and prunes the
history. Works under the Lease of the Application.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any, Dict, Mapping, NamedTuple, Optional

from kubestorm.clients import resources
from kubestorm.clients.api_versions import discover_api_versions
from kubestorm.clients.kube import KubeClient
from kubestorm.clients.services import Services
from kubestorm.core import status_requests, untrusted
from kubestorm.core.errors import ConflictError, Error, NotFoundError, TemporaryError
from kubestorm.core.naming import identity_of
from kubestorm.kinds.application import render
from kubestorm.kinds.application.image_policy import (
    desired_image_of,
    first_desired_image,
    write_desired_image,
)
from kubestorm.kinds.application.observe import digest_of
from kubestorm.kinds.application.plan import Plan, plan_rollout
from kubestorm.kinds.application.rollout.observe import (
    observe,
    read_freeze,
    read_history,
    read_rollback_request,
)
from kubestorm.kinds.application.rollout.plan import decide
from kubestorm.kinds.application.rollout.settings import RolloutSettings
from kubestorm.kinds.application.rollout.spec import read_spec, rollout_manifest
from kubestorm.kinds.application.rollout.status import Reason as RolloutReason
from kubestorm.kinds.application.rollout.status import (
    read_status,
    record_event,
    status_fields,
    wake,
    write_rollout,
)
from kubestorm.kinds.application.rollout.values import (
    CANARY_TRACK,
    PENDING,
    ROLLBACK,
    Approval,
    DesiredImage,
    ObservedState,
    PastRollout,
    RolloutRequests,
)
from kubestorm.kinds.application.spec import parse
from kubestorm.kinds.application.status import Reason
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.common.resource import ResourceHandle, reason_of

Result = Dict[str, Any]


class _FirstImage(NamedTuple):
    """The first image of an Application that has no desired image, or why there is none."""

    desired: Optional[DesiredImage] = None
    reason: str = ""
    message: str = ""


def ensure_rollout(services: Services, application: ResourceHandle) -> Result:
    """Create the Rollout that an Application's desired image leads to, if one is due; end those
    that it supersedes, and prune the history.

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
    past = read_history(kube, metadata["namespace"], metadata["name"], metadata["uid"])
    running = "" if past.good is not None else _running(services, resource)
    first = _FirstImage(desired_image_of(resource))
    if first.desired is None and not past.rollouts and not running:
        first = _first_image(services, resource, spec, now)
    planned = plan_rollout(
        first.desired,
        read_rollback_request(resource),
        untrusted.annotations_of(resource).get(resources.RETRY_DIGEST, ""),
        read_freeze(resource),
        past.rollouts,
        settings,
        now,
        running=running,
        alone_seconds=float(spec.strategy.settle_seconds),
    )
    made = ""
    if planned.new is not None:
        body = rollout_manifest(resource, spec, planned.new)
        made = body["metadata"]["name"]
        with contextlib.suppress(ConflictError):  # a run that died has made it
            kube.create(resources.ROLLOUTS, body, metadata["namespace"])
        by = f", requested by {planned.new.requested_by}" if planned.new.requested_by else ""
        message = f"Created {made} for {planned.new.shown}{by}."
        application.event(resource, Reason.ROLLOUT_CREATED, message)
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
    for older in past.rollouts:
        if active and older.name != active and not older.is_over:
            _supersede(services, application, resource, older, active)
    if not made and past.active is not None and _concerns(resource, past.active):
        wake(services, past.active.name, metadata["namespace"])
    good = past.good
    return {
        "created": made,
        "active": active,
        "good": good.digest if good is not None else "",
        "good_tag": good.tag if good is not None else "",
        "reason": planned.reason or first.reason,
        "message": planned.message or first.message,
        "pruned": list(planned.prune),
        "requeue_at": _requeue_at(planned, now),
    }


def _concerns(resource: Mapping[str, Any], active: PastRollout) -> bool:
    """Whether the Rollout under way has not acted upon a change of its Application: it waits for
    events of its own and does not watch the Application.
    """
    if active.reason == RolloutReason.INVALID_SPEC:
        return True
    was_frozen, held = active.reason == RolloutReason.FROZEN, read_freeze(resource) is not None
    may_be_held = active.phase == PENDING and active.cause != ROLLBACK
    return was_frozen != held and (was_frozen or may_be_held)


def _supersede(
    services: Services,
    application: ResourceHandle,
    resource: Mapping[str, Any],
    older: PastRollout,
    newer: str,
) -> None:
    """End a rollout that a newer one takes over from. It changes nothing in the cluster, so that it
    needs no run of its own.
    """
    with contextlib.suppress(NotFoundError):
        found = services.kube.get(resources.ROLLOUTS, older.name, resource["metadata"]["namespace"])
        identity = identity_of(application.identity.cluster, resources.ROLLOUTS.plural, found)
        settings = RolloutSettings.from_config(services.settings.raw)
        rollout_spec, status = read_spec(found, settings), read_status(found)
        requests = RolloutRequests(superseded_by=newer, latest=False)
        decision = decide(
            rollout_spec, status, ObservedState(), requests, Approval(), services.now()
        )
        handle = ResourceHandle(services, identity, application.run_id)
        fields = status_fields(rollout_spec, decision.status, None)
        write_rollout(handle, found, rollout_spec, decision.status, fields)
        record_event(application, resource, found, status, decision.status)


def _remove_stray_canary(kube: KubeClient, resource: Mapping[str, Any]) -> None:
    """Remove the canary that a Rollout left behind which was deleted while it was under way."""
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


def _first_image(
    services: Services, resource: Mapping[str, Any], spec: ApplicationSpec, now: dt.datetime
) -> _FirstImage:
    """The newest image in the registry, for an Application without a push so far. A registry that
    is unavailable is asked again; one that refuses is not: the next push brings an image.
    """
    if not spec.follow:
        return _FirstImage()
    try:
        desired = first_desired_image(services, spec, now)
    except TemporaryError as error:
        return _FirstImage(None, reason_of(error), f"Cannot list the tags of {spec.image}: {error}")
    except Error as error:
        message = f"Cannot list the tags of {spec.image}: {error} Waiting for the next push."
        return _FirstImage(None, Reason.WAITING_FOR_PUSH, message)
    if desired is None:
        message = f"{spec.image} has no tag yet that spec.follow selects; waiting for a push."
        return _FirstImage(None, Reason.WAITING_FOR_PUSH, message)
    with contextlib.suppress(ConflictError):  # a push came first; it is read by the next run
        write_desired_image(services, resource, desired)
        return _FirstImage(desired)
    return _FirstImage()


def _requeue_at(planned: Plan, now: dt.datetime) -> Optional[dt.datetime]:
    after = planned.requeue_after_seconds
    return now + dt.timedelta(seconds=after) if after is not None else None


def _running(services: Services, resource: Mapping[str, Any]) -> str:
    """The digest on the active track, where no history names a good one: it runs, so a rollback
    returns to it.
    """
    api = discover_api_versions(services.kube)
    observed = observe(services.kube, resource, autoscalers=api.autoscalers)
    deployment = observed.deployments.get(observed.state.active)
    view = observed.state.tracks.get(observed.state.active)
    if deployment is None or view is None or not view.available:
        return ""
    return digest_of(deployment)
