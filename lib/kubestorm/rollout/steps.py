"""The steps of a Rollout's run (workflows/rollout_reconcile.yaml), and the one step that
Applications' runs share.

`advance` looks at the cluster, asks the machine, does what it says and writes down what is to be
remembered; it waits for nothing. Both kinds of run hold the Lease of the Application, so that they
never work at once.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any, Dict, Mapping, Optional, Tuple

from kubestorm import conditions
from kubestorm.application import render, versions
from kubestorm.application.spec import InvalidSpecError, parse
from kubestorm.application.values import ApplicationSpec
from kubestorm.conditions import FALSE, Condition
from kubestorm.errors import ConflictError, Error, NotFoundError
from kubestorm.kube import KubeClient
from kubestorm.naming import Identity
from kubestorm.resource import ResourceHandle
from kubestorm.rollout import approval, history, names, objects
from kubestorm.rollout.effects import Hands, remove_annotations
from kubestorm.rollout.following import first_wish, write
from kubestorm.rollout.intents import (
    Wish,
    annotations_of,
    format_moment,
    freeze_of,
    intents_of,
    rollback_of,
    wish_of,
)
from kubestorm.rollout.machine import decide, short
from kubestorm.rollout.model import (
    ABORTED,
    AWAITING_APPROVAL,
    CANARY_TRACK,
    COMPLETE,
    FAILED,
    PAUSED,
    PENDING,
    RETURNING,
    SUPERSEDED,
    TERMINAL,
    Decision,
    Request,
    RunTest,
    Status,
    TestView,
)
from kubestorm.rollout.observe import Observed, digest_of, observe
from kubestorm.rollout.planning import Plan, plan
from kubestorm.rollout.posttest import TestRun, began_at
from kubestorm.rollout.settings import RolloutSettings
from kubestorm.services import Services

ROLLED_OUT = "RolledOut"
APPLICATION_ORDER = ("SpecValid", "HostClaimed", "Applied", ROLLED_OUT)
ROUNDS = 12
"""Decisions that need nothing to move in the cluster follow each other within one run; there are
few in a row.
"""
BUSY_SECONDS = 1.0
"""After a run that found the Lease taken."""
WORDS_OF_WARNING = frozenset((FAILED, ABORTED, RETURNING))
Result = Dict[str, Any]


class RolloutRun:
    """One run's view of one Rollout and its Application."""

    def __init__(self, services: Services, identity: Identity, run_id: str) -> None:
        self.services, self.identity, self.run_id = services, identity, run_id
        self.handle = ResourceHandle(services, identity, run_id)
        self.settings = RolloutSettings.from_config(services.settings.raw)

    def application_handle(self, rollout: Mapping[str, Any]) -> ResourceHandle:
        """The Application that it belongs to."""
        identity = objects.identity_of_application(rollout, self.identity.cluster)
        return ResourceHandle(self.services, identity, self.run_id, APPLICATION_ORDER)


def lock(run: RolloutRun) -> Result:
    """Take the Application's Lease. `taken`: there is nothing to do, or another run does it
    (`holder`); `uid` is what is to be unlocked."""
    rollout = run.handle.read()
    if rollout is None:
        return {
            "taken": True,
            "holder": "",
            "uid": run.identity.uid,
            "message": "The Rollout is gone.",
        }
    if is_over(rollout):
        return {
            "taken": True,
            "holder": "",
            "uid": run.identity.uid,
            "message": "The Rollout is over.",
        }
    application = run.application_handle(rollout)
    holder = application.lock()
    uid = application.identity.uid
    if holder is None:
        return {
            "taken": False,
            "holder": run.run_id,
            "uid": uid,
            "message": f"It holds {application.identity}.",
        }
    status = rollout.get("status") or {}
    if status.get("phase") not in TERMINAL:
        # The run that holds it is over in a moment; without this the next look would come by the
        # long schedule.
        soon = format_moment(run.services.now() + dt.timedelta(seconds=BUSY_SECONDS))
        _patch_status(run.services, run.handle, {"nextLookAt": soon})
    message = f"Run {holder} is at work on {application.identity}."
    return {"taken": True, "holder": holder, "uid": uid, "message": message}


def is_over(rollout: Mapping[str, Any]) -> bool:
    """Whether nothing is left to be done about it."""
    status = rollout.get("status") or {}
    return bool(
        status.get("phase") in TERMINAL and status.get("finishedAt") and not status.get("keepUntil")
    )


