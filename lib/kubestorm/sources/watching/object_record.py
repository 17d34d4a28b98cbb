"""The stored state of one object, packed into a few hundred bytes.

It tells after a restart whether it is the same object (uid), whether its deletion was dispatched,
whether anything that counts has changed, whether it was settled, and which labels it had, so that a
rule that matches on labels also gets a deletion that happened meanwhile.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Dict, Mapping, NamedTuple

from kubestorm.sources.watching.fingerprint import DIGEST_BYTES, FIELD_BYTES, Fingerprint

_compact = json.JSONEncoder(separators=(",", ":")).encode
_DELETING, _UNSETTLED, _UUID, _OUTCOME = 1, 2, 4, 8
OUTCOME_BYTES = 4


class ObjectRecord(NamedTuple):
    """One object as it was last dispatched."""

    uid: str
    deleting: bool
    unsettled: bool
    fingerprint: Fingerprint
    labels: Dict[str, str]
    outcome: bytes = b""
    """Four bytes that stand for phase and conditions, where they count."""


def pack(
    uid: str,
    deleting: bool,
    unsettled: bool,
    fingerprint: Fingerprint,
    labels: Mapping[str, Any],
    outcome: bytes = b"",
) -> bytes:
    """Flags, uid, digest, number of fields, fields, outcome, labels as JSON. `unpack` reads it
    back.
    """
    flags = (_DELETING if deleting else 0) | (_UNSETTLED if unsettled else 0)
    flags |= _OUTCOME if outcome else 0
    try:
        raw = bytes.fromhex(uid.replace("-", ""))
    except ValueError:
        raw = b""
    if len(raw) == 16 and len(uid) == 36:
        flags |= _UUID
    else:
        # Some API servers that are not Kubernetes' own make uids of another form.
        raw = uid.encode("utf-8", "surrogatepass")[:255]
    text = _compact(labels).encode() if labels else b""
    count = len(fingerprint.fields) // FIELD_BYTES
    head = bytes((flags, len(raw), count))
    return head + raw + fingerprint.digest + fingerprint.fields + outcome + text


def unpack(record: bytes) -> ObjectRecord:
    """Read a record; ValueError when it is not one."""
    if len(record) < 3 + DIGEST_BYTES:
        raise ValueError("a record is cut short")
    flags, uid_length, count = record[0], record[1], record[2]
    at = 3 + uid_length
    raw = record[3:at]
    fields_end = at + DIGEST_BYTES + count * FIELD_BYTES
    labels_at = fields_end + (OUTCOME_BYTES if flags & _OUTCOME else 0)
    if len(record) < labels_at:
        raise ValueError("a record is cut short")
    return ObjectRecord(
        uid=str(uuid.UUID(bytes=raw)) if flags & _UUID else raw.decode("utf-8", "surrogatepass"),
        deleting=bool(flags & _DELETING),
        unsettled=bool(flags & _UNSETTLED),
        fingerprint=Fingerprint(
            record[at : at + DIGEST_BYTES], record[at + DIGEST_BYTES : fields_end]
        ),
        labels=json.loads(record[labels_at:]) if len(record) > labels_at else {},
        outcome=record[fields_end:labels_at],
    )


def is_unsettled(record: bytes) -> bool:
    """Whether the object was not Ready, not yet observed, or being deleted, without unpacking."""
    return bool(record[0] & _UNSETTLED)
