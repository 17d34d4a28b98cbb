"""http-request, against a server on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from stormcell.packs import CORE_PACK
from stormcell.runners.http import HttpRunner
from stormcell.running import RunResult

from tests.integration.runners.conftest import Requests

ENOUGH = threading.Event()


class _Echo(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        path = self.path.partition("?")[0]
        if path == "/slow":
            ENOUGH.wait(20)
        status = int(path[1:]) if path[1:].isdigit() else 200
        answer: dict[str, Any] = {
            "method": self.command,
            "path": self.path,
            "body": body,
            "headers": dict(self.headers),
        }
        data = b"{broken" if path == "/broken" else json.dumps(answer).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/there")
        self.send_header(
            "Content-Type", "text/plain" if path == "/text" else "application/json; charset=utf-8"
        )
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Address of a server that answers with what it was asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    ENOUGH.set()
    server.shutdown()
    thread.join()
    server.server_close()


def _run(url: str, parameters: dict[str, Any] | None = None, **runner_parameters: Any) -> RunResult:
    requests = Requests(CORE_PACK)
    request = requests("http", parameters, url=url, **runner_parameters)
    return asyncio.run(HttpRunner().run(request, requests.output))


def test_a_json_answer_is_parsed(url: str) -> None:
    """The result has StackStorm's shape; header names are as the server writes them."""
    found = _run(f"{url}/x", {"params": {"q": "ü"}}, headers={"X-Own": "1"}, cookies={"a": "b"})
    assert found.status == "succeeded"
    assert (found.result["status_code"], found.result["parsed"]) == (200, True)
    assert found.result["headers"]["Content-Type"] == "application/json; charset=utf-8"
    body = found.result["body"]
    assert (body["method"], body["path"]) == ("GET", "/x?q=%C3%BC")
    lower = {name.lower(): value for name, value in body["headers"].items()}
    assert (lower["x-own"], lower["cookie"], lower["x-stanley-action"]) == ("1", "a=b", "http")


def test_something_to_send_makes_it_a_post(url: str) -> None:
    """JSON is sent as JSON, also when it was written as Python; other text as it is."""
    found = _run(url, {"body": "{'a': 1}"}, headers={"Content-Type": "application/json"})
    assert (found.result["body"]["method"], json.loads(found.result["body"]["body"])) == (
        "POST",
        {"a": 1},
    )
    assert _run(url, {"body": "plain", "method": "PUT"}).result["body"]["body"] == "plain"


def test_basic_authentication(url: str) -> None:
    """User and password become a header."""
    found = _run(url, username="u", password="p")
    lower = {name.lower(): value for name, value in found.result["body"]["headers"].items()}
    assert lower["authorization"] == "Basic " + base64.b64encode(b"u:p").decode()


@pytest.mark.parametrize(
    "path, status", [("/404", "failed"), ("/204", "succeeded"), ("/500", "failed")]
)
def test_the_status_follows_the_code(url: str, path: str, status: str) -> None:
    """200 to 206 are success."""
    assert _run(url + path, {"method": "GET"}).status == status


@pytest.mark.parametrize("path", ["/text", "/broken"])
def test_what_is_not_json_stays_text(url: str, path: str) -> None:
    """By its type, or because it cannot be read."""
    found = _run(url + path)
    assert found.result["parsed"] is False
    assert isinstance(found.result["body"], str)


def test_redirects_are_followed_when_asked(url: str) -> None:
    """By default they are the answer."""
    assert _run(f"{url}/302").result["status_code"] == 302
    assert _run(f"{url}/302", allow_redirects=True).result["body"]["path"] == "/there"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "blacklist": ({"url_hosts_blacklist": ["127.0.0.1"]}, "is blacklisted"),
    "whitelist": ({"url_hosts_whitelist": ["example.com"]}, "is not whitelisted"),
    "both": ({"url_hosts_blacklist": ["a"], "url_hosts_whitelist": ["b"]}, "mutually exclusive"),
}


@pytest.mark.parametrize("options, message", REFUSED.values(), ids=REFUSED.keys())
def test_hosts_can_be_refused(url: str, options: dict[str, Any], message: str) -> None:
    """Nothing is sent then."""
    found = _run(url, **options)
    assert found.status == "failed"
    assert message in found.result["error"]


def test_a_slow_server_is_a_timeout(url: str) -> None:
    """The status is timeout, and the time is told."""
    found = _run(f"{url}/slow", {"timeout": 0.2})
    assert found.status == "timeout"
    assert "0.2 seconds" in found.result["error"]


def test_nobody_there_is_a_failure() -> None:
    """The error says so."""
    found = _run("http://127.0.0.1:1/")
    assert found.status == "failed"
    assert found.result["error"]
