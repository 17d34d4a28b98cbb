"""The one step of a Rollout's journey.

`advance` looks at the cluster, asks the machine, does what it says and writes down what is to be
remembered, as often as that changes something; it waits for nothing. It works under the Lease of
the Application, as the Application's own steps do, so that they never change the same pods at once.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Dict, Mapping, Sequence, Tuple

from kubestorm.clients.services import Services
from kubestorm.core import conditions, status_requests, untrusted
from kubestorm.core.naming import Identity
from kubestorm.kinds.application import steps as application_steps
from kubestorm.kinds.application import versions
from kubestorm.kinds.application.rollout import approval, history, objects, reporting
from kubestorm.kinds.application.rollout.effects import Hands
from kubestorm.kinds.application.rollout.ingress import IngressRoute
from kubestorm.kinds.application.rollout.intents import format_moment, intents_of
from kubestorm.kinds.application.rollout.machine import decide
from kubestorm.kinds.application.rollout.model import (
    NOT_PASSED,
    PASSED,
    PENDING,
    TERMINAL,
    Consume,
    Decision,
    Effect,
    RunTest,
)
from kubestorm.kinds.application.rollout.observe import observe
from kubestorm.kinds.application.rollout.posttest import TestRun, began_at
from kubestorm.kinds.application.rollout.settings import RolloutSettings
from kubestorm.kinds.application.settings import ApplicationSettings
from kubestorm.kinds.application.spec import InvalidSpecError, parse
from kubestorm.kinds.application.steps import ApplicationRun
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.common.resource import Object, ResourceHandle

ROUNDS = 12
"""Decisions that need nothing to move in the cluster follow each other within one run; there are
few in a row.
"""
AGAIN_SECONDS = 30.0
"""When a Rollout is looked at again whose run died between two rounds."""
TAKEN_SECONDS = 5.0
"""The same where the Application's Lease was taken."""
SPEC_CHANGED = (
    "Its spec was changed after it was made, and is followed no more. Delete it; the Application "
    "makes another."
)
EARLY_SECONDS = 0.5
"""By how much the clock of whoever wakes a Rollout may be ahead of this machine's."""
Result = Dict[str, Any]


class RolloutRun:
    """One run's view of one Rollout and its Application."""

    def __init__(self, services: Services, identity: Identity, run_id: str) -> None:
        self.services, self.identity, self.run_id = services, identity, run_id
        self.handle = ResourceHandle(services, identity, run_id)
        self.settings = RolloutSettings.from_config(services.settings.raw)

    def application(self, rollout: Mapping[str, Any]) -> ApplicationRun:
        """The Application that it belongs to."""
        identity = objects.identity_of_application(rollout, self.identity.cluster)
        return ApplicationRun(self.services, identity, self.run_id)


def is_over(rollout: Mapping[str, Any]) -> bool:
    """Whether nothing is left to be done about it."""
    status = untrusted.status(rollout)
    return bool(
        status.get("phase") in TERMINAL and status.get("finishedAt") and not status.get("keepUntil")
    )


def advance(run: RolloutRun) -> Result:
    """Bring one Rollout on as far as that goes now, under the Lease of its Application."""
    rollout = run.handle.read()
    if rollout is None or rollout["metadata"].get("deletionTimestamp"):
        return {"phase": "", "effects": [], "message": "The Rollout is gone."}
    if is_over(rollout):
        phase = rollout["status"]["phase"]
        return {"phase": phase, "effects": [], "message": "The Rollout is over."}
    application = run.application(rollout)
    result = application.handle.while_leased(lambda: _advance(run, application))
    if result.get("skipped"):
        soon = run.services.now() + dt.timedelta(seconds=TAKEN_SECONDS)
        name, namespace = run.identity.name, run.identity.namespace
        reporting.patch_status(run.services, name, namespace, {"requeueAt": format_moment(soon)})
    return result


def _advance(run: RolloutRun, application: ApplicationRun) -> Result:
    result: Result = {"phase": "", "effects": []}
    done: Sequence[Effect] = ()
    for _ in range(ROUNDS):
        rollout = run.handle.read()
        if rollout is None or rollout["metadata"].get("deletionTimestamp"):
            return {**result, "message": "The Rollout is gone."}
        resource = application.handle.read()
        if resource is None or resource["metadata"].get("deletionTimestamp"):
            return {**result, "message": "The Application is gone."}
        if untrusted.integer(rollout["metadata"].get("generation"), 1) > 1:
            return {**result, **_stuck(run, rollout, SPEC_CHANGED)}
        was_over = objects.status_of(rollout).phase in TERMINAL
        try:
            decision = _round(run, rollout, application, resource)
        except InvalidSpecError as error:
            return {**result, **_stuck(run, rollout, f"The Application's spec is invalid: {error}")}
        named = [type(effect).__name__ for effect in decision.effects]
        result = {
            "phase": decision.status.phase,
            "reason": decision.status.reason,
            "message": decision.status.message,
            "weight": decision.status.weight,
            "effects": [*result["effects"], *named],
            "requeue_at": format_moment(decision.requeue_at),
            "requested_by": rollout["spec"].get("requestedBy", ""),
        }
        if decision.status.phase in TERMINAL and not was_over:
            _conclude(application)
        # What was done and is to be done again has not helped; AGAIN_SECONDS later it may.
        if not decision.again or (decision.effects and decision.effects == done):
            return result
        done = decision.effects
    return result


