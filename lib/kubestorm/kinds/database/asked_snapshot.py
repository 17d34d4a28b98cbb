"""A manual snapshot that somebody asked for, by the annotation `kubestorm.io/snapshot: WORD`.

Level, not edge: the word is part of the snapshot's name, so a look finds what an earlier one began,
and status keeps the word that was carried out, so that a snapshot which was deleted afterwards is
not made again. It changes nothing about the Database being Ready: `status.requestedSnapshot` says
how far it is, or why there is none.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping, Optional

from kubestorm.clients.rds import ObservedInstance, ObservedSnapshot, RdsClient
from kubestorm.core import naming, untrusted
from kubestorm.core.errors import DefinitionError, NotFoundError, PermanentError
from kubestorm.kinds.database.deletion import SNAPSHOT_POSSIBLE

STATUS_FIELD = "requestedSnapshot"
PENDING, CREATING, AVAILABLE, FAILED, REFUSED = (
    "Pending",
    "Creating",
    "Available",
    "Failed",
    "Refused",
)
SETTLED = (AVAILABLE, FAILED, REFUSED)
WORD_LENGTH = 60
WORD = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def is_word(word: str) -> bool:
    """Whether it can be part of a snapshot's name."""
    return len(word) <= WORD_LENGTH and bool(WORD.fullmatch(word.lower()))


def identifier(instance: str, uid: str, word: str) -> str:
    """The snapshot's name; never that of one which a deletion makes."""
    return naming.snapshot_identifier(instance, uid, f"asked-{word.lower()}")


def requested(resource: Mapping[str, Any]) -> Optional[str]:
    """The word on the object."""
    value = untrusted.annotations_of(resource).get(naming.SNAPSHOT_ANNOTATION)
    return str(value) if value else None


def is_due(resource: Mapping[str, Any]) -> bool:
    """Whether there is a wish that has not come to its end."""
    word = requested(resource)
    told = untrusted.mapping(untrusted.status(resource).get(STATUS_FIELD))
    return word is not None and not (told.get("request") == word and told.get("state") in SETTLED)


def judge(
    word: str, name: str, found: Optional[ObservedSnapshot], instance: ObservedInstance
) -> Dict[str, str]:
    """What status says of it. `Creating` without a snapshot found means: begin it now."""
    told = {"request": word, "identifier": name}
    if found is None and instance.status not in SNAPSHOT_POSSIBLE:
        message = (
            f"RDS says {instance.status} of the instance, and makes no snapshot in that state."
        )
        return {**told, "state": PENDING, "message": message}
    status = found.status if found else "creating"
    state = {"available": AVAILABLE, "failed": FAILED}.get(status, CREATING)
    message = {
        AVAILABLE: "The snapshot is available.",
        FAILED: "RDS could not make it; ask again with another word.",
        CREATING: "RDS makes the snapshot; this takes minutes.",
    }[state]
    return {**told, "state": state, "message": message}


def carry_on(
    rds: RdsClient,
    resource: Mapping[str, Any],
    instance: ObservedInstance,
    tags: Mapping[str, str],
    *,
    busy: bool = False,
) -> Dict[str, Any]:
    """Begin or look at it; the fields of status that follow, none where there is no wish. Never
    waits.

    `busy`: this look has begun a change, so that the instance is no longer what was seen.
    """
    word = requested(resource)
    if word is None or not is_due(resource):
        return {}
    uid = str(resource["metadata"]["uid"])
    if not is_word(word):
        message = f"{naming.SNAPSHOT_ANNOTATION}: {word!r} cannot be part of a snapshot's name."
        # Not an empty text: a merge patch of Kubernetes 1.20 makes null of it.
        told = {"request": word, "identifier": "(none)", "state": REFUSED, "message": message}
        return {STATUS_FIELD: told}
    name = identifier(instance.identifier, uid, word)
    found = rds.describe_snapshot(name)
    told = judge(word, name, found, instance)
    if busy and found is None:
        told = {
            **told,
            "state": PENDING,
            "message": "The instance is being changed; the snapshot follows.",
        }
    if found is None and told["state"] == CREATING:
        try:
            rds.create_snapshot(instance.identifier, name, tags)
        except (PermanentError, DefinitionError, NotFoundError) as error:
            told = {**told, "state": REFUSED, "message": str(error)}
    return {STATUS_FIELD: told}
