"""Approvals on real objects: asked in Slack, answered by buttons and replies, kept on objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import yaml
from kubestorm.clients.services import Services
from kubestorm.core.errors import PermanentError
from kubestorm.core.naming import Identity, identity_of
from kubestorm.core.secrets import Secret
from kubestorm.kinds.application.rollout.approval import approval_hash, read_approval
from kubestorm.people.approval.act import ask, open_list, person_of, respond
from kubestorm.people.approval.record import read
from kubestorm.people.slack.answering import answer, click, follow_up
from kubestorm.people.slack.proof import prove
from kubestorm.people.slack.requests import parse_interaction, payload

from sandbox.slack import Post, SlackServer
from tests.integration.slack.conftest import CRDS, ROOT, Clock, EngineStandIn, Store
from tests.kube_fixtures import eventually

MERGE = {"content-type": "application/merge-patch+json"}
DIGEST = "sha256:" + "ab" * 32
PEOPLE = {
    "people": [
        {"name": "ada", "accounts": ["U0ADA", "ada-st2"], "roles": ["deployer"]},
        {"name": "grace", "accounts": ["U0GRACE", "grace-st2"], "roles": ["approver"]},
        {"name": "linus", "accounts": ["U0LINUS"], "roles": ["approver"]},
        {"name": "eve", "accounts": ["U0EVE"], "roles": ["viewer"]},
    ]
}


class Case:
    """A Rollout that waits for approval, and everything around it."""

    def __init__(
        self,
        http: httpx.Client,
        namespace: str,
        services: Callable[..., Services],
        store: Store,
        slack: SlackServer,
    ) -> None:
        self.http, self.namespace, self.store, self.slack = http, namespace, store, slack
        self._services = services
        self.rule: dict[str, Any] = {"namespaces": [namespace], "what": ["rollout"], "quorum": 1}
        self.path = f"/apis/kubestorm.io/v1alpha1/namespaces/{namespace}/rollouts"

    @property
    def services(self) -> Services:
        return self._services(chat=PEOPLE, approvals={"rules": [self.rule]})

    def make(self, name: str = "cart-abab-1", **spec: Any) -> Identity:
        body = {
            "apiVersion": "kubestorm.io/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": name},
            "spec": {
                "applicationRef": {"name": "cart"},
                "image": {"repository": "team/cart", "tag": "1.4.2", "digest": DIGEST},
                "requestedBy": "ada",
                **spec,
            },
        }
        made = self.http.post(self.path, json=body).raise_for_status().json()
        status = {"status": {"phase": "AwaitingApproval"}}
        self.http.patch(f"{self.path}/{name}/status", json=status, headers=MERGE).raise_for_status()
        return identity_of("test", "rollouts", made)

    def get(self, about: Identity) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"{self.path}/{about.name}").raise_for_status().json()
        return found

    def record(self, about: Identity) -> Any:
        return read(self.get(about))

    def standing(self, about: Identity) -> str:
        """What the rollout makes of it."""
        return read_approval(self.get(about), self.services.settings.raw).rollout.state

    def ask(self, about: Identity) -> dict[str, Any]:
        return ask(self.services, about, "run")

    def click(self, user: str, post: Post, button: str, comment: str = "") -> dict[str, Any]:
        """As the rule passes it on."""
        body = self.slack.click_body(
            user, post, post.buttons[button], {"approval_comment": comment}
        )
        return self.pass_on(payload(parse_interaction(body), ""))  # type: ignore[arg-type]

    def proven(self, said: dict[str, Any]) -> dict[str, Any]:
        """As the sensor hands it on."""
        whole = {
            **said,
            "id": said.get("id") or "1",
            "at": str(int(self.services.now().timestamp())),
        }
        return {**whole, "proof": prove(whole, Secret(self.slack.bot_token))}

    def pass_on(self, said: dict[str, Any]) -> dict[str, Any]:
        """A click, through the rule to the action."""
        return click(self.services, self.store, self.proven(said))

    @property
    def question(self) -> Post:
        """The latest message with buttons."""
        return next(post for post in reversed(self.slack.in_channel("team-shop")) if post.buttons)


@pytest.fixture
def case(
    http: httpx.Client,
    namespace: str,
    databases: str,
    open_services: Callable[..., Services],
    store: Store,
    slack: SlackServer,
) -> Case:
    for kind in ("rollouts", "applications"):
        crd = yaml.safe_load((ROOT / "crds" / f"{kind}.kubestorm.io.yaml").read_text())
        assert http.post(CRDS, json=crd).status_code in (httpx.codes.CREATED, httpx.codes.CONFLICT)
        path = f"/apis/kubestorm.io/v1alpha1/namespaces/{namespace}/{kind}"
        eventually(lambda path=path: http.get(path).is_success, "the CRD is served")
    return Case(http, namespace, open_services, store, slack)


def test_a_rollout_is_asked_about_once_and_approved_by_a_button(case: Case) -> None:
    """What exactly will happen, two buttons; afterwards who did it, and the rollout may begin."""
    about = case.make()
    asked = case.ask(about)
    assert (asked["state"], asked["inquiry_execution"]) == ("waiting", "")
    assert case.standing(about) == "Waiting"
    case.ask(about)
    assert len(case.slack.posts) == 1
    question = case.question
    assert DIGEST in question.everything
    assert "Roll out 1.4.2 of cart" in question.everything
    result = case.click("grace", question, "Approve", "looks fine")
    assert (result["counted"], result["state"]) == (True, "granted")
    assert case.standing(about) == "Granted"
    vote = case.record(about).answers[0]
    assert (vote.by, vote.via, vote.comment) == ("grace", "slack", "looks fine")
    assert case.slack.posts[0].buttons == {}
    assert "Approved by grace" in case.slack.posts[0].everything
    assert case.ask(about)["state"] == ""
    events = case.http.get(f"/api/v1/namespaces/{case.namespace}/events").json()["items"]
    assert [event["reason"] for event in events] == ["ApprovalGranted"]


@pytest.mark.parametrize(
    "user,why",
    [
        ("ada", "ada asked for this; somebody else has to approve it."),
        ("eve", "eve is not among those who approve this"),
        ("mallory", "I do not know U0MALLORY"),
    ],
)
def test_whose_word_does_not_count_is_told_so_alone(user: str, why: str, case: Case) -> None:
    """And nothing is changed."""
    about = case.make()
    case.ask(about)
    before = case.record(about)
    assert case.click(user, case.question, "Refuse")["counted"] is False
    assert case.record(about) == before
    whispered = case.slack.posts[-1]
    assert whispered.only_for == case.slack.users[user]
    assert why in whispered.text


def test_two_have_to_agree(case: Case) -> None:
    """After the first the message says so, and still asks."""
    case.rule["quorum"] = 2
    about = case.make()
    case.ask(about)
    assert case.click("grace", case.question, "Approve")["state"] == "waiting"
    assert "grace approved by slack" in case.question.everything
    assert case.standing(about) == "Waiting"
    assert case.click("grace", case.question, "Approve")["counted"] is False
    assert case.click("linus", case.question, "Approve")["state"] == "granted"
    assert case.record(about).by == "grace and linus"


def test_a_change_voids_the_question(case: Case) -> None:
    """The old button says so, the new question has its own; the first answer is not for it."""
    case.rule["quorum"] = 2
    about = case.make()
    case.ask(about)
    old = case.question
    old_number, old_buttons = case.record(about).number, dict(old.buttons)
    case.click("grace", old, "Approve")
    body = {"spec": {"requestedBy": "linus"}}
    case.http.patch(f"{case.path}/{about.name}", json=body, headers=MERGE).raise_for_status()
    assert case.ask(about)["number"] != old_number
    assert case.record(about).answers == ()
    assert "void" in old.everything
    assert old.buttons == {}
    stale = case.slack.click_body("grace", old, old_buttons["Approve"])
    result = case.pass_on(payload(parse_interaction(stale), ""))  # type: ignore[arg-type]
    assert (result["counted"], old_number in result["message"]) == (False, True)


def test_reminder_and_expiry_need_nobody(case: Case, clock: Clock) -> None:
    """Each look brings what is due; in the end the rollout hears that nobody answered."""
    case.rule.update(expiry_minutes=60, reminder_minutes=20)
    about = case.make()
    case.ask(about)
    clock.advance(19 * 60)
    case.ask(about)
    assert len(case.slack.posts) == 1
    clock.advance(60)
    case.ask(about)
    case.ask(about)
    reminder = case.slack.posts[-1]
    assert (len(case.slack.posts), reminder.thread_ts) == (2, case.slack.posts[0].ts)
    assert "expires in 40 minutes" in reminder.text
    clock.advance(41 * 60)
    assert case.ask(about)["state"] == "expired"
    assert case.standing(about) == "Expired"
    assert "Nobody answered in time" in case.slack.posts[0].everything
    assert case.slack.posts[0].buttons == {}


def test_a_run_that_died_after_asking_posts_the_message_later(case: Case) -> None:
    """Slack was away: the record is there, the message follows."""
    about = case.make()
    case.slack.fail("chat.postMessage", "internal_error")
    with pytest.raises(Exception, match="out of order"):
        case.ask(about)
    assert case.record(about).state == "waiting"
    case.ask(about)
    case.ask(about)
    assert len(case.slack.posts) == 1


def test_answers_at_the_same_moment_are_judged_against_each_other(case: Case) -> None:
    """The second of two is judged with the first one in the record."""
    import threading

    case.rule["quorum"] = 2
    about = case.make()
    case.ask(about)
    number = case.record(about).number
    results: list[Any] = []

    def say(name: str) -> None:
        services = case.services
        person = person_of(services, account=f"U0{name.upper()}")
        results.append(respond(services, person=person, decision="approve", number=number))

    threads = [threading.Thread(target=say, args=(name,)) for name in ("grace", "linus")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result["counted"] for result in results] == [True, True]
    assert case.record(about).state == "granted"
    assert len(case.record(about).answers) == 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"user": "U0LINUS"}, id="another person"),
        pytest.param({"value": "rollouts/a/b/1234567"}, id="another question"),
        pytest.param({"proof": ""}, id="no proof"),
        pytest.param({"at": "1"}, id="another time"),
    ],
)
def test_a_click_that_nobody_made_in_slack_counts_nothing(
    change: dict[str, str], case: Case
) -> None:
    """Whoever may run the action by hand cannot say that somebody else clicked."""
    about = case.make()
    case.ask(about)
    body = case.slack.click_body("grace", case.question, case.question.buttons["Approve"])
    said = case.proven(payload(parse_interaction(body), ""))  # type: ignore[arg-type]
    with pytest.raises(PermanentError, match="not asked in Slack"):
        click(case.services, case.store, {**said, **change})
    assert case.record(about).state == "waiting"


def test_an_old_click_counts_nothing(case: Case, clock: Clock) -> None:
    """What waited for an hour somewhere is no longer what somebody wants now."""
    about = case.make()
    case.ask(about)
    body = case.slack.click_body("grace", case.question, case.question.buttons["Approve"])
    said = case.proven(payload(parse_interaction(body), ""))  # type: ignore[arg-type]
    clock.advance(3601)
    with pytest.raises(PermanentError, match="more than an hour ago"):
        click(case.services, case.store, said)


def test_a_reply_in_the_thread_is_an_answer(case: Case, engine: EngineStandIn) -> None:
    """`approve` there means the question above; elsewhere the number says which. The answer is an
    execution of its own, in the name of the one who typed.
    """
    about = case.make()
    case.ask(about)
    asked = {
        "text": "approve because it was tested",
        "kind": "mention",
        "user": "U0GRACE",
        "channel": case.slack.channels["team-shop"],
        "channel_name": "",
        "thread": case.slack.posts[0].ts,
        "reply": "",
    }
    services = case.services
    well, result = answer(
        services, case.store, case.proven(asked), config=dict(services.settings.raw)
    )
    assert well, result
    assert (result["command"], result["person"]) == ("approval_approve", "grace")
    begun, context = engine.begun[-1], engine.contexts[-1]
    assert (begun["action"], begun["user"]) == ("kubestorm.approval_answer", "grace")
    person = person_of(services, account=context["api_user"])
    respond(services, person=person, via="chat", **begun["parameters"])
    record = case.record(about)
    assert (record.state, record.answers[0].via, record.answers[0].comment) == (
        "granted",
        "chat",
        "it was tested",
    )
    assert case.slack.posts[-1].thread_ts == case.slack.posts[0].ts


def test_what_waits_is_listed(case: Case) -> None:
    """With the number to answer by."""
    about = case.make()
    case.ask(about)
    listed = open_list(case.services)
    mine = [row for row in listed["approvals"] if row["namespace"] == case.namespace]
    assert [(row["number"], row["name"]) for row in mine] == [
        (case.record(about).number, "cart-abab-1")
    ]


def test_a_channel_that_is_missing_keeps_nobody_from_answering(case: Case) -> None:
    """The inquiry and the record are there all the same."""
    case.rule["channel"] = "#nowhere"
    about = case.make()
    assert case.ask(about)["state"] == "waiting"
    services = case.services
    done = respond(
        services, person=person_of(services, account="U0GRACE"), decision="approve", identity=about
    )
    assert done["state"] == "granted"


def test_without_slack_the_question_goes_through_the_engine(
    case: Case, open_services: Any, engine: EngineStandIn
) -> None:
    """As a text with the words to answer with, once."""
    about = case.make()
    services = open_services(
        chat=PEOPLE,
        approvals={"rules": [case.rule]},
        slack={},
        announcements={"channel": "#team-shop"},
    )
    for _ in range(2):
        ask(services, about, "run")
        engine.take_up()
    number = case.record(about).number
    post, inquiry = engine.begun
    assert post["action"] == "kubestorm.announcement_post"
    assert f"approve {number}" in post["parameters"]["message"]
    assert inquiry["action"] == "kubestorm.approval_inquiry"


def test_one_question_has_one_inquiry(case: Case, engine: EngineStandIn, clock: Clock) -> None:
    """Asked of all whose word counts; another run starts none while it is open, one that was lost
    is started again, and an answer by a button closes it.
    """
    about = case.make()
    assert case.ask(about)["inquiry_execution"] == "e1"
    (begun,) = engine.begun
    assert begun["action"] == "kubestorm.approval_inquiry"
    assert {**begun["parameters"], "inquiry": None} == {**about._asdict(), "inquiry": None}
    inquiry = begun["parameters"]["inquiry"]
    assert set(inquiry["users"]) == {"U0GRACE", "grace-st2", "U0LINUS", "stanley"}
    assert inquiry["ttl"] == 1440
    engine.take_up()
    for _ in range(2):
        clock.advance(60)
        assert case.ask(about)["inquiry_execution"] == ""
    engine.inquiries = []
    assert case.ask(about)["inquiry_execution"] == "e2"
    engine.take_up()
    case.click("grace", case.question, "Approve")
    assert engine.inquiries == []
    assert {one["response"]["decision"] for one in engine.answers} == {"recorded"}


def test_an_answer_to_what_has_changed_asks_anew(case: Case, engine: EngineStandIn) -> None:
    """Nobody has to look for it first: the answer does not count, and the new question is there."""
    about = case.make()
    case.ask(about)
    old = case.question
    body = {"spec": {"requestedBy": "linus"}}
    case.http.patch(f"{case.path}/{about.name}", json=body, headers=MERGE).raise_for_status()
    result = case.click("grace", old, "Approve")
    assert (result["counted"], "has changed" in result["message"]) == (False, True)
    assert case.question is not old
    assert old.buttons == {}
    assert case.click("grace", case.question, "Approve")["state"] == "granted"


def test_who_may_not_write_the_status_approves_nothing(case: Case) -> None:
    """Neither by an annotation nor by the object's own path; it is asked all the same."""
    about = case.make()
    content = approval_hash(case.get(about), "rollout")
    said = {"state": "granted", "contentHash": content, "content_hash": content, "by": "eve"}
    body = {
        "metadata": {"annotations": {"kubestorm.io/approval": json.dumps(said)}},
        "status": {"approval": said},
    }
    case.http.patch(f"{case.path}/{about.name}", json=body, headers=MERGE).raise_for_status()
    assert case.standing(about) == "Waiting"
    assert case.ask(about)["state"] == "waiting"
    assert case.standing(about) == "Waiting"


