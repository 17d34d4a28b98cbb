"""Asking, reminding, answering: the effects around `deciding`. Every one is safe to repeat.

The record on the object is written before anybody is told, and what was told is noted on it, so
that the next run goes on where one died. Answers come by a button, by a reply, or by StackStorm's
inquiry; all end in `respond`.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional

from kubestorm.clients.engine_api import EngineApi
from kubestorm.clients.lease import default_holder
from kubestorm.clients.services import Services
from kubestorm.core.errors import ConflictError, Error, NotFoundError, PermanentError
from kubestorm.core.naming import Identity
from kubestorm.kinds.common.approval import WAITING
from kubestorm.people.approval import messages
from kubestorm.people.approval import plan as deciding
from kubestorm.people.approval.plan import (
    Ask,
    Counted,
    Expire,
    NotCounted,
    Question,
    Remind,
    approvers_text,
)
from kubestorm.people.approval.proposal import Proposal
from kubestorm.people.approval.record import Record
from kubestorm.people.approval.settings import ApprovalSettings, Rule
from kubestorm.people.approval.subjects import Subject, all_open, find, save
from kubestorm.people.chat.formatting import slack_escape
from kubestorm.people.chat.people import Person, find_person
from kubestorm.people.chat.settings import ChatSettings
from kubestorm.people.notifications.delivery import channel_for
from kubestorm.people.notifications.posting import EnginePoster
from kubestorm.people.notifications.settings import CHATOPS, OFF, SLACK, AnnounceSettings, way
from kubestorm.people.notifications.slack_posting import open_web

ROUTE = "kubestorm.approval."
INQUIRY_ACTION = "kubestorm.approval_inquiry"
RECORDED = "recorded"
"""The decision that closes an inquiry which was answered another way; the workflow ends there."""
ATTEMPTS = 6
Result = Dict[str, Any]

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "decision": {
            "type": "string",
            "description": "approve or refuse",
            "enum": ["approve", "refuse", RECORDED],
            "required": True,
        },
        "person": {
            "type": "string",
            "description": (
                "Who you are (a name of chat.people); where the engine knows, it need not be said"
            ),
        },
        "comment": {"type": "string", "description": "Why"},
    },
}


def ask(services: Services, identity: Identity, run_id: str) -> Result:
    """Ask, remind or give up, as one object needs it now, and open StackStorm's inquiry where there
    is none.
    """
    result = _step(services, identity, run_id)
    inquiry, api = result.pop("inquiry"), EngineApi.of_this_action()
    started = ""
    if inquiry is not None and api is not None:
        started = api.start(INQUIRY_ACTION, {**identity._asdict(), "inquiry": inquiry})
    return {**result, "inquiry_execution": started}


def _step(services: Services, identity: Identity, run_id: str) -> Result:
    """Bring the asking to what it should be now. `inquiry` has the parameters of core.ask where one
    has to be opened.
    """
    quiet: Result = {"state": "", "number": "", "inquiry": None}
    lease = services.lease(f"approval-{identity.uid}", run_id, of=str(identity))
    if not lease.acquire():
        return {**quiet, "message": f"Execution {lease.held_by} is asking already."}
    with services.holding(lease):
        subject = find(services, identity)
        if subject is None or subject.question is None:
            return {**quiet, "message": "Nothing to approve."}
        rule = _rule(services, subject.question)
        if rule is None:
            return {**quiet, "message": "No approval needed."}
        return _Asking(services, subject, subject.question, rule).step()


def respond(
    services: Services,
    *,
    person: Person,
    decision: str,
    number: str = "",
    identity: Optional[Identity] = None,
    via: str = "chat",
    comment: str = "",
) -> Result:
    """One person's answer, to the question of that number or on that object. `counted`: it changed
    something.
    """
    for _ in range(ATTEMPTS):
        subject = _subject(services, number, identity)
        if subject is None:
            return _answer(False, f"There is no open approval {number or 'for that object'}.")
        question, record = subject.question, subject.record
        what = question.what if question else (record.what if record else "")
        rule = _rule(services, question) or ApprovalSettings.from_config(
            services.settings.raw
        ).rule_for(subject.identity.namespace, what)
        if rule is None:
            return _answer(False, "That needs no approval any more.")
        judged = deciding.judge(
            question,
            record,
            rule,
            person,
            decision,
            services.now(),
            number=number,
            via=via,
            comment=comment,
        )
        if isinstance(judged, NotCounted):
            if judged.outdated:
                ask(services, subject.identity, this_execution() or default_holder())
            return _answer(False, judged.sentence, record)
        try:
            subject = save(services, subject, judged.record)
        except ConflictError:
            continue
        _after_answer(services, subject, rule, judged)
        return _answer(True, judged.sentence, judged.record)
    raise ConflictError(
        f"Gave up after {ATTEMPTS} update conflicts; answer again.", service="Kubernetes"
    )


def person_of(services: Services, *, account: str) -> Person:
    """The person behind a chat account."""
    return find_person(ChatSettings.from_config(services.settings.raw), account)


def open_list(services: Services) -> Result:
    """What waits for an answer."""
    rows = [
        {
            "number": subject.record.number,
            "what": subject.record.what,
            "namespace": subject.identity.namespace,
            "name": subject.identity.name,
            "title": subject.proposal.title,
            "requested_by": subject.record.requested_by,
            "expires_at": subject.record.expires_at,
            "answers": ", ".join(f"{vote.by}: {vote.decision}" for vote in subject.record.answers),
        }
        for subject in all_open(services)
        if subject.record is not None
        and subject.record.state == WAITING
        and subject.proposal is not None
    ]
    count = len(rows)
    return {
        "message": f"{count} {'approval is' if count == 1 else 'approvals are'} open.",
        "approvals": rows,
    }


def collect(services: Services, identity: Identity, execution_id: str) -> Result:
    """Take the answer of the inquiry; `inquiry` is set where another one has to be opened: more
    people have to approve, or the answer did not count.
    """
    answered = _collect(services, identity, execution_id)
    return {**answered, "inquiry": _step(services, identity, execution_id)["inquiry"]}


def _collect(services: Services, identity: Identity, execution_id: str) -> Result:
    """The answer to the inquiry of this execution's workflow, read from the engine itself.

    StackStorm does not say who answered, only that it was one of those whom it was asked of; then
    the name in the answer counts, if it is one of theirs, and all such answers together are one
    person's.
    """
    api = EngineApi.of_this_action()
    if api is None:
        raise PermanentError(
            "Only an action that StackStorm runs can read the answer of an inquiry.",
            service="StackStorm",
        )
    parent = str(api.execution(execution_id).get("parent") or "")
    asked = [item for item in api.children(parent) if _is_answered(item)] if parent else []
    if not asked:
        return _answer(False, "There is no answer to read.")
    latest = max(asked, key=lambda item: str(item.get("end_timestamp") or ""))
    result = latest.get("result") or {}
    response = result.get("response") or {}
    settings = ChatSettings.from_config(services.settings.raw)
    known = str(((latest.get("context") or {}).get("inquiry") or {}).get("answered_by") or "")
    claimed = str(response.get("person") or "")
    if known:
        person, via = find_person(settings, known), "inquiry"
    else:
        person, via = _claimed(settings, claimed, result.get("users") or ()), "inquiry (unseen)"
        refused = _second_unseen(services, identity, via)
        if refused:
            return _answer(False, refused)
    number = str(result.get("route") or "")[len(ROUTE) :]
    return respond(
        services,
        person=person,
        decision=str(response.get("decision") or ""),
        number=number,
        identity=identity,
        via=via,
        comment=str(response.get("comment") or ""),
    )


class _Asking:
    """One open question, at one moment."""

    def __init__(
        self, services: Services, subject: Subject, question: Question, rule: Rule
    ) -> None:
        self._services, self._subject, self._question, self._rule = (
            services,
            subject,
            question,
            rule,
        )
        self._announce = AnnounceSettings.from_config(services.settings.raw)

    def step(self) -> Result:
        now = self._services.now()
        step = deciding.next_step(self._question, self._subject.record, self._rule, now)
        if isinstance(step, Ask):
            if step.voided is not None:
                self._close_void(step.voided)
            self._save(step.record)
        elif isinstance(step, Remind):
            self._save(step.record)
            self._say(messages.reminder_text(step.record, deciding.minutes_left(step.record, now)))
        elif isinstance(step, Expire):
            self._save(step.record)
            _show_end(self._services, self._subject)
            self._say(messages.ended_text(step.record))
            _close_inquiries(step.record)
        record = self._record
        if record.state == WAITING and not record.message:
            self._post_question(record)
        return self._result(now, first=isinstance(step, Ask))

    @property
    def _record(self) -> Record:
        assert self._subject.record is not None  # noqa: S101 (written by the step before)
        return self._subject.record

    @property
    def _proposal(self) -> Proposal:
        assert self._subject.proposal is not None  # noqa: S101 (an open question has one)
        return self._subject.proposal

    def _save(self, record: Record) -> None:
        self._subject = save(self._services, self._subject, record)

    def _channel(self) -> str:
        if self._rule.channel:
            return self._rule.channel
        return channel_for(self._services, self._question.namespace, self._announce)

    def _post_question(self, record: Record) -> None:
        channel, how = self._channel(), way(self._services.settings.raw)
        if not channel or how == OFF:
            return
        text = messages.ask_text(self._proposal, record, self._rule)
        # A channel that does not exist keeps nobody from answering by the inquiry.
        with contextlib.suppress(PermanentError):
            if how == CHATOPS:
                EnginePoster(self._announce.route).say(channel, text)
                self._save(replace(record, channel=channel, message="-"))
                return
            blocks = messages.ask_blocks(self._subject.identity, self._proposal, record, self._rule)
            posted = open_web(self._services).post_in(channel, slack_escape(text), blocks)
            self._save(replace(record, channel=posted.channel, message=posted.ts))

    def _say(self, text: str) -> None:
        channel, how = self._record.channel or self._channel(), way(self._services.settings.raw)
        if not channel or how == OFF:
            return
        with contextlib.suppress(PermanentError, NotFoundError):
            if how == SLACK:
                web = open_web(self._services)
                web.post(channel, slack_escape(text), thread=_thread(self._record))
            else:
                EnginePoster(self._announce.route).say(channel, text)

    def _close_void(self, record: Record) -> None:
        if record.message and way(self._services.settings.raw) == SLACK:
            old = Proposal(f"{record.what} of {self._subject.identity.name}")
            _update(
                self._services,
                record,
                f"Approval {record.number} is void.",
                messages.closed_blocks(old, record, messages.VOID),
            )
        _close_inquiries(record)

    def _result(self, now: Any, *, first: bool) -> Result:
        record = self._record
        wanted = record.state == WAITING and _inquiry_wanted(record, first)
        return {
            "state": record.state,
            "number": record.number,
            "inquiry": {
                "route": f"{ROUTE}{record.number}",
                "ttl": deciding.minutes_left(record, now),
                "users": self._users(),
                "schema": SCHEMA,
            }
            if wanted
            else None,
            "message": f"Approval {record.number} is {record.state}; "
            f"{approvers_text(self._rule)} may answer.",
        }

    def _users(self) -> List[str]:
        """Everybody whose word counts, by their accounts, and the engine itself, which closes what
        is answered.
        """
        settings = ChatSettings.from_config(self._services.settings.raw)
        people = [
            find_person(settings, entry.accounts[0]) for entry in settings.people if entry.accounts
        ]
        accounts = [entry.accounts for entry in settings.people if entry.accounts]
        users = list(deciding.accounts_of(self._rule, people, accounts, self._question))
        api = EngineApi.of_this_action()
        if api is not None:
            with contextlib.suppress(Error):
                users.append(api.user())
        return [one for one in dict.fromkeys(users) if one]


def _rule(services: Services, question: Optional[Question]) -> Optional[Rule]:
    if question is None:
        return None
    return ApprovalSettings.from_config(services.settings.raw).rule_for(
        question.namespace, question.what
    )


def _subject(services: Services, number: str, identity: Optional[Identity]) -> Optional[Subject]:
    if identity is not None:
        return find(services, identity)
    return next(
        (
            one
            for one in all_open(services)
            if one.record is not None and one.record.number == number
        ),
        None,
    )


def _after_answer(services: Services, subject: Subject, rule: Rule, judged: Counted) -> None:
    """Tell what the record already says; none of it can undo the answer."""
    record = judged.record
    with contextlib.suppress(Error):
        services.kube.create_event(
            subject.obj,
            reason=f"Approval{record.state.capitalize()}",
            message=judged.sentence,
            now=services.now(),
        )
    with contextlib.suppress(Error):
        if record.state != WAITING:
            _show_end(services, subject)
        elif subject.proposal is not None:
            blocks = messages.ask_blocks(subject.identity, subject.proposal, record, rule)
            _update(services, record, judged.sentence, blocks)
    if record.state != WAITING:
        _close_inquiries(record)


def _show_end(services: Services, subject: Subject) -> None:
    record, proposal = subject.record, subject.proposal
    if record is None or proposal is None:
        return
    blocks = messages.closed_blocks(proposal, record, record.state)
    _update(services, record, messages.ended_text(record), blocks)


def _update(services: Services, record: Record, text: str, blocks: List[Dict[str, Any]]) -> None:
    if not _thread(record) or way(services.settings.raw) != SLACK:
        return
    with contextlib.suppress(Error):
        open_web(services).update(record.channel, record.message, slack_escape(text), blocks)


def _thread(record: Record) -> str:
    return record.message if record.message != "-" else ""


def _inquiry_wanted(record: Record, first: bool) -> bool:
    """Whether StackStorm has no inquiry about it: it was just asked, or its workflow was lost."""
    api = EngineApi.of_this_action()
    if api is None:
        return first
    try:
        return not api.inquiries(f"{ROUTE}{record.number}")
    except Error:
        return first


def _close_inquiries(record: Record) -> None:
    api = EngineApi.of_this_action()
    if api is None:
        return
    with contextlib.suppress(Error):
        for inquiry in api.inquiries(f"{ROUTE}{record.number}"):
            with contextlib.suppress(Error):
                api.respond(str(inquiry["id"]), {"decision": RECORDED, "comment": record.state})


def _is_answered(item: Mapping[str, Any]) -> bool:
    reference = (item.get("action") or {}).get("ref")
    route = str((item.get("result") or {}).get("route") or "")
    return reference == "core.ask" and item.get("status") == "succeeded" and route.startswith(ROUTE)


def _claimed(settings: ChatSettings, claimed: str, users: Any) -> Person:
    """The person that an answer names, if the inquiry was asked of one of their accounts."""
    for entry in settings.people:
        if entry.name == claimed and entry.accounts and set(entry.accounts) & set(users):
            return find_person(settings, entry.accounts[0])
    return Person(claimed or "somebody", claimed, known=False)


def _second_unseen(services: Services, identity: Identity, via: str) -> str:
    subject = find(services, identity)
    if (
        subject is not None
        and subject.record is not None
        and any(vote.via == via for vote in subject.record.answers)
    ):
        return (
            "This engine does not say who answers an inquiry, so all such answers count as one; "
            "answer in chat."
        )
    return ""


def _answer(counted: bool, sentence: str, record: Optional[Record] = None) -> Result:
    state = record.state if record is not None else ""
    return {
        "counted": counted,
        "message": sentence,
        "state": state,
        "open": state == WAITING,
        "number": record.number if record is not None else "",
    }


def this_execution() -> str:
    """The execution that runs this action."""
    return os.environ.get("ST2_ACTION_EXECUTION_ID", "")
