"""Which changes of an object are dispatched, given what was known of it. Pure."""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple
from zlib import crc32

from kubestorm.clients.kube import Resource
from kubestorm.core import status_requests, untrusted
from kubestorm.core.naming import CONSUMED_ANNOTATIONS
from kubestorm.sources.watching.fingerprint import (
    LAST_APPLIED,
    Fingerprint,
    PathTable,
    changed_fields,
    fingerprint,
    removed_fields,
)
from kubestorm.sources.watching.object_record import ObjectRecord, pack, unpack
from kubestorm.sources.watching.wait_state import WaitState, wait_state

CREATED, UPDATED, DELETING, DELETED, RESYNC = "created", "updated", "deleting", "deleted", "resync"
STATUS = "status"
REDACTED = "(not shown)"
REQUEST_FIELDS = ("requests", "approval")
"""Fields of the status of our kinds that people write, not runs."""
_REQUEST_PATHS = tuple(f"status.{key}" for key in REQUEST_FIELDS)
_CONSUMED_PATHS = (
    *(f"metadata.annotations['{key}']" for key in CONSUMED_ANNOTATIONS),
    *(f"status.{status_requests.FIELD}.{key}" for key in status_requests.CONSUMED),
)

Object = Dict[str, Any]


class Change(NamedTuple):
    """One event to dispatch. `known` is set where it concerns an object that was there before."""

    change: str
    changed_fields: Tuple[str, ...] = ()
    known: Optional[ObjectRecord] = None
    reason: str = ""
    """Why a resync: requeue, retry, backstop, or what happened (instance, pods, job, database)."""


class Detection(NamedTuple):
    """What to dispatch, in this order, and then what to remember (None: forget the object)."""

    changes: Tuple[Change, ...]
    record: Optional[bytes]
    outcome_changed: bool = False
    """Whether phase or conditions differ from what was known; False where they do not count."""
    wait_state: Optional[WaitState] = None
    """What the object waits for; None for one that was deleted."""


def is_object(obj: Any) -> bool:
    """Whether this is an object with a name. Anything else that a server sends is skipped."""
    if not isinstance(obj, dict):
        return False
    metadata = obj.get("metadata")
    return (
        isinstance(metadata, dict)
        and isinstance(metadata.get("name"), str)
        and bool(metadata["name"])
    )


def key_of(obj: Mapping[str, Any]) -> str:
    """`namespace/name`; the namespace is empty for a cluster-scoped object."""
    metadata = obj["metadata"]
    return f"{metadata.get('namespace') or ''}/{metadata['name']}"


def detect_changes(
    obj: Mapping[str, Any],
    record: Optional[bytes],
    table: PathTable,
    *,
    sensitive: bool = False,
    status: bool = False,
    outcome_counts: bool = False,
) -> Detection:
    """Decide on an object that exists, from a list or an ADDED or MODIFIED event alike: level
    triggered, not edge triggered.

    An object under a known name with another uid was deleted and created again meanwhile: both are
    dispatched. That an object is being deleted is dispatched once. `sensitive` objects (Secrets)
    are compared by resourceVersion, so that nothing computed from their values is ever kept. With
    `status`, a new phase, or a condition with another status or reason, counts too; where nothing
    else changed, the change is called `status`. With `outcome_counts` (kinds of ours) such a change
    only sets `outcome_changed`, requests and answers of people count as the spec does, and a
    request that was acted upon and removed is no change.
    """
    metadata = obj["metadata"]
    deleting = bool(metadata.get("deletionTimestamp"))
    found = outcome(obj) if status or outcome_counts else {}
    if sensitive:
        seen = _sensitive_fingerprint(obj, table)
    else:
        counted = {**(found if status else {}), **(_requests(obj) if outcome_counts else {})}
        seen = fingerprint(obj, table, counted)
    uid = str(metadata.get("uid") or "")
    labels = metadata.get("labels")
    wait = wait_state(obj)
    digest = outcome_digest(found) if outcome_counts else b""
    record_now = pack(
        uid,
        deleting,
        not wait.is_settled,
        seen,
        labels if isinstance(labels, dict) else {},
        digest,
    )
    if record == record_now:
        return Detection((), record_now, wait_state=wait)
    begun = Change(DELETING if deleting else CREATED)
    if record is None:
        return Detection((begun,), record_now, outcome_counts, wait)
    known = unpack(record)
    if known.uid != uid:
        changes: Tuple[Change, ...] = (Change(DELETED, known=known), begun)
        return Detection(changes, record_now, outcome_counts, wait)
    fields = tuple(changed_fields(known.fingerprint, seen, table))
    changes = ()
    if deleting and not known.deleting:
        changes = (Change(DELETING, fields, known),)
    elif known.fingerprint.digest != seen.digest and not (
        outcome_counts and _only_consumed(known.fingerprint, seen, table)
    ):
        only_status = status and bool(fields) and all(map(_is_status, fields))
        changes = (Change(STATUS if only_status else UPDATED, fields, known),)
    return Detection(changes, record_now, outcome_counts and known.outcome != digest, wait)


