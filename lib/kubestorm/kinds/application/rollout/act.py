"""Advances a Rollout: reads the cluster, asks `plan.decide`, carries out its effects and writes the
status, until the next decision needs the cluster to change or time to pass.

Every effect is an ensure, safe to repeat. It works under the Lease of the Application, so that a
Rollout and its Application never change the same pods at once. Manifests are rendered from the
Application, so a rollout changes the image and the number of pods and nothing else. Only objects
that belong to the Application are changed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence, Tuple

from kubestorm.clients import resources
from kubestorm.clients.api_versions import ApiVersions, discover_api_versions
from kubestorm.clients.kube import KubeClient
from kubestorm.clients.services import Services
from kubestorm.core import conditions, status_requests, untrusted
from kubestorm.core.errors import NotFoundError, PermanentError
from kubestorm.core.naming import Identity
from kubestorm.core.times import format_milliseconds, format_time, parse_time
from kubestorm.kinds.application import apply, render
from kubestorm.kinds.application.act import (
    ApplicationRun,
    current_hash,
    ensure_deployment,
    ensure_objects,
)
from kubestorm.kinds.application.rollout.approval import read_approval
from kubestorm.kinds.application.rollout.ingress_request import IngressRoute
from kubestorm.kinds.application.rollout.observe import (
    Observed,
    observe,
    read_history,
    read_requests,
)
from kubestorm.kinds.application.rollout.plan import decide
from kubestorm.kinds.application.rollout.post_deploy_test import TestRun, started_at
from kubestorm.kinds.application.rollout.settings import RolloutSettings
from kubestorm.kinds.application.rollout.spec import application_identity, read_spec
from kubestorm.kinds.application.rollout.status import (
    Reason,
    patch_status,
    read_status,
    read_test,
    record_event,
    status_fields,
    update_application,
    write_rollout,
)
from kubestorm.kinds.application.rollout.values import (
    CANARY_TRACK,
    NOT_PASSED,
    PASSED,
    PENDING,
    TERMINAL,
    Activate,
    ApplyTrack,
    Autoscale,
    ClearRequest,
    Decision,
    Effect,
    RemoveTrack,
    RunTest,
    Select,
)
from kubestorm.kinds.application.settings import ApplicationSettings
from kubestorm.kinds.application.spec import InvalidSpecError, parse
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.common.resource import Object, ResourceHandle


class EffectExecutor:
    """Carries out effects for one Application with its rendered objects."""

    def __init__(
        self,
        kube: KubeClient,
        application: Mapping[str, Any],
        spec: ApplicationSpec,
        api: ApiVersions,
        *,
        config_hash: str,
        tags: Mapping[str, str],
    ) -> None:
        """`tags` names digests, for people who read annotations."""
        self._kube, self._application, self._spec, self._api = kube, application, spec, api
        self._config_hash, self._tags = config_hash, tags
        self._namespace = application["metadata"]["namespace"]

    def execute(self, effects: Iterable[Effect], observed: Observed) -> None:
        """Carry effects out, in their order. Tests are run by the caller."""
        active = observed.state.active
        for effect in effects:
            if isinstance(effect, ApplyTrack):
                self._apply(effect, observed.deployments.get(effect.track))
            elif isinstance(effect, RemoveTrack):
                self._remove(effect.track)
            elif isinstance(effect, Select):
                self._select(effect.tracks or (active, CANARY_TRACK))
            elif isinstance(effect, Activate):
                active = effect.track
                self._activate(effect.track)
            elif isinstance(effect, Autoscale):
                self._autoscale(effect)

    def _apply(self, effect: ApplyTrack, live: Optional[Mapping[str, Any]]) -> None:
        wanted = effect.replicas
        if live is not None and (effect.by_scale or wanted is None):
            wanted = None
            apply.hand_over_replicas(self._kube, dict(live))
        manifest = render.deployment(
            self._spec,
            track=effect.track,
            image=f"{self._spec.image}@{effect.digest}",
            replicas=wanted,
            config_hash=self._config_hash,
            image_tag=self._tags.get(effect.digest, ""),
        )
        # Fields that others have set stay theirs; what a rollout is about, images and selectors, is
        # ours alone.
        outcome = apply.ensure(
            self._kube, manifest, uid=self._spec.uid, live=dict(live) if live is not None else None
        )
        written = outcome.live or manifest
        if effect.replicas is not None and written["spec"].get("replicas") != effect.replicas:
            self._scale(manifest["metadata"]["name"], effect.replicas)

    def _scale(self, name: str, replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        self._kube.patch(resources.DEPLOYMENTS, name, body, self._namespace, subresource="scale")

    def _remove(self, track: str) -> None:
        name = render.deployment_name(self._spec.name, track)
        try:
            live = self._kube.get(resources.DEPLOYMENTS, name, self._namespace)
            self._check_owner(live)
            self._kube.delete(
                resources.DEPLOYMENTS, name, self._namespace, uid=live["metadata"]["uid"]
            )
        except NotFoundError:
            return

    def _select(self, tracks: Tuple[str, ...]) -> None:
        if self._spec.port is None:
            return
        apply.ensure(self._kube, render.service(self._spec, tracks=tracks), uid=self._spec.uid)

    def _activate(self, track: str) -> None:
        """With a Service, selecting one track has already written it there."""
        body = {"metadata": {"annotations": {resources.ACTIVE_TRACK: track}}}
        name = self._spec.name
        resource = resources.APPLICATIONS if self._spec.port is None else resources.SERVICES
        self._kube.patch(resource, name, body, self._namespace)

    def _autoscale(self, effect: Autoscale) -> None:
        target = render.deployment_name(self._spec.name, effect.track)
        manifest = render.autoscaler(self._spec, target, self._api)
        if manifest is None:
            return
        if effect.held is not None:
            manifest["spec"].update(minReplicas=effect.held, maxReplicas=effect.held)
        apply.ensure(self._kube, manifest, uid=self._spec.uid)

    def _check_owner(self, live: Optional[Mapping[str, Any]]) -> None:
        if live is None:
            return
        uid = self._application["metadata"]["uid"]
        owners = live["metadata"].get("ownerReferences") or ()
        if not any(owner.get("uid") == uid for owner in owners):
            name = live["metadata"]["name"]
            raise PermanentError(
                f"Deployment {name} exists and does not belong to this Application; rename the "
                "Application, or remove "
                f"the Deployment.",
                service="Kubernetes",
            )


ROUNDS = 12
"""Decisions that need nothing to move in the cluster follow each other within one run; there are
few in a row.
"""
AGAIN_SECONDS = 30.0
"""When a Rollout is retried whose run died between two rounds."""
TAKEN_SECONDS = 5.0
"""The same where the Application's Lease was taken."""
SPEC_CHANGED = (
    "The spec was changed after the Rollout was created, so it is no longer followed. Delete the "
    "Rollout; the Application creates another."
)
EARLY_SECONDS = 0.5
"""By how much the sensor's clock may be ahead of this machine's."""
Result = Dict[str, Any]


