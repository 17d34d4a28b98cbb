"""What people ask of an Application's rollouts. Each command writes a request and returns at once:
an abort or a promotion into the status of the Rollout it is about, everything else into the
Application's. The desired image is an annotation.

The next run under the Application's Lease carries the request out. What makes no sense now is
refused here.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from typing import Any, Dict, List, Mapping, Optional

from kubestorm.clients import resources
from kubestorm.clients.services import Services
from kubestorm.core import status_requests, untrusted
from kubestorm.core.errors import ConflictError, DefinitionError, Error, NotFoundError
from kubestorm.core.image_names import short_digest
from kubestorm.core.times import format_milliseconds
from kubestorm.kinds.application.image_policy import (
    desired_image_of,
    requests_shown,
    write_desired_image,
)
from kubestorm.kinds.application.plan import find_target
from kubestorm.kinds.application.rollout.observe import (
    History,
    Object,
    read_freeze,
    read_history,
    read_log,
    secret_values,
)
from kubestorm.kinds.application.rollout.redact import redact
from kubestorm.kinds.application.rollout.status import wake
from kubestorm.kinds.application.rollout.values import COMPLETE, PAUSED, PERSON, DesiredImage
from kubestorm.kinds.application.spec import parse
from kubestorm.kinds.application.status import Reason

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MOST_LOG_LINES = 500
FOLLOW_UP = "kubectl get rollouts -n {namespace} -l " + resources.APPLICATION_LABEL + "={name}"
Result = Mapping[str, Any]


def rollout(
    services: Services, namespace: str, name: str, image: str, requested_by: str = ""
) -> Result:
    """Roll out a tag or a digest, followed or not; also one that failed before."""
    resource = _application(services, namespace, name)
    _refuse_while_frozen(resource)
    spec = parse(resource, services.settings)
    wanted = image.strip()
    if DIGEST.fullmatch(wanted):
        digest, tag = wanted, _tag_of(services, namespace, name, wanted)
    else:
        from kubestorm.core.image_names import ImageName

        tag = wanted
        digest = services.registry.resolve(ImageName(spec.registry, spec.repository), tag)
    event = f"person {uuid.uuid4().hex}"
    asked = DesiredImage(digest, tag, event, services.now(), services.now(), requested_by, PERSON)
    for _ in range(5):
        try:
            write_desired_image(services, resource, asked)
        except ConflictError:
            resource = _application(services, namespace, name)
            continue
        return _answer(
            resource, f"{tag or short_digest(digest)} will be rolled out.", digest=digest, tag=tag
        )
    raise ConflictError(
        f"Application {namespace}/{name} was changed by others during every attempt; try again.",
        service="Kubernetes",
    )


def rollback(
    services: Services, namespace: str, name: str, to: str = "", requested_by: str = ""
) -> Result:
    """Go back to the good image before the present one, or to the one that `to` names; also during
    a freeze.
    """
    resource = _application(services, namespace, name)
    past = _history(services, resource)
    target = find_target(to.strip() or resources.PREVIOUS_WORD, past.rollouts)
    if target is None:
        known = ", ".join(one.shown for one in past.rollouts if one.phase == COMPLETE) or "none"
        raise DefinitionError(
            f"{namespace}/{name} has no successful rollout {to or resources.PREVIOUS_WORD!r}; its "
            f"history holds: {known}.",
            field="to",
        )
    asked = status_requests.request(
        requested_by, services.now(), to=target.digest, id=uuid.uuid4().hex
    )
    _ask(services, resource, rollbackTo=asked)
    return _answer(
        resource,
        f"Rolling back to {target.shown}.",
        digest=target.digest,
    )


def abort(services: Services, namespace: str, name: str, requested_by: str = "") -> Result:
    """End the rollout that is under way; all pods and requests go back to the last good image."""
    resource = _application(services, namespace, name)
    active = _active(services, resource)
    asked = status_requests.request(requested_by, services.now())
    _ask_rollout(services, namespace, active.name, abort=asked)
    return _answer(resource, f"Aborting {active.name}.", rollout=active.name)


def promote(
    services: Services, namespace: str, name: str, full: bool = False, requested_by: str = ""
) -> Result:
    """End the pause that a rollout stands at, or (`full`) every pause that is left."""
    resource = _application(services, namespace, name)
    active = _active(services, resource)
    status = untrusted.status(services.kube.get(resources.ROLLOUTS, active.name, namespace))
    if not full and status.get("phase") != PAUSED:
        raise DefinitionError(
            f"{active.name} is {active.phase} and not waiting for promotion; "
            "`full` skips all remaining pauses."
        )
    stage = untrusted.integer(status.get("stage"))
    asked = status_requests.request(requested_by, services.now(), stage=stage, full=bool(full))
    _ask_rollout(services, namespace, active.name, promote=asked)
    return _answer(resource, f"Promoting {active.name}.", rollout=active.name)


def freeze(services: Services, namespace: str, name: str, owner: str, reason: str) -> Result:
    """Hold new rollouts; a rollout under way continues, and a rollback is possible."""
    if not owner.strip() or not reason.strip():
        raise DefinitionError(
            "A freeze needs an owner and a reason.",
            field="reason",
        )
    resource = _application(services, namespace, name)
    asked = status_requests.request(
        owner, services.now(), owner=owner.strip(), reason=reason.strip()
    )
    _ask(services, resource, freeze=asked)
    return _answer(
        resource, f"New rollouts wait until application_unfreeze. Frozen by {owner}: {reason}"
    )


def unfreeze(
    services: Services, namespace: str, name: str, requested_by: str = "", reason: str = ""
) -> Result:
    """Let rollouts go on. An Event says who, and why if that was said."""
    resource = _application(services, namespace, name)
    held = read_freeze(resource)
    if held is not None:
        _ask(services, resource, freeze=None)
        told = f"Unfrozen by {requested_by or 'somebody'}{f': {reason}' if reason else '.'}"
        with contextlib.suppress(Error):
            services.kube.create_event(
                resource, reason=Reason.UNFROZEN, message=told, now=services.now()
            )
        active = _history(services, resource).active
        if active is not None:
            wake(services, active.name, namespace)
    was = (
        f"Unfrozen; was frozen by {held.owner}: {held.reason}"
        if held is not None
        else "The Application was not frozen."
    )
    return _answer(resource, was, requested_by=requested_by)


def scale(
    services: Services,
    namespace: str,
    name: str,
    replicas: int,
    most: Optional[int] = None,
    requested_by: str = "",
) -> Result:
    """Change `spec.replicas`. Where the Application is kept in a repository, change it there as
    well.
    """
    resource = _application(services, namespace, name)
    before = dict((resource.get("spec") or {}).get("replicas") or {})
    wanted: Dict[str, Any] = {"min": replicas}
    highest = most if most is not None else before.get("max")
    if most is not None or (highest is not None and highest < replicas):
        wanted["max"] = max(int(highest or 0), replicas)
    if wanted.get("max") == replicas and most is None:
        wanted["max"] = None  # the autoscaler had no room left: the number is fixed
        wanted.update(targetCPU=None, targetMemory=None)
    changed = {**before, **wanted}
    trial = {
        **resource,
        "spec": {
            **resource["spec"],
            "replicas": {k: v for k, v in changed.items() if v is not None},
        },
    }
    parse(trial, services.settings)  # refuses it here rather than in a condition later
    body = {"metadata": {"uid": resource["metadata"]["uid"]}, "spec": {"replicas": wanted}}
    services.kube.patch(resources.APPLICATIONS, name, body, namespace)
    return _answer(
        resource,
        f"Scaled {namespace}/{name} to {replicas}.",
        before=before,
        requested_by=requested_by,
    )


def show_history(services: Services, namespace: str, name: str) -> Result:
    """The rollouts of an Application, newest first, and what people requested."""
    resource = _application(services, namespace, name)
    past = _history(services, resource)
    asked = desired_image_of(resource)
    return {
        "namespace": namespace,
        "name": name,
        "active": past.active.name if past.active is not None else "",
        "good": past.good.digest if past.good is not None else "",
        "wanted": asked.tag or asked.digest if asked is not None else "",
        "requests": requests_shown(resource),
        "rollouts": history_table(past),
    }


def logs(
    services: Services,
    namespace: str,
    name: str,
    lines: int = 50,
    previous: bool = False,
    pod: str = "",
) -> Result:
    """The last lines of an Application's pods, without what is known to be a secret or looks like
    one.
    """
    resource = _application(services, namespace, name)
    selector = resources.selector(resource["metadata"]["name"])
    pods: List[Object] = list(
        services.kube.list_all(resources.PODS, namespace, label_selector=selector)
    )
    chosen = [one for one in pods if pod in ("", one["metadata"]["name"])]
    if pod and not chosen:
        raise NotFoundError(f"{namespace}/{name} has no pod {pod}.", service="Kubernetes")
    known = tuple(secret_values(services.kube, namespace, chosen))
    wanted = max(1, min(lines, MOST_LOG_LINES))
    found: Dict[str, str] = {}
    for one in chosen:
        text = read_log(
            services.kube, namespace, one["metadata"]["name"], previous=previous, lines=wanted
        )
        found[one["metadata"]["name"]] = redact(text, known)
    return {"namespace": namespace, "name": name, "pods": found}


def _application(services: Services, namespace: str, name: str) -> Object:
    return services.kube.get(resources.APPLICATIONS, name, namespace)


def _history(services: Services, resource: Mapping[str, Any]) -> History:
    metadata = resource["metadata"]
    return read_history(services.kube, metadata["namespace"], metadata["name"], metadata["uid"])


def _active(services: Services, resource: Mapping[str, Any]) -> Any:
    active = _history(services, resource).active
    if active is None:
        metadata = resource["metadata"]
        raise NotFoundError(f"{metadata['namespace']}/{metadata['name']} has no rollout under way.")
    return active


def _refuse_while_frozen(resource: Mapping[str, Any]) -> None:
    held = read_freeze(resource)
    if held is not None:
        raise DefinitionError(
            f"The Application is frozen by {held.owner}: {held.reason} Ask them, or run "
            "application_unfreeze."
        )


def _tag_of(services: Services, namespace: str, name: str, digest: str) -> str:
    known = read_history(services.kube, namespace, name).rollouts
    return next((past.tag for past in reversed(known) if past.digest == digest), "")


def _ask(services: Services, resource: Mapping[str, Any], **requests: Optional[Object]) -> None:
    metadata = resource["metadata"]
    services.kube.patch_status(
        resources.APPLICATIONS,
        metadata["name"],
        status_requests.fields(**requests),
        metadata["namespace"],
    )


def _ask_rollout(services: Services, namespace: str, rollout_name: str, **requests: Object) -> None:
    services.kube.patch_status(
        resources.ROLLOUTS, rollout_name, status_requests.fields(**requests), namespace
    )


def _answer(resource: Mapping[str, Any], message: str, **more: Any) -> Result:
    metadata = resource["metadata"]
    follow = FOLLOW_UP.format(namespace=metadata["namespace"], name=metadata["name"])
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "message": message,
        "follow": follow,
        **more,
    }


def history_table(history: History) -> List[Object]:
    """The history as a person reads it, newest first: what, who, when, outcome, why."""
    good = history.good
    return [
        {
            "name": past.name,
            "tag": past.tag,
            "digest": past.digest,
            "cause": past.cause,
            "requested_by": past.requested_by,
            "at": format_milliseconds(past.created_at),
            "finished_at": format_milliseconds(past.finished_at),
            "outcome": past.phase,
            "reason": past.reason,
            "why": past.message,
            "good": past is good,
        }
        for past in reversed(history.rollouts)
    ]
