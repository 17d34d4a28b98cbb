"""Slack's way in, over HTTP and over Socket Mode."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from kubestorm.clients.slack.credentials import Credentials
from kubestorm.clients.slack.settings import SlackSettings
from kubestorm.core.errors import DefinitionError
from kubestorm.core.secrets import Secret
from kubestorm.people.slack.inbox import REPLY, Inbox, taken_before
from kubestorm.people.slack.listening import SlackGate

from sandbox.slack import SlackServer
from tests.integration.slack.conftest import Store
from tests.kube_fixtures import eventually


class Ear:
    """The sensor's gate with a recorder in the engine's place."""

    def __init__(self, settings: SlackSettings, store: Store) -> None:
        self.payloads: list[dict[str, Any]] = []
        self.delay_seconds = 0.0
        self.fail_next = 0
        self.lines: list[str] = []
        log = logging.Logger("slack")
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        log.addHandler(handler)

        def vault() -> Any:
            raise AssertionError("nothing is in Vault here")

        self.inbox = Inbox(
            store,
            taken_before(store),
            self._dispatch,
            log,
            lambda: Secret("xoxb-key"),
            settings.teams,
        )
        self.gate = SlackGate(
            settings, Credentials(settings, vault), self.inbox, log, ping_seconds=0.3
        )

    def _dispatch(self, trigger: str, payload: Any) -> None:
        if self.fail_next:
            self.fail_next -= 1
            raise ConnectionError("the message bus is away")
        time.sleep(self.delay_seconds)
        self.payloads.append(json.loads(json.dumps(payload)))

    @property
    def texts(self) -> list[str]:
        return [payload["text"] for payload in self.payloads]


StartEar = Callable[..., Ear]


@pytest.fixture
def start_ear(slack: SlackServer, slack_config: dict[str, Any], store: Store) -> Iterator[StartEar]:
    ears: list[Ear] = []

    def start(mode: str = "http", **changes: Any) -> Ear:
        ear = Ear(
            SlackSettings.from_config({"slack": {**slack_config, "mode": mode, **changes}}), store
        )
        ears.append(ear)
        ear.gate.start()
        if mode == "http":
            slack.request_url = ear.gate.url
        else:
            eventually(lambda: slack.connected, "Socket Mode is connected")
        return ear

    yield start
    for ear in ears:
        ear.gate.stop()


@pytest.mark.parametrize("mode", ["http", "socket"])
def test_what_people_do_arrives(
    mode: str, slack: SlackServer, start_ear: StartEar, store: Store
) -> None:
    """A command, a mention, a click: each once, taken within three seconds; the address for answers
    kept aside.
    """
    ear = start_ear(mode)
    command = slack.command("ada", "list databases", channel="team-shop")
    mention = slack.mention("grace", "help")
    assert (command.status, command.attempts, mention.status, mention.attempts) == (200, 1, 200, 1)
    assert json.loads(command.body) == {"response_type": "in_channel"}
    assert [(one["kind"], one["user"], one["text"]) for one in ear.payloads] == [
        ("command", "U0ADA", "list databases"),
        ("mention", "U0GRACE", "help"),
    ]
    assert ear.payloads[0]["channel"] == slack.channels["team-shop"]
    kept = ear.payloads[0]["reply"]
    assert kept.startswith(REPLY)
    assert store.secrets == {kept}
    assert "/response/" not in json.dumps(ear.payloads)


@pytest.mark.parametrize("mode", ["http", "socket"])
def test_a_text_arrives_as_it_was_typed(mode: str, slack: SlackServer, start_ear: StartEar) -> None:
    """Whatever Slack made of it on its way."""
    ear = start_ear(mode)
    text = "freeze cart because R&D audit <2h, see &lt; and ?a=1&b=2"
    slack.command("ada", text, channel="team-shop")
    slack.mention("grace", text)
    assert ear.texts == [text, text]


@pytest.mark.parametrize("mode", ["http", "socket"])
def test_a_repetition_is_recognised(mode: str, slack: SlackServer, start_ear: StartEar) -> None:
    """By the event's id, also in a process that has just begun."""
    ear = start_ear(mode)
    body = {
        "type": "event_callback",
        "team_id": slack.team,
        "event_id": "Ev7",
        "event": {
            "type": "app_mention",
            "user": "U1",
            "channel": "C0GENERAL",
            "ts": "1.1",
            "text": "help",
        },
    }
    for _ in range(2):
        assert slack.deliver("events", "events_api", body).status == 200
    assert ear.texts == ["help"]
    ear.gate.stop()
    eventually(lambda: mode == "http" or not slack.connected, "it is gone")
    again = start_ear(mode)
    assert slack.deliver("events", "events_api", body).status == 200
    assert again.texts == []


def test_slow_work_is_not_waited_for_and_a_slow_bus_is_tried_again(
    slack: SlackServer, start_ear: StartEar
) -> None:
    """Slack hears within three seconds what can be heard; what took longer is not done twice when
    it comes again.
    """
    ear = start_ear()
    fast = slack.command("ada", "help")
    assert fast.seconds < 1
    ear.fail_next = 1
    told = slack.mention("ada", "drift")
    assert (told.status, told.attempts) == (200, 2)
    assert ear.texts == ["help", "drift"]


def test_a_bus_that_is_away_is_told_to_slack_over_socket_mode(
    slack: SlackServer, start_ear: StartEar
) -> None:
    """By saying nothing: it is sent again."""
    ear = start_ear("socket")
    ear.fail_next = 1
    told = slack.mention("ada", "drift")
    assert (told.status, told.attempts) == (200, 2)
    assert len(ear.texts) == 1


BODY = {"type": "url_verification", "challenge": "c"}