def advance(run: RolloutRun) -> Result:
    """Bring one Rollout on as far as that goes now."""
    result: Result = {"phase": "", "effects": []}
    for _ in range(ROUNDS):
        rollout = run.handle.read()
        if rollout is None or rollout["metadata"].get("deletionTimestamp"):
            return {**result, "message": "The Rollout is gone."}
        application = run.application_handle(rollout)
        application.keep_lock()
        found = application.read()
        if found is None or found["metadata"].get("deletionTimestamp"):
            return {
                **result,
                "message": "The Application is gone, and all that is its own goes with it.",
            }
        try:
            decision = _round(run, rollout, application, found)
        except InvalidSpecError as error:
            return {
                **result,
                **_stuck(run, rollout, f"The Application cannot be carried out: {error}"),
            }
        done = [type(effect).__name__ for effect in decision.effects]
        result = {
            "phase": decision.status.phase,
            "reason": decision.status.reason,
            "message": decision.status.message,
            "weight": decision.status.weight,
            "effects": [*result["effects"], *done],
            "look_after_seconds": decision.look_after_seconds,
            "requested_by": rollout["spec"].get("requestedBy", ""),
        }
        if decision.look_after_seconds != 0:
            return result
    return result


def _round(
    run: RolloutRun,
    rollout: Mapping[str, Any],
    application: ResourceHandle,
    resource: Mapping[str, Any],
) -> Decision:
    """One look, one decision, its effects, its status: in this order, so that a crash repeats and
    never skips.
    """
    services, kube = run.services, run.services.kube
    spec = parse(resource, services.settings)
    api = versions.discover(kube)
    request, status = objects.request_of(rollout, run.settings), objects.status_of(rollout)
    observed = observe(
        kube,
        resource,
        autoscalers=api.autoscalers,
        wants_service=spec.port is not None,
        test=objects.test_of(rollout),
    )
    newest = history.look(
        kube, resource["metadata"]["namespace"], resource["metadata"]["name"]
    ).newest
    mine = rollout["metadata"]["name"]
    is_latest = newest is None or newest.number <= int(rollout["spec"].get("number") or 0)
    wishes = intents_of(
        resource, mine, superseded_by="" if is_latest else _name(newest), latest=is_latest
    )
    now = services.now()
    asked = approval.look(rollout, services.settings.raw)
    decision = decide(request, status, observed.world, wishes, asked, now)
    hands = Hands(
        kube,
        resource,
        spec,
        api,
        config_hash=_config_hash(resource, observed),
        tags=_tags(rollout),
    )
    hands.do(decision.effects, observed)
    test = _run_test(run, rollout, spec, decision, now)
    _write(run, rollout, request, decision, observed, test, now)
    hands.consume(decision.effects)
    _tell_application(run, rollout, application, resource, status, decision.status)
    return decision


def _name(past: Any) -> str:
    return str(past.name) if past is not None else ""


def _config_hash(application: Mapping[str, Any], observed: Observed) -> str:
    """The configuration that the Application's run has put into the cluster, so that pods are not
    rolled twice.
    """
    said = (application.get("status") or {}).get("configHash")
    if said is not None:
        return str(said)
    for deployment in observed.deployments.values():
        annotations = (deployment["spec"]["template"].get("metadata") or {}).get(
            "annotations"
        ) or {}
        if names.CONFIG_HASH in annotations:
            return str(annotations[names.CONFIG_HASH])
    return ""


def _tags(rollout: Mapping[str, Any]) -> Dict[str, str]:
    spec = rollout["spec"]
    found = {
        spec.get("previousDigest"): spec.get("previousTag"),
        spec["image"]["digest"]: spec["image"].get("tag"),
    }
    return {str(digest): str(tag) for digest, tag in found.items() if digest and tag}


def _run_test(
    run: RolloutRun,
    rollout: Mapping[str, Any],
    spec: ApplicationSpec,
    decision: Decision,
    now: dt.datetime,
) -> Optional[Dict[str, Any]]:
    """The field `test` of the status after this round; None where no test is asked for."""
    asked = next((effect for effect in decision.effects if isinstance(effect, RunTest)), None)
    if asked is None:
        return None
    runner = TestRun(run.services.kube, rollout, spec, run.settings)
    began = began_at(rollout, asked.key)
    known = objects.test_of(rollout)
    found: TestView = runner.run(
        asked, known if known and known.key == asked.key else None, began, now
    )
    return {
        "key": found.key,
        "state": found.state,
        "message": found.message[: conditions.MESSAGE_LENGTH],
        "since": format_moment(began or now),
    }


