"""The listener over real sockets: what a client sees, and that no client blocks others."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubestorm.sources.listener import Answer, Listener, ListenerSettings, Request, Route, Unsigned

from sandbox.serving import make_certificate

LOG = logging.getLogger("test.listener")
WAIT_SECONDS = 120.0
BODY = b'{"events": []}'


class Served:
    """A listener that writes down what it receives at /in and waits at /wait."""

    def __init__(self, **settings: Any) -> None:
        self.received: list[Request] = []
        self.gate, self.waiting = threading.Event(), threading.Semaphore(0)
        self.listener = Listener(
            ListenerSettings(**settings),
            [
                Route("/in", "in", Unsigned(), self._take),
                Route("/wait", "wait", Unsigned(), self._wait),
            ],
            LOG,
        )
        self.listener.start()
        self.port = int(self.listener.url.rpartition(":")[2])

    def _take(self, request: Request) -> Answer:
        request.json()
        self.received.append(request)
        return Answer.text(202, "Taken.")

    def _wait(self, request: Request) -> Answer:
        self.waiting.release()
        self.gate.wait(WAIT_SECONDS)
        return Answer.text(202, "Taken.")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SECONDS)

    def say(self, data: bytes) -> bytes:
        """What comes back for raw bytes, until the listener closes the connection."""
        with self.connect() as peer:
            with contextlib.suppress(OSError):
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
            return read_all(peer)

    def post(self, body: bytes = BODY, path: str = "/in", **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        with contextlib.closing(connection):
            connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
            return connection.getresponse().status

    def counts(self) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            assert answer.status == 200
            return json.loads(answer.read())["received"]


def read_all(peer: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := peer.recv(65536):
            found += data
    return found


def head(*lines: str) -> bytes:
    return "\r\n".join(
        ["POST /in HTTP/1.1", "Host: a", "Content-Type: application/json", *lines, "", ""]
    ).encode()


@contextlib.contextmanager
def serving(**settings: Any) -> Iterator[Served]:
    served = Served(**settings)
    try:
        yield served
    finally:
        served.gate.set()
        served.listener.stop()


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(request_seconds=0.5, max_body_bytes=10_000, max_header_bytes=4096) as found:
        yield found


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_request_arrives_as_it_was_sent(served):
    """Raw body, query and headers, with names in small letters and repeated ones joined."""
    served.say(
        b"POST /in?a=b%20c HTTP/1.1\r\nHost: a\r\ncontent-TYPE: application/json\r\nX-A: 1\r\n"
        b"x-a: 2\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n3;x=y\r\n 2]\r\n0\r\nX-Late: 1\r\n\r\n"
    )
    (found,) = served.received
    assert (found.method, found.path, found.query, found.body) == (
        "POST",
        "/in",
        "a=b%20c",
        b"[1, 2]",
    )
    assert (found.headers["x-a"], found.headers["content-type"]) == ("1, 2", "application/json")
    assert "x-late" not in found.headers
    assert found.remote == "127.0.0.1"


BAD = {
    "unknown path": (b"POST /other HTTP/1.0\r\n\r\n", 404),
    "wrong method": (b"GET /in HTTP/1.0\r\n\r\n", 405),
    "wrong content type": (
        b"POST /in HTTP/1.0\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
        415,
    ),
    "malformed": (head("Content-Length: 1", "Connection: close") + b"{", 400),
    "nested": (head("Content-Length: 200", "Connection: close") + b"[" * 200, 400),
    "said to be long": (head("Content-Length: 10001"), 413),
    "absurdly long": (head("Content-Length: 99999999999999999999999999"), 400),
    "negative length": (head("Content-Length: -1"), 400),
    "long in chunks": (
        head("Transfer-Encoding: chunked") + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 3,
        413,
    ),
    "garbage in chunks": (head("Transfer-Encoding: chunked") + b"zz\r\nfoo", 400),
    "two lengths": (head("Content-Length: 2", "Content-Length: 3") + b"{}", 400),
    "length and chunks": (
        head("Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    "tunnel": (
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        400,
    ),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
    "long header": (head("X-A: " + "a" * 5000), 431),
    "long header, never ending": (head()[:-2] + b"X-A: " + b"a" * 5000, 431),
    "many headers": (head(*(f"X-{number}: 1" for number in range(101))), 431),
    "long address": (b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
    "line break in a header": (b"POST /in HTTP/1.1\r\nX-A: 1\n\r2\r\n\r\n", 400),
    "null in a header": (b"POST /in HTTP/1.1\r\nX-A: \x00\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_gets_its_status_and_is_counted(served, name):
    """The client sees why, nothing reaches the route, and the next request is served."""
    data, status = BAD[name]
    assert served.say(data).startswith(f"HTTP/1.1 {status} ".encode())
    assert served.received == []
    assert sum(sum(found.values()) for found in served.counts().values()) == 1
    assert served.post() == 202


def test_a_slow_request_is_given_up(served):
    """One byte now and then does not keep it alive: the deadline is for the request as a whole."""
    with served.connect() as peer:
        answered = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                for byte in head("Content-Length: 2"):
                    if answered.wait(0.05):
                        return
                    peer.sendall(bytes([byte]))

        dripping = threading.Thread(target=drip)
        dripping.start()
        found = peer.recv(100)
        answered.set()
        dripping.join()
    assert found.startswith(b"HTTP/1.1 408 ")
    assert served.counts()["-"] == {"too_slow": 1}


def test_half_a_request_is_nothing(served):
    """A client that goes away in the middle leaves no trace but a count."""
    assert served.say(head("Content-Length: 100") + b"{") == b""
    assert served.received == []
    assert served.counts()["-"] == {"malformed": 1}


def test_several_requests_share_a_connection(served):
    """One after another, and several at once ahead of their answers, in order."""
    one = head(f"Content-Length: {len(BODY)}") + BODY
    found = served.say(one + one + one.replace(b"/in", b"/no"))
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"202", b"202", b"404"]


def test_more_requests_ahead_than_is_sensible_are_refused(served):
    """A client cannot make the listener hold any number of requests."""
    found = served.say((head("Content-Length: 2") + b"{}") * 100)
    assert found.count(b"HTTP/1.1 202") <= 17
    assert found.count(b"HTTP/1.1 400") == 1


def test_a_client_that_asks_first_is_told_to_continue(served):
    """`Expect: 100-continue`, as curl and Java send it for larger bodies; what is too large is
    refused at once.
    """
    with served.connect() as peer:
        peer.sendall(head("Content-Length: 2", "Expect: 100-continue"))
        assert peer.recv(100).startswith(b"HTTP/1.1 100 ")
        peer.sendall(b"{}")
        assert peer.recv(1000).startswith(b"HTTP/1.1 202 ")
    with served.connect() as peer:
        peer.sendall(head("Content-Length: 20000", "Expect: 100-continue"))
        assert peer.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_an_offer_to_upgrade_is_passed_over(served):
    """Java's client offers h2c with its first request: it is answered by HTTP/1.1."""
    found = served.say(
        head(
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AA",
            "Content-Length: 2",
        )
        + b"{}"
    )
    assert found.startswith(b"HTTP/1.1 202 ")
    assert b"Connection: close" in found