@pytest.mark.parametrize(
    "signing,status",
    [
        pytest.param({"secret": "another"}, 403, id="another secret"),
        pytest.param({"signature": "v0=" + "0" * 64}, 403, id="another signature"),
        pytest.param({"signature": "v0=ä"}, 403, id="no signature at all"),
        pytest.param({"age": 301}, 403, id="older than five minutes"),
        pytest.param({"age": -400}, 403, id="from the future"),
        pytest.param({"timestamp": "yesterday"}, 403, id="a timestamp of words"),
        pytest.param({"age": 60}, 200, id="a minute old"),
    ],
)
def test_only_slacks_own_requests_are_heard(
    signing: dict[str, Any], status: int, slack: SlackServer, start_ear: StartEar
) -> None:
    """The signature is over the raw body and the time."""
    ear = start_ear()
    if "age" in signing:
        signing = {"timestamp": int(time.time()) - signing["age"]}
    if "ä" in str(signing):
        headers = {**slack.signed("x"), "Content-Type": "application/json"}
        raw = [
            (key.encode(), "v0=ä".encode("latin-1") if "Sig" in key else text.encode())
            for key, text in headers.items()
        ]
        assert (
            httpx.post(f"{ear.gate.url}/slack/events", content="x", headers=raw).status_code
            == status
        )
        return
    assert slack.send("events", BODY, **signing).status == status
    assert ear.payloads == []


def test_a_body_changed_on_the_way_is_refused(slack: SlackServer, start_ear: StartEar) -> None:
    """One byte is enough; none of it is quoted in the answer."""
    ear = start_ear()
    content = "text=help&user_id=U1&channel_id=C1&trigger_id=1"
    headers = {**slack.signed(content), "Content-Type": "application/x-www-form-urlencoded"}
    url = f"{ear.gate.url}/slack/commands"
    assert (
        httpx.post(url, content=content.replace("help", "drop"), headers=headers).status_code == 403
    )
    assert httpx.post(url, content=content).status_code == 401
    assert httpx.post(url, content=content, headers=headers).status_code == 200
    assert ear.texts == ["help"]


def test_a_recorded_request_is_done_once(slack: SlackServer, start_ear: StartEar) -> None:
    """Whoever has a signed request can send it again for five minutes; it is the same request."""
    ear = start_ear()
    content = "text=delete&user_id=U1&channel_id=C1&trigger_id=7.7"
    headers = {**slack.signed(content), "Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(3):
        assert (
            httpx.post(
                f"{ear.gate.url}/slack/commands", content=content, headers=headers
            ).status_code
            == 200
        )
    assert ear.texts == ["delete"]


def test_a_secret_is_replaced_without_a_gap(
    slack: SlackServer, start_ear: StartEar, slack_config: dict[str, Any]
) -> None:
    """Two lines in the file: both hold."""
    from pathlib import Path

    ear = start_ear()
    old, slack.signing_secret = slack.signing_secret, "the-new-one"
    Path(slack_config["signing_secret_file"]).write_text(f"the-new-one\n{old}\n")
    assert slack.command("ada", "help").status == 200
    slack.signing_secret = old
    assert slack.command("ada", "drift").status == 200
    assert len(ear.texts) == 2


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "a\x00b\x1b[31m\u202ec", "<!channel> {{ x }} $(reboot)", ""]
)
def test_whatever_is_typed_does_no_harm(text: str, slack: SlackServer, start_ear: StartEar) -> None:
    """It is passed on as text, cut if it is long, and without what a template would begin with."""
    ear = start_ear()
    assert slack.command("ada", text).status == 200
    passed_on = text[:2000].replace("{", "(").replace("}", ")")
    assert [payload["text"] for payload in ear.payloads] == [passed_on]


def test_bots_are_not_heard(slack: SlackServer, start_ear: StartEar) -> None:
    """So that none talks with itself for ever."""
    ear = start_ear()
    assert slack.mention("ada", "help", bot_id=slack.bot_id).status == 200
    assert (
        slack.event({"type": "message", "subtype": "bot_message", "channel": "C0GENERAL"}).status
        == 200
    )
    assert ear.payloads == []


def test_a_foreign_workspace_is_not_served(slack: SlackServer, start_ear: StartEar) -> None:
    """Where the operator names those that are."""
    ear = start_ear(teams=["T-OTHER"])
    assert "does not answer your workspace" in slack.command("ada", "help").body
    assert ear.payloads == []


def test_socket_mode_comes_back(slack: SlackServer, start_ear: StartEar) -> None:
    """Slack closes connections every few hours."""
    ear = start_ear("socket")
    slack.close_sockets()
    eventually(lambda: slack.connected == 1 and ear.gate.is_connected, "it is connected again")
    eventually(lambda: slack.mention("ada", "help").status == 200, "it hears again")
    assert ear.texts[-1].endswith("help")


def test_socket_mode_waits_for_a_slack_that_is_away(
    slack: SlackServer, start_ear: StartEar
) -> None:
    """A refusal at first is tried again; the token is in no line of the log."""
    slack.fail("apps.connections.open", "internal_error", times=1)
    ear = start_ear("socket")
    assert any("slack.not_connected" in line for line in ear.lines)
    assert not any(slack.app_token in line for line in ear.lines)


def test_a_file_that_is_missing_is_named(
    slack_config: dict[str, Any], store: Store, tmp_path: Any
) -> None:
    """At the start, in a sentence."""
    section = {**slack_config, "mode": "http", "signing_secret_file": str(tmp_path / "nowhere")}
    ear = Ear(SlackSettings.from_config({"slack": section}), store)
    with pytest.raises(DefinitionError, match="signing_secret_file"):
        ear.gate.start()
