"""Who may say yes to what, when, and what a change, a delay or a second answer does to it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.common.approval import EXPIRED, GRANTED, REFUSED, WAITING
from kubestorm.people.approval import record as records
from kubestorm.people.approval.plan import (
    Ask,
    Counted,
    Expire,
    NotCounted,
    Question,
    Remind,
    Wait,
    accounts_of,
    judge,
    minutes_left,
    next_step,
)
from kubestorm.people.approval.record import Record
from kubestorm.people.approval.settings import ApprovalSettings, Rule
from kubestorm.people.chat.people import Person, find_person
from kubestorm.people.chat.settings import ChatSettings

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone.utc)
QUESTION = Question("rollout", "shop-prod", "c0ffee" * 8, "beef" * 16, "ada")
RULE = Rule(
    ("shop-*",),
    ("rollout",),
    ("grace", "role:approver"),
    quorum=1,
    expiry_minutes=60,
    reminder_minutes=20,
)
PEOPLE = ChatSettings.from_config(
    {
        "chat": {
            "people": [
                {"name": "ada", "accounts": ["U1", "ada-st2"], "roles": ["approver"]},
                {"name": "grace", "accounts": ["U2"]},
                {"name": "linus", "accounts": ["U3"], "roles": ["approver@shop-*"]},
                {"name": "eve", "accounts": ["U4"], "roles": ["deployer"]},
                {"name": "tim", "accounts": ["U5"], "roles": ["approver@other-*"]},
                {"name": "root", "accounts": ["U6"], "roles": ["admin"]},
            ]
        }
    }
)
ACCOUNTS = {
    "ada": "U1",
    "grace": "U2",
    "linus": "U3",
    "eve": "U4",
    "tim": "U5",
    "root": "U6",
    "nobody": "U9",
}


def minutes(number: float) -> dt.timedelta:
    return dt.timedelta(minutes=number)


def who(name: str) -> Person:
    return find_person(PEOPLE, ACCOUNTS[name])


def asked(**changes: Any) -> Record:
    step = next_step(QUESTION, None, RULE, NOW)
    assert isinstance(step, Ask)
    return replace(step.record, **changes)


def answered(*answers: tuple[str, str], rule: Rule = RULE, question: Question = QUESTION) -> Record:
    record = asked(quorum=rule.quorum)
    for name, decision in answers:
        judged = judge(question, record, rule, who(name), decision, NOW)
        record = judged.record if isinstance(judged, Counted) else record
    return record


@pytest.mark.parametrize(
    "name,counts,why",
    [
        pytest.param("grace", True, "", id="named"),
        pytest.param("linus", True, "", id="has the role there"),
        pytest.param("root", True, "", id="has a role that includes it"),
        pytest.param("ada", False, "ada asked for this", id="asked for it"),
        pytest.param("eve", False, "not among those who approve", id="has another role"),
        pytest.param("tim", False, "not among those who approve", id="has the role elsewhere"),
        pytest.param("nobody", False, "I do not know U9", id="unknown"),
    ],
)
@pytest.mark.parametrize("decision", ["approve", "refuse"])
def test_whose_word_counts(name: str, counts: bool, why: str, decision: str) -> None:
    """Those whom the rule names, never the one who asked; a no counts as little as a yes from
    others.
    """
    judged = judge(QUESTION, asked(), RULE, who(name), decision, NOW)
    assert isinstance(judged, Counted) is counts
    assert why in judged.sentence


TWO = replace(RULE, quorum=2)


@pytest.mark.parametrize(
    "rule,answers,state,by",
    [
        pytest.param(RULE, [("grace", "approve")], GRANTED, "grace", id="one is enough"),
        pytest.param(RULE, [("grace", "refuse")], REFUSED, "grace", id="one no"),
        pytest.param(TWO, [("grace", "approve")], WAITING, "", id="one of two"),
        pytest.param(
            TWO,
            [("grace", "approve"), ("linus", "approve")],
            GRANTED,
            "grace and linus",
            id="two of two",
        ),
        pytest.param(
            TWO, [("grace", "approve"), ("grace", "approve")], WAITING, "", id="the same one twice"
        ),
        pytest.param(
            TWO,
            [("grace", "approve"), ("linus", "refuse")],
            REFUSED,
            "linus",
            id="a no after a yes",
        ),
        pytest.param(
            TWO,
            [("grace", "approve"), ("grace", "refuse")],
            REFUSED,
            "grace",
            id="thought better of it",
        ),
        pytest.param(
            TWO,
            [("grace", "refuse"), ("linus", "approve")],
            REFUSED,
            "grace",
            id="a yes after a no",
        ),
        pytest.param(
            TWO,
            [("grace", "approve"), ("ada", "approve")],
            WAITING,
            "",
            id="with the one who asked",
        ),
        pytest.param(
            TWO, [("grace", "approve"), ("eve", "approve")], WAITING, "", id="with somebody else"
        ),
    ],
)
def test_how_many_it_takes(rule: Rule, answers: Any, state: str, by: str) -> None:
    """The quorum of different people, or one who refuses."""
    record = answered(*answers, rule=rule)
    assert (record.state, record.by) == (state, by)


@pytest.mark.parametrize(
    "record,question,now,number,why",
    [
        pytest.param(None, QUESTION, NOW, "", "Nothing is asked", id="nothing asked"),
        pytest.param(asked(), None, NOW, "", "Nothing is asked", id="nothing open"),
        pytest.param(
            asked(),
            replace(QUESTION, shown="other" * 9),
            NOW,
            "",
            "has changed",
            id="content changed",
        ),
        pytest.param(
            asked(),
            replace(QUESTION, content_hash="ff" * 9),
            NOW,
            "",
            "has changed",
            id="another digest",
        ),
        pytest.param(asked(), QUESTION, NOW, "1234567", "1234567 is void", id="an old number"),
        pytest.param(
            asked(), QUESTION, NOW + minutes(60), "", "time for an answer is over", id="too late"
        ),
        pytest.param(
            answered(("grace", "approve")),
            QUESTION,
            NOW,
            "",
            "granted already, by grace",
            id="granted",
        ),
        pytest.param(asked(state=EXPIRED), QUESTION, NOW, "", "expired already", id="expired"),
    ],
)
def test_what_makes_an_answer_void(
    record: Any, question: Any, now: Any, number: str, why: str
) -> None:
    """Whoever answers is told why."""
    judged = judge(question, record, RULE, who("linus"), "approve", now, number=number)
    assert isinstance(judged, NotCounted)
    assert why in judged.sentence


def test_an_answer_is_yes_or_no() -> None:
    """Anything else is none."""
    assert isinstance(judge(QUESTION, asked(), RULE, who("grace"), "maybe", NOW), NotCounted)


@pytest.mark.parametrize(
    "record,later,kind",
    [
        pytest.param(None, 0, Ask, id="never asked"),
        pytest.param(asked(), 1, Wait, id="just asked"),
        pytest.param(asked(), 20, Remind, id="time to remind"),
        pytest.param(asked(reminded_at="2026-01-01T12:20:00Z"), 30, Wait, id="just reminded"),
        pytest.param(
            asked(reminded_at="2026-01-01T12:20:00Z"), 40, Remind, id="time to remind again"
        ),
        pytest.param(asked(), 60, Expire, id="time is over"),
        pytest.param(asked(state=GRANTED), 90, Wait, id="granted stays granted"),
        pytest.param(asked(state=REFUSED), 90, Wait, id="refused stays refused"),
        pytest.param(asked(state=EXPIRED), 90, Wait, id="expired stays expired"),
        pytest.param(asked(shown="x"), 1, Ask, id="what is shown has changed"),
        pytest.param(
            asked(shown="x", state=GRANTED), 1, Wait, id="it changed after it was granted"
        ),
        pytest.param(asked(content_hash="x", state=GRANTED), 1, Ask, id="another digest"),
        pytest.param(asked(what="promote"), 1, Ask, id="another question"),
    ],
)
def test_what_a_look_does(record: Any, later: float, kind: type) -> None:
    """From the record on the object alone, so that it does not matter who looked before."""
    assert isinstance(next_step(QUESTION, record, RULE, NOW + minutes(later)), kind)


def test_a_change_voids_the_answers_that_were_given() -> None:
    """The new question begins without any, and has another number."""
    before = answered(("grace", "approve"), rule=TWO)
    step = next_step(replace(QUESTION, shown="other" * 9), before, TWO, NOW)
    assert isinstance(step, Ask)
    assert (step.voided, step.record.answers) == (before, ())
    assert step.record.number != before.number


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(ACCOUNTS)),
            st.sampled_from(["approve", "refuse", "maybe"]),
            st.integers(0, 90),
        ),
        max_size=12,
    ),
    st.integers(1, 3),
)
def test_no_order_of_answers_grants_what_too_few_want(answers: list[Any], quorum: int) -> None:
    """Granted means: that many different people who may, none of them the one who asked, none too
    late.
    """
    rule, record, clock = replace(RULE, quorum=quorum), asked(quorum=quorum), NOW
    for name, decision, wait in answers:
        clock += minutes(wait)
        was = record.state
        judged = judge(QUESTION, record, rule, who(name), decision, clock)
        if isinstance(judged, Counted):
            assert was == WAITING
            record = judged.record
        else:
            assert record.state == was
    if record.state == GRANTED:
        for_it = {vote.by for vote in record.answers if vote.decision == "approve"}
        assert len(for_it) >= quorum
        assert for_it <= {"grace", "linus", "root"}
        assert record.at < record.expires_at
    if record.state == REFUSED:
        assert record.by in {"grace", "linus", "root"}


@given(
    st.text(max_size=50),
    st.sampled_from([WAITING, GRANTED, REFUSED, EXPIRED]),
    st.integers(1, 5),
    st.text(max_size=9),
)
def test_a_record_is_read_back_as_it_was(by: str, state: str, quorum: int, comment: str) -> None:
    """Through the status."""
    vote = records.Vote(by, "approve", "2026-01-01T12:00:00Z", "slack", comment)
    before = asked(state=state, by=by, quorum=quorum, answers=(vote,))
    assert records.read({"status": records.fields(before)}) == before


@pytest.mark.parametrize(
    "said", [None, "yes", [], {}, {"state": "maybe"}, {"state": "granted", "answers": 7}]
)
def test_what_somebody_wrote_there_by_hand_is_no_record(said: Any) -> None:
    """It is asked as if nothing were there."""
    assert records.read({"status": {"approval": said}}) is None


def test_a_record_takes_the_place_of_the_one_before() -> None:
    """Also where it has less to say: a merge patch leaves alone what it does not name."""
    before = records.fields(answered(("grace", "approve")))["approval"]
    after = records.fields(asked())["approval"]
    assert before.keys() == after.keys()
    assert (after["by"], after["answers"]) == (None, None)


def test_those_who_wait_find_what_they_need() -> None:
    """The words that the rollout reads."""
    data = records.fields(answered(("grace", "approve")))["approval"]
    assert {key: data[key] for key in ("contentHash", "state", "by", "at")} == {
        "contentHash": QUESTION.content_hash,
        "state": "granted",
        "by": "grace",
        "at": "2026-01-01T12:00:00Z",
    }


def test_the_inquiry_is_asked_of_those_whose_word_counts() -> None:
    """By all their accounts; not of the one who asked."""
    people = [who(name) for name in ("ada", "grace", "eve")]
    found = accounts_of(RULE, people, [["U1", "ada-st2"], ["U2", "grace-st2"], ["U4"]], QUESTION)
    assert list(found) == ["U2", "grace-st2"]
    assert minutes_left(asked(), NOW + minutes(59.5)) == 1


@pytest.mark.parametrize(
    "rule,field",
    [
        ({"what": ["everything"]}, "approvals.rules[0].what"),
        ({"quorum": 0}, "approvals.rules[0].quorum"),
        ({"approvers": ["ada"], "quorum": 2}, "approvals.rules[0].quorum"),
        ({"expiry_minutes": 0}, "approvals.rules[0].expiry_minutes"),
        ({"approvers": "ada"}, "approvals.rules[0].approvers"),
        ({"who": ["ada"]}, "approvals.rules[0].who"),
        ({"channel": 7}, "approvals.rules[0].channel"),
    ],
)
def test_a_wrong_setting_is_named(rule: dict[str, Any], field: str) -> None:
    """With its path."""
    with pytest.raises(DefinitionError) as caught:
        ApprovalSettings.from_config({"approvals": {"rules": [rule]}})
    assert caught.value.field == field


def test_the_first_rule_that_is_about_it_counts() -> None:
    """Namespace and thing both have to fit."""
    settings = ApprovalSettings.from_config(
        {
            "approvals": {
                "rules": [
                    {
                        "namespaces": ["*-prod"],
                        "what": ["rollout", "promote"],
                        "approvers": ["grace"],
                    },
                    {"namespaces": ["*"], "what": ["delete"], "quorum": 2},
                ]
            }
        }
    )
    first, second = settings.rules
    assert settings.rule_for("shop-prod", "promote") is first
    assert settings.rule_for("shop-prod", "delete") is second
    assert settings.rule_for("shop-dev", "rollout") is None
