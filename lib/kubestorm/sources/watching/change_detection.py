"""What an event means, given what was known: the decisions of the sensor, as functions from values
to values.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple
from zlib import crc32

from kubestorm.clients.kube import Resource
from kubestorm.core import status_requests, untrusted
from kubestorm.core.naming import CONSUMED_ANNOTATIONS
from kubestorm.sources.watching.expecting import SETTLED, expectation
from kubestorm.sources.watching.fingerprint import (
    LAST_APPLIED,
    Fingerprint,
    PathTable,
    changed_fields,
    fingerprint,
    removed_fields,
)
from kubestorm.sources.watching.records import Known, pack, unpack

CREATED, UPDATED, DELETING, DELETED, RESYNC = "created", "updated", "deleting", "deleted", "resync"
STATUS = "status"
REDACTED = "(not shown)"
ASKED = ("requests", "approval")
"""Fields of the status of a kind of ours that people write, not its runs."""
_ASKED_PATHS = tuple(f"status.{key}" for key in ASKED)
_CONSUMED_PATHS = (
    *(f"metadata.annotations['{key}']" for key in CONSUMED_ANNOTATIONS),
    *(f"status.{status_requests.FIELD}.{key}" for key in status_requests.CONSUMED),
)

Object = Dict[str, Any]


class Change(NamedTuple):
    """One event to dispatch. `known` is set where it concerns an object that was there before."""

    change: str
    changed_fields: Tuple[str, ...] = ()
    known: Optional[Known] = None
    reason: str = ""
    """Why a resync: requeue, retry, backstop, or what happened (instance, pods, job, database)."""


class Judgement(NamedTuple):
    """What to dispatch, in this order, and then what to remember (None: forget the object)."""

    changes: Tuple[Change, ...]
    record: Optional[bytes]
    fresh: bool = False
    """Whether the outcome is another one than was known; False where outcomes do not count."""


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
    outcome_counts: bool = False,
) -> Judgement:
    """Decide on an object that exists, from a list or an ADDED or MODIFIED event alike: the level
    counts, not the edge.

    An object under a known name with another uid was deleted and made again meanwhile: both are
    told. Whether an object is being deleted is told once. `sensitive` objects (Secrets) are
    compared by resourceVersion, so that nothing computed from their values is ever kept. With
    `status`, a new phase, or a condition with another status or reason, counts too; where nothing
    else changed, the change is called `status`. With `outcome_counts` (kinds of ours) such a change
    is only noted in `fresh`, what people ask and answer counts as the spec does, and what was acted
    upon and taken away is no change.
    """
    metadata = obj["metadata"]
    deleting = bool(metadata.get("deletionTimestamp"))
    seen = (
        _sensitive_fingerprint(obj, table)
        if sensitive
        else fingerprint(
            obj,
            table,
            {**(outcome(obj) if status else {}), **(_asked(obj) if outcome_counts else {})},
        )
    )
    uid = str(metadata.get("uid") or "")
    labels = metadata.get("labels")
    record_now = pack(
        uid,
        deleting,
        not is_settled(obj),
        seen,
        labels if isinstance(labels, dict) else {},
        digest_of_outcome(outcome(obj)) if outcome_counts else b"",
    )
    if record is None:
        begun = Change(DELETING if deleting else CREATED)
        return Judgement((begun,), record_now, fresh=outcome_counts)
    if record == record_now:
        return Judgement((), record_now)
    known = unpack(record)
    fresh = outcome_counts and known.outcome != unpack(record_now).outcome
    if known.uid != uid:
        begun = Change(DELETING if deleting else CREATED)
        return Judgement((Change(DELETED, known=known), begun), record_now, fresh=outcome_counts)
    fields = tuple(changed_fields(known.fingerprint, seen, table))
    if deleting and not known.deleting:
        return Judgement((Change(DELETING, fields, known),), record_now, fresh)
    if known.fingerprint.digest != seen.digest:
        if outcome_counts and _was_acted_upon(known.fingerprint, seen, table):
            return Judgement((), record_now, fresh)
        only_status = (
            status
            and bool(fields)
            and all(
                name.split(".")[0] == "status" and not name.startswith(_ASKED_PATHS)
                for name in fields
            )
        )
        change = Change(STATUS if only_status else UPDATED, fields, known)
        return Judgement((change,), record_now, fresh)
    return Judgement((), record_now, fresh)


def _was_acted_upon(before: Fingerprint, after: Fingerprint, table: PathTable) -> bool:
    """Whether nothing differs but what a step takes away once it has acted on it."""
    changed, removed = (
        set(changed_fields(before, after, table)),
        removed_fields(before, after, table),
    )
    return bool(changed) and all(
        name in removed and name.startswith(_CONSUMED_PATHS) for name in changed
    )


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
    """Whether an object of any kind needs no further look: Ready, for its current generation, and
    not being deleted; or at its end (`status.finishedAt`). One with `status.requeueAt` does need
    one.
    """
    expected = expectation(obj)
    return expected.what == SETTLED and expected.at is None


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


def _asked(obj: Mapping[str, Any]) -> Object:
    found = untrusted.status(obj)
    return {key: found[key] for key in ASKED if found.get(key)}


def digest_of_outcome(found: Mapping[str, Any]) -> bytes:
    """Four bytes that tell one outcome from the next."""
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


def _remembered(known: Optional[Known], name: str, namespace: str) -> Object:
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if known is not None:
        metadata["uid"] = known.uid
        if known.labels:
            metadata["labels"] = dict(known.labels)
    return {"metadata": metadata}
