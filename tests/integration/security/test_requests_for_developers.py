"""What is sent for developers, with the pack's credentials and from its host, and what becomes of
the answers.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import ssl
from typing import Any

import pytest
import urllib3.exceptions
from kubestorm.clients.kube import KubeClient, Resource
from kubestorm.clients.kube_errors import Request
from kubestorm.core.errors import DefinitionError, TemporaryError
from kubestorm.core.untrusted import MAX_BODY_BYTES, networks
from kubestorm.kinds.application.rollout.ingress_request import IngressRoute, _destination, get
from kubestorm.kinds.application.rollout.post_deploy_test import FINAL, TestRun
from kubestorm.kinds.application.rollout.values import NOT_PASSED, PASSED, RUNNING, RunTest
from kubestorm.kinds.application.spec import parse

from tests.integration.security.conftest import HOST, TOKEN, Recorder, Reply
from tests.unit.application.conftest import application, pack_settings
from tests.unit.security.test_untrusted import REFUSED_HEADERS, REFUSED_PATHS

PREFIX = "/api/v1/namespaces/shop/services/http:cart:80/proxy"
ASKED = Request("get", "", "services/proxy", "shop", "cart")
SECRETS = Resource("", "v1", "secrets")
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def proxied(kube: KubeClient, path: str = "/", **more: Any) -> Any:
    return kube.proxy(PREFIX, path, ASKED, **{"headers": {}, "timeout_seconds": 5, **more})


@pytest.mark.parametrize("path", REFUSED_PATHS.values(), ids=REFUSED_PATHS)
def test_no_request_leaves_its_prefix(kube, plain, path):
    """What is refused is not sent, not even in part."""
    with pytest.raises(DefinitionError):
        proxied(kube, path)
    assert plain.seen == []


@pytest.mark.parametrize("name, value", REFUSED_HEADERS.values(), ids=REFUSED_HEADERS)
def test_no_credentials_of_a_developer_travel_with_the_packs(kube, plain, name, value):
    """The client refuses what the spec should not have let through."""
    with pytest.raises(DefinitionError):
        proxied(kube, headers={name: value})
    assert plain.seen == []


def test_what_is_sent_is_what_was_meant(kube, plain):
    """The path as it is, the pack's own credentials, the developer's headers beside them."""
    proxied(kube, "/a/b?next=/../x", headers={"X-Test": "1"})
    ((path, headers),) = plain.seen
    assert path == f"{PREFIX}/a/b?next=/../x"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert (headers["x-test"], headers["user-agent"]) == ("1", "kubestorm")


@pytest.mark.parametrize(
    "name, namespace", [("..", "shop"), (".", "shop"), ("x", ".."), ("..", "..")]
)
def test_an_object_called_dots_is_not_asked_for(kube, plain, name, namespace):
    """Every request is checked: dots in a name would be another request, perhaps a deletion."""
    for call in (kube.get, kube.delete):
        with pytest.raises(DefinitionError, match="leads elsewhere"):
            call(SECRETS, name, namespace)
    assert plain.seen == []


def test_no_more_is_read_than_is_judged(kube, plain):
    """64 KiB of an answer, and as it was sent: nothing is unpacked."""
    plain.reply = Reply(body=b"x" * 5_000_000)
    assert len(proxied(kube).body) == MAX_BODY_BYTES
    bomb = gzip.compress(b"\0" * 10_000_000)
    plain.reply = Reply(body=bomb, headers={"Content-Encoding": "gzip"})
    assert proxied(kube).body == bomb


def test_an_answer_that_never_ends_is_left(kube, plain):
    """A program that sends a byte now and then holds nobody: the time is for the whole answer."""
    plain.reply = Reply(drips=True)
    with pytest.raises(TemporaryError, match="TimeoutError"):
        proxied(kube, timeout_seconds=0.2)


SECRET = "crown-jewels"
SAID = {
    "another value": ({"json": {"$.data.crown": "x"}}, "has another value, expected 'x'"),
    "another type": ({"json": {"$.data": "x"}}, "is of another type, expected 'x'"),
    "absent": ({"json": {"$.no": "x"}}, "is absent, expected 'x'"),
    "status": ({"status": 204}, "answered 200, expected 204"),
    "contains": ({"contains": "x!"}, "does not contain 'x!'"),
    "matches": ({"matches": "^x"}, "does not match '^x'"),
    "header": ({"expectHeaders": {"x-secret": "x"}}, "header x-secret has another value"),
}


def run_of(kube: KubeClient, spec: dict[str, Any], granted: tuple[str, ...] = ()) -> TestRun:
    settings = pack_settings(ingress={"test_hosts": ["*.example.com"], "tls": False})
    rollout = {
        "metadata": {"name": "cart-1", "namespace": "shop", "uid": "u"},
        "spec": {"image": {"digest": "sha256:" + "a" * 64}},
    }
    parsed = parse(application(spec), settings)
    return TestRun(
        kube, rollout, parsed, route=IngressRoute(tls=False), granted=granted, timeout_seconds=1
    )


@pytest.mark.parametrize("expected, words", SAID.values(), ids=SAID)
def test_nothing_of_an_answer_is_repeated(kube, plain, expected, words):
    """What is said names the expectation and the kind of difference."""
    plain.reply = Reply(
        body=json.dumps({"data": {"crown": SECRET}}).encode(), headers={"x-secret": SECRET}
    )
    run = run_of(kube, {"test": {"http": [{"path": "/", **expected}]}})
    found = run.run(RunTest(FINAL, "stable"), None, NOW, NOW)
    assert found.state == RUNNING
    assert words in found.message
    assert SECRET not in found.message


HOSTILE_ANSWERS = {
    "a Status of its own": Reply(
        500, {}, json.dumps({"kind": "Status", "message": SECRET, "code": 500}).encode()
    ),
    "deep JSON": Reply(500, {}, b"[" * 60000),
    "deep JSON that is judged": Reply(200, {}, b'{"a":' * 10000),
    "a redirect": Reply(302, {"Location": "http://127.0.0.1:1/" + SECRET}, b""),
    "a broken length": Reply(200, {"Transfer-Encoding": "chunked"}, b"zz" + SECRET.encode()),
}


@pytest.mark.parametrize("reply", HOSTILE_ANSWERS.values(), ids=HOSTILE_ANSWERS)
def test_a_hostile_answer_is_an_answer_that_does_not_pass(kube, plain, reply):
    """It ends the test, not the run, and redirects lead nowhere."""
    plain.reply = reply
    run = run_of(kube, {"test": {"http": [{"path": "/", "json": {"$.a": "b"}}]}})
    found = run.run(RunTest(FINAL, "stable"), None, NOW, NOW + dt.timedelta(hours=1))
    assert found.state == NOT_PASSED
    assert SECRET not in found.message
    assert len(plain.seen) == 1


# Ingress.


class Names:
    """A resolver of our own, and how often it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses, self.asked = addresses, 0

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        # A name that leads elsewhere the second time.
        return list(self.addresses) if self.asked == 1 else ["169.254.169.254"]