class RolloutRun:
    """One run's view of one Rollout and its Application."""

    def __init__(self, services: Services, identity: Identity, run_id: str) -> None:
        self.services, self.identity, self.run_id = services, identity, run_id
        self.handle = ResourceHandle(services, identity, run_id)
        self.settings = RolloutSettings.from_config(services.settings.raw)

    def application(self, rollout: Mapping[str, Any]) -> ApplicationRun:
        """The Application that it belongs to."""
        identity = application_identity(rollout, self.identity.cluster)
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
        patch_status(run.services, name, namespace, {"requeueAt": format_milliseconds(soon)})
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
        was_over = read_status(rollout).phase in TERMINAL
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
            "requeue_at": format_milliseconds(decision.requeue_at),
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
    """Observe, decide, carry out the effects, write the status: in this order, so a crash repeats a
    step and never skips one.
    """
    services, kube = run.services, run.services.kube
    spec = parse(resource, services.settings)
    api = discover_api_versions(kube)
    rollout_spec, status = read_spec(rollout, run.settings), read_status(rollout)
    observed = observe(
        kube,
        resource,
        autoscalers=api.autoscalers,
        wants_service=spec.port is not None,
        test=read_test(rollout),
    )
    newest = read_history(
        kube, resource["metadata"]["namespace"], resource["metadata"]["name"]
    ).newest
    is_latest = newest is None or newest.number <= untrusted.integer(rollout["spec"].get("number"))
    requests = read_requests(
        resource,
        rollout,
        superseded_by="" if newest is None or is_latest else newest.name,
        latest=is_latest,
    )
    approved = read_approval(rollout, services.settings.raw)
    now = _moment(rollout, services.now())
    decision = decide(rollout_spec, status, observed.state, requests, approved, now)
    executor = EffectExecutor(
        kube,
        resource,
        spec,
        api,
        config_hash=_config_hash(application, resource, spec),
        tags=_tags(rollout),
    )
    executor.execute(decision.effects, observed)
    decision, test = _test(run, rollout, spec, resource, decision, now)
    requeue_at = (
        now + dt.timedelta(seconds=AGAIN_SECONDS) if decision.again else decision.requeue_at
    )
    fields = status_fields(rollout_spec, decision.status, observed.state, requeue_at=requeue_at)
    # The Application is written first: a crash in between repeats that and never leaves it out. Its
    # own run sees to its outcome where this one dies before `_conclude`.
    over = decision.status.phase in TERMINAL
    later = format_time(now + dt.timedelta(seconds=AGAIN_SECONDS))
    more = {"requeueAt": later} if over else {}
    update_application(application.handle, resource, rollout, status, decision.status, more)
    done = (effect.request for effect in decision.effects if isinstance(effect, ClearRequest))
    fields = {**fields, **test, **status_requests.taken_back(rollout, *done)}
    write_rollout(run.handle, rollout, rollout_spec, decision.status, fields)
    record_event(application.handle, resource, rollout, status, decision.status)
    return decision


