"""Webhooks of git servers come in, and only those with the right secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubestorm.clients.services import Services
from kubestorm.core.settings import load_settings
from kubestorm.sources.datastore import WriteBehindStore
from kubestorm.sources.git.hooks import PushEvents

from sandbox.vault.server import VaultServer
from tests.integration.building.conftest import store

SECRET, TOKEN = "hub-secret-1", "lab-token-2"
COMMIT = "3" * 40
PUSH = {
    "event_name": "push",
    "ref": "refs/heads/main",
    "after": COMMIT,
    "repository": {"clone_url": "https://git.test/a.git"},
    "project": {"git_http_url": "https://git.test/a.git"},
}


class Datastore:
    """StackStorm's datastore as a sensor sees it; `written` are the names that were."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.written: list[str] = []

    def get_value(self, name: str) -> str | None:
        return self.values.get(name)

    def set_value(self, name: str, value: str) -> None:
        self.values[name] = value
        self.written.append(name)


class Heard:
    """The events that a listener on a port of its own handed on."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.dispatched: list[dict[str, Any]] = []
        self.broken = False
        self.store = Datastore()
        self.services = Services(load_settings(config))
        self._start()

    def restart(self) -> None:
        """What a new process of the sensor is."""
        self.events.stop()
        self._start()

    def _start(self) -> None:
        log = logging.Logger("sensor")
        self.writes = WriteBehindStore(self.store, log, later=lambda *_: None)
        self.events = PushEvents(self.services, self.writes, self._dispatch, log)
        self.events.start()

    def _dispatch(self, trigger: str, payload: Any) -> None:
        if self.broken:
            raise ConnectionError("the message bus is away")
        assert trigger == "kubestorm.source_pushed"
        self.dispatched.append(dict(payload))


@pytest.fixture
def heard(vault: VaultServer, tmp_path: Path) -> Iterator[Heard]:
    """A door for each kind of git server; GitLab's token is in Vault."""
    (tmp_path / "hub").write_text(f"an older one\n{SECRET}\n")
    (tmp_path / "token").write_text(vault.root_token)
    store(vault, "webhooks/lab", {"secret": TOKEN})
    hooks = [
        {"name": "hub", "kind": "github", "secret_file": str(tmp_path / "hub")},
        {"name": "tea", "kind": "gitea", "secret_file": str(tmp_path / "hub")},
        {"name": "lab", "kind": "gitlab", "vault_path": "webhooks/lab"},
    ]
    config = {
        "cluster": "test",
        "vault": {
            "url": vault.url,
            "auth": {"method": "token", "token_file": str(tmp_path / "token")},
        },
        "build": {"webhooks": {"listener": {"port": 0}, "hooks": hooks}},
    }
    found = Heard(config)
    yield found
    found.events.stop()


def post(heard: Heard, door: str, headers: dict[str, str], body: bytes | None = None) -> int:
    """Post an event; the status of the answer."""
    content = json.dumps(PUSH).encode() if body is None else body
    url = f"{heard.events.listener.url}/git/{door}"
    with httpx.Client(trust_env=False) as client:
        return client.post(
            url, content=content, headers={"Content-Type": "application/json", **headers}
        ).status_code


