"""Which rollout comes next for an Application, as a pure function of its wish, its history and the
time.

Pushes come in storms: the first is rolled out at once, of those that follow only the last. A wish
is answered by one rollout (`Past.wish`), so that neither a rollback nor a person's choice is undone
by the push that came before it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from kubestorm.clients import resources
from kubestorm.core import status_requests
from kubestorm.kinds.application.rollout.intents import Wanted, Wish
from kubestorm.kinds.application.rollout.machine import short
from kubestorm.kinds.application.rollout.model import (
    ABORTED,
    COMPLETE,
    FAILED,
    PERSON,
    ROLLBACK,
    SUPERSEDED,
    TERMINAL,
    Freeze,
)
from kubestorm.kinds.application.rollout.settings import RolloutSettings


@dataclass(frozen=True)
class Past:
    """One rollout of the Application, as its object says it."""

    name: str
    number: int
    digest: str
    tag: str = ""
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    cause: str = "push"
    wish: str = ""
    requested_by: str = ""
    request: str = ""
    created_at: Optional[dt.datetime] = None
    finished_at: Optional[dt.datetime] = None

    @property
    def is_over(self) -> bool:
        return self.phase in TERMINAL


@dataclass(frozen=True)
class NewRollout:
    """A rollout to make."""

    number: int
    digest: str
    tag: str
    previous: str
    previous_tag: str
    cause: str
    requested_by: str
    wish: str
    request: str = ""
    """The id of the rollback that it answers."""


@dataclass(frozen=True)
class Plan:
    """What to make, which intents are over, which old rollouts go, when to look again, and what to
    say.
    """

    new: Optional[NewRollout] = None
    consume: Tuple[str, ...] = ()
    """What has been acted upon: `rollbackTo`, or the annotation that asks for a retry."""
    prune: Tuple[str, ...] = ()
    look_after_seconds: Optional[float] = None
    reason: str = ""
    message: str = ""
    """Why nothing new begins although something is wished; empty where all is as wished."""


def plan(
    wish: Optional[Wish],
    rollback: Optional[Wanted],
    retry: str,
    freeze: Optional[Freeze],
    pasts: Sequence[Past],
    settings: RolloutSettings,
    now: dt.datetime,
    *,
    running: str = "",
    alone_seconds: float = 0.0,
) -> Plan:
    """What comes next. `running` is the digest on the active track, for an Application whose
    history is gone; `alone_seconds` is how long the Application wants a rollout left alone before a
    newer push supersedes it."""
    history = sorted(pasts, key=lambda past: past.number)
    newest = history[-1] if history else None
    active = newest if newest is not None and not newest.is_over else None
    good = good_of(history)
    prune = superfluous(history, settings.history)
    if rollback is not None:
        return _roll_back(rollback, history, active, good, wish, prune)
    if wish is None:
        return Plan(prune=prune)
    previous = good.digest if good is not None else running
    previous_tag = good.tag if good is not None else ""
    said = _reason_not_to(wish, retry, freeze, history, active, previous)
    if said is not None:
        return Plan(prune=prune, reason=said[0], message=said[1])
    wait = _seconds_to_settle(wish, newest, active, settings, alone_seconds, now)
    if wait > 0:
        message = f"Waiting for further pushes before rolling out {wish.tag or short(wish.digest)}."
        return Plan(prune=prune, look_after_seconds=wait, reason="Settling", message=message)
    new = NewRollout(
        number=_next_number(history),
        digest=wish.digest,
        tag=wish.tag,
        previous=previous,
        previous_tag=previous_tag,
        cause=wish.cause,
        requested_by=wish.by,
        wish=wish.id,
    )
    consumed = (resources.RETRY_DIGEST,) if retry == wish.digest else ()
    return Plan(new=new, consume=consumed, prune=prune)


def good_of(history: Sequence[Past]) -> Optional[Past]:
    """The last rollout that came to all pods."""
    return max(
        (past for past in history if past.phase == COMPLETE),
        key=lambda past: past.number,
        default=None,
    )


def superfluous(history: Sequence[Past], keep: int) -> Tuple[str, ...]:
    """The oldest rollouts beyond `keep`; never the good one, nor one that goes on."""
    good = good_of(history)
    ordered = sorted(history, key=lambda past: past.number, reverse=True)
    extra = [past for past in ordered[keep:] if past.is_over and past is not good]
    return tuple(past.name for past in extra)


def find_target(target: str, history: Sequence[Past]) -> Optional[Past]:
    """The good rollout that a person means: `previous`, a rollout's name, a tag, a digest or its
    beginning.
    """
    ordered = sorted(
        (past for past in history if past.phase == COMPLETE),
        key=lambda past: past.number,
        reverse=True,
    )
    if target == resources.PREVIOUS_WORD:
        newest = max(history, key=lambda past: past.number, default=None)
        if not ordered or newest is None:
            return None
        if not newest.is_over:
            return ordered[0]  # back from the one that is under way
        return next((past for past in ordered if past.digest != ordered[0].digest), None)
    bare = target.partition(":")[2] if target.startswith("sha256:") else target
    for past in ordered:
        value = past.digest.partition(":")[2]
        if target in (past.name, past.tag, past.digest) or (
            len(bare) >= 6 and value.startswith(bare)
        ):
            return past
    return None


def _roll_back(
    rollback: Wanted,
    history: Sequence[Past],
    active: Optional[Past],
    good: Optional[Past],
    wish: Optional[Wish],
    prune: Tuple[str, ...],
) -> Plan:
    over = (status_requests.ROLLBACK_TO,)
    if rollback.id and any(past.request == rollback.id for past in history):
        return Plan(consume=over, prune=prune)  # made by a run that died before it could say so
    target = find_target(rollback.target, history)
    if target is None:
        known = (
            ", ".join(past.tag or short(past.digest) for past in history if past.phase == COMPLETE)
            or "none"
        )
        message = f"There is no good rollout {rollback.target!r} to return to; there are: {known}."
        return Plan(consume=over, prune=prune, reason="NoSuchRollout", message=message)
    if active is None and good is not None and target.digest == good.digest:
        return Plan(consume=over, prune=prune)  # that is what runs
    new = NewRollout(
        number=_next_number(history),
        digest=target.digest,
        tag=target.tag,
        previous=good.digest if good is not None else target.digest,
        previous_tag=good.tag if good is not None else target.tag,
        cause=ROLLBACK,
        requested_by=rollback.by,
        wish=wish.id if wish is not None else "",
        request=rollback.id,
    )
    return Plan(new=new, consume=over, prune=prune)


def _reason_not_to(
    wish: Wish,
    retry: str,
    freeze: Optional[Freeze],
    history: Sequence[Past],
    active: Optional[Past],
    previous: str,
) -> Optional[Tuple[str, str]]:
    """A reason (empty: all is as wished) why the wish leads to no rollout; None where it does."""
    answered = [past for past in history if past.wish == wish.id and past.phase != SUPERSEDED]
    ended_badly = _ended_badly(wish, history)
    if ended_badly is not None and retry == wish.digest:
        return _frozen(freeze)
    if ended_badly is not None and (wish.cause != PERSON or answered):
        how = "failed" if ended_badly.phase == FAILED else "was aborted"
        message = (
            f"{wish.tag or short(wish.digest)} {how} as {ended_badly.name}: {ended_badly.message} "
            f"Not tried again unless requested."
        )
        return "DigestRefused", message
    if answered or (active is not None and active.digest == wish.digest):
        return "", ""
    if active is None and wish.digest == previous:
        return "", ""
    return _frozen(freeze)


def _frozen(freeze: Optional[Freeze]) -> Optional[Tuple[str, str]]:
    if freeze is None:
        return None
    return "Frozen", f"Frozen by {freeze.owner}: {freeze.reason}"


def _ended_badly(wish: Wish, history: Sequence[Past]) -> Optional[Past]:
    ofits = [
        past
        for past in history
        if past.digest == wish.digest and past.phase in (FAILED, ABORTED, COMPLETE)
    ]
    last = max(ofits, key=lambda past: past.number, default=None)
    return last if last is not None and last.phase in (FAILED, ABORTED) else None


def _seconds_to_settle(
    wish: Wish,
    newest: Optional[Past],
    active: Optional[Past],
    settings: RolloutSettings,
    alone_seconds: float,
    now: dt.datetime,
) -> float:
    if wish.cause == PERSON or newest is None or newest.created_at is None:
        return 0.0
    age = (now - newest.created_at).total_seconds()
    alone = alone_seconds - age if active is not None else 0.0
    if age >= settings.settle_max_seconds:
        return alone
    if active is None and not wish.follows:
        return 0.0
    quiet = (
        (now - wish.recorded_at).total_seconds()
        if wish.recorded_at is not None
        else settings.settle_seconds
    )
    return max(settings.settle_seconds - quiet, alone)


def _next_number(history: Sequence[Past]) -> int:
    numbers: List[int] = [past.number for past in history]
    return max(numbers, default=0) + 1
