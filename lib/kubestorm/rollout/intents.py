"""What people write on an Application, as values: annotations in, intents out, and the annotations
to write. Pure.

A value is JSON as our actions write it (`{"by": ..., "at": ...}`), or any text that a person gives
by `kubectl annotate`: that counts as the name of whoever asks.
"""

from __future__ import annotations

import datetime as dt
import json
from types import MappingProxyType
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence

from kubestorm.rollout import names
from kubestorm.rollout.model import PERSON, PUSH, Freeze, Intents, Promotion
from kubestorm.untrusted import annotations_of, integer, json_object, json_value, moment, text

SOMEBODY = "somebody"
_TRUE = ("", "true", "yes", "1")


class Wish(NamedTuple):
    """The image that an Application should run: the newest push that it follows, or what a person
    chose.
    """

    digest: str
    tag: str = ""
    id: str = ""
    """Of the event, the same however often it is told; tells an answered wish from a new one."""
    recorded_at: Optional[dt.datetime] = None
    pushed_at: Optional[dt.datetime] = None
    by: str = ""
    cause: str = PUSH
    follows: bool = False
    """Whether another push was so shortly before it that more may come."""


class Wanted(NamedTuple):
    """A person's wish to go back: to a digest, a tag, a rollout's name or `previous`."""

    target: str
    by: str


def intents_of(
    application: Mapping[str, Any],
    rollout: str,
    *,
    own: Mapping[str, str] = MappingProxyType({}),
    superseded_by: str = "",
    latest: bool = True,
) -> Intents:
    """What is wanted of one rollout now. A wish that names another rollout is none of its. `own`
    are the annotations of the Rollout itself, where our actions write; people write on either.
    """
    sources = (annotations_of(application), own)
    abort = _about(rollout, names.ABORT, sources)
    promote = _about(rollout, names.PROMOTE, sources)
    return Intents(
        abort=_by(abort) if abort is not None else "",
        promote=_promotion(promote) if promote is not None else None,
        freeze=freeze_of(application),
        superseded_by=superseded_by,
        latest=latest,
    )


def freeze_of(application: Mapping[str, Any]) -> Optional[Freeze]:
    """Who holds new rollouts, and why."""
    said = _read(annotations_of(application).get(names.FREEZE))
    if said is None:
        return None
    reason = text(said.get("reason"), "no reason was given")
    return Freeze(text(said.get("owner"), _by(said)), reason)


def rollback_of(application: Mapping[str, Any]) -> Optional[Wanted]:
    """Where a person wants to go back to."""
    written = annotations_of(application).get(names.ROLLBACK_TO)
    if written is None:
        return None
    said = _read(written) or {}
    if "to" in said:
        return Wanted(text(said["to"]).strip() or names.PREVIOUS_WORD, _by(said))
    word = written.strip()
    return Wanted(
        names.PREVIOUS_WORD if word.lower() in _TRUE or word.startswith("{") else word, SOMEBODY
    )


def wish_of(application: Mapping[str, Any]) -> Optional[Wish]:
    """The image that is wanted; None where none is, or nothing that can be read is written."""
    said = json_object(annotations_of(application).get(names.WANTED_IMAGE))
    digest = text(said.get("digest"))
    if not digest.startswith("sha256:"):
        return None
    return Wish(
        digest=digest,
        tag=text(said.get("tag")),
        id=text(said.get("event_id"), digest),
        recorded_at=moment(said.get("recorded_at")),
        pushed_at=moment(said.get("pushed_at")),
        by=text(said.get("actor")),
        cause=text(said.get("cause"), PUSH),
        follows=bool(said.get("follows")),
    )


def wish_annotation(wish: Wish) -> str:
    """The other way round; at most one line of JSON."""
    said = {
        "digest": wish.digest,
        "tag": wish.tag,
        "event_id": wish.id,
        "recorded_at": format_moment(wish.recorded_at),
        "pushed_at": format_moment(wish.pushed_at),
        "actor": wish.by,
        "cause": wish.cause,
        "follows": wish.follows,
    }
    return json.dumps({key: value for key, value in said.items() if value}, sort_keys=True)


def person_annotation(by: str, now: dt.datetime, **more: Any) -> str:
    """A wish of a person, as the actions write it."""
    return json.dumps({"by": by or SOMEBODY, "at": format_moment(now), **more}, sort_keys=True)


def is_persons(wish: Optional[Wish]) -> bool:
    """Whether a person chose it."""
    return wish is not None and wish.cause == PERSON


def format_moment(at: Optional[dt.datetime]) -> Optional[str]:
    """RFC 3339 in UTC, to the millisecond; None of None."""
    if at is None:
        return None
    return at.astimezone(dt.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read(written: Optional[str]) -> Optional[Dict[str, Any]]:
    if written is None:
        return None
    said = json_value(written)
    if isinstance(said, dict):
        return said
    word = written.strip()
    return {"by": SOMEBODY if word.lower() in _TRUE else word}


def _by(said: Mapping[str, Any]) -> str:
    return text(said.get("by"), SOMEBODY)


def is_used_up(rollout: Mapping[str, Any]) -> bool:
    """Whether a promotion on a Rollout, once acted upon, has to be taken off it: one that names its
    stage, or is for all of them, counts for nothing else anyway.
    """
    said = _read(annotations_of(rollout).get(names.PROMOTE))
    if said is None:
        return False
    promotion = _promotion(said)
    return promotion.stage < 0 and not promotion.full


def _about(
    rollout: str, key: str, sources: Sequence[Mapping[str, str]]
) -> Optional[Dict[str, Any]]:
    """The first that says something of this rollout."""
    found = (_read(source.get(key)) for source in sources)
    return next((said for said in found if said and _is_about(said, rollout)), None)


def _is_about(said: Mapping[str, Any], rollout: str) -> bool:
    return said.get("rollout") in (None, "", rollout)


def _promotion(said: Mapping[str, Any]) -> Promotion:
    # Without a stage it is about wherever the rollout stands: a person who annotates sees it
    # paused.
    return Promotion(_by(said), integer(said.get("stage"), -1), bool(said.get("full")))