def trusting(certificate: Any) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificate.ca)


def ask(server: Recorder, names: Names, host: str = HOST, path: str = "/", **more: Any) -> Any:
    values = {"headers": {}, "timeout_seconds": 5, "allow_loopback": True, **more}
    route = values.pop("route", IngressRoute(tls="tls" in more, port=server.port))
    return get(route, host, path, resolver=names, **values)


def test_an_ingress_host_is_asked_as_its_users_ask_it(secure, certificate):
    """By the address that was checked, once; name and certificate are the host's."""
    names = Names("127.0.0.1")
    answer = ask(secure, names, path="/healthz?a=1", tls=trusting(certificate))
    assert (answer.status, answer.body, names.asked) == (200, b"ok", 1)
    ((path, headers),) = secure.seen
    assert (path, headers["host"]) == ("/healthz?a=1", HOST)
    assert "authorization" not in headers


def test_the_certificate_has_to_be_the_hosts(secure, certificate):
    """Not the address's: whoever answers there has to prove the name."""
    with pytest.raises(urllib3.exceptions.SSLError):
        ask(secure, Names("127.0.0.1"), host="shop.example.com", tls=trusting(certificate))
    with pytest.raises(urllib3.exceptions.SSLError):
        ask(secure, Names("127.0.0.1"), tls=ssl.create_default_context())
    assert secure.seen == []