def _is_status(name: str) -> bool:
    """Whether a field belongs to the status and is not a request of people."""
    return name.split(".")[0] == "status" and not name.startswith(_REQUEST_PATHS)


def _only_consumed(before: Fingerprint, after: Fingerprint, table: PathTable) -> bool:
    """Whether nothing differs but what a step takes away once it has acted on it."""
    changed, removed = (
        set(changed_fields(before, after, table)),
        removed_fields(before, after, table),
    )
    return bool(changed) and all(
        name in removed and name.startswith(_CONSUMED_PATHS) for name in changed
    )


def detect_deletion(record: Optional[bytes], uid: str = "") -> Detection:
    """Decide on an object that was deleted; `uid` is given where the server said which.

    Nothing is dispatched for an object that was never known, nor for the deletion of an older
    object of that name: a replay sends such events.
    """
    if record is None:
        return Detection((), None)
    known = unpack(record)
    if uid and known.uid != uid:
        return Detection((), record)
    return Detection((Change(DELETED, known=known),), None)


def is_settled(obj: Mapping[str, Any]) -> bool:
    """Whether an object of any kind needs no resync: Ready, for its current generation, and not
    being deleted; or finished (`status.finishedAt`); and without `status.requeueAt`.
    """
    return wait_state(obj).is_settled


def outcome(obj: Mapping[str, Any]) -> Object:
    """What counts of a status: the phase, and of each condition its status and reason. Times and
    messages do not.
    """
    status = obj.get("status")
    if not isinstance(status, dict):
        return {}
    found: Object = {"phase": str(status["phase"])} if status.get("phase") else {}
    listed = status.get("conditions")
    seen = {
        str(item.get("type")): f"{item.get('status')} {item.get('reason')}"
        for item in (listed if isinstance(listed, list) else ())
        if isinstance(item, dict)
    }
    return {**found, "conditions": seen} if seen else found


def _requests(obj: Mapping[str, Any]) -> Object:
    found = untrusted.status(obj)
    return {key: found[key] for key in REQUEST_FIELDS if found.get(key)}


def outcome_digest(found: Mapping[str, Any]) -> bytes:
    """Four bytes that identify an outcome."""
    return crc32(json.dumps(found, sort_keys=True).encode()).to_bytes(4, "big")


def payload(
    change: Change,
    obj: Optional[Object],
    *,
    key: str,
    cluster: str,
    resource: Resource,
    kind: str,
    sensitive: bool,
) -> Object:
    """The trigger's payload. Where an object was deleted unobserved, `object` holds what is known
    of it: identity and labels.

    `obj` is changed in place: managedFields and the values of Secrets are taken out.
    """
    namespace, _, name = key.partition("/")
    if obj is None or (
        change.change == DELETED and change.known and obj["metadata"].get("uid") != change.known.uid
    ):
        obj = _from_record(change.known, name, namespace)
    metadata = obj["metadata"]
    metadata.pop("managedFields", None)
    obj.setdefault("apiVersion", resource.api_version)
    obj.setdefault("kind", kind)
    if sensitive:
        redact(obj)
    return {
        "change": change.change,
        "reason": change.reason,
        "deleting": bool(metadata.get("deletionTimestamp")),
        "cluster": cluster,
        "group": resource.group,
        "version": resource.version,
        "plural": resource.plural,
        "kind": obj["kind"],
        "namespace": namespace,
        "name": name,
        "uid": metadata.get("uid") or "",
        "generation": metadata.get("generation") or 0,
        "labels": untrusted.texts(metadata.get("labels")),
        "annotations": untrusted.texts(metadata.get("annotations")),
        "changed_fields": list(change.changed_fields),
        "object": obj,
    }


def is_sensitive(resource: Resource) -> bool:
    """Secrets: their values must not travel in events, nor be kept as hashes that can be guessed
    at.
    """
    return resource.group == "" and resource.plural == "secrets"


def redact(obj: Object) -> None:
    """Take a Secret's values out, in place; its keys stay. kubectl's copy of what was applied holds
    the values too.
    """
    for part in ("data", "stringData"):
        values = obj.get(part)
        if isinstance(values, dict):
            obj[part] = dict.fromkeys(values, REDACTED)
    annotations = obj["metadata"].get("annotations")
    if isinstance(annotations, dict):
        annotations.pop(LAST_APPLIED, None)


def _sensitive_fingerprint(obj: Mapping[str, Any], table: PathTable) -> Fingerprint:
    metadata = obj["metadata"]
    shown: Object = {key: value for key, value in obj.items() if key not in ("data", "stringData")}
    shown["data"] = metadata.get("resourceVersion")
    return fingerprint(shown, table)


def _from_record(known: Optional[ObjectRecord], name: str, namespace: str) -> Object:
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if known is not None:
        metadata["uid"] = known.uid
        if known.labels:
            metadata["labels"] = dict(known.labels)
    return {"metadata": metadata}
