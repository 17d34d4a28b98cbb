"""A manual snapshot that the annotation `kubestorm.io/snapshot: WORD` asks for. Pure.

The word is part of the snapshot's name, so each run finds what an earlier one started, and status
keeps the last word, so that a snapshot that was deleted later is not made again. Ready does not
depend on it: `status.requestedSnapshot` has its state, or why there is none.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping, Optional

from kubestorm.clients.rds import ObservedInstance, ObservedSnapshot
from kubestorm.core import naming, untrusted
from kubestorm.kinds.database.plan_deletion import SNAPSHOT_POSSIBLE

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
_WORD = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def is_word(word: str) -> bool:
    """Whether it can be part of a snapshot's name."""
    return len(word) <= WORD_LENGTH and bool(_WORD.fullmatch(word.lower()))


def identifier(instance: str, uid: str, word: str) -> str:
    """The snapshot's name; never that of one which a deletion makes."""
    return naming.snapshot_identifier(instance, uid, f"asked-{word.lower()}")


def requested(resource: Mapping[str, Any]) -> Optional[str]:
    """The word in the annotation, where that snapshot is not settled yet; else None."""
    word = untrusted.annotations_of(resource).get(naming.SNAPSHOT_ANNOTATION)
    last = untrusted.mapping(untrusted.status(resource).get(STATUS_FIELD))
    settled = last.get("request") == word and last.get("state") in SETTLED
    return None if settled else word or None


def refused(word: str, message: str, name: str = "(none)") -> Dict[str, str]:
    """The field of status for a snapshot that cannot be made."""
    # The identifier is not an empty string: a merge patch of Kubernetes 1.20 makes null of it.
    return {"request": word, "identifier": name, "state": REFUSED, "message": message}


def plan_snapshot(
    word: str,
    name: str,
    found: Optional[ObservedSnapshot],
    instance: ObservedInstance,
    *,
    busy: bool,
) -> Dict[str, str]:
    """The field of status. `Creating` where none was found means: create it now. `busy`: this run
    has just changed the instance.
    """
    if found is None and busy:
        state, message = PENDING, "Waiting until the instance has been changed."
    elif found is None and instance.status not in SNAPSHOT_POSSIBLE:
        state = PENDING
        message = f"The instance is {instance.status}; RDS cannot make a snapshot in that state."
    elif found is not None and found.status == "available":
        state, message = AVAILABLE, "The snapshot is available."
    elif found is not None and found.status == "failed":
        state, message = FAILED, "RDS could not create it; request another with a new word."
    else:
        state, message = CREATING, "Creating the snapshot; this usually takes several minutes."
    return {"request": word, "identifier": name, "state": state, "message": message}
