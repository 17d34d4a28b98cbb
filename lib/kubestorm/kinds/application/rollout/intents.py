"""What is wished of an Application and asked of its rollouts, as values: the object in, intents
out. Pure.

Which image is wanted is an annotation, JSON as our actions write it; what people ask is in the
status (`asked`).
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Mapping, NamedTuple, Optional

from kubestorm.clients import resources
from kubestorm.core import status_requests
from kubestorm.core.times import format_time
from kubestorm.core.untrusted import annotations_of, integer, json_object, moment, text
from kubestorm.kinds.application.rollout.model import PUSH, Freeze, Intents, Promotion


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
    id: str = ""
    """Tells a request that has been answered from a new one; empty where nobody gave it one."""


def intents_of(
    application: Mapping[str, Any],
    rollout: Mapping[str, Any],
    *,
    superseded_by: str = "",
    latest: bool = True,
) -> Intents:
    """What is wanted of one rollout now."""
    abort, promote = (
        status_requests.read(rollout, status_requests.ABORT),
        status_requests.read(rollout, status_requests.PROMOTE),
    )
    return Intents(
        abort=status_requests.by(abort) if abort is not None else "",
        promote=_promotion(promote) if promote is not None else None,
        freeze=freeze_of(application),
        superseded_by=superseded_by,
        latest=latest,
    )


def freeze_of(application: Mapping[str, Any]) -> Optional[Freeze]:
    """Who holds new rollouts, and why."""
    said = status_requests.read(application, status_requests.FREEZE)
    if said is None:
        return None
    return Freeze(
        text(said.get("owner"), status_requests.by(said)),
        text(said.get("reason"), "no reason was given"),
    )


def rollback_of(application: Mapping[str, Any]) -> Optional[Wanted]:
    """Where a person wants to go back to."""
    said = status_requests.read(application, status_requests.ROLLBACK_TO)
    if said is None:
        return None
    to = text(said.get("to")).strip() or resources.PREVIOUS_WORD
    return Wanted(to, status_requests.by(said), text(said.get("id")))


def wish_of(application: Mapping[str, Any]) -> Optional[Wish]:
    """The image that is wanted; None where none is, or nothing that can be read is written."""
    said = json_object(annotations_of(application).get(resources.WANTED_IMAGE))
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


def format_moment(at: Optional[dt.datetime]) -> Optional[str]:
    """RFC 3339 in UTC, to the millisecond; None of None."""
    if at is None:
        return None
    return format_time(at, "milliseconds")


def _promotion(said: Mapping[str, Any]) -> Promotion:
    # Without a stage it is about wherever the rollout stands.
    return Promotion(
        status_requests.by(said), integer(said.get("stage"), -1), bool(said.get("full"))
    )
