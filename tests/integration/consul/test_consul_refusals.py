"""Wrong requests, and the status and sentence Consul answers them with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

REFUSED: list[tuple[str, str, str, dict[str, Any], int, str]] = [
    ("no-key", "PUT", "kv/", {"content": b"x"}, 400, "Missing key name"),
    ("two-locks", "PUT", "kv/a?acquire=x&release=y", {}, 400,
     "Conflicting flags: acquire, release"),
    ("cas-and-recurse", "DELETE", "kv/a?recurse&cas=1", {}, 400, "Conflicting flags: recurse, cas"),
    ("value-too-large", "PUT", "kv/a", {"content": b"x" * (512 * 1024 + 1)}, 413,
     "Request body(524289 bytes) too large, max size: 524288 bytes. "
     "See https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size."),
    ("bad-wait", "GET", "kv/a?index=1&wait=soon", {}, 400, "Invalid wait time"),
    ("unknown-session", "PUT", "kv/a?acquire=none", {}, 500, 'invalid session "none"'),
    ("short-ttl", "PUT", "session/create", {"json": {"TTL": "5s"}}, 400,
     "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]"),
    ("bad-behavior", "PUT", "session/create", {"json": {"Behavior": "keep"}}, 400,
     "Invalid Behavior setting 'keep'"),
    ("unknown-check", "PUT", "session/create", {"json": {"Checks": ["none"]}}, 500,
     "Missing check 'none' registration"),
    ("renew-unknown", "PUT", "session/renew/none", {}, 404, "Session id 'none' not found"),
    ("no-service-name", "PUT", "agent/service/register", {"json": {}}, 400, "Missing service name"),
    ("unknown-service", "PUT", "agent/service/deregister/none", {}, 404,
     'Unknown service ID "none". Ensure that the service ID is passed, not the service name.'),
    ("pass-unknown", "PUT", "agent/check/pass/none", {}, 404,
     'Unknown check ID "none". Ensure that the check ID is passed, not the check name.'),
    ("no-node", "PUT", "catalog/register", {"json": {"Node": "x"}}, 400,
     "Must provide node and address"),
    ("other-datacenter", "GET", "kv/a?dc=elsewhere", {}, 500, "No path to datacenter"),
    ("filter", "GET", "catalog/nodes?filter=x", {}, 501,
     "the sandbox does not evaluate filter expressions"),
    ("not-an-endpoint", "GET", "nothing", {}, 404,
     "Invalid URL path: not a recognized HTTP API endpoint"),
    ("wrong-method", "GET", "txn", {}, 405, "method GET not allowed"),
]  # fmt: skip


@pytest.mark.parametrize(
    "method, path, options, status, text",
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_a_wrong_request_gets_consuls_answer(
    raw: Callable[..., httpx.Response],
    method: str,
    path: str,
    options: dict[str, Any],
    status: int,
    text: str,
) -> None:
    """Status and text are Consul's."""
    answer = raw(method, path, **options)
    assert (answer.status_code, answer.text) == (status, text)


def test_a_value_of_exactly_the_limit_is_taken(raw: Callable[..., httpx.Response]) -> None:
    """512 KiB is the most."""
    assert raw("PUT", "kv/a", content=b"x" * (512 * 1024)).json() is True


def test_every_read_tells_its_index(raw: Callable[..., httpx.Response]) -> None:
    """The index headers are there on 404 as well, and an index is never 0."""
    answer = raw("GET", "kv/none")
    assert answer.status_code == 404
    assert int(answer.headers["X-Consul-Index"]) > 0
    assert answer.headers["X-Consul-KnownLeader"] == "true"