def _moment(rollout: Mapping[str, Any], now: dt.datetime) -> dt.datetime:
    """Now, or `status.requeueAt` where the sensor dispatched the Rollout a little early."""
    planned = parse_time(untrusted.status(rollout).get("requeueAt"))
    early = dt.timedelta(seconds=EARLY_SECONDS)
    return planned if planned is not None and now < planned <= now + early else now


def _config_hash(
    application: ApplicationRun, resource: Mapping[str, Any], spec: ApplicationSpec
) -> str:
    """The configuration that the Application's run has put into the cluster, so that pods are not
    rolled twice.
    """
    said = untrusted.status(resource).get("configHash")
    return str(said) if said is not None else current_hash(application, spec)[0]


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
    began, known = started_at(rollout, wanted.key) or now, read_test(rollout)
    found = runner.run(wanted, known, began, now)
    said = {
        "key": found.key,
        "state": found.state,
        "message": found.message[: conditions.MESSAGE_LENGTH],
        "since": format_milliseconds(began),
    }
    over = found.state in (PASSED, NOT_PASSED)
    return replace(decision, requeue_at=found.again_at, again=over), {"test": said}


def _conclude(application: ApplicationRun) -> None:
    """What the Application's own run would do once its rollout is over: the next rollout if one is
    due, what was edited meanwhile, and the outcome. Where its latest edit has not been observed
    yet, its own run is requested.
    """
    resource = application.handle.read()
    if resource is None:
        return
    observed = untrusted.integer(untrusted.status(resource).get("observedGeneration"))
    if observed < application.handle.generation(resource):
        now = format_time(application.services.now())
        application.handle.write_status(fields={"requeueAt": now}, generation=observed)
        return
    ensure_objects(application)
    ensure_deployment(application)


def _stuck(run: RolloutRun, rollout: Mapping[str, Any], message: str) -> Result:
    """Nothing is done until the Application is corrected, whose own run wakes this, or the Rollout
    is deleted.
    """
    fields = {
        "reason": Reason.INVALID_SPEC,
        "message": message[: conditions.MESSAGE_LENGTH],
        "requeueAt": None,
    }
    status = untrusted.status(rollout)
    if any(status.get(key) != value for key, value in fields.items()):
        patch_status(run.services, run.identity.name, run.identity.namespace, fields)
    return {"phase": status.get("phase") or PENDING, "message": message}