def _round(
    run: RolloutRun, rollout: Object, application: ApplicationRun, resource: Object
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
    is_latest = newest is None or newest.number <= untrusted.integer(rollout["spec"].get("number"))
    wishes = intents_of(
        resource,
        rollout,
        superseded_by="" if newest is None or is_latest else newest.name,
        latest=is_latest,
    )
    approved = approval.look(rollout, services.settings.raw)
    now = _moment(rollout, services.now())
    decision = decide(request, status, observed.world, wishes, approved, now)
    hands = Hands(
        kube,
        resource,
        spec,
        api,
        config_hash=_config_hash(application, resource, spec),
        tags=_tags(rollout),
    )
    hands.do(decision.effects, observed)
    decision, test = _test(run, rollout, spec, resource, decision, now)
    requeue_at = (
        now + dt.timedelta(seconds=AGAIN_SECONDS) if decision.again else decision.requeue_at
    )
    fields = objects.status_fields(request, decision.status, observed.world, requeue_at=requeue_at)
    # The Application is told first: a crash in between repeats that, and never leaves it out. Its
    # own run sees to its outcome where this one dies before `_conclude`.
    over = decision.status.phase in TERMINAL
    later = conditions.format_time(now + dt.timedelta(seconds=AGAIN_SECONDS))
    more = {"requeueAt": later} if over else {}
    reporting.tell_application(application.handle, resource, rollout, status, decision.status, more)
    done = (effect.intent for effect in decision.effects if isinstance(effect, Consume))
    fields = {**fields, **test, **status_requests.taken_back(rollout, *done)}
    reporting.write_rollout(run.handle, rollout, request, decision.status, fields)
    reporting.leave_event(application.handle, resource, rollout, status, decision.status)
    return decision


def _moment(rollout: Mapping[str, Any], now: dt.datetime) -> dt.datetime:
    """Now, or the moment that the Rollout is to be looked at, where whoever wakes it was a little
    early.
    """
    planned = untrusted.moment(untrusted.status(rollout).get("requeueAt"))
    early = dt.timedelta(seconds=EARLY_SECONDS)
    return planned if planned is not None and now < planned <= now + early else now


def _config_hash(
    application: ApplicationRun, resource: Mapping[str, Any], spec: ApplicationSpec
) -> str:
    """The configuration that the Application's run has put into the cluster, so that pods are not
    rolled twice.
    """
    said = untrusted.status(resource).get("configHash")
    return str(said) if said is not None else application_steps.current_hash(application, spec)[0]


def _tags(rollout: Mapping[str, Any]) -> Dict[str, str]:
    spec = rollout["spec"]
    found = {
        spec.get("previousDigest"): spec.get("previousTag"),
        spec["image"]["digest"]: spec["image"].get("tag"),
    }
    return {str(digest): str(tag) for digest, tag in found.items() if digest and tag}


def _test(
    run: RolloutRun,
    rollout: Mapping[str, Any],
    spec: ApplicationSpec,
    resource: Mapping[str, Any],
    decision: Decision,
    now: dt.datetime,
) -> Tuple[Decision, Dict[str, Any]]:
    """Run the post-deploy test if it is asked for: the decision with when to go on, and the field
    of status that holds what was found.
    """
    wanted = next((effect for effect in decision.effects if isinstance(effect, RunTest)), None)
    if wanted is None:
        return decision, {}
    ours = ApplicationSettings.from_config(run.services.settings.raw).ingress
    route = IngressRoute(
        address=run.settings.ingress_address,
        tls=bool(spec.exposure.tls_secret),
        verify_tls=run.settings.verify_ingress_tls,
        private=ours.networks,
    )
    held = untrusted.status(resource).get("hosts")
    granted = [
        host
        for host in (held if isinstance(held, list) else ())
        if isinstance(host, str) and (route.address or ours.may_be_tested(host))
    ]
    runner = TestRun(
        run.services.kube,
        rollout,
        spec,
        route=route,
        granted=granted,
        timeout_seconds=run.settings.test_timeout_seconds,
    )
    began, known = began_at(rollout, wanted.key) or now, objects.test_of(rollout)
    found = runner.run(wanted, known, began, now)
    said = {
        "key": found.key,
        "state": found.state,
        "message": found.message[: conditions.MESSAGE_LENGTH],
        "since": format_moment(began),
    }
    over = found.state in (PASSED, NOT_PASSED)
    return replace(decision, requeue_at=found.again_at, again=over), {"test": said}


def _conclude(application: ApplicationRun) -> None:
    """What the Application's own run would do once its rollout is over: the next rollout if one is
    due, what was edited meanwhile, and the outcome. Where its latest edit has not been looked at
    yet, its own run comes.
    """
    resource = application.handle.read()
    if resource is None:
        return
    observed = untrusted.integer(untrusted.status(resource).get("observedGeneration"))
    if observed < application.handle.generation(resource):
        now = conditions.format_time(application.services.now())
        application.handle.write_status(fields={"requeueAt": now}, generation=observed)
        return
    application_steps.ensure_objects(application)
    application_steps.ensure_deployment(application)


def _stuck(run: RolloutRun, rollout: Mapping[str, Any], message: str) -> Result:
    """Nothing is done until somebody corrects the Application, whose own run wakes this, or deletes
    the Rollout.
    """
    fields = {
        "reason": reporting.INVALID_SPEC,
        "message": message[: conditions.MESSAGE_LENGTH],
        "requeueAt": None,
    }
    status = untrusted.status(rollout)
    if any(status.get(key) != value for key, value in fields.items()):
        reporting.patch_status(run.services, run.identity.name, run.identity.namespace, fields)
    return {"phase": status.get("phase") or PENDING, "message": message}
