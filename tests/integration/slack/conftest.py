"""A workspace of Slack, a Kubernetes API, an engine's datastore: what the pack's side of chat works
with.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml
from kubestorm.clients.services import Services
from kubestorm.core.settings import load_settings

from sandbox.slack import SlackServer
from tests.kube_fixtures import Kube, eventually

ROOT = Path(__file__).resolve().parents[3]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
# Actions that run within a test read the real clock.
BEGINNING = dt.datetime.now(dt.UTC).replace(microsecond=0)


class Store:
    """A datastore as `action_service` and `sensor_service` offer it, in memory, with TTLs."""

    def __init__(self, now: Callable[[], dt.datetime]) -> None:
        self._now = now
        self._values: dict[str, tuple[str, dt.datetime | None]] = {}
        self.secrets: set[str] = set()

    def get_value(
        self, name: str, local: bool = True, scope: str = "system", decrypt: bool = False
    ) -> str | None:
        value, until = self._values.get(name, (None, None))
        return None if until is not None and until <= self._now() else value

    def set_value(
        self,
        name: str,
        value: str,
        ttl: int | None = None,
        local: bool = True,
        scope: str = "system",
        encrypt: bool = False,
    ) -> bool:
        self._values[name] = (str(value), self._now() + dt.timedelta(seconds=ttl) if ttl else None)
        if encrypt:
            self.secrets.add(name)
        return True

    def delete_value(self, name: str, local: bool = True, scope: str = "system") -> bool:
        return self._values.pop(name, None) is not None

    def list_values(
        self,
        local: bool = True,
        prefix: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Any]:
        names = sorted(
            name for name in self._values if name.startswith(prefix or "") and self.get_value(name)
        )
        found = [SimpleNamespace(name=name, value=self.get_value(name)) for name in names]
        return found[offset:][: limit or 100]


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> dt.datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


class EngineStandIn:
    """The calls of StackStorm's API that an action makes: executions are started, inquiries listed
    and answered.
    """

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.contexts: list[dict[str, Any]] = []
        self.result: Any = {"message": "Done."}
        self.inquiries: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if "/executions/" in self.path:
                    self.answer({"status": "succeeded", "result": {"result": engine.result}})
                else:
                    self.answer(
                        {"username": "stanley"} if "user" in self.path else engine.inquiries
                    )

            def do_POST(self) -> None:
                engine.begun.append(self.body())
                engine.contexts.append(json.loads(self.headers.get("st2-context") or "{}"))
                self.answer({"id": f"e{len(engine.begun)}"})

            def do_PUT(self) -> None:
                body = self.body()
                engine.answers.append(body)
                engine.inquiries = [one for one in engine.inquiries if one["id"] != body["id"]]
                self.answer(body)

            def body(self) -> Any:
                return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

            def answer(self, body: Any) -> None:
                content = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def take_up(self) -> None:
        """What the workflow does with the inquiries that were begun."""
        for number, one in enumerate(self.begun):
            if one["action"] == "kubestorm.approval_inquiry":
                inquiry = {"id": f"i{number}", "route": one["parameters"]["inquiry"]["route"]}
                if inquiry not in self.inquiries:
                    self.inquiries.append(inquiry)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineStandIn]:
    """In the environment of the action, as an engine puts it there."""
    it = EngineStandIn()
    thread = threading.Thread(target=it.server.serve_forever)
    thread.start()
    monkeypatch.setenv("ST2_ACTION_API_URL", f"http://127.0.0.1:{it.server.server_port}")
    monkeypatch.setenv("ST2_ACTION_AUTH_TOKEN", "t")
    yield it
    it.server.shutdown()
    thread.join()
    it.server.server_close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store:
    return Store(clock)


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    """One workspace, the channels general and team-shop in it."""
    with SlackServer() as server:
        server.add_channel("team-shop")
        yield server


@pytest.fixture
def slack_config(slack: SlackServer, tmp_path: Path) -> dict[str, Any]:
    """The section `slack`, with its files."""
    for name in ("bot_token", "app_token", "signing_secret"):
        (tmp_path / name).write_text(getattr(slack, name) + "\n")
    return {
        "bot_token_file": str(tmp_path / "bot_token"),
        "app_token_file": str(tmp_path / "app_token"),
        "signing_secret_file": str(tmp_path / "signing_secret"),
        "base_url": slack.base_url,
        "port": 0,
    }


@pytest.fixture
def kube(sandbox_kube: Kube) -> Kube:
    """The sandbox's API is enough here: nothing of it is particular."""
    return sandbox_kube


@pytest.fixture
def databases(http: httpx.Client, namespace: str) -> str:
    """The path of the test's Databases."""
    crd = yaml.safe_load((ROOT / "crds" / "databases.kubestorm.io.yaml").read_text())
    assert http.post(CRDS, json=crd).status_code in (httpx.codes.CREATED, httpx.codes.CONFLICT)
    path = f"/apis/kubestorm.io/v1alpha1/namespaces/{namespace}/databases"
    eventually(lambda: http.get(path).is_success, "the CRD is served")
    return path


@pytest.fixture
def config(kube: Kube, namespace: str, slack_config: dict[str, Any]) -> dict[str, Any]:
    """The pack's configuration: announcements go to #team-shop."""
    return {
        "cluster": "test",
        "kubernetes": {"kubeconfig": str(kube.kubeconfig), "namespace": namespace},
        "slack": slack_config,
        "announcements": {"channel": "#team-shop"},
    }


@pytest.fixture
def open_services(config: dict[str, Any], clock: Clock) -> Callable[..., Services]:
    """Fresh clients, with sections of the configuration replaced."""

    def make(**sections: Any) -> Services:
        return Services(load_settings({**config, **sections}), now=clock)

    return make
