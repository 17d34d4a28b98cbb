"""What the chat's actions call: faults become sentences, actions become executions."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubestorm.clients.engine_api import EngineApi
from kubestorm.core.secrets import Secret
from kubestorm.people.chat import running
from kubestorm.people.chat.people import Person
from kubestorm.people.chat.running import EngineActions
from kubestorm.people.chat.shell import answer_text

CONFIG = {"cluster": "test"}
ANA = Person("ana", "U1")


class Engine:
    """An engine's API of executions; each answers `states` one after the other."""

    def __init__(self) -> None:
        self.posted: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.states: list[dict[str, Any]] = []
        self.admins_only = False
        self.refusals = 0
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                context = json.loads(self.headers.get("st2-context") or "{}")
                engine.posted.append((body, context))
                if engine.refusals:
                    engine.refusals -= 1
                    return self._say(503, {"faultstring": "stopping"})
                if engine.admins_only and "user" in body:
                    return self._say(403, {"faultstring": "no"})
                return self._say(201, {"id": "e1"})

            def do_GET(self) -> None:
                state = engine.states.pop(0) if len(engine.states) > 1 else engine.states[0]
                self._say(200, state)

            def _say(self, status: int, document: Any) -> None:
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    @property
    def actions(self) -> EngineActions:
        url = f"http://127.0.0.1:{self.server.server_port}"
        return EngineActions(EngineApi(url, Secret("token")), pause=lambda seconds: None)


@pytest.fixture
def engine() -> Iterator[Engine]:
    it = Engine()
    it.thread.start()
    yield it
    it.server.shutdown()
    it.server.server_close()
    it.thread.join()


@pytest.mark.parametrize(
    "state, expected",
    [
        ({"status": "succeeded", "result": {"result": ["test"]}}, (True, ["test"])),
        (
            {"status": "failed", "result": {"result": {"message": "No.", "reason": "Absent"}}},
            (False, {"message": "No.", "reason": "Absent"}),
        ),
        (
            {"status": "failed", "result": {"result": "None", "stderr": "a secret in a trace"}},
            (
                False,
                {
                    "reason": "Fault",
                    "message": "act failed without an error message.",
                    "next_step": "`st2 execution get e1` shows it.",
                },
            ),
        ),
        (
            {"status": "canceled", "result": None},
            (
                False,
                {
                    "reason": "Fault",
                    "message": "act was canceled.",
                    "next_step": "`st2 execution get e1` shows it.",
                },
            ),
        ),
    ],
    ids=["succeeded", "failed", "fault", "canceled"],
)
def test_an_action_runs_as_an_execution_of_the_person(
    engine: Engine, state: dict[str, Any], expected: Any
) -> None:
    """It is waited for, and its result is the answer's; a trace is not."""
    engine.states = [{"status": "requested"}, {"status": "running"}, state]
    assert engine.actions.run("act", {"name": "cart"}, ANA) == expected
    body = {"action": "kubestorm.act", "parameters": {"name": "cart"}, "user": "ana"}
    assert engine.posted == [(body, {"api_user": "U1"})]


def test_an_engine_where_only_administrators_name_users(engine: Engine) -> None:
    """The execution is then the bot's, with the account in its context."""
    engine.admins_only, engine.states = True, [{"status": "succeeded", "result": {"result": 1}}]
    assert engine.actions.run("act", {}, ANA) == (True, 1)
    assert [body.get("user") for body, _context in engine.posted] == ["ana", None]
    assert engine.posted[1][1] == {"api_user": "U1"}


def test_an_engine_that_restarts_is_asked_again(engine: Engine) -> None:
    """It refuses with 503 while it stops; nothing has been started by then."""
    engine.refusals, engine.states = 2, [{"status": "succeeded", "result": {"result": 1}}]
    assert engine.actions.run("act", {}, ANA) == (True, 1)
    assert len(engine.posted) == 3


def test_an_account_that_is_nobodys_is_no_user(engine: Engine) -> None:
    """Else an account called like an administrator would be one."""
    engine.states = [{"status": "succeeded", "result": {"result": 1}}]
    engine.actions.run("act", {}, Person("st2admin", "st2admin", known=False))
    assert "user" not in engine.posted[0][0]


def test_what_takes_too_long_is_answered_with_its_execution(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat command does not wait for ever."""
    monkeypatch.setattr(running, "WAIT_SECONDS", 0.2)
    engine.states = [{"status": "running"}]
    well, result = engine.actions.run("act", {}, ANA)
    assert (well, result["unfinished"]) == (False, True)
    assert "st2 execution get e1" in result["next_step"]


def test_an_api_that_cannot_be_reached_is_said_plainly(engine: Engine) -> None:
    """Outside of an execution, and where nothing listens."""
    nowhere = EngineActions(EngineApi("http://127.0.0.1:1", Secret("token")))
    assert nowhere.run("act", {}, ANA)[1]["message"].startswith("StackStorm's API does not answer")
    outside = EngineActions(None).run("act", {}, ANA)
    assert "no access to StackStorm's API; nothing was started" in outside[1]["message"]


@pytest.mark.parametrize(
    "config, sentence",
    [
        ({}, "cluster must be a name"),
        (
            {**CONFIG, "chat": {"people": [{"name": "ana", "roles": ["emperor"]}]}},
            "names the role 'emperor'",
        ),
        ({**CONFIG, "kubernetes": {"kubeconfig": "/nonexistent"}}, "cannot use /nonexistent"),
    ],
    ids=["no configuration", "chat", "kubernetes"],
)
def test_a_wrong_configuration_is_told_in_the_chat(config: dict[str, Any], sentence: str) -> None:
    """Nobody gets a trace for an operator's slip; the setting is named, and the run has failed."""
    well, result = answer_text(config, "who am i", "ana")
    assert (well, result["outcome"]) == (False, "failed")
    assert sentence in result["text"]
