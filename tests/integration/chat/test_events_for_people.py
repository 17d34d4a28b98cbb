"""What the sensor's events for people cost in executions: an approval by StackStorm's own inquiry,
from the event to the annotation, and news by a bot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from kubestorm.people.approval.record import Record, read
from kubestorm.people.notifications.outbox import Message
from kubestorm.people.notifications.posting import payloads

from tests.integration.chat.conftest import ChatWorld, eventually
from tests.integration.engine.serving import login

MYSQLDB = Path(__file__).resolve().parents[3] / "examples" / "mysqldb"
PEOPLE = [
    {"name": name, "accounts": [name], "roles": ["approver"]} for name in ("ana", "ben", "eve")
]
RULE = {"namespaces": ["*"], "what": ["delete"], "quorum": 2}
WAITING = {"type": "Ready", "status": "False", "reason": "AwaitingApproval", "message": ""}


class Asked(ChatWorld):
    """A kind that no rule reconciles, one object of which waits for approval."""

    def __init__(self, folder: Path) -> None:
        database = yaml.safe_load((MYSQLDB / "config.yaml").read_text())["database"]
        super().__init__(
            folder,
            chat={"people": PEOPLE},
            approvals={"rules": [RULE]},
            database=database,
        )

    def make(self) -> dict[str, Any]:
        """The payload of `kubestorm.approval_wanted` for it."""
        self.environment.apply(yaml.safe_load((MYSQLDB / "mysqldbs.yaml").read_text()))
        manifest = yaml.safe_load((MYSQLDB / "mysqldb.yaml").read_text())
        made = eventually(lambda: self.applied(manifest))
        with kubernetes.config.new_client_from_config(str(self.environment.kubeconfig)) as client:
            kubernetes.client.CustomObjectsApi(client).patch_namespaced_custom_object_status(
                "mysqldbs.prsn.io",
                "v1",
                "default",
                "mysqldbs",
                "legacy",
                {"status": {"conditions": [WAITING]}},
            )
        group, _, version = made["apiVersion"].rpartition("/")
        place = {key: made["metadata"][key] for key in ("namespace", "name", "uid")}
        identity = {"cluster": "demo", "group": group, "version": version, "plural": "mysqldbs"}
        return {**identity, **place, "reason": "asked"}

    def applied(self, manifest: dict[str, Any]) -> Any:
        """None while the kind is not served yet."""
        try:
            self.environment.apply(manifest)
        except Exception:
            return None
        return self.environment.read(
            manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"], "default"
        )

    def record(self) -> Record | None:
        found = self.environment.read("mysqldbs.prsn.io/v1", "MysqlDb", "legacy", "default")
        return read(found or {})

    def emit(self, payload: dict[str, Any], trigger: str = "kubestorm.approval_wanted") -> None:
        body = {"trigger": trigger, "payload": payload}
        self.http.post("/v1/webhooks/st2", json=body).raise_for_status()

    def ran(self) -> Counter[str]:
        """Executions by action, when all that are not inquiries are over."""

        def look() -> Any:
            found = self.http.get("/v1/executions", params={"limit": 100}).json()
            open_ended = ("core.ask", "kubestorm.approval_inquiry")
            busy = [
                one
                for one in found
                if not one.get("end_timestamp") and one["action"]["ref"] not in open_ended
            ]
            return None if busy else found

        found = eventually(look)
        assert [one for one in found if one["status"] == "failed"] == []
        return Counter(one["action"]["ref"] for one in found)

    def respond(self, name: str, decision: str) -> None:
        """As `st2 inquiry respond` does, by somebody's own key."""
        (inquiry,) = eventually(lambda: self.http.get("/v1/inquiries").json())
        body = {"id": inquiry["id"], "response": {"decision": decision}}
        headers = login(self.engine.url, self.engine.data, name, "operator")
        self.http.put(
            f"/v1/inquiries/{inquiry['id']}", json=body, headers=headers
        ).raise_for_status()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    it = Asked(tmp_path_factory.mktemp("asked"))
    try:
        it.start()
        yield it
    finally:
        it.stop()


def test_a_question_is_asked_once_and_answered_by_two(asked: Asked) -> None:
    """Three executions until it is open, one for each further event, two for each answer but the
    last.
    """
    payload = asked.make()
    asked.emit(payload)
    eventually(lambda: asked.http.get("/v1/inquiries").json())
    once = {"kubestorm.approval_ask": 1, "kubestorm.approval_inquiry": 1, "core.ask": 1}
    assert asked.ran() == once
    asked.emit(payload)
    eventually(lambda: asked.ran()["kubestorm.approval_ask"] == 2)
    assert asked.ran() == {**once, "kubestorm.approval_ask": 2}

    asked.respond("ana", "approve")
    eventually(lambda: asked.ran()["core.ask"] == 2)
    asked.respond("ben", "approve")
    record = eventually(lambda: (found := asked.record()) and found.state == "granted" and found)
    assert [(vote.by, vote.via) for vote in record.answers] == [
        ("ana", "inquiry"),
        ("ben", "inquiry"),
    ]
    assert asked.ran() == {
        "kubestorm.approval_ask": 2,
        "kubestorm.approval_inquiry": 1,
        "core.ask": 2,
        "kubestorm.approval_collect": 2,
    }


def test_an_answer_in_chat_ends_the_workflow_by_its_own_execution_alone(asked: Asked) -> None:
    """The inquiry is closed as recorded."""
    path = "/v1/executions"
    asked.environment.merge(
        "mysqldbs.prsn.io/v1",
        "MysqlDb",
        {"name": "legacy", "namespace": "default"},
        subresource="status",
        status={"approval": None},
    )
    before = asked.ran()
    payload = asked.make()
    asked.emit(payload)
    eventually(lambda: asked.http.get("/v1/inquiries").json())
    record = asked.record()
    assert record is not None
    answered = asked.run(f"refuse {record.number} because it is in use", "ana")
    assert answered["status"] == "succeeded", answered
    eventually(lambda: asked.http.get("/v1/inquiries").json() == [])
    inquiries = eventually(
        lambda: [
            one
            for one in asked.http.get(path, params={"action": "kubestorm.approval_inquiry"}).json()
            if one.get("end_timestamp")
        ]
    )
    assert {one["status"] for one in inquiries} == {"succeeded"}
    assert asked.ran() - before == {
        "kubestorm.approval_ask": 1,
        "kubestorm.approval_inquiry": 1,
        "core.ask": 1,
        "kubestorm.chat_run": 1,
        "kubestorm.approval_answer": 1,  # what was typed is an execution of its own
    }


def test_news_by_a_bot_is_one_execution(asked: Asked) -> None:
    """Of the announcement runner: no process, no workflow."""
    before = asked.ran()
    message = Message("#team", "Database shop/orders is ready {{ x }}.", subject="s", state="ready")
    (payload,) = payloads([message], "chatops", "chatops")
    asked.emit(payload, "kubestorm.news")
    new = eventually(lambda: asked.ran() - before)
    assert new == {"kubestorm.announcement_post": 1}
