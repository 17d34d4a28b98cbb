"""Why something is not as it should be: its conditions, its last Events, and what to do. `explain`
is pure.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

from kubestorm.clients import resources
from kubestorm.clients.kube import EVENTS, ForbiddenError, Resource
from kubestorm.clients.services import Services
from kubestorm.core import naming, untrusted
from kubestorm.core.conditions import READY, find
from kubestorm.core.errors import DefinitionError, Error, NotFoundError
from kubestorm.kinds.application.rollout.observe import read_freeze

KINDS = ("applications", "databases", "imagebuilds", "rollouts")
MOST_EVENTS = 5
MOST_CONDITIONS = 8
_WORDS = {
    "applications": "Application",
    "databases": "Database",
    "imagebuilds": "ImageBuild",
    "rollouts": "Rollout",
}


def why(services: Services, namespace: str, name: str, kind: str = "") -> Dict[str, Any]:
    """Explain an object. `kind` is its plural; without it, the first of ours that has the name.

    DefinitionError for a kind that is not ours, NotFoundError where there is none. An API server
    that does not give Events costs the Events alone.
    """
    if kind and kind not in KINDS:
        raise DefinitionError(f"kind is {kind!r}; it is one of {', '.join(KINDS)}.", field="kind")
    for plural in (kind,) if kind else KINDS:
        try:
            found = services.kube.get(
                Resource(naming.GROUP, naming.VERSION, plural), name, namespace
            )
        except NotFoundError:
            continue
        except ForbiddenError:
            if kind:
                raise
            continue  # a kind that this installation has nothing to do with
        return explain(
            plural, found, _events(services, found), _rollout(services, found, namespace)
        )
    word = _WORDS.get(kind, "Application, Database or ImageBuild")
    raise NotFoundError(f"There is no {word} {namespace}/{name}.", service="Kubernetes")


def explain(
    plural: str,
    resource: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]] = (),
    rollout: Optional[Mapping[str, Any]] = None,
) -> Dict[str, Any]:
    """`message` in one sentence, `well`, `findings` (title and text each), `next_step`."""
    metadata = resource["metadata"]
    status: Mapping[str, Any] = untrusted.status(resource)
    what = f"{_WORDS[plural]} {metadata.get('namespace', '')}/{metadata['name']}"
    conditions = untrusted.mappings(status.get("conditions"))
    ready = find(conditions, READY)
    behind = untrusted.integer(status.get("observedGeneration")) < untrusted.integer(
        metadata.get("generation")
    )
    well = bool(
        ready
        and ready.get("status") == "True"
        and not behind
        and not metadata.get("deletionTimestamp")
    )
    findings = [
        _finding(item)
        for item in conditions
        if item.get("type") != "Ready" and item.get("status") != "True"
    ]
    findings = findings[:MOST_CONDITIONS]
    freeze = read_freeze(resource)
    if freeze is not None:
        findings.insert(0, {"title": "Frozen", "text": f"by {freeze.owner}: {freeze.reason}"})
    if rollout is not None:
        findings.append(_of_rollout(rollout))
    if not well:
        findings += [_of_event(item) for item in events if item.get("type") == "Warning"][
            -MOST_EVENTS:
        ]
    if status.get("lastRunId"):
        findings.append({"title": "Last run", "text": str(status["lastRunId"])})
    return {
        "message": _sentence(what, metadata, ready, well, behind, freeze is not None),
        "well": well,
        "findings": findings,
        "next_step": _step(ready, behind)
        if not well
        else "Say `unfreeze` when it is over."
        if freeze
        else "",
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "kind": _WORDS[plural],
    }


def _sentence(
    what: str,
    metadata: Mapping[str, Any],
    ready: Optional[Mapping[str, Any]],
    well: bool,
    behind: bool,
    frozen: bool,
) -> str:
    if well and frozen:
        return f"{what} is ready; nothing new is rolled out, because it is frozen."
    if well:
        return f"{what} is ready; nothing is wrong with it."
    if metadata.get("deletionTimestamp"):
        held = ", ".join(metadata.get("finalizers") or []) or "nobody"
        return f"{what} is being deleted since {metadata['deletionTimestamp']}, held by {held}."
    if behind or ready is None:
        return f"{what} was changed, and no run has answered for that yet."
    return f"{what} is not ready ({ready.get('reason')}): {ready.get('message')}"


def _step(ready: Optional[Mapping[str, Any]], behind: bool) -> str:
    reason = str((ready or {}).get("reason") or "")
    if behind or ready is None:
        return (
            "Wait a moment and ask again; if it stays so, the engine does not run, or a rule is "
            "switched off."
        )
    if reason.endswith("Unavailable"):
        return "A service did not answer; it is tried again by itself."
    if reason.endswith(("Refused", "Invalid", "ConfigurationError")) or "Spec" in reason:
        return "Waiting does not help: change what the message names."
    return ""


def _finding(condition: Mapping[str, Any]) -> Dict[str, str]:
    since = (
        f" (since {condition['lastTransitionTime']})" if condition.get("lastTransitionTime") else ""
    )
    text = f"{condition.get('reason')}: {condition.get('message')}{since}"
    return {"title": str(condition.get("type")), "text": text}


def _of_rollout(rollout: Mapping[str, Any]) -> Dict[str, str]:
    status: Mapping[str, Any] = untrusted.status(rollout)
    image: Mapping[str, Any] = (rollout.get("spec") or {}).get("image") or {}
    version = image.get("tag") or str(image.get("digest") or "")[:19]
    text = f"{version}: {status.get('phase') or 'Pending'}"
    said = status.get("message") or status.get("reason")
    return {
        "title": f"Rollout {rollout['metadata']['name']}",
        "text": f"{text}: {said}" if said else text,
    }


def _of_event(event: Mapping[str, Any]) -> Dict[str, str]:
    count = untrusted.integer(event.get("count"), 1)
    times = f" ({count} times)" if count > 1 else ""
    return {"title": str(event.get("reason") or "Event"), "text": f"{event.get('message')}{times}"}


def _events(services: Services, resource: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    """The Events on an object, oldest first."""
    metadata = resource["metadata"]
    try:
        selector = f"involvedObject.uid={metadata['uid']}"
        found = list(
            services.kube.list_all(EVENTS, metadata.get("namespace", ""), field_selector=selector)
        )
    except Error:
        return []
    return sorted(found, key=lambda item: str(item.get("lastTimestamp") or ""))


def _rollout(
    services: Services, resource: Mapping[str, Any], namespace: str
) -> Optional[Mapping[str, Any]]:
    """The newest Rollout that an Application owns, if it is not one that went well."""
    if resource.get("kind") != "Application":
        return None
    try:
        selector = resources.selector(resource["metadata"]["name"])
        found = list(services.kube.list_all(resources.ROLLOUTS, namespace, label_selector=selector))
    except Error:
        return None
    uid = resource["metadata"]["uid"]
    own = [item for item in found if resources.application_uid(item) == uid]
    own.sort(key=lambda item: str(item["metadata"].get("creationTimestamp") or ""))
    if not own or untrusted.status(own[-1]).get("phase") == "Complete":
        return None
    return own[-1]
