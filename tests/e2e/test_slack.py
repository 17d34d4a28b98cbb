"""A day in Slack: people who have no terminal create, look, are refused, approve and hear how it
went.

Everything is real but Slack and AWS: signed requests to the sensor, rules, workflows, inquiries, a
killed engine.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from sandbox.slack import Post
from tests.e2e.office import Office, opened
from tests.integration.engine.serving import login


@pytest.fixture(scope="module")
def shared_office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with opened(functools.partial(Office, tmp_path_factory.mktemp("office"))) as office:
        yield office


@pytest.fixture
def office(shared_office: Office) -> Office:
    shared_office.enter("slack")
    if not shared_office.engine.is_running:
        shared_office.engine.start()
    shared_office.wait_until(shared_office.listens, "the sensor listens")
    return shared_office


def doomed(office: Office) -> Post:
    """A Database whose deletion, with its data, ada has asked for; the question about it."""
    office.apply_example(deletionPolicy="Delete")
    office.wait_until(office.is_ready, "Ready")
    office.say("ada", f"delete database orders in {office.namespace} confirm orders")
    return office.sees("approvals", f"{office.namespace}/orders", "for ever", "Approve")


def test_a_morning_in_the_channel(office: Office) -> None:
    """Help, a database from a sentence to its outcome in the thread, the announcement, and a
    refusal.
    """
    office.say("vera", "help")
    office.sees("team-shop", "list databases")
    office.say("ada", f"create database orders postgres 16 size small in {office.namespace}")
    started = office.sees("team-shop", f"{office.namespace}/orders", "requested")
    outcome = office.sees("team-shop", f"Database {office.namespace}/orders is ready")
    office.wait_until(
        lambda: [
            post
            for post in office.slack.in_channel("team-shop")
            if post.thread_ts == started.ts and "is ready" in post.everything
        ],
        "the outcome in the thread",
    )
    assert outcome
    office.wait_until(
        lambda: [
            post
            for post in office.slack.in_channel("team-shop")
            if post.text.startswith(f"✔ Database {office.namespace}/orders is ready")
        ],
        "the announcement",
    )
    office.slack.mention("vera", f"show database orders in {office.namespace}", channel="team-shop")
    office.sees("team-shop", f"{office.namespace}", "postgres")
    office.say("vera", f"delete database orders in {office.namespace} confirm orders")
    refusal = office.sees("team-shop", "missing the role")
    assert refusal.only_for == office.slack.users["vera"]
    assert office.database() is not None


def test_an_approval_outlives_the_engine(office: Office) -> None:
    """Asked, killed with everything, answered by a button: the one who asked may not, another may,
    and it is done.
    """
    question = doomed(office)
    office.wait_until(office.inquiries, "the engine's inquiry waits")
    office.engine.kill()
    assert (
        office.slack.click("ada", question, "Approve").status != 200 if office.listens() else True
    )
    office.engine.start()
    office.wait_until(office.listens, "the sensor listens again")
    assert len(office.inquiries()) == 1
    office.slack.click("ada", question, "Approve")
    office.sees("approvals", "ada asked for this")
    assert office.instances()
    office.slack.click("grace", question, "Approve", approval_comment="it's unused")
    office.wait_until(lambda: office.database() is None, "the Database is gone")
    assert office.instances() == []
    office.wait_until(lambda: office.inquiries() == [], "no inquiry is left")
    assert question.buttons == {}
    assert "Approved by grace" in question.everything
    assert "it's unused" in question.everything


def key_of(office: Office, user: str) -> dict[str, str]:
    """A login to the engine's API for somebody."""
    return login(office.engine.url, office.engine.data, user, "operator")


def test_an_inquiry_is_answered_as_a_button_is(office: Office) -> None:
    """By the API, as `st2 inquiry respond` does: those who are not asked are refused, a no holds
    the data.
    """
    question = doomed(office)
    inquiry = office.wait_until(office.inquiries, "the engine's inquiry waits")[0]
    path, no = f"/v1/inquiries/{inquiry['id']}", {"decision": "refuse", "comment": "still in use"}
    body = {"id": inquiry["id"], "response": no}
    refused = office.engine.client.put(path, json=body, headers=key_of(office, "ada"))
    assert refused.status_code == 403
    office.engine.client.put(path, json=body, headers=key_of(office, "linus")).raise_for_status()
    office.wait_until(
        lambda: office.condition("Ready")[1] == "ApprovalRefused", "the deletion is refused"
    )
    assert "linus refused" in office.condition("Ready")[2]
    assert office.instances()
    office.wait_until(lambda: "Refused by linus" in question.everything, "the message says so")
    office.apply_example(deletionPolicy="Retain")
    office.wait_until(lambda: office.database() is None, "the object goes, the data stays")


def test_a_reply_answers_too(office: Office) -> None:
    """In the thread of the question, without its number."""
    question = doomed(office)
    office.slack.mention(
        "grace", "approve because nobody uses it", channel="approvals", thread=question.ts
    )
    office.wait_until(lambda: office.database() is None, "the Database is gone")
    answer = office.sees("approvals", "grace approved it")
    assert answer.thread_ts == question.ts


def test_no_secret_of_slacks_is_written_down(office: Office) -> None:
    """Tokens, the signing secret and the addresses for answers are in no log, payload, parameter or
    result.
    """
    office.say("vera", "list databases")
    office.wait_until(lambda: office.unfinished() == [], "all is done")
    office.engine.stop()
    from tests.e2e import leaks

    written = [*leaks.files_below(office.engine.data), ("log", office.engine.log_path.read_bytes())]
    for secret in (office.slack.bot_token, office.slack.signing_secret, "/response/"):
        assert list(leaks.find(secret, written)) == [], secret