def signed(secret: str, body: bytes | None = None) -> str:
    content = json.dumps(PUSH).encode() if body is None else body
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "door, headers",
    [
        ("hub", {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signed(SECRET)}"}),
        ("tea", {"X-Gitea-Event": "push", "X-Gitea-Signature": signed(SECRET)}),
        ("lab", {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": TOKEN}),
        ("lab", {"X-Gitlab-Event": "System Hook", "X-Gitlab-Token": TOKEN}),
    ],
    ids=["github", "gitea", "gitlab", "gitlab's system hook"],
)
def test_a_push_with_the_right_secret_is_handed_on(heard, door, headers):
    """Whoever sends it is named, and which hook it came by."""
    assert post(heard, door, headers) == 202
    (event,) = heard.dispatched
    assert (event["branch"], event["commit"], event["source"]) == ("main", COMMIT, door)
    assert event["urls"] == ["https://git.test/a.git"]


@pytest.mark.parametrize(
    "door, headers, status",
    [
        ("hub", {"X-GitHub-Event": "push"}, 401),
        (
            "hub",
            {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signed('guess')}"},
            403,
        ),
        ("hub", {"X-GitHub-Event": "push", "X-Hub-Signature-256": signed(SECRET)}, 403),
        ("tea", {"X-Gitea-Event": "push", "X-Gitea-Signature": "zz"}, 403),
        ("lab", {"X-Gitlab-Event": "Push Hook"}, 401),
        ("lab", {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": TOKEN + "x"}, 403),
        ("nowhere", {}, 404),
    ],
    ids=[
        "unsigned",
        "wrong secret",
        "no prefix",
        "no hex",
        "no token",
        "wrong token",
        "no such door",
    ],
)
def test_what_has_not_the_right_secret_is_refused(heard, door, headers, status):
    """And nothing of it is handed on."""
    assert post(heard, door, headers) == status
    assert heard.dispatched == []


def test_a_signature_is_over_the_bytes_that_came(heard):
    """The same JSON in other bytes has another signature."""
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signed(SECRET)}"}
    assert post(heard, "hub", headers, json.dumps(PUSH, indent=1).encode()) == 403


def test_an_event_that_cannot_be_handed_on_is_sent_again(heard):
    """The git server hears 503, and tries again."""
    heard.broken = True
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signed(SECRET)}"}
    assert post(heard, "hub", headers) == 503
    heard.broken = False
    assert post(heard, "hub", headers) == 202
    assert len(heard.dispatched) == 1


@pytest.mark.parametrize(
    "door, headers, delivery",
    [
        (
            "hub",
            {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signed(SECRET)}"},
            "X-GitHub-Delivery",
        ),
        (
            "tea",
            {"X-Gitea-Event": "push", "X-Gitea-Signature": signed(SECRET)},
            "X-Gitea-Delivery",
        ),
        ("lab", {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": TOKEN}, "X-Gitlab-Event-UUID"),
        (
            "lab",
            {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": TOKEN, "X-Gitlab-Event-UUID": "r"},
            "Idempotency-Key",
        ),
    ],
    ids=["github", "gitea", "gitlab", "gitlab's tries"],
)
def test_a_delivery_that_comes_twice_triggers_once(heard, door, headers, delivery):
    """The second is answered with 200; another delivery of the same push triggers again."""
    for id, status in (("d-1", 202), ("d-1", 200), ("d-2", 202), ("d-1", 200)):
        assert post(heard, door, {**headers, delivery: id}) == status
    assert [each["event_id"] for each in heard.dispatched] == ["d-1", "d-2"]


def test_a_delivery_is_known_after_a_restart_and_costs_one_write(heard):
    """What is repeated, ignored or refused writes nothing."""
    headers = {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d-1",
        "X-Hub-Signature-256": f"sha256={signed(SECRET)}",
    }
    assert post(heard, "hub", headers) == 202
    heard.writes.flush()
    assert len(heard.store.written) == 1
    heard.restart()
    assert post(heard, "hub", headers) == 200
    assert post(heard, "hub", {**headers, "X-GitHub-Event": "ping"}) == 200
    heard.writes.flush()
    assert (len(heard.store.written), len(heard.dispatched)) == (1, 1)


def test_an_event_that_failed_is_not_taken_for_a_repetition(heard):
    """What was not handed on was not taken."""
    heard.broken = True
    headers = {
        "X-Gitlab-Event": "Push Hook",
        "X-Gitlab-Token": TOKEN,
        "X-Gitlab-Event-UUID": "d-1",
    }
    assert post(heard, "lab", headers) == 503
    heard.broken = False
    assert post(heard, "lab", headers) == 202


def test_without_an_id_each_delivery_triggers(heard):
    """A branch may go there and back again; the builds' own look makes one of two."""
    headers = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": TOKEN}
    assert [post(heard, "lab", headers) for _ in range(2)] == [202, 202]
    assert len(heard.dispatched) == 2