def _write(
    run: RolloutRun,
    rollout: Mapping[str, Any],
    request: Request,
    decision: Decision,
    observed: Observed,
    test: Optional[Dict[str, Any]],
    now: dt.datetime,
) -> None:
    after = decision.look_after_seconds
    next_look = now + dt.timedelta(seconds=after) if after is not None else None
    fields = objects.status_fields(request, decision.status, observed.world, next_look=next_look)
    if test is not None:
        fields["test"] = test
    told, ready = objects.conditions_of(request, decision.status)
    run.handle.write_status(
        *told, fields=fields, ready=ready, generation=run.handle.generation(dict(rollout))
    )


def _tell_application(
    run: RolloutRun,
    rollout: Mapping[str, Any],
    application: ResourceHandle,
    resource: Mapping[str, Any],
    before: Status,
    after: Status,
) -> None:
    """Sum the rollout up in the Application's condition, and leave Events on it of what its
    developer wants to know.
    """
    tag = rollout["spec"]["image"].get("tag") or short(rollout["spec"]["image"]["digest"])
    condition = summary(rollout["metadata"]["name"], tag, after)
    if (before.phase, before.reason, before.message) != (after.phase, after.reason, after.message):
        fields: Dict[str, Any] = {
            "rollout": {
                "name": rollout["metadata"]["name"],
                "phase": after.phase,
                "weight": after.weight,
                "message": after.message[: conditions.MESSAGE_LENGTH],
            }
        }
        if after.phase in TERMINAL:
            # The Application's own run judges the whole: what was edited meanwhile is still to be
            # applied.
            fields["nextLookAt"] = conditions.format_time(run.services.now())
        application.write_status(*([condition] if condition is not None else []), fields=fields)
    if after.phase == before.phase and after.trouble == before.trouble:
        return
    by = rollout["spec"].get("requestedBy") or ""
    who = f" (asked for by {by})" if by else ""
    message = f"{rollout['metadata']['name']}, {tag}{who}: {after.phase}. {after.message}"
    warning = after.phase in WORDS_OF_WARNING or bool(after.trouble)
    application.event(resource, _event_reason(after), message, warning=warning)


def _event_reason(status: Status) -> str:
    if status.phase in (RETURNING, FAILED) or status.trouble:
        return status.trouble or status.reason or status.phase
    return f"Rollout{status.phase}"


def summary(name: str, tag: str, status: Status) -> Optional[Condition]:
    """What an Application says of its rollout."""
    if status.phase in (COMPLETE, SUPERSEDED):
        return None  # the Application's own run, or the newer rollout, tells
    if status.phase in (FAILED, RETURNING) and status.outcome in (FAILED, ""):
        return Condition(
            ROLLED_OUT, FALSE, status.reason or FAILED, f"{tag} failed ({name}): {status.message}"
        )
    if status.phase in (ABORTED, RETURNING):
        return Condition(
            ROLLED_OUT,
            FALSE,
            status.reason or ABORTED,
            f"{tag} was aborted ({name}): {status.message}",
        )
    word = status.reason if status.phase in (PENDING, AWAITING_APPROVAL, PAUSED) else status.phase
    return Condition(
        ROLLED_OUT, FALSE, word or status.phase, f"{tag} is on its way ({name}): {status.message}"
    )


def _stuck(run: RolloutRun, rollout: Mapping[str, Any], message: str) -> Result:
    later = format_moment(run.services.now() + dt.timedelta(seconds=10))
    _patch_status(
        run.services,
        run.handle,
        {"message": message[: conditions.MESSAGE_LENGTH], "nextLookAt": later},
    )
    return {"phase": (rollout.get("status") or {}).get("phase") or PENDING, "message": message}


def _patch_status(services: Services, handle: ResourceHandle, fields: Dict[str, Any]) -> None:
    identity = handle.identity
    with contextlib.suppress(NotFoundError, ConflictError):
        services.kube.patch_status(handle.resource, identity.name, fields, identity.namespace)


# The Application's side.


