"""The pack in stormcell beside the sandbox, and people who talk to it as a chat's bot would pass
them on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.engine_process import EngineProcess
from sandbox.environment import Environment

DEADLINE_SECONDS = 120.0
CHAT: dict[str, Any] = {
    "people": [
        {"name": "ana", "accounts": ["ana", "@ana", "ana!ana@localhost"], "roles": ["admin"]},
        {"name": "ben", "accounts": ["ben"], "roles": ["viewer", "deployer@shop-*"]},
        {"name": "st2", "accounts": ["st2admin"], "roles": ["viewer"]},
    ],
    "ask": "#platform",
    "short_names": {"prod": "shop-prod"},
    "channels": [
        {
            "channels": ["shop"],
            "namespaces": ["shop-*", "default"],
            "default_namespace": "shop-prod",
        }
    ],
    "bots": ["kubestorm-bot"],
    "check_seconds": 1,
}


def eventually(look: Callable[[], Any], *, seconds: float = DEADLINE_SECONDS) -> Any:
    """The first true value; an AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return found


def answer_of(execution: dict[str, Any]) -> dict[str, Any]:
    """What the chat is told: an action's result, or the output of the workflow that waits."""
    result = execution["result"] or {}
    answer: dict[str, Any] | None = result.get("output") or result.get("result")
    assert answer, execution
    return answer


class ChatWorld:
    """Everything that a conversation needs."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        settings = {"chat": CHAT, "lease": {"duration_seconds": 20}, **settings}
        self.environment = Environment(
            folder, provision_seconds=0.2, settings=settings, registry=True
        )
        self.engine: EngineProcess
        self._numbers = itertools.count(1)

    def start(self) -> None:
        self.environment.start()
        for namespace in ("shop-prod", "shop-stage", "pay-prod"):
            self.environment.create_namespace(namespace)
        self.engine = self.environment.engine()
        self.engine.start()
        self.http = httpx.Client(
            base_url=self.engine.url,
            headers={"St2-Api-Key": self.engine.key},
            timeout=120,
            trust_env=False,
        )

    def restart(self) -> None:
        """End the engine and start it again at the same address, as bots know one address."""
        self.engine.stop()
        original = self.engine.command()
        at = original.index("--port") + 1
        command = [*original[:at], str(self.http.base_url.port), *original[at + 1 :]]
        self.engine.command = lambda: command  # type: ignore[method-assign]
        self.engine.start()

    def stop(self) -> None:
        if hasattr(self, "engine"):
            self.http.close()
            self.engine.stop()
        self.environment.stop()

    def post(
        self, command: str, user: str = "ana", channel: str = "general", **more: Any
    ) -> httpx.Response:
        """What a bot does with a message: match it and execute it."""
        body = {"command": command, "user": user, "source_channel": channel, **more}
        return self.http.post("/v1/aliasexecution/match_and_execute", json=body)

    def ended(self, execution_id: str) -> dict[str, Any]:
        """An execution, once it is over."""

        def look() -> Any:
            found = self.http.get(f"/v1/executions/{execution_id}").json()
            return found if found.get("end_timestamp") else None

        return dict(eventually(look))

    def executions(self, action: str) -> list[dict[str, Any]]:
        """The executions of an action."""
        return list(
            self.http.get("/v1/executions", params={"action": action, "limit": 1000}).json()
        )

    def run(self, command: str, user: str = "ana", channel: str = "general") -> dict[str, Any]:
        """Say it; the execution that answered."""
        answered = self.post(command, user, channel)
        assert answered.status_code == 201, answered.text
        return self.ended(answered.json()["results"][0]["execution"]["id"])

    def say(self, command: str, user: str = "ana", channel: str = "general") -> str:
        """Say it; the answer's text."""
        return str(answer_of(self.run(command, user, channel))["text"])


@pytest.fixture(scope="module")  # no longer: AWS keeps one state for each process
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatWorld]:
    world = ChatWorld(tmp_path_factory.mktemp("chat"))
    try:
        world.start()
        yield world
    finally:
        world.stop()