def test_commands_are_answered_where_they_were_typed(case: Case, engine: EngineStandIn) -> None:
    """A refusal alone to the one who asked; where the bot is no member, by the address that came
    with the command.
    """
    asked = {
        "text": "approvals",
        "kind": "command",
        "user": "U0GRACE",
        "channel": "C0ELSEWHERE",
        "channel_name": "elsewhere",
        "thread": "",
        "reply": "kept.address",
    }
    address = case.slack._response_url("C0ELSEWHERE", "U0GRACE")
    case.store.set_value("kept.address", address, encrypt=True)
    services = case.services
    well, _result = answer(
        services, case.store, case.proven(asked), config=dict(services.settings.raw)
    )
    assert well
    assert [body["action"] for body in engine.begun] == ["kubestorm.approval_list"]
    assert [post.channel for post in case.slack.posts] == ["C0ELSEWHERE"]
    answer(
        services,
        case.store,
        case.proven({**asked, "text": "dance"}),
        config=dict(services.settings.raw),
    )
    assert case.slack.posts[-1].only_for == "U0GRACE"


def test_an_outcome_follows_in_the_thread(case: Case, databases: str) -> None:
    """What is still under way says nothing; the end is told once."""
    spec = {"engine": "postgres", "version": "16", "size": "small"}
    body = {
        "apiVersion": "kubestorm.io/v1alpha1",
        "kind": "Database",
        "metadata": {"name": "orders"},
        "spec": spec,
    }
    case.http.post(databases, json=body).raise_for_status()
    follow = {"plural": "databases", "namespace": case.namespace, "name": "orders", "generation": 1}
    channel = case.slack.channels["team-shop"]
    look_again = follow_up(case.services, {**follow, "delay_seconds": 0.1}, channel, "1.1")
    assert (look_again["over"], case.slack.posts) == (False, [])
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "",
        "observedGeneration": 1,
    }
    status = {"status": {"observedGeneration": 1, "conditions": [ready]}}
    case.http.patch(f"{databases}/orders/status", json=status, headers=MERGE).raise_for_status()
    assert follow_up(case.services, look_again["follow"], channel, "1.1")["over"] is True
    assert [post.thread_ts for post in case.slack.posts] == ["1.1"]


