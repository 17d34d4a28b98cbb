"""Brings objects to what is rendered, by server-side apply, and removes those that are no longer
needed.

Only what belongs to the Application (a controlling ownerReference with its uid) is ever changed or
removed. A field that another manager set is left alone and named in the condition; only what the
pack alone decides is taken back: images, selectors, the labels it finds its objects by, and the
contents of its own ConfigMaps and Secrets. Nothing is sent where nothing differs.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kubestorm.clients.kube import FIELD_MANAGER, ForbiddenError, KubeClient, Resource
from kubestorm.clients.kube_errors import SERVICE, FieldConflict, FieldConflictError
from kubestorm.core import untrusted
from kubestorm.core.errors import NotFoundError, PermanentError, TemporaryError
from kubestorm.kinds.application.render import CONTAINER, Manifest

REPLICAS = ".spec.replicas"
REPLICAS_MANAGER = f"{FIELD_MANAGER}-replicas"
AUTOSCALED_ANNOTATION = "kubestorm.io/autoscaled"
# Ourselves under another name, or by another verb (a rollout scales).
OUR_MANAGERS = frozenset((FIELD_MANAGER, REPLICAS_MANAGER))
PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "Ingress": "ingresses",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Secret": "secrets",
    "Service": "services",
}
CREATED, CHANGED, UNCHANGED, REMOVED = "created", "changed", "unchanged", "removed"
# What the pack alone decides: without it, it would not find its objects again, or run another image
# than it says.
_OURS = (
    re.compile(
        r"^\.metadata\.(ownerReferences|labels\.(kubestorm\.io/|app\.kubernetes\.io/(name|managed-by)))"
    ),
    re.compile(r"^\.metadata\.annotations\.kubestorm\.io/"),
    re.compile(r"^\.spec\.(selector|scaleTargetRef)"),
    re.compile(
        r"^\.spec\.template\.metadata\.(labels|annotations)\.(kubestorm\.io/|app\.kubernetes\.io/)"
    ),
    re.compile(
        rf'^\.spec\.template\.spec\.containers\[name="{CONTAINER}"\]\.(image|name|envFrom|volumeMounts)$'
    ),
    re.compile(r"^\.(data|type)(\.|$)"),
)

Object = Dict[str, Any]


class ForeignObjectError(PermanentError):
    """An object of that name exists and is not this Application's."""


class Outcome(NamedTuple):
    """What became of one object. `left` names the fields that were left to others."""

    kind: str
    name: str
    action: str
    left: Tuple[FieldConflict, ...] = ()
    live: Optional[Object] = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def resource_of(manifest: Mapping[str, Any]) -> Resource:
    """Where objects of the manifest's kind are in the API."""
    group, _, version = str(manifest["apiVersion"]).rpartition("/")
    return Resource(group, version, PLURALS[manifest["kind"]])


def read(kube: KubeClient, resource: Resource, name: str, namespace: str) -> Optional[Object]:
    """One object, None where there is none."""
    try:
        return kube.get(resource, name, namespace)
    except NotFoundError:
        return None


