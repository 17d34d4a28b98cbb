"""Who may call, from where, and with how much."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from tests.integration.engine.serving import Served


def _bare(served: Served) -> httpx.Client:
    return httpx.Client(base_url=served.url, trust_env=False)


@pytest.mark.parametrize(
    "path", ["/v1/executions", "/api/v1/rules/", "/metrics", "/v1/stream", "/v1/nowhere"]
)
def test_a_key_is_always_required(served: Served, path: str) -> None:
    """Without a key everything but /healthz answers 401 in StackStorm's form."""
    with _bare(served) as http:
        response = http.get(path)
        assert (response.status_code, list(response.json())) == (401, ["faultstring"])
        assert http.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "place",
    [
        lambda key: {"headers": {"St2-Api-Key": key}},
        lambda key: {"headers": {"X-Auth-Token": key}},
        lambda key: {"headers": {"Authorization": f"Bearer {key}"}},
        lambda key: {"params": {"st2-api-key": key}},
        lambda key: {"params": {"x-auth-token": key}},
        lambda key: {"headers": {"Cookie": f"auth-token={key}"}},
    ],
    ids=["st2-api-key", "x-auth-token", "bearer", "query-key", "query-token", "cookie"],
)
def test_the_key_is_taken_where_stackstorm_takes_it(served: Served, place: Any) -> None:
    """Headers, query and cookie are all looked at; a wrong key in the same place is refused."""
    with _bare(served) as http:
        assert http.get("/v1/packs", **place(served.key)).status_code == 200
        assert http.get("/v1/packs", **place("0" * 64)).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}],
    ids=["rebinding", "foreign-page", "opaque-page"],
)
def test_foreign_pages_are_refused(served: Served, headers: dict[str, str]) -> None:
    """A Host that is not ours (DNS rebinding) and an Origin of another page get 403 even with the
    key.
    """
    assert served.http.get("/v1/packs", headers=headers).status_code == 403


def test_a_body_over_the_limit_is_refused(served: Served) -> None:
    """413 by its stated length, and by counting where it comes in chunks."""
    body = b'{"trigger": "' + b"x" * 20_000 + b'"}'
    assert served.http.post("/v1/webhooks/st2", content=body).status_code == 413
    chunks = (body[start : start + 1000] for start in range(0, len(body), 1000))
    assert served.http.post("/v1/webhooks/st2", content=chunks).status_code == 413


@pytest.mark.parametrize(
    "method, path, body, status, words",
    [
        ("POST", "/v1/executions", {"action": "no.such"}, 400, "cannot be found"),
        (
            "POST",
            "/v1/executions",
            {"action": "engine_demo.greet"},
            400,
            "'name' is a required property",
        ),
        (
            "POST",
            "/v1/executions",
            {"action": "engine_demo.greet", "parameters": {"nam": 1}},
            400,
            "nam",
        ),
        ("POST", "/v1/executions", [], 400, "must be a JSON object"),
        ("GET", "/v1/executions/000000000000000000000000", None, 404, "cannot be found"),
        ("GET", "/v1/executions?limit=x", None, 400, "whole number"),
        ("POST", "/v1/webhooks/st2", {"trigger": "no.such", "payload": {}}, 404, "is not known"),
        (
            "POST",
            "/v1/webhooks/st2",
            {"trigger": "engine_demo.happened", "payload": {}},
            400,
            "does not fit",
        ),
        ("POST", "/v1/webhooks/nothing", {}, 404, 'Webhook "nothing" not found'),
        ("GET", "/v1/rules/no.such", None, 404, "not found"),
        ("GET", "/v1/keys/absent", None, 404, "not found"),
        ("PUT", "/v1/keys/x", {"value": 1}, 400, "a text"),
        ("DELETE", "/v1/rules", None, 405, "not offered"),
    ],
)
def test_wrong_input_gets_a_sentence(
    served: Served, method: str, path: str, body: Any, status: int, words: str
) -> None:
    """StackStorm's code and `faultstring`, with what is wrong in it."""
    response = served.http.request(method, path, json=body)
    assert response.status_code == status, response.text
    assert words in response.json()["faultstring"]


def test_methods_that_are_not_http_do_no_harm(served: Served) -> None:
    """A verb of another service's own (Vault's LIST) is refused, and the connection after it is
    served.
    """
    with socket.create_connection(
        (served.http.base_url.host, int(served.http.base_url.port or 0)), timeout=10
    ) as raw:
        raw.sendall(b"LIST /v1/keys HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.recv(100).split(b" ")[1] == b"400"
    assert served.get("/healthz") == {"status": "ok"}


def test_webhook_urls_that_differ_by_a_slash_are_one_url(served: Served) -> None:
    """Each rule's trigger happens, as in StackStorm."""
    for number, url in enumerate(("slashed", "/slashed", "slashed/")):
        trigger = {"type": "core.st2.webhook", "parameters": {"url": url}}
        rule = {"name": f"slashed{number}", "pack": "default", "enabled": True, "trigger": trigger}
        rule["action"] = {"ref": "core.noop"}
        served.http.post("/v1/rules", json=rule).raise_for_status()
    served.http.post("/v1/webhooks/slashed", json={"a": 1}).raise_for_status()
    for number in range(3):
        rule_ref = f"default.slashed{number}"
        found = served.get("/v1/ruleenforcements", rule_ref=rule_ref)
        assert [one["status"] for one in found] == ["succeeded"]
        served.http.delete(f"/v1/rules/{rule_ref}").raise_for_status()


def test_a_webhooks_body_has_the_same_limit(served: Served) -> None:
    """Webhooks go past the routes, and are held to the limit all the same: by stated length and by
    counting.
    """
    trigger = {"type": "core.st2.webhook", "parameters": {"url": "limited"}}
    rule = {
        "name": "limited",
        "pack": "default",
        "enabled": True,
        "trigger": trigger,
        "action": {"ref": "core.noop"},
    }
    served.http.post("/v1/rules", json=rule).raise_for_status()
    body = b'{"pad": "' + b"x" * 20_000 + b'"}'
    assert served.http.post("/v1/webhooks/limited", content=body).status_code == 413
    chunks = (body[start : start + 1000] for start in range(0, len(body), 1000))
    assert served.http.post("/v1/webhooks/limited", content=chunks).status_code == 413
    taken = served.http.post("/v1/webhooks/limited", content=iter([b'{"a": ', b"1}"]))
    assert (taken.status_code, taken.json()) == (202, {"a": 1})
    wrong = served.http.post("/v1/webhooks/limited", content=b"{")
    assert (wrong.status_code, "not JSON" in wrong.json()["faultstring"]) == (400, True)
    assert served.http.post("/v1/webhooks/nobody", json={}).status_code == 404
    served.http.delete("/v1/rules/default.limited").raise_for_status()
