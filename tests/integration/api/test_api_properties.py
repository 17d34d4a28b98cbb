"""Whatever is asked, the API answers with sense: no 500, refusals as StackStorm words them, and
never a secret.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route
from stormcell.api import make_app
from stormcell.bootstrap import Settings, make_contents, make_engine, make_sensors
from stormcell.engine import Engine
from stormcell.ports import PackDispatch
from stormcell.store.store import open_store

from tests.integration.engine.serving import PACKS

SECRETS = ("hush-hush-4711", "swordfish-0815")
_SKIPPED = ("/v1/stream",)  # it does not end
_NAMES = (
    *(
        "last",
        "core.noop",
        "client_demo.speak",
        "client_demo.posted",
        "client_demo",
        "EXECUTION",
        "st2",
        "client/posted",
    ),
    *(
        "secret.key",
        "result",
        "no-such",
        "000000000000000000000000",
        "views",
        "action.retry",
        "orquesta",
        "speak",
    ),
)
_FIELDS = (
    *(
        "action",
        "parameters",
        "user",
        "name",
        "pack",
        "enabled",
        "trigger",
        "payload",
        "criteria",
        "type",
        "value",
    ),
    *(
        "scope",
        "secret",
        "ttl",
        "command",
        "format",
        "packs",
        "types",
        "status",
        "tasks",
        "reset",
        "delay",
        "response",
    ),
    *(
        "context",
        "metadata",
        "before",
        "token",
        "text",
        "runner_type",
        "entry_point",
        "ref",
        "notify",
        "data_files",
    ),
)
_texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "core.noop",
            "client_demo.speak",
            "speak",
            "say a 1 times",
            "pausing",
            "{{ st2kv.system.x }}",
            "*",
        ]
    ),
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_bodies = st.one_of(
    st.dictionaries(st.sampled_from(_FIELDS), _values, max_size=5).map(
        lambda body: json.dumps(body).encode()
    ),
    _values.map(lambda body: json.dumps(body).encode()),
    st.binary(max_size=20),
)
_queries = st.dictionaries(
    st.sampled_from(
        [
            *(
                "limit",
                "offset",
                "sort",
                "sort_asc",
                "sort_desc",
                "include_attributes",
                "exclude_attributes",
                "pack",
            ),
            *(
                "name",
                "status",
                "action",
                "parent",
                "scope",
                "decrypt",
                "prefix",
                "user",
                "filter",
                "trace_tag",
            ),
            *(
                "timestamp_gt",
                "timestamp_lt",
                "trigger",
                "execution",
                "rule",
                "output_type",
                "enabled",
                "id",
            ),
        ]
    ),
    st.one_of(
        st.text(max_size=10),
        st.sampled_from(["1", "-1", "0", "99999999999999999999", "a.b,c", "null", "true"]),
    ),
    max_size=3,
)


class Caller:
    """Calls the application in this process, on a loop of its own."""

    def __init__(self, data: Path) -> None:
        self.runner = asyncio.Runner()
        self.store = open_store(data)
        self.engine: Engine
        self.http: httpx.AsyncClient
        self.execution = ""
        self.routes: list[tuple[str, str]] = []
        self.runner.run(self._start(data))

    async def _start(self, data: Path) -> None:
        key, _ = self.store.api_keys.create("st2admin")
        chosen = Settings(packs=(PACKS / "client_demo",), data=data, workers=1)
        dispatch = PackDispatch()
        self.engine = make_engine(chosen, self.store, dispatch)
        sensors = make_sensors(self.engine, chosen, dispatch)
        app = make_app(self.engine, make_contents(self.engine, sensors, chosen))
        self.routes = sorted(
            (method, route.path)
            for route in app.routes
            if isinstance(route, Route) and route.path not in _SKIPPED
            for method in (route.methods or ())
            if method != "HEAD"
        )
        await self.engine.start()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers={"St2-Api-Key": key}
        )
        await self.http.put("/v1/keys/secret.key", json={"value": SECRETS[0], "secret": True})
        await self.http.put("/v1/configs/client_demo", json={"password": SECRETS[1]})
        body = {"action": "client_demo.speak", "parameters": {"text": "x", "pin": SECRETS[0]}}
        self.execution = (await self.http.post("/v1/executions", json=body)).json()["id"]

    def call(self, method: str, path: str, query: dict[str, str], body: bytes) -> httpx.Response:
        target = path.replace("EXECUTION", self.execution)
        return self.runner.run(self._call(method, target, query, body))

    async def _call(
        self, method: str, path: str, query: dict[str, str], body: bytes
    ) -> httpx.Response:
        content = body if method in ("POST", "PUT", "DELETE") else b""
        return await self.http.request(method, path, params=query or None, content=content)

    def close(self) -> None:
        self.runner.run(self._close())
        self.runner.close()
        self.store.close()

    async def _close(self) -> None:
        await self.http.aclose()
        await self.engine.stop(grace_seconds=0.1)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    caller = Caller(tmp_path_factory.mktemp("properties") / "data")
    yield caller
    caller.close()


def _check(response: httpx.Response, *, decrypted: bool = False) -> None:
    said = (
        f"{response.request.method} {response.request.url} {response.request.content!r}: "
        f"{response.text[:400]}"
    )
    assert response.status_code != 500, said
    if response.status_code >= 400:
        body: Any = response.json()
        assert list(body) == ["faultstring"], said
        assert isinstance(body["faultstring"], str), said
        assert body["faultstring"], said
    if not decrypted:
        assert not any(secret in response.text for secret in SECRETS), said


def _call_any(caller: Caller, data: st.DataObject) -> tuple[str, str, httpx.Response]:
    method, template = data.draw(st.sampled_from(caller.routes))
    names = st.one_of(
        st.sampled_from(_NAMES), st.text(max_size=8).map(lambda text: quote(text, safe=""))
    )
    path = re.sub(r"\{.*?\}", lambda _: data.draw(names), template)
    if method == "DELETE" and ("secret.key" in path or "EXECUTION" in path):
        path = f"{path}-not"  # the secrets that are looked for stay
    query = data.draw(_queries)
    return path, query.get("decrypt", ""), caller.call(method, path, query, data.draw(_bodies))


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_call_is_answered(caller: Caller, data: st.DataObject) -> None:
    """No name, query or body leads to a 500, to a refusal without a faultstring, or to a secret."""
    path, decrypt, response = _call_any(caller, data)
    _check(
        response,
        decrypted=path.startswith("/v1/keys") and decrypt.lower() in ("1", "true", "yes", "on"),
    )


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/v1/keys?scope=all",
            "/v1/configs/client_demo",
            "/v1/executions/EXECUTION",
        ),
        *(
            "/v1/executions",
            "/v1/why/EXECUTION",
            "/v1/executions/EXECUTION/output",
            "/v1/apikeys",
        ),
    ],
)
def test_secrets_are_never_shown(caller: Caller, path: str) -> None:
    """Where a secret would stand there are stars, unless an administrator asks for it."""
    response = caller.call("GET", path, {}, b"")
    assert response.status_code == 200
    _check(response)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.dictionaries(st.sampled_from(_FIELDS), _values, max_size=6),
    part=st.sampled_from(["rules", "actions"]),
)
def test_any_rule_or_action_is_answered(caller: Caller, body: dict[str, Any], part: str) -> None:
    """What is made by hand is checked before it is kept: a wrong one is a 400, and the engine goes
    on.
    """
    whole: dict[str, Any] = {
        "rules": {"trigger": {"type": "core.st2.webhook"}, "action": {"ref": "core.noop"}},
        "actions": {"runner_type": "noop"},
    }[part]
    whole = {"name": "x", "pack": "client_demo", **whole}
    _check(caller.call("POST", f"/v1/{part}", {}, json.dumps({**whole, **body}).encode()))
    _check(caller.call("GET", f"/v1/{part}", {"limit": "-1"}, b""))
    _check(caller.call("DELETE", f"/v1/{part}/client_demo.x", {}, b""))