def test_other_kinds_that_ask_for_databases_are_asked_about(case: Case) -> None:
    """A deletion of the form of 2016 waits, is asked about by its own kind, and takes a button's
    answer.
    """
    crd = yaml.safe_load((ROOT / "examples" / "mysqldb" / "mysqldbs.yaml").read_text())
    mapped = yaml.safe_load((ROOT / "examples" / "mysqldb" / "config.yaml").read_text())["database"]
    assert case.http.post(CRDS, json=crd).status_code in (httpx.codes.CREATED, httpx.codes.CONFLICT)
    kind = mapped["kinds"][0]
    path = f"/apis/{kind['group']}/{kind['version']}/namespaces/{case.namespace}/{kind['plural']}"
    eventually(lambda: case.http.get(path).is_success, "the CRD is served")
    manifest = yaml.safe_load((ROOT / "examples" / "mysqldb" / "mysqldb.yaml").read_text())
    manifest["metadata"]["namespace"] = case.namespace
    waiting = {"type": "Ready", "status": "False", "reason": "AwaitingApproval", "message": ""}
    made = case.http.post(path, json=manifest).raise_for_status().json()
    status = {"status": {"conditions": [waiting], "instanceIdentifier": "ks-old"}}
    target = f"{path}/{made['metadata']['name']}"
    if (
        case.http.patch(f"{target}/status", json=status, headers=MERGE).status_code
        == httpx.codes.NOT_FOUND
    ):
        case.http.patch(target, json=status, headers=MERGE).raise_for_status()
    case.rule.update(what=["delete"])
    services = case._services(chat=PEOPLE, approvals={"rules": [case.rule]}, database=mapped)
    about = identity_of("test", kind["plural"], made)
    assert ask(services, about, "run")["state"] == "waiting"
    body = case.slack.click_body("grace", case.question, case.question.buttons["Approve"])
    said = case.proven(payload(parse_interaction(body), ""))  # type: ignore[arg-type]
    assert click(services, case.store, said)["state"] == "granted"
