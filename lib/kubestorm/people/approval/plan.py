"""What to do about an approval now, and whether an answer counts. Pure: the time is passed in.

The truth is the record on the object. Every look begins from it, so that a look that died, came
late or came twice ends the same way; every answer is judged against it, whatever way it came.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import NamedTuple, Optional, Sequence, Union

from kubestorm.core.times import format_time, parse_time
from kubestorm.kinds.common.approval import EXPIRED, GRANTED, REFUSED, WAITING
from kubestorm.people.approval.record import MAX_COMMENT, NO, YES, Record, Vote
from kubestorm.people.approval.settings import ROLE_PREFIX, Rule
from kubestorm.people.chat.people import Person


@dataclass(frozen=True)
class Question:
    """What is to be asked about an object now."""

    what: str
    namespace: str
    content_hash: str
    shown: str
    requested_by: str = ""


class Ask(NamedTuple):
    """Ask it; `voided` is the question that this one takes the place of."""

    record: Record
    voided: Optional[Record] = None


class Remind(NamedTuple):
    """Ask again."""

    record: Record


class Expire(NamedTuple):
    """Nobody answered in time."""

    record: Record


class Wait(NamedTuple):
    """It is asked, or answered."""

    record: Record


Step = Union[Ask, Remind, Expire, Wait]


def next_step(question: Question, record: Optional[Record], rule: Rule, now: dt.datetime) -> Step:
    """The one next thing to do."""
    if record is None or (record.content_hash, record.shown, record.what) != (
        question.content_hash,
        question.shown,
        question.what,
    ):
        if (
            record is not None
            and record.content_hash == question.content_hash
            and record.state != WAITING
        ):
            # It was decided on what was shown then. What is waited for has not changed.
            return Wait(record)
        return Ask(
            _new(question, rule, now),
            record if record is not None and record.state == WAITING else None,
        )
    if record.state != WAITING:
        return Wait(record)
    if _is_past(record.expires_at, now):
        return Expire(replace(record, state=EXPIRED, at=format_time(now)))
    reminded = parse_time(record.reminded_at or record.asked_at)
    due = dt.timedelta(minutes=rule.reminder_minutes)
    if rule.reminder_minutes and reminded is not None and now - reminded >= due:
        return Remind(replace(record, reminded_at=format_time(now)))
    return Wait(record)


def _new(question: Question, rule: Rule, now: dt.datetime) -> Record:
    return Record(
        what=question.what,
        content_hash=question.content_hash,
        shown=question.shown,
        requested_by=question.requested_by,
        asked_at=format_time(now),
        expires_at=format_time(now + dt.timedelta(minutes=rule.expiry_minutes)),
        quorum=int(rule.quorum),
    )


class Counted(NamedTuple):
    """It counts: what the record is with it, and a sentence."""

    record: Record
    sentence: str


class NotCounted(NamedTuple):
    """It changes nothing: a sentence says why. `outdated`: the question has to be asked anew."""

    sentence: str
    outdated: bool = False


Judgement = Union[Counted, NotCounted]


def judge(
    question: Optional[Question],
    record: Optional[Record],
    rule: Rule,
    person: Person,
    decision: str,
    now: dt.datetime,
    *,
    number: str = "",
    via: str = "chat",
    comment: str = "",
) -> Judgement:
    """One person's answer. `number` is what the person answers, where they said so; `question` is
    what is open now.
    """
    if decision not in (YES, NO):
        return NotCounted(f"An answer is {YES} or {NO}, not {decision!r}.")
    if record is None:
        return NotCounted("Nothing is asked there now.")
    if number and number != record.number:
        return NotCounted(
            f"What was to happen has changed since: {number} is void. The question is now "
            f"{record.number}."
        )
    if record.state != WAITING:
        return NotCounted(
            f"That is {record.state} already{f', by {record.by}' if record.by else ''}."
        )
    if question is None:
        return NotCounted("Nothing is asked there any more.")
    if (record.content_hash, record.shown) != (question.content_hash, question.shown):
        return NotCounted(
            "What was to happen has changed since it was asked; it is asked anew.", outdated=True
        )
    if _is_past(record.expires_at, now):
        return NotCounted("The time for an answer is over.")
    refusal = why_not(rule, person, question)
    if refusal:
        return NotCounted(refusal)
    before = next((vote for vote in record.answers if vote.by == person.name), None)
    if before is not None and before.decision == decision:
        return NotCounted(f"{person.name} has said {decision} already.")
    vote = Vote(
        person.name, decision, format_time(now), via, " ".join(comment.split())[:MAX_COMMENT]
    )
    kept = tuple(one for one in record.answers if one.by != person.name)
    return _counted(replace(record, answers=(*kept, vote)), vote, now)


def _counted(record: Record, vote: Vote, now: dt.datetime) -> Counted:
    because = f": {vote.comment}" if vote.comment else ""
    if vote.decision == NO:
        return Counted(
            replace(record, state=REFUSED, by=vote.by, at=format_time(now)),
            f"{vote.by} has refused it{because or '.'}",
        )
    for_it = [one.by for one in record.answers if one.decision == YES]
    if len(for_it) < record.quorum:
        left = record.quorum - len(for_it)
        return Counted(
            record, f"{vote.by} has approved it; {left} more {'has' if left == 1 else 'have'} to."
        )
    names = " and ".join(for_it)
    return Counted(
        replace(record, state=GRANTED, by=names, at=format_time(now)),
        f"{names} approved it{because or '.'}",
    )


def why_not(rule: Rule, person: Person, question: Question) -> str:
    """Why this person's word does not count here; empty where it does."""
    if not person.known:
        return (
            f"I do not know {person.account or 'you'}; ask an operator to list your account under "
            "chat.people."
        )
    if person.name == question.requested_by:
        return f"{person.name} asked for this; somebody else has to approve it."
    if not is_approver(rule, person, question.namespace):
        return (
            f"{person.name} is not among those who approve this in {question.namespace}: "
            f"{approvers_text(rule)}."
        )
    return ""


def is_approver(rule: Rule, person: Person, namespace: str) -> bool:
    """Whether the rule names the person, or a role that they have there."""
    return any(
        person.has(one[len(ROLE_PREFIX) :], namespace)
        if one.startswith(ROLE_PREFIX)
        else one == person.name
        for one in rule.approvers
    )


def approvers_text(rule: Rule) -> str:
    """Who may answer, in words."""
    return ", ".join(
        f"whoever has the role {one[len(ROLE_PREFIX) :]}" if one.startswith(ROLE_PREFIX) else one
        for one in rule.approvers
    )


def accounts_of(
    rule: Rule, people: Sequence[Person], accounts: Sequence[Sequence[str]], question: Question
) -> Sequence[str]:
    """The accounts of all whose word counts; `accounts` are of `people`, in the same order."""
    found = [
        account
        for person, own in zip(people, accounts)
        if not why_not(rule, person, question)
        for account in own
    ]
    return list(dict.fromkeys(found))


def minutes_left(record: Record, now: dt.datetime) -> int:
    """Until it expires, rounded up; at least one."""
    until = parse_time(record.expires_at)
    if until is None:
        return 1
    return max(int(-(-(until - now).total_seconds() // 60)), 1)


def _is_past(text: str, now: dt.datetime) -> bool:
    until = parse_time(text)
    return until is not None and until <= now
