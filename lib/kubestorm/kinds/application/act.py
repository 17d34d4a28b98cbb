"""The steps of an Application's run, in the order of workflows/application_reconcile.yaml: one
function per action.

Each reads the object and the cluster, does what can be done now, writes its condition and returns;
none waits. All are safe to repeat and to run alone. With an invalid spec nothing is changed. A step
that fails writes its condition before it raises.

An Application has no finalizer: everything it creates is in its namespace and owned by it, so the
garbage collector removes it, with the pack or without.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from kubestorm.clients import resources
from kubestorm.clients.api_versions import ApiVersions, discover_api_versions
from kubestorm.clients.kube import Resource
from kubestorm.clients.lease import LeaseLostError
from kubestorm.clients.resources import CONFIG_MAPS, DEPLOYMENTS, SECRETS, SERVICES
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.conditions import FALSE, TRUE, Condition
from kubestorm.core.errors import Error
from kubestorm.core.naming import Identity
from kubestorm.core.times import format_milliseconds, parse_time
from kubestorm.kinds.application import apply, config, render
from kubestorm.kinds.application.apply import Outcome
from kubestorm.kinds.application.config import Waiting
from kubestorm.kinds.application.hosts import Verdict, claim_of, decide, list_claims
from kubestorm.kinds.application.observe import (
    Image,
    ParsedApplication,
    active_track,
    current_image,
    good_image,
)
from kubestorm.kinds.application.plan import active_deployment, unsupported, url_of
from kubestorm.kinds.application.rollout.observe import failure_of, read_history
from kubestorm.kinds.application.settings import INGRESS, ApplicationSettings
from kubestorm.kinds.application.spec import InvalidSpecError, parse
from kubestorm.kinds.application.start_rollout import ensure_rollout
from kubestorm.kinds.application.status import (
    APPLIED,
    HOST_CLAIMED,
    NO_HOST,
    ORDER,
    REFUSALS,
    ROLLED_OUT,
    SPEC_VALID,
    VALID,
    Reason,
    applied_condition,
    deployment_condition,
    pod_fields,
    refused,
    waiting_for_image,
    with_left_fields,
)
from kubestorm.kinds.application.values import ApplicationSpec
from kubestorm.kinds.common.resource import Object, ResourceHandle, reason_of

CONFIG_RESOURCES = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}

Result = Dict[str, Any]


class ApplicationRun:
    """One step's view of one Application."""

    def __init__(self, services: Services, identity: Identity, run_id: str) -> None:
        self.services = services
        self.identity = identity
        self.handle = ResourceHandle(services, identity, run_id, ORDER)
        self.settings = ApplicationSettings.from_config(services.settings.raw)

    def step(self, condition_type: str, work: Callable[[ParsedApplication], Result]) -> Result:
        """Read the object and do a step's work on it; write the condition of an error, then raise
        it. Nothing is done where the object is gone, being deleted, or invalid.
        """
        resource = self.handle.read()
        if resource is None or resource["metadata"].get("deletionTimestamp"):
            return _skipped("The Application is gone.")
        generation = self.handle.generation(resource)
        try:
            parsed = ParsedApplication(
                resource, parse(resource, self.services.settings), generation
            )
        except InvalidSpecError as error:
            invalid = Condition(SPEC_VALID, FALSE, Reason.INVALID_SPEC, str(error))
            self.handle.write_status(invalid, generation=generation)
            return _skipped(f"InvalidSpec: {error}")
        try:
            return work(parsed)
        except LeaseLostError:
            raise
        except Error as error:
            with contextlib.suppress(Error):
                self.write(parsed, Condition(condition_type, FALSE, _reason(error), str(error)))
            raise

    def write(
        self,
        parsed: ParsedApplication,
        *told: Condition,
        fields: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Write what a step has found of a spec that is valid."""
        self.handle.write_status(VALID, *told, fields=fields, generation=parsed.generation)

    def ensure(
        self, manifest: render.Manifest, parsed: ParsedApplication, live: Optional[Object] = None
    ) -> Outcome:
        """Bring one object to its manifest."""
        return apply.ensure(
            self.services.kube, manifest, uid=parsed.app.uid, live=live, take=parsed.takes
        )

    def remove(
        self, resource: Resource, kind: str, name: str, parsed: ParsedApplication
    ) -> List[Outcome]:
        """Remove one object if it is there and ours."""
        kube, app = self.services.kube, parsed.app
        found = apply.remove(kube, resource, kind, name, app.namespace, uid=app.uid)
        return [found] if found else []


def ensure_configuration(run: ApplicationRun) -> Result:
    """Write what comes from Consul, Vault and Databases into ConfigMaps and Secrets. Results hold
    names and versions.

    What is missing or cannot be read leaves the pods' configuration as it is; `status.waitingFor`
    names it.
    """
    return run.step(APPLIED, lambda parsed: _configure(run, parsed))


def _configure(run: ApplicationRun, parsed: ParsedApplication) -> Result:
    found = _contents(run, parsed.app)
    outcomes: List[Outcome] = []
    fields: Dict[str, Any] = {"waitingFor": found.as_status if isinstance(found, Waiting) else None}
    if not isinstance(found, Waiting):
        manifests = config.manifests(parsed.app, found)
        outcomes = [run.ensure(manifest, parsed) for manifest in manifests]
        fields["configHash"] = config.hash_of(parsed.app, manifests)
        fields["secretVersions"] = _replacing(parsed.status.get("secretVersions"), found.versions)
    for kind, name, wanted in config.names_of(parsed.app):
        if not wanted:
            outcomes += run.remove(CONFIG_RESOURCES[kind], kind, name, parsed)
    if isinstance(found, Waiting):
        run.write(parsed, Condition(APPLIED, FALSE, found.reason, found.message), fields=fields)
        return {"complete": False, **_as_result(outcomes), "waiting_for": found.as_status}
    run.write(parsed, fields=fields)
    return {"complete": True, **_as_result(outcomes), "versions": dict(found.versions)}


def ensure_objects(run: ApplicationRun) -> Result:
    """Bring Service, Ingress, autoscaler and disruption budget to the spec; remove those that it no
    longer asks for.

    While a Rollout is under way, only it changes Service and autoscaler; here they are created
    only where they are missing.
    """
    return run.step(APPLIED, lambda parsed: _apply(run, parsed))


def _apply(run: ApplicationRun, parsed: ParsedApplication) -> Result:
    kube, app = run.services.kube, parsed.app
    api = discover_api_versions(kube)
    has_ingress = app.exposure.type == INGRESS
    ingress = apply.read(kube, api.ingresses, app.name, app.namespace) if has_ingress else None
    claimed, granted = _claim_hosts(run, parsed, api, ingress)
    service = apply.read(kube, SERVICES, app.name, app.namespace)
    track = active_track(parsed.resource, service)
    target = render.deployment_name(app.name, track)
    going_on = read_history(kube, app.namespace, app.name, app.uid).active is not None
    wanted = [
        (
            SERVICES,
            "Service",
            render.service(app, tracks=(track,)) if app.port is not None else None,
            going_on,
        ),
        (api.ingresses, "Ingress", render.ingress(app, api, hosts=granted), False),
        (
            api.autoscalers,
            "HorizontalPodAutoscaler",
            render.autoscaler(app, target, api),
            going_on,
        ),
        (
            api.disruption_budgets,
            "PodDisruptionBudget",
            render.disruption_budget(app, api),
            False,
        ),
    ]
    outcomes: List[Outcome] = []
    found = {"Service": service, "Ingress": ingress}
    for resource, kind, manifest, spared in wanted:
        if manifest is None:
            outcomes += run.remove(resource, kind, app.name, parsed)
        elif not spared or apply.read(kube, resource, app.name, app.namespace) is None:
            outcomes.append(run.ensure(manifest, parsed, found.get(kind)))
    applied = applied_condition(parsed, outcomes, unsupported(app, api))
    served = next((each.live for each in outcomes if each.kind == "Service"), service)
    fields = {"url": url_of(app, granted, served), "hosts": list(granted) or None}
    run.write(parsed, claimed, applied, fields=fields)
    refused = [claimed.message] if claimed.status == FALSE else []
    return {**_as_result(outcomes), "hosts": list(granted), "refused": refused}


def ensure_deployment(run: ApplicationRun) -> Result:
    """Create the Rollout that is due, if one is; without one, bring the active track's Deployment
    to the spec.

    The image is that of the last good Rollout; only a Rollout changes it.
    """
    return run.step(ROLLED_OUT, lambda parsed: _deploy(run, parsed))


def _deploy(run: ApplicationRun, parsed: ParsedApplication) -> Result:
    kube, app = run.services.kube, parsed.app
    service = apply.read(kube, SERVICES, app.name, app.namespace) if app.port is not None else None
    track = active_track(parsed.resource, service)
    name = render.deployment_name(app.name, track)
    live = apply.read(kube, DEPLOYMENTS, name, app.namespace)
    hashed, missing = current_hash(run, app)
    due: Mapping[str, Any] = {} if missing else ensure_rollout(run.services, run.handle)
    image = good_image(due) or current_image(live)
    outcomes: List[Outcome] = []
    told: List[Condition] = []
    if missing:
        message = f"Waiting for {missing}; see the condition Applied."
        told = [Condition(ROLLED_OUT, FALSE, Reason.WAITING_FOR_CONFIGURATION, message)]
    elif due["active"]:
        pass  # the Rollout changes the Deployments and writes the condition
    elif image is None:
        told = [waiting_for_image(app, due)]
    else:
        outcomes, live = _bring_up_to_date(run, parsed, track, image, hashed, live)
        told = [_rolled_out(run, parsed, due, outcomes, live)]
    fields = {
        **pod_fields(app, track, live),
        **_requeue(run, parsed, due.get("requeue_at")),
    }
    run.write(parsed, *told, fields=fields)
    if parsed.takes:
        run.handle.remove_annotation(resources.TAKE_FIELDS)
    words = {"reason": told[0].reason, "message": told[0].message} if told else {}
    return {**_as_result(outcomes), "track": track, "rollout": due.get("active", ""), **words}


def _bring_up_to_date(
    run: ApplicationRun,
    parsed: ParsedApplication,
    track: str,
    image: Image,
    hashed: str,
    live: Optional[Object],
) -> Tuple[List[Outcome], Optional[Object]]:
    kube, app = run.services.kube, parsed.app
    if live is not None and app.replicas.autoscaled:
        apply.hand_over_replicas(kube, live)
    manifest = active_deployment(app, track, image, hashed, live)
    fixed_again = live is not None and not app.replicas.autoscaled and apply.was_autoscaled(live)
    take_field = apply.REPLICAS if fixed_again else ""
    outcome = apply.ensure(
        kube, manifest, uid=app.uid, live=live, take=parsed.takes, take_field=take_field
    )
    if live is not None and fixed_again:
        apply.forget_autoscaler(kube, live)
    return [outcome], outcome.live


def _rolled_out(
    run: ApplicationRun,
    parsed: ParsedApplication,
    due: Mapping[str, Any],
    outcomes: Sequence[Outcome],
    live: Optional[Object],
) -> Condition:
    if live is None:
        return waiting_for_image(parsed.app, due)
    condition = deployment_condition(live)
    if condition.status != TRUE:
        failure = failure_of(run.services.kube, live)
        if failure is not None:
            condition = condition._replace(reason=failure.reason, message=failure.message)
    elif due["reason"] in REFUSALS:
        condition = refused(due, parsed.status)
    return with_left_fields(parsed, condition, outcomes)


def current_hash(run: ApplicationRun, app: ApplicationSpec) -> Tuple[str, str]:
    """The hash of the configuration that is in the cluster now, and the object that is missing of
    it, if one is.
    """
    hashes: List[str] = []
    missing = ""
    for kind, name, wanted in config.names_of(app):
        live = (
            apply.read(run.services.kube, CONFIG_RESOURCES[kind], name, app.namespace)
            if wanted
            else None
        )
        if wanted and live is None:
            missing = missing or f"{kind} {name}"
        annotations = untrusted.annotations_of(live) if live else {}
        hashes.append(str(annotations.get(render.CONFIG_HASH_ANNOTATION, "")))
    return config.total_hash(hashes), missing


def _contents(run: ApplicationRun, app: ApplicationSpec) -> Any:
    """The desired contents; a Consul or a Vault that refuses or is unavailable is waited for."""
    try:
        return config.assemble(app, config.gather(run.services, app))
    except Error as error:
        if error.service in ("Consul", "Vault"):
            return Waiting(reason_of(error), str(error))
        raise


def _claim_hosts(
    run: ApplicationRun, parsed: ParsedApplication, api: ApiVersions, live: Optional[Object]
) -> Tuple[Condition, Tuple[str, ...]]:
    """Which hosts it may have. The claims of the whole cluster are read where it wants others than
    it has: what it has, it keeps until `input_changes` finds that an older Application wants it.
    """
    if parsed.app.exposure.type != INGRESS:
        return NO_HOST, ()
    mine = claim_of(parsed.resource, run.settings)
    verdict = Verdict(mine.hosts, ())
    if mine.hosts and not _serves(
        parsed, render.ingress(parsed.app, api, hosts=mine.hosts), mine.hosts, live
    ):
        verdict = decide(mine, list_claims(run.services.kube, run.settings))
    if verdict.refused:
        refused = "; ".join(map(str, verdict.refused))
        message = f"{refused}. Choose another host, or wait until that Application releases it."
        return Condition(HOST_CLAIMED, FALSE, Reason.HOST_TAKEN, message), verdict.granted
    claimed = f"Serving {', '.join(verdict.granted)}."
    return Condition(HOST_CLAIMED, TRUE, Reason.CLAIMED, claimed), verdict.granted


def _serves(
    parsed: ParsedApplication,
    wanted: Optional[render.Manifest],
    claimed: Sequence[str],
    live: Optional[Mapping[str, Any]],
) -> bool:
    """Whether the Ingress and the status both show all hosts that it claims. The status alone is
    not trusted.
    """
    return (
        wanted is not None
        and live is not None
        and apply.is_owned(live, parsed.app.uid)
        and untrusted.words(parsed.status.get("hosts")) == list(claimed)
        and apply.is_same(wanted["spec"]["rules"], untrusted.mapping(live.get("spec")).get("rules"))
    )


def _requeue(
    run: ApplicationRun, parsed: ParsedApplication, due: Optional[dt.datetime]
) -> Dict[str, Any]:
    """`requeueAt` while a Rollout waits for its time; everything else is watched.

    Written only when the planned time has passed or comes earlier, so that a run without changes
    writes nothing.
    """
    planned = parse_time(parsed.status.get("requeueAt"))
    if due is None:
        return {"requeueAt": None} if parsed.status.get("requeueAt") else {}
    if planned is not None and run.services.now() < planned <= due:
        return {}
    return {"requeueAt": format_milliseconds(due)}


def _replacing(old: Any, new: Mapping[str, int]) -> Optional[Dict[str, Any]]:
    """A merge patch adds keys to a map: those that are gone have to be named."""
    gone = {key: None for key in old or {} if key not in new}
    return {**gone, **new} or None


def _skipped(message: str) -> Result:
    return {"skipped": True, "message": message}


def _reason(error: Error) -> str:
    return (
        Reason.FOREIGN_OBJECT if isinstance(error, apply.ForeignObjectError) else reason_of(error)
    )


def _as_result(outcomes: Sequence[Outcome]) -> Result:
    """What was done, and what was left to others."""
    done: Dict[str, List[str]] = {}
    for outcome in outcomes:
        done.setdefault(outcome.action, []).append(str(outcome))
    return {"objects": done, "left": apply.told(outcomes)}