def ensure(
    kube: KubeClient,
    manifest: Manifest,
    *,
    uid: str,
    live: Optional[Object] = None,
    take: bool = False,
    take_field: str = "",
) -> Outcome:
    """Bring one object to its manifest. `live` is what was read of it just now, if it was; `take`
    takes others' fields as well, as a person has asked for, `take_field` one of them.

    Raises ForeignObjectError where the name is another's, TemporaryError while an old one is being
    deleted.
    """
    resource = resource_of(manifest)
    kind, metadata = str(manifest["kind"]), manifest["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    live = live or read(kube, resource, name, namespace)
    if live is not None:
        _check_owner(live, kind, uid)
    if live is not None and is_same(manifest, live):
        return Outcome(kind, name, UNCHANGED, (), live)
    left: Tuple[FieldConflict, ...] = ()
    try:
        written = kube.apply(resource, _addressed(manifest, live), namespace, force=take)
    except FieldConflictError as error:
        left = tuple(
            conflict
            for conflict in error.conflicts
            if not (
                is_ours(conflict.field)
                or conflict.manager in OUR_MANAGERS
                or conflict.field == take_field
            )
        )
        rest = without(manifest, [conflict.field for conflict in left])
        # What is still in conflict is the pack's alone.
        written = kube.apply(resource, _addressed(rest, live), namespace, force=True)
    if live is None:
        return Outcome(kind, name, CREATED, left, written)
    same = written["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    return Outcome(kind, name, UNCHANGED if same else CHANGED, left, written)


def remove(
    kube: KubeClient, resource: Resource, kind: str, name: str, namespace: str, *, uid: str
) -> Optional[Outcome]:
    """Remove an object that is no longer needed, if it exists and is this Application's. Safe to
    repeat. A kind that the account may not read was never created by it.
    """
    try:
        live = read(kube, resource, name, namespace)
    except ForbiddenError:
        return None
    if live is None or not is_owned(live, uid) or live["metadata"].get("deletionTimestamp"):
        return None
    try:
        kube.delete(resource, name, namespace, uid=live["metadata"]["uid"])
    except NotFoundError:
        return None
    return Outcome(kind, name, REMOVED)


def is_owned(live: Mapping[str, Any], uid: str) -> bool:
    """Whether an object is controlled by the Application with that uid."""
    references = live["metadata"].get("ownerReferences") or ()
    return any(
        reference.get("uid") == uid and reference.get("controller") for reference in references
    )


def is_ours(field: str) -> bool:
    """Whether a field (in the API server's words) is the pack's alone to decide."""
    return any(pattern.match(field) for pattern in _OURS)


def hand_over_replicas(kube: KubeClient, live: Object) -> None:
    """Give the number of pods of a Deployment away, so that it can be left out for an autoscaler.

    A field that its one owner no longer applies is set back to its default, which is 1 here. So a
    second manager applies the present number first, once; the autoscaler takes it from there.
    Source: "Transferring Ownership" of Kubernetes' page on server-side apply. An annotation
    remembers it until `was_autoscaled` is over. Nothing is written where that has been done.
    """
    alone = owns_replicas(live)
    if not alone and was_autoscaled(live):
        return
    body = _of_replicas_manager(live)
    body["metadata"]["annotations"] = {AUTOSCALED_ANNOTATION: "yes"}
    if alone:
        body["spec"] = {"replicas": live["spec"]["replicas"]}
    # Not forced: a number that has changed since is in conflict, and the next run tries again.
    _apply_as_replicas_manager(kube, body)


def was_autoscaled(live: Mapping[str, Any]) -> bool:
    """Whether the number of pods was an autoscaler's of ours, so that it may be taken back where
    there is none now.
    """
    return AUTOSCALED_ANNOTATION in untrusted.annotations_of(live)


def forget_autoscaler(kube: KubeClient, live: Object) -> None:
    """The number of pods is fixed again, and applied as such."""
    _apply_as_replicas_manager(kube, _of_replicas_manager(live))


def _of_replicas_manager(live: Object) -> Object:
    metadata = live["metadata"]
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
    }


def _apply_as_replicas_manager(kube: KubeClient, body: Object) -> None:
    metadata = body["metadata"]
    where = resource_of(body)
    kube.patch(
        where,
        metadata["name"],
        body,
        metadata["namespace"],
        kind="apply",
        field_manager=REPLICAS_MANAGER,
    )


def owns_replicas(live: Mapping[str, Any]) -> bool:
    """Whether the pack alone applies the number of pods."""
    owners = {
        (entry.get("manager"), entry.get("operation"))
        for entry in live["metadata"].get("managedFields") or ()
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    }
    return owners == {(FIELD_MANAGER, "Apply")}


def is_same(wanted: Any, live: Any) -> bool:
    """Whether every value that is wanted is there already. Lists of named things are compared by
    name.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            is_same(value, live.get(key)) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if not isinstance(live, list):
            return False
        if wanted and all(
            isinstance(item, Mapping) and "name" in item for item in (*wanted, *live)
        ):
            by_name = {item["name"]: item for item in live}
            return all(is_same(item, by_name.get(item["name"])) for item in wanted)
        return len(wanted) == len(live) and all(
            is_same(ours, theirs) for ours, theirs in zip(wanted, live)
        )
    return bool(wanted == live)


def without(manifest: Manifest, fields: Sequence[str]) -> Manifest:
    """The manifest without some fields, each a path in the API server's words."""
    rest = copy.deepcopy(manifest)
    for field in fields:
        _leave_out(rest, field)
    return rest


def _leave_out(value: Any, path: str) -> None:
    """Keys may hold dots and slashes, so that at each step the longest key that the path continues
    with is taken.
    """
    if isinstance(value, dict) and path.startswith("."):
        for key in sorted(value, key=len, reverse=True):
            rest = path[1 + len(key) :]
            if path[1:].startswith(key) and rest[:1] in ("", ".", "["):
                if not rest:
                    del value[key]
                else:
                    _leave_out(value[key], rest)
                return
        return
    found = re.match(r"\[([^\]]*)\]", path)
    if not isinstance(value, list) or not found:
        return
    rest, keys = path[found.end() :], _keys(found.group(1))
    for item in list(value):
        if not isinstance(item, dict) or any(
            str(item.get(key)) != str(wanted) for key, wanted in keys.items()
        ):
            continue
        if rest:
            _leave_out(item, rest)
        else:
            value.remove(item)


def _keys(text: str) -> Dict[str, Any]:
    """`port=80,protocol="TCP"` as a mapping."""
    found: Dict[str, Any] = {}
    for key, value in re.findall(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^,]+)', text):
        found[key] = json.loads(value) if value.startswith('"') else value
    return found


def _check_owner(live: Object, kind: str, uid: str) -> None:
    metadata = live["metadata"]
    where = f"{kind} {metadata['name']}"
    if not is_owned(live, uid):
        owner = next(
            (each for each in metadata.get("ownerReferences") or () if each.get("controller")), None
        )
        whose = f"belongs to {owner['kind']} {owner['name']}" if owner else "belongs to nobody"
        raise ForeignObjectError(
            f"{where} exists already in namespace {metadata['namespace']} and {whose}; delete it, "
            "or give the "
            "Application another name",
            service=SERVICE,
        )
    if metadata.get("deletionTimestamp"):
        raise TemporaryError(f"{where} is still being deleted", service=SERVICE)


def _addressed(manifest: Manifest, live: Optional[Object]) -> Manifest:
    """With the uid of the object that was read: another of that name is not touched."""
    if live is None:
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], "uid": live["metadata"]["uid"]}}


def told(outcomes: Sequence[Outcome]) -> List[str]:
    """The fields that were left to others, as a developer reads them."""
    return [
        f"{conflict.field.lstrip('.')} of {outcome} is left to {conflict.manager}"
        for outcome in outcomes
        for conflict in outcome.left
    ]


def is_serious(outcomes: Sequence[Outcome]) -> bool:
    """Whether others hold more than a number of pods, which a person may set with kubectl scale."""
    return any(conflict.field != REPLICAS for outcome in outcomes for conflict in outcome.left)