def test_head_has_no_body(served):
    """The length is told, and the connection stays in step."""
    found = served.say(b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n")
    first, second = found.split(b"HTTP/1.1 ")[1:]
    assert first.endswith(b"\r\n\r\n")
    assert second.endswith(b"}")


HOSTILE: dict[str, Callable[[socket.socket], None]] = {
    "silent": lambda peer: None,
    "half a line": lambda peer: peer.sendall(b"POST /i"),
    "half of the headers": lambda peer: peer.sendall(head()[:-4]),
    "half of the body": lambda peer: peer.sendall(head("Content-Length: 100") + b"{"),
    "half a chunk": lambda peer: peer.sendall(head("Transfer-Encoding: chunked") + b"ff\r\n{"),
    "garbage": lambda peer: peer.sendall(b"\x00\xff" * 500),
    "huge headers": lambda peer: peer.sendall(head("X-A: " + "a" * 60_000)),
    "never reads": lambda peer: peer.sendall((head("Content-Length: 2") + b"{}") * 15),
}


def test_64_slow_or_hostile_connections_do_not_keep_it_from_the_others(served):
    """With eight of each kind open, good requests are answered, and afterwards no connection is
    left over.
    """
    with (
        serving(request_seconds=WAIT_SECONDS, max_header_bytes=4096) as held,
        contextlib.ExitStack() as stack,
    ):
        for attack in list(HOSTILE.values()) * 8:
            peer = stack.enter_context(held.connect())
            with contextlib.suppress(OSError):
                attack(peer)
        begin = time.monotonic()
        assert [held.post() for _ in range(50)] == [202] * 50
        assert time.monotonic() - begin < WAIT_SECONDS / 2
        stack.close()
        until(lambda: len(held.listener._server._connections) <= 1)
        assert held.counts()["in"]["accepted"] >= 50


def test_too_many_connections_make_the_most_silent_give_way():
    """The bound holds, a newcomer is served, and one that is being answered is left alone."""
    with serving(max_connections=8) as held, contextlib.ExitStack() as stack:
        busy = stack.enter_context(held.connect())
        busy.sendall(head("Content-Length: 2").replace(b"/in", b"/wait") + b"{}")
        assert held.waiting.acquire(timeout=WAIT_SECONDS)
        idle = [stack.enter_context(held.connect()) for _ in range(30)]
        assert held.post() == 202
        assert read_all(idle[0]) == b""
        until(lambda: len(held.listener._server._connections) <= 8)
        held.gate.set()
        assert busy.recv(100).startswith(b"HTTP/1.1 202 ")


def test_stopping_lets_what_is_under_way_be_answered(served):
    """A request that is being processed gets its answer; nothing new is taken."""
    with served.connect() as peer:
        peer.sendall(head("Content-Length: 2").replace(b"/in", b"/wait") + b"{}")
        assert served.waiting.acquire(timeout=WAIT_SECONDS)
        stopping = threading.Thread(target=served.listener.stop)
        stopping.start()
        served.gate.set()
        assert peer.recv(100).startswith(b"HTTP/1.1 202 ")
        stopping.join(WAIT_SECONDS)
    with pytest.raises(OSError, match="refused"):
        served.connect()


def test_it_speaks_tls_and_takes_a_new_certificate_without_a_restart(tmp_path):
    """A client that verifies is served; a stalled handshake and plain HTTP hold up nobody."""
    first, second = make_certificate(), make_certificate()
    files = tmp_path / "tls.pem", tmp_path / "tls-key.pem"

    def install(certificate) -> None:
        files[0].write_text(certificate.certificate)
        files[1].write_text(certificate.key)

    def post(trusted) -> int:
        context = ssl.create_default_context(cadata=trusted.ca)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", held.port, timeout=WAIT_SECONDS, context=context
        )
        with contextlib.closing(connection):
            connection.request("POST", "/in", BODY, {"Content-Type": "application/json"})
            return connection.getresponse().status

    install(first)
    with (
        serving(certificate_file=str(files[0]), key_file=str(files[1])) as held,
        held.connect() as stalled,
    ):
        stalled.sendall(b"\x16\x03\x01")
        assert held.listener.url.startswith("https://")
        assert b"HTTP/1.1 202" not in held.say(head("Content-Length: 2") + b"{}")
        assert post(first) == 202
        files[1].write_text("no key")
        assert post(first) == 202
        install(second)
        assert post(second) == 202
        with pytest.raises(ssl.SSLError):
            post(first)


def test_many_large_bodies_do_not_fill_the_memory(monkeypatch):
    """What all connections hold together is bounded; afterwards there is room again."""
    monkeypatch.setattr("kubestorm.sources.listener.server.MAX_HELD_BYTES", 50_000)
    with serving(max_body_bytes=20_000) as held, contextlib.ExitStack() as stack:
        for _ in range(3):
            peer = stack.enter_context(held.connect())
            peer.sendall(head("Content-Length: 15000") + b"[" + b" " * 14_000)
        until(lambda: held.listener._server._budget._held >= 42_000)
        assert held.say(head("Content-Length: 15000") + b"[" + b" " * 14_999).startswith(
            b"HTTP/1.1 503 "
        )
        stack.close()
        until(lambda: held.listener._server._budget._held == 0)
        assert [held.post(b"[" + b" " * 14_998 + b"]") for _ in range(5)] == [202] * 5
        until(lambda: held.listener._server._budget._held == 0)
