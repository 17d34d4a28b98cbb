"""What an event means, given what was known: the decisions of the sensor, as functions from values
to values.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from kubestorm.kube import Resource
from kubestorm.watching.fingerprint import (
    LAST_APPLIED,
    Fingerprint,
    PathTable,
    changed_fields,
    fingerprint,
)
from kubestorm.watching.records import Known, pack, unpack

CREATED, UPDATED, DELETING, DELETED, RESYNC = "created", "updated", "deleting", "deleted", "resync"
STATUS = "status"
CHANGES = (CREATED, UPDATED, DELETING, DELETED, RESYNC, STATUS)
REDACTED = "(not shown)"

Object = Dict[str, Any]


class Change(NamedTuple):
    """One event to dispatch. `known` is set where it concerns an object that was there before."""

    change: str
    changed_fields: Tuple[str, ...] = ()
    known: Optional[Known] = None


class Judgement(NamedTuple):
    """What to dispatch, in this order, and then what to remember (None: forget the object)."""

    changes: Tuple[Change, ...]
    record: Optional[bytes]


def is_object(obj: Any) -> bool:
    """Whether this is an object with a name: what a server sends beyond that is skipped, never an
    error.
    """
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


def judge(
    obj: Mapping[str, Any],
    record: Optional[bytes],
    table: PathTable,
    *,
    sensitive: bool = False,
    status: bool = False,
) -> Judgement:
    """Decide on an object that exists, from a list or an ADDED or MODIFIED event alike: the level
    counts, not the edge.

    An object under a known name with another uid was deleted and made again meanwhile: both are
    told. Whether an object is being deleted is told once. `sensitive` objects (Secrets) are
    compared by resourceVersion, so that nothing computed from their values is ever kept. With
    `status`, a new phase, or a condition with another status or reason, counts too; where nothing
    else changed, the change is called `status`.
    """
    metadata = obj["metadata"]
    deleting = bool(metadata.get("deletionTimestamp"))
    seen = (
        _sensitive_fingerprint(obj, table)
        if sensitive
        else fingerprint(obj, table, outcome(obj) if status else None)
    )
    uid = str(metadata.get("uid") or "")
    labels = metadata.get("labels")
    fresh = pack(
        uid, deleting, not is_settled(obj), seen, labels if isinstance(labels, dict) else {}
    )
    if record is None:
        return Judgement((Change(DELETING if deleting else CREATED),), fresh)
    if record == fresh:
        return Judgement((), fresh)
    known = unpack(record)
    if known.uid != uid:
        return Judgement(
            (Change(DELETED, known=known), Change(DELETING if deleting else CREATED)), fresh
        )
    fields = tuple(changed_fields(known.fingerprint, seen, table))
    if deleting and not known.deleting:
        return Judgement((Change(DELETING, fields, known),), fresh)
    if known.fingerprint.digest != seen.digest:
        only_status = (
            status and bool(fields) and all(name.split(".")[0] == "status" for name in fields)
        )
        return Judgement((Change(STATUS if only_status else UPDATED, fields, known),), fresh)
    return Judgement((), fresh)


def judge_gone(record: Optional[bytes], uid: str = "") -> Judgement:
    """Decide on an object that is no more; `uid` is given where the server said which.

    What was never known is no news, nor is the end of an older object of that name: a replay sends
    such events.
    """
    if record is None:
        return Judgement((), None)
    known = unpack(record)
    if uid and known.uid != uid:
        return Judgement((), record)
    return Judgement((Change(DELETED, known=known),), None)


def is_settled(obj: Mapping[str, Any]) -> bool:
    """Whether the object needs no further look: Ready, for its current generation, and not being
    deleted.

    The API conventions: an absent condition reads as Unknown, `observedGeneration` as not reported.
    What has come to its end (`status.finishedAt`: a rollout, a build) needs none either, good or
    bad; what says when it is to be looked at (`status.nextLookAt`) does.
    """
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return False
    status = obj.get("status")
    if not isinstance(status, dict):
        return False
    generation = metadata.get("generation")
    observed = status.get("observedGeneration")
    if _is_behind(observed, generation) or status.get("nextLookAt"):
        return False
    if status.get("finishedAt"):
        return True
    conditions = status.get("conditions")
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict) and condition.get("type") == "Ready":
            return condition.get("status") == "True" and not _is_behind(
                condition.get("observedGeneration"), generation
            )
    return False


def outcome(obj: Mapping[str, Any]) -> Object:
    """What of a status is news: the phase, and of each condition its status and reason. Times and
    messages are not.
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


def look_at(obj: Mapping[str, Any]) -> Optional[dt.datetime]:
    """When the object says it is to be looked at again (`status.nextLookAt`, RFC 3339); None where
    it does not.
    """
    status = obj.get("status")
    said = status.get("nextLookAt") if isinstance(status, dict) else None
    if not isinstance(said, str):
        return None
    try:
        moment = dt.datetime.fromisoformat(said.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.timezone.utc)


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
    """The trigger's payload. Of an object that is gone unseen, `object` holds what is remembered:
    identity and labels.

    `obj` is changed in place: managedFields and the values of Secrets are taken out.
    """
    namespace, _, name = key.partition("/")
    if obj is None or (
        change.change == DELETED and change.known and obj["metadata"].get("uid") != change.known.uid
    ):
        obj = _remembered(change.known, name, namespace)
    metadata = obj["metadata"]
    metadata.pop("managedFields", None)
    obj.setdefault("apiVersion", resource.api_version)
    obj.setdefault("kind", kind)
    if sensitive:
        redact(obj)
    return {
        "change": change.change,
        "cluster": cluster,
        "group": resource.group,
        "version": resource.version,
        "plural": resource.plural,
        "kind": obj["kind"],
        "namespace": namespace,
        "name": name,
        "uid": metadata.get("uid") or "",
        "generation": metadata.get("generation") or 0,
        "labels": metadata.get("labels") or {},
        "annotations": metadata.get("annotations") or {},
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


def _is_behind(observed: Any, generation: Any) -> bool:
    return isinstance(observed, int) and isinstance(generation, int) and observed < generation


def _sensitive_fingerprint(obj: Mapping[str, Any], table: PathTable) -> Fingerprint:
    metadata = obj["metadata"]
    shown: Object = {key: value for key, value in obj.items() if key not in ("data", "stringData")}
    shown["data"] = metadata.get("resourceVersion")
    return fingerprint(shown, table)


def _remembered(known: Optional[Known], name: str, namespace: str) -> Object:
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if known is not None:
        metadata["uid"] = known.uid
        if known.labels:
            metadata["labels"] = dict(known.labels)
    return {"metadata": metadata}


def changes_of(judgement: Judgement) -> List[str]:
    """The change words alone, for logs and tests."""
    return [change.change for change in judgement.changes]
