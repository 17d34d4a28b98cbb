"""Which rollout comes next for an Application, and what its active Deployment should be. Pure.

Of a series of pushes the first is rolled out at once, and of those that follow only the last. One
desired image is answered by one rollout (`PastRollout.desired_id`), so a push that came before a
rollback or a person's choice does not undo it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from kubestorm.clients import resources
from kubestorm.clients.api_versions import ApiVersions
from kubestorm.core import status_requests, untrusted
from kubestorm.kinds.application import render
from kubestorm.kinds.application.observe import Image
from kubestorm.kinds.application.rollout.settings import RolloutSettings
from kubestorm.kinds.application.rollout.values import (
    ABORTED,
    COMPLETE,
    FAILED,
    PERSON,
    ROLLBACK,
    SUPERSEDED,
    DesiredImage,
    Freeze,
    NewRollout,
    PastRollout,
    RollbackRequest,
    good_rollout,
)
from kubestorm.kinds.application.settings import INGRESS, LOAD_BALANCER
from kubestorm.kinds.application.status import Reason
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.common.resource import Object


@dataclass(frozen=True)
class Plan:
    """The Rollout to create, requests that are done, old rollouts to delete, when to plan again,
    and what to report.
    """

    new: Optional[NewRollout] = None
    consume: Tuple[str, ...] = ()
    """What has been acted upon: `rollbackTo`, or the annotation that asks for a retry."""
    prune: Tuple[str, ...] = ()
    requeue_after_seconds: Optional[float] = None
    reason: str = ""
    message: str = ""
    """Why the desired image is not rolled out; empty where nothing is to be done."""


def plan_rollout(
    desired: Optional[DesiredImage],
    rollback: Optional[RollbackRequest],
    retry: str,
    freeze: Optional[Freeze],
    rollouts: Sequence[PastRollout],
    settings: RolloutSettings,
    now: dt.datetime,
    *,
    running: str = "",
    alone_seconds: float = 0.0,
) -> Plan:
    """What comes next. `running` is the digest on the active track, for an Application whose
    history is gone; `alone_seconds` is how long the Application wants a rollout left alone before a
    newer push supersedes it."""
    history = sorted(rollouts, key=lambda past: past.number)
    newest = history[-1] if history else None
    active = newest if newest is not None and not newest.is_over else None
    good = good_rollout(history)
    prune = excess_rollouts(history, settings.history)
    if rollback is not None:
        return _roll_back(rollback, history, active, good, desired, prune)
    if desired is None:
        return Plan(prune=prune)
    previous = good.digest if good is not None else running
    previous_tag = good.tag if good is not None else ""
    said = _reason_not_to(desired, retry, freeze, history, active, previous)
    if said is not None:
        return Plan(prune=prune, reason=said[0], message=said[1])
    wait = _seconds_to_settle(desired, newest, active, settings, alone_seconds, now)
    if wait > 0:
        message = f"Waiting for further pushes before rolling out {desired.shown}."
        return Plan(
            prune=prune, requeue_after_seconds=wait, reason=Reason.SETTLING, message=message
        )
    new = NewRollout(
        number=_next_number(history),
        digest=desired.digest,
        tag=desired.tag,
        previous=previous,
        previous_tag=previous_tag,
        cause=desired.cause,
        requested_by=desired.by,
        desired_id=desired.id,
    )
    consumed = (resources.RETRY_DIGEST,) if retry == desired.digest else ()
    return Plan(new=new, consume=consumed, prune=prune)


def excess_rollouts(history: Sequence[PastRollout], keep: int) -> Tuple[str, ...]:
    """The oldest rollouts beyond `keep`; never the last good one, nor one under way."""
    good = good_rollout(history)
    ordered = sorted(history, key=lambda past: past.number, reverse=True)
    extra = [past for past in ordered[keep:] if past.is_over and past is not good]
    return tuple(past.name for past in extra)


def find_target(target: str, history: Sequence[PastRollout]) -> Optional[PastRollout]:
    """The good rollout that a person means: `previous`, a rollout's name, a tag, a digest or its
    beginning.
    """
    ordered = sorted(
        (past for past in history if past.phase == COMPLETE),
        key=lambda past: past.number,
        reverse=True,
    )
    if target == resources.PREVIOUS_WORD:
        newest = max(history, key=lambda past: past.number, default=None)
        if not ordered or newest is None:
            return None
        if not newest.is_over:
            return ordered[0]  # back from the one that is under way
        return next((past for past in ordered if past.digest != ordered[0].digest), None)
    bare = target.partition(":")[2] if target.startswith("sha256:") else target
    for past in ordered:
        value = past.digest.partition(":")[2]
        if target in (past.name, past.tag, past.digest) or (
            len(bare) >= 6 and value.startswith(bare)
        ):
            return past
    return None


def _roll_back(
    rollback: RollbackRequest,
    history: Sequence[PastRollout],
    active: Optional[PastRollout],
    good: Optional[PastRollout],
    desired: Optional[DesiredImage],
    prune: Tuple[str, ...],
) -> Plan:
    over = (status_requests.ROLLBACK_TO,)
    if rollback.id and any(past.request == rollback.id for past in history):
        return Plan(consume=over, prune=prune)  # made by a run that died before it could say so
    target = find_target(rollback.target, history)
    if target is None:
        known = ", ".join(past.shown for past in history if past.phase == COMPLETE) or "none"
        message = f"No successful rollout {rollback.target!r} to roll back to; available: {known}."
        return Plan(consume=over, prune=prune, reason=Reason.NO_SUCH_ROLLOUT, message=message)
    if active is None and good is not None and target.digest == good.digest:
        return Plan(consume=over, prune=prune)  # that is what runs
    new = NewRollout(
        number=_next_number(history),
        digest=target.digest,
        tag=target.tag,
        previous=good.digest if good is not None else target.digest,
        previous_tag=good.tag if good is not None else target.tag,
        cause=ROLLBACK,
        requested_by=rollback.by,
        desired_id=desired.id if desired is not None else "",
        request=rollback.id,
    )
    return Plan(new=new, consume=over, prune=prune)


def _reason_not_to(
    desired: DesiredImage,
    retry: str,
    freeze: Optional[Freeze],
    history: Sequence[PastRollout],
    active: Optional[PastRollout],
    previous: str,
) -> Optional[Tuple[str, str]]:
    """Why the desired image leads to no rollout (empty: it runs already); None where it does."""
    answered = [
        past for past in history if past.desired_id == desired.id and past.phase != SUPERSEDED
    ]
    ended_badly = _ended_badly(desired, history)
    if ended_badly is not None and retry == desired.digest:
        return _frozen(freeze)
    if ended_badly is not None and (desired.cause != PERSON or answered):
        how = "failed" if ended_badly.phase == FAILED else "was aborted"
        message = (
            f"{desired.shown} {how} as {ended_badly.name}: {ended_badly.message} "
            f"Not tried again unless requested."
        )
        return Reason.DIGEST_REFUSED, message
    if answered or (active is not None and active.digest == desired.digest):
        return "", ""
    if active is None and desired.digest == previous:
        return "", ""
    return _frozen(freeze)


def _frozen(freeze: Optional[Freeze]) -> Optional[Tuple[str, str]]:
    if freeze is None:
        return None
    return Reason.FROZEN, f"Frozen by {freeze.owner}: {freeze.reason}"


def _ended_badly(desired: DesiredImage, history: Sequence[PastRollout]) -> Optional[PastRollout]:
    ofits = [
        past
        for past in history
        if past.digest == desired.digest and past.phase in (FAILED, ABORTED, COMPLETE)
    ]
    last = max(ofits, key=lambda past: past.number, default=None)
    return last if last is not None and last.phase in (FAILED, ABORTED) else None


def _seconds_to_settle(
    desired: DesiredImage,
    newest: Optional[PastRollout],
    active: Optional[PastRollout],
    settings: RolloutSettings,
    alone_seconds: float,
    now: dt.datetime,
) -> float:
    if desired.cause == PERSON or newest is None or newest.created_at is None:
        return 0.0
    age = (now - newest.created_at).total_seconds()
    alone = alone_seconds - age if active is not None else 0.0
    if age >= settings.settle_max_seconds:
        return alone
    if active is None and not desired.follows:
        return 0.0
    quiet = (
        (now - desired.recorded_at).total_seconds()
        if desired.recorded_at is not None
        else settings.settle_seconds
    )
    return max(settings.settle_seconds - quiet, alone)


def _next_number(history: Sequence[PastRollout]) -> int:
    numbers: List[int] = [past.number for past in history]
    return max(numbers, default=0) + 1


def active_deployment(
    app: ApplicationSpec,
    track: str,
    image: Image,
    config_hash: str,
    live: Optional[Object],
) -> render.Manifest:
    """A track's Deployment as it is to be; the number of pods is an autoscaler's, except of a new
    one.
    """
    left_out = app.replicas.autoscaled and live is not None
    return render.deployment(
        app,
        track=track,
        image=f"{app.image}@{image.digest}",
        replicas=None if left_out else app.replicas.min,
        config_hash=config_hash,
        image_tag=image.tag,
    )


def unsupported(app: ApplicationSpec, api: ApiVersions) -> str:
    if app.exposure.type == INGRESS and api.networking is None:
        return "This cluster serves no networking.k8s.io/v1, so that there can be no Ingress."
    if app.replicas.autoscaled and api.autoscaling is None:
        return "This cluster serves no autoscaling API; leave replicas.max out."
    if app.replicas.target_memory is not None and api.autoscaling == "v1":
        return (
            "This cluster serves autoscaling/v1 alone, which knows no target for memory; use "
            "replicas.targetCPU."
        )
    return ""


def url_of(
    app: ApplicationSpec, granted: Sequence[str], service: Optional[Mapping[str, Any]]
) -> Optional[str]:
    """Where people, or else other pods, reach it."""
    if granted:
        scheme = "https" if app.exposure.tls_secret else "http"
        return f"{scheme}://{granted[0]}{app.exposure.path}"
    if app.port is None:
        return None
    port = "" if app.exposure.port == 80 else f":{app.exposure.port}"
    balancer = untrusted.mapping(untrusted.status(service).get("loadBalancer"))
    for address in untrusted.mappings(balancer.get("ingress")):
        host = untrusted.text(address.get("hostname")) or untrusted.text(address.get("ip"))
        if app.exposure.type == LOAD_BALANCER and host:
            return f"http://{host}{port}/"
    return f"http://{app.name}.{app.namespace}.svc{port}/"