def ensure_rollout(
    services: Services, application: ResourceHandle, *, hold: bool = False
) -> Result:
    """Make the Rollout that an Application's wish leads to, if it leads to one now; prune its
    history. With `hold` it only says whether it would (`held`).

    Safe to repeat: a Rollout's name follows from its number and digest, so that a run that died and
    one that follows make the same. Says which rollout is under way, and which digest is the good
    one.
    """
    resource = application.read()
    if resource is None or resource["metadata"].get("deletionTimestamp"):
        gone = dict.fromkeys(("created", "active", "good", "good_tag", "reason"), "")
        return {**gone, "message": "The Application is gone.", "held": False}
    spec = parse(resource, services.settings)
    settings = RolloutSettings.from_config(services.settings.raw)
    kube, metadata, now = services.kube, resource["metadata"], services.now()
    past = history.look(kube, metadata["namespace"], metadata["name"], metadata["uid"])
    running = "" if past.good is not None else _running(services, resource)
    wish, waiting = wish_of(resource), ""
    if wish is None and not past.pasts and not running:
        wish, waiting = _first_wish(services, resource, spec, now)
    planned = plan(
        wish,
        rollback_of(resource),
        annotations_of(resource).get(names.RETRY_DIGEST, ""),
        freeze_of(resource),
        past.pasts,
        settings,
        now,
        running=running,
        alone_seconds=float(spec.strategy.settle_seconds),
    )
    made = ""
    if planned.new is not None and not hold:
        body = objects.manifest(resource, spec, planned.new)
        made = body["metadata"]["name"]
        with contextlib.suppress(ConflictError):  # a run that died has made it
            kube.create(names.ROLLOUTS, body, metadata["namespace"])
        who = planned.new.requested_by
        message = f"{made} of {planned.new.tag or short(planned.new.digest)} begins"
        application.event(
            resource, "RolloutCreated", f"{message}, asked for by {who}." if who else f"{message}."
        )
    if not hold:
        remove_annotations(kube, resource, planned.consume)
    for name in planned.prune:
        with contextlib.suppress(NotFoundError):
            kube.delete(names.ROLLOUTS, name, metadata["namespace"])
    active = made or (past.active.name if past.active is not None else "")
    if not active:
        _remove_stray_canary(kube, resource)
    if not made and active and {names.ABORT, names.PROMOTE} & set(annotations_of(resource)):
        _wake(services, active, metadata["namespace"], now)
    good = past.good
    return {
        "created": made,
        "held": hold and planned.new is not None,
        "active": active,
        "good": good.digest if good is not None else "",
        "good_tag": good.tag if good is not None else "",
        "reason": planned.reason or ("WaitingForPush" if waiting else ""),
        "message": planned.message or waiting,
        "pruned": list(planned.prune),
        "look_at": _look_at(planned, now),
    }


def _remove_stray_canary(kube: KubeClient, resource: Mapping[str, Any]) -> None:
    """What a Rollout leaves behind that somebody deleted on its way."""
    metadata = resource["metadata"]
    name = render.deployment_name(metadata["name"], CANARY_TRACK)
    with contextlib.suppress(NotFoundError):
        live = kube.get(names.DEPLOYMENTS, name, metadata["namespace"])
        if any(
            owner.get("uid") == metadata["uid"]
            for owner in live["metadata"].get("ownerReferences") or ()
        ):
            kube.delete(names.DEPLOYMENTS, name, metadata["namespace"], uid=live["metadata"]["uid"])


def _first_wish(
    services: Services, resource: Mapping[str, Any], spec: ApplicationSpec, now: dt.datetime
) -> Tuple[Optional[Wish], str]:
    """What the registry holds now, for an Application that nobody has pushed for yet; and why there
    is nothing.
    """
    if not spec.follow:
        return None, ""
    try:
        wish = first_wish(services, spec, now)
    except Error as error:
        return (
            None,
            f"The registry cannot say which image to begin with ({error}); the next push brings one.",
        )
    if wish is None:
        return (
            None,
            f"No image of {spec.image} that spec.follow names is there yet; the next push brings one.",
        )
    with contextlib.suppress(ConflictError):  # a push came first; it is read by the next run
        write(services, resource, wish)
        return wish, ""
    return None, ""


def _wake(services: Services, rollout: str, namespace: str, now: dt.datetime) -> None:
    """A rollout that pauses is looked at seldom; somebody has just asked something of it."""
    with contextlib.suppress(NotFoundError):
        services.kube.patch_status(
            names.ROLLOUTS, rollout, {"nextLookAt": format_moment(now)}, namespace
        )


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
