"""What an object carries of its approval: one annotation, so that it survives whatever else is
lost. Pure.

`kubestorm.io/approval` is JSON. `content_hash`, `state`, `by` and `at` are for whoever waits (the
rollout, the deletion); the rest is for those who ask.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from kubestorm import untrusted

ANNOTATION = "kubestorm.io/approval"
WAITING, GRANTED, REFUSED, EXPIRED = "waiting", "granted", "refused", "expired"
YES, NO = "approve", "refuse"
MAX_COMMENT = 300
MAX_ANSWERS = 20


@dataclass(frozen=True)
class Vote:
    """One person's word. `via` is how it came: slack, chat, inquiry, api."""

    by: str
    decision: str
    at: str
    via: str
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


def number_of(content_hash: str, shown: str) -> str:
    """Seven characters of the two hashes."""
    return f"{content_hash[:3]}{shown[:4]}"


def read(annotations: Optional[Mapping[str, Any]]) -> Optional[Record]:
    """The record in an object's annotations; None where there is none, or somebody has written
    something else there.
    """
    data = untrusted.json_object(untrusted.texts(annotations).get(ANNOTATION))
    if data.get("state") not in (WAITING, GRANTED, REFUSED, EXPIRED):
        return None
    known = Record.__dataclass_fields__
    values: Dict[str, Any] = {
        key: value
        for key, value in data.items()
        if key in known and isinstance(value, str) and key != "answers"
    }
    values["quorum"] = max(untrusted.integer(data.get("quorum"), 1), 1)
    try:
        values["answers"] = tuple(
            Vote(**{key: untrusted.text(said) for key, said in one.items()})
            for one in untrusted.mappings(data.get("answers"))
        )
        return Record(**values)
    except TypeError:  # a field that is missing, or that nobody knows
        return None


def write(record: Record) -> str:
    """The annotation's text."""
    data = asdict(record)
    data["answers"] = [asdict(vote) for vote in record.answers[-MAX_ANSWERS:]]
    return json.dumps(
        {key: value for key, value in data.items() if value not in ("", [])}, separators=(",", ":")
    )


def stamp(moment: dt.datetime) -> str:
    """RFC 3339 to the second."""
    return moment.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
