"""What an object carries of its approval: `status.approval`, so that it survives whatever else is
lost, and only who may write the status can have given it. Pure.

`contentHash`, `state`, `by` and `at` are for whoever waits (the rollout, the deletion); the rest is
for those who ask.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from kubestorm.core import untrusted
from kubestorm.kinds.common.approval import EXPIRED, GRANTED, REFUSED, WAITING

FIELD = "approval"
YES, NO = "approve", "refuse"
MAX_COMMENT = 300
MAX_ANSWERS = 20


@dataclass(frozen=True)
class Vote:
    """One person's word. `via` is how it came: slack, chat, inquiry, api."""

    by: str = ""
    decision: str = ""
    at: str = ""
    via: str = ""
    comment: str = ""


@dataclass(frozen=True)
class Record:
    """One question and its answers. Times are RFC 3339 in UTC."""

    what: str
    content_hash: str
    """What exactly is asked about, for whoever waits."""
    shown: str
    """The same of all that people were shown: another one voids their answers."""
    state: str = WAITING
    requested_by: str = ""
    asked_at: str = ""
    expires_at: str = ""
    reminded_at: str = ""
    quorum: int = 1
    answers: Tuple[Vote, ...] = ()
    by: str = ""
    """Who made it what it is: those who said yes, or the one who said no."""
    at: str = ""
    channel: str = ""
    message: str = ""
    """Timestamp of the message in Slack that asks."""

    @property
    def number(self) -> str:
        """What people call it: short, and another one as soon as the content is another."""
        return number_of(self.content_hash, self.shown)


_KEYS = {
    name: re.sub("_(.)", lambda found: found.group(1).upper(), name)
    for name in Record.__dataclass_fields__
    if name != "answers"
}
"""Field of a record -> its key in the status."""


def number_of(content_hash: str, shown: str) -> str:
    """Seven characters of the two hashes."""
    return f"{content_hash[:3]}{shown[:4]}"


def read(obj: Mapping[str, Any]) -> Optional[Record]:
    """The record in an object's status; None where there is none, or somebody has written something
    else there.
    """
    data = untrusted.mapping(untrusted.status(obj).get(FIELD))
    if data.get("state") not in (WAITING, GRANTED, REFUSED, EXPIRED):
        return None
    texts = {name: data.get(key) for name, key in _KEYS.items()}
    values: Dict[str, Any] = {name: said for name, said in texts.items() if isinstance(said, str)}
    values["quorum"] = max(untrusted.integer(data.get("quorum"), 1), 1)
    try:
        values["answers"] = tuple(
            Vote(**{key: untrusted.text(said) for key, said in one.items()})
            for one in untrusted.mappings(data.get("answers"))
        )
        return Record(**values)
    except TypeError:  # a field that is missing, or that nobody knows
        return None


def fields(record: Record) -> Dict[str, Any]:
    """The field of status, for a merge patch that takes the place of an earlier record."""
    data: Dict[str, Any] = {key: getattr(record, name) or None for name, key in _KEYS.items()}
    answers = [
        {key: said for key, said in asdict(vote).items() if said}
        for vote in record.answers[-MAX_ANSWERS:]
    ]
    return {FIELD: {**data, "answers": answers or None}}