REFUSED_TARGETS = {
    "loopback": ["127.0.0.1"],
    "loopback of IPv6": ["::1"],
    "mapped loopback": ["::ffff:127.0.0.1"],
    "metadata": ["169.254.169.254"],
    "private": ["10.0.0.5"],
    "multicast": ["224.0.0.1"],
    "unspecified": ["0.0.0.0"],
    "one of several": ["8.8.8.8", "127.0.0.1"],
    "none": [],
}


@pytest.mark.parametrize("addresses", REFUSED_TARGETS.values(), ids=REFUSED_TARGETS)
def test_a_name_that_leads_inside_is_not_asked(plain, addresses):
    """Loopback can be reached by a test that says so, and by nobody else."""
    with pytest.raises(DefinitionError, match=r"is not requested|has no address"):
        ask(plain, Names(*addresses), allow_loopback=False)
    assert plain.seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.0.0.1"])
def test_a_bare_address_is_not_asked(plain, host):
    """A host is a name."""
    names = Names("127.0.0.1")
    with pytest.raises(DefinitionError, match="not a host name"):
        ask(plain, names, host=host)
    assert (plain.seen, names.asked) == ([], 0)


def test_private_networks_are_operations_to_allow():
    """Within them the address is taken; loopback is not, whatever they say."""
    allowed = IngressRoute(private=networks(["10.0.0.0/8", "127.0.0.0/8"], "x"))
    inside = _destination(allowed, HOST, Names("10.0.0.5"), allow_loopback=False)
    assert inside == ("10.0.0.5", 443, True)
    with pytest.raises(DefinitionError, match="loopback"):
        _destination(allowed, HOST, Names("127.0.0.1"), allow_loopback=False)


def test_operations_own_address_is_where_requests_go(plain):
    """No name is resolved; the Host header is the host's."""
    names = Names("8.8.8.8")
    route = IngressRoute(address=f"http://127.0.0.1:{plain.port}")
    ask(plain, names, route=route, allow_loopback=False)
    ((_, headers),) = plain.seen
    assert (headers["host"], names.asked) == (HOST, 0)


def test_redirects_are_answers(plain):
    """Nobody goes where they point."""
    plain.reply = Reply(302, {"Location": f"http://127.0.0.1:{plain.port}/inside"}, b"")
    assert ask(plain, Names("127.0.0.1")).status == 302
    assert len(plain.seen) == 1


def test_paths_and_headers_are_checked_here_too(plain):
    """As everywhere."""
    with pytest.raises(DefinitionError):
        ask(plain, Names("127.0.0.1"), path="/../x")
    with pytest.raises(DefinitionError):
        ask(plain, Names("127.0.0.1"), headers={"Cookie": "a=b"})
    assert plain.seen == []


THROUGH_INGRESS = {
    "expose": {"type": "ingress", "hosts": [HOST]},
    "test": {"through": "ingress", "http": [{"path": "/"}]},
}


@pytest.mark.parametrize(
    "granted, words",
    [
        pytest.param((), "holds no ingress host", id="none is held"),
        pytest.param(("other.example.com",), "holds no ingress host", id="another is held"),
    ],
)
def test_only_hosts_that_are_held_are_asked(kube, granted, words):
    """Whoever asks for somebody else's host gets no requests sent there."""
    found = run_of(kube, THROUGH_INGRESS, granted).run(RunTest(FINAL, "stable"), None, NOW, NOW)
    assert (found.state, words in found.message) == (RUNNING, True)


def test_pods_are_asked_through_the_api_server(kube, plain):
    """At the end by the Service's proxy; a body that is as expected passes."""
    run = run_of(kube, {"test": {"http": [{"path": "/healthz", "contains": "ok"}]}})
    assert run.run(RunTest(FINAL, "stable"), None, NOW, NOW).state == PASSED
    assert [path for path, _ in plain.seen] == [f"{PREFIX}/healthz"]
