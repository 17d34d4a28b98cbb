"""The trust boundary: which paths, hosts, addresses and headers are used, and how what an object
carries is read.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from kubestorm.core import untrusted
from kubestorm.core.errors import DefinitionError
from kubestorm.core.settings import load_settings
from kubestorm.core.times import parse_time
from kubestorm.kinds.application.settings import ApplicationSettings
from kubestorm.kinds.application.spec import InvalidSpecError, parse
from urllib3.util import parse_url

from tests.unit.application.conftest import application, pack_settings

ROOT = Path(__file__).resolve().parents[3]
ACCEPTED_PATHS = {
    "root": "/",
    "one segment": "/healthz",
    "trailing slash": "/api/v1/",
    "query": "/search?q=a&b[]=1",
    "climbing only in the query": "/search?next=/../../x%2f..%5c//",
    "hidden file": "/.well-known/ready",
    "dots within": "/v1.2/a..b",
    "three dots": "/...",
    "percent-encoded words": "/caf%C3%A9/%D0%B0",
    "sub-delimiters": "/a;b=1/!$&'()*+,=:@~_-",
}
REFUSED_PATHS = {
    "none": "",
    "relative": "healthz",
    "another host": "//evil.example.com/x",
    "a URL": "http://evil.example.com/",
    "user info": "@evil.example.com/",
    "a secret of the cluster": "/../../../../api/v1/namespaces/kube-system/secrets/crown",
    "dot segment": "/a/./b",
    "last dot segment": "/a/..",
    "encoded dots": "/%2e%2e/%2E%2e/api",
    "half encoded dots": "/.%2e/api",
    "encoded slash": "/..%2fapi",
    "encoded slash alone": "/a%2Fb",
    "backslash": "/..\\..\\api",
    "encoded backslash": "/a%5c..%5Cb",
    "empty segment": "/a//b",
    "double encoding": "/%252e%252e/api",
    "encoded percent": "/100%25",
    "overlong dot": "/%c0%ae%c0%ae/api",
    "not UTF-8": "/%ff",
    "fullwidth dots": "/%EF%BC%8E%EF%BC%8E/api",
    "two dot leader": "/%E2%80%A5/api",
    "fullwidth slash": "/..%EF%BC%8F..%EF%BC%8Fapi",
    "fullwidth percent": "/%EF%BC%852e",
    "fullwidth backslash": "/%EF%BC%BC",
    "raw fullwidth dots": "/．．/api",
    "zero width space": "/.%E2%80%8B./api",
    "dots with a parameter": "/..;/api",
    "dots with an encoded parameter": "/..%3b/api",
    "empty with a parameter": "/a/;x/b",
    "NUL": "/a\0b",
    "encoded NUL": "/a%00b",
    "new line": "/a\r\nHost: b",
    "encoded new line": "/a%0d%0aHost:%20b",
    "new line in the query": "/a?x=\r\ny",
    "new line at the end": "/a\n",
    "delete": "/a%7f",
    "space": "/a b",
    "tabulator": "/a\tb",
    "fragment": "/a#/../b",
    "broken escape": "/a%zz",
    "short escape": "/a%2",
    "not ASCII": "/café",
    "too long": "/" + "a" * 2000,
}


@pytest.mark.parametrize("path", ACCEPTED_PATHS.values(), ids=ACCEPTED_PATHS)
def test_a_path_is_used_as_it_is(path):
    """It comes back unchanged, and urllib3 sends its segments as they are."""
    assert untrusted.check_path(path) == path
    base = "http://h:1/api/proxy"
    assert untrusted.is_below(base + path, base)


@pytest.mark.parametrize("path", REFUSED_PATHS.values(), ids=REFUSED_PATHS)
def test_a_path_that_could_lead_elsewhere_is_refused(path):
    """In a sentence of printable characters."""
    with pytest.raises(DefinitionError) as told:
        untrusted.check_path(path)
    assert str(told.value).isprintable()


def test_a_path_without_a_query_is_one():
    """Where a query makes no sense."""
    with pytest.raises(DefinitionError, match="query"):
        untrusted.check_path("/a?b", query=False)


PIECES = st.sampled_from(
    [".", "..", "/", "\\", "%2e", "%2E", "%2f", "%5c", "%25", ";", "a", "?", "#", "%00", "．", "‥"]
)


@given(st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=30)))
@example("..")
def test_whatever_is_accepted_stays_below_its_prefix(rest):
    """As urllib3 sends it, and as a server reads it that decodes and normalizes once more."""
    path = f"/{rest}"
    base = "https://api:6443/api/v1/namespaces/shop/pods/http:cart:80/proxy"
    try:
        untrusted.check_path(path)
    except DefinitionError:
        return
    sent = parse_url(base + path).path
    assert sent == parse_url(base).path + path.partition("?")[0]
    assert ".." not in sent.split("/")
    assert re.search(untrusted.PATH_PATTERN, path)


def test_the_crd_refuses_what_the_code_refuses():
    """The API server's schema has the same pattern; the code adds what Unicode hides."""
    crd = yaml.safe_load((ROOT / "crds/applications.kubestorm.io.yaml").read_text())
    (version,) = crd["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    request = spec["test"]["properties"]["http"]["items"]["properties"]
    assert request["path"]["pattern"] == untrusted.PATH_PATTERN
    assert request["path"]["maxLength"] == untrusted.MAX_PATH
    assert request["headers"]["maxProperties"] == untrusted.MAX_HEADERS


BELOW = {
    "itself": ("http://h/a/proxy", "http://h/a/proxy", True),
    "deeper": ("http://h/a/proxy/x", "http://h/a/proxy", True),
    "with a query": ("http://h/a/proxy?x=/../..", "http://h/a/proxy", True),
    "a longer name": ("http://h/a/proxyx", "http://h/a/proxy", False),
    "climbing": ("http://h/a/proxy/../../secrets/x", "http://h/a/proxy", False),
    "another host": ("http://h@evil/a/proxy", "http://h/a/proxy", False),
    "another port": ("http://h:2/a/proxy", "http://h:1/a/proxy", False),
    "another scheme": ("http://h/a", "https://h/a", False),
    "a prefix that climbs itself": ("http://h/a/../b", "http://h/a/../b", False),
    "a base path": ("https://h/k8s/clusters/c/api/v1", "https://h/k8s/clusters/c/api/v1", True),
    "out of a base path": ("https://h/k8s/../api", "https://h/k8s", False),
    "no URL": ("http://h:port/", "http://h/", False),
}


@pytest.mark.parametrize("url, prefix, below", BELOW.values(), ids=BELOW)
def test_where_a_url_leads(url, prefix, below):
    """What counts is what urllib3 sends, not what is written."""
    assert untrusted.is_below(url, prefix) is below


REFUSED_HOSTS = {
    "loopback": "127.0.0.1",
    "metadata": "169.254.169.254",
    "octal": "0177.0.0.1",
    "a last label in hex": "127.0.0.0x1",
    "IPv6": "[::1]",
    "one label": "localhost",
    "below localhost": "x.localhost",
    "with a port": "a.example.com:80",
    "user info": "a@b.example.com",
    "capitals": "A.example.com",
    "final dot": "a.example.com.",
    "new line": "a.example.com\n",
    "not ASCII": "a.exämple.com",
    "empty label": "a..example.com",
    "wildcard": "*.example.com",
    "too long": ".".join(["a" * 60] * 5),
    "nothing": "",
}


@pytest.mark.parametrize("host", REFUSED_HOSTS.values(), ids=REFUSED_HOSTS)
def test_a_host_is_a_name(host):
    """Never an address, in no notation."""
    with pytest.raises(DefinitionError, match=r"not a host name|wildcard"):
        untrusted.check_host(host)


@pytest.mark.parametrize("host", ["a.example.com", "xn--exmple-cua.com", "1.2.example"])
def test_host_names_are_accepted(host):
    """Labels of letters, digits and hyphens."""
    assert untrusted.check_host(host) == host


REFUSED_ADDRESSES = {
    "loopback": "127.0.0.1",
    "all of loopback": "127.8.9.10",
    "loopback of IPv6": "::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "6to4 loopback": "2002:7f00:1::",
    "NAT64 metadata": "64:ff9b::a9fe:a9fe",
    "compatible loopback": "::127.0.0.1",
    "unspecified": "0.0.0.0",
    "unspecified of IPv6": "::",
    "metadata": "169.254.169.254",
    "link-local of IPv6": "fe80::1%eth0",
    "metadata of EC2 on IPv6": "fd00:ec2::254",
    "metadata of Alibaba": "100.100.100.200",
    "metadata of Azure": "168.63.129.16",
    "multicast": "224.0.0.1",
    "multicast of IPv6": "ff02::1",
    "private": "10.0.0.1",
    "private 172": "172.16.0.1",
    "private 192": "192.168.1.1",
    "carrier's": "100.64.0.1",
    "unique local": "fd12::1",
    "documentation": "192.0.2.1",
    "broadcast": "255.255.255.255",
    "reserved": "240.0.0.1",
    "no address": "example.com",
}


@pytest.mark.parametrize("address", REFUSED_ADDRESSES.values(), ids=REFUSED_ADDRESSES)
def test_only_public_addresses_are_requested(address):
    """Unless operations allow private networks."""
    with pytest.raises(DefinitionError):
        untrusted.check_address(address)


def test_private_addresses_are_requested_where_operations_say_so():
    """Within their networks; never loopback, link-local or metadata, whatever the networks."""
    networks = untrusted.networks(["10.0.5.0/24", "0.0.0.0/0", "::/0"], "x")
    assert untrusted.check_address("10.0.5.7", private=networks[:1]) == "10.0.5.7"
    with pytest.raises(DefinitionError, match="outside application"):
        untrusted.check_address("10.0.6.7", private=networks[:1])
    for name in ("loopback", "metadata", "metadata of Alibaba", "mapped loopback", "multicast"):
        with pytest.raises(DefinitionError):
            untrusted.check_address(REFUSED_ADDRESSES[name], private=networks)
    for public in ("8.8.8.8", "2001:4860:4860::8888"):
        assert untrusted.check_address(public) == public
    settings = pack_settings(ingress={"private_networks": ["10.0.0.1/8"]})
    with pytest.raises(DefinitionError, match=r"application\.ingress\.private_networks"):
        ApplicationSettings.from_config(settings.raw)


REFUSED_HEADERS = {
    **{name: (name, "x") for name in sorted(untrusted.REFUSED_HEADERS)},
    "any case": ("aUtHoRiZaTiOn", "Bearer x"),
    "impersonation": ("Impersonate-User", "admin"),
    "impersonation's extras": ("Impersonate-Extra-scopes", "x"),
    "front proxy": ("X-Remote-Group", "system:masters"),
    "underscores": ("X_Remote_User", "admin"),
    "forwarded": ("X-Forwarded-Host", "x"),
    "proxy": ("Proxy-Authorization", "x"),
    "space in the name": ("X A", "x"),
    "colon in the name": ("X:A", "x"),
    "new line in the name": ("X\r\nAuthorization", "x"),
    "not ASCII": ("X-É", "x"),
    "no name": ("", "x"),
    "new line in the value": ("X-A", "x\r\nAuthorization: y"),
    "NUL in the value": ("X-A", "x\0"),
    "new line at the end": ("X-A", "x\n"),
    "value not ASCII": ("X-A", "é"),
    "value too long": ("X-A", "x" * 2000),
    "value not text": ("X-A", 1),
}


@pytest.mark.parametrize("name, value", REFUSED_HEADERS.values(), ids=REFUSED_HEADERS)
def test_headers_that_matter_to_others_are_refused(name, value):
    """Credentials, framing, whom a proxy takes one for."""
    with pytest.raises(DefinitionError) as told:
        untrusted.check_headers({"Accept": "*/*", name: value})
    assert str(told.value).isprintable()


def test_other_headers_are_sent():
    """As they are; a name counts once, whatever its case."""
    headers = {"Accept": "application/json", "X-Test": "a b", "Accept-Language": "de"}
    assert untrusted.check_headers(headers) == headers
    with pytest.raises(DefinitionError, match="twice"):
        untrusted.check_headers({"X-A": "1", "x-a": "2"})
    with pytest.raises(DefinitionError, match="more than"):
        untrusted.check_headers({f"x-{n}": "" for n in range(30)})


HOSTILE_TESTS = {
    "path": {"path": "/../../../../api/v1/namespaces/kube-system/secrets/crown"},
    "encoded path": {"path": "/%2e%2e/%2e%2e/x"},
    "header": {"path": "/", "headers": {"Impersonate-User": "admin"}},
    "header's value": {"path": "/", "headers": {"X-A": "a\r\nb"}},
    "expected header's name": {"path": "/", "expectHeaders": {"a b": "c"}},
    "headers of another form": {"path": "/", "headers": ["a"]},
    "contains of another form": {"path": "/", "contains": 1},
}


@pytest.mark.parametrize("request_", HOSTILE_TESTS.values(), ids=HOSTILE_TESTS)
def test_a_spec_with_a_hostile_request_is_invalid(request_):
    """SpecValid says where, and nothing is sent."""
    with pytest.raises(InvalidSpecError, match=r"spec\.test\.http\[0\]"):
        parse(application({"test": {"http": [request_]}}), pack_settings())


INGRESS = {"type": "ingress", "hosts": ["cart.example.com"]}
THROUGH = {
    "off by default": ({}, {}, INGRESS, False),
    "below the domain": ({"domain": "apps.example.com"}, {}, {"type": "ingress"}, True),
    "beside the domain": ({"domain": "apps.example.com"}, {}, INGRESS, False),
    "a pattern": ({"test_hosts": ["*.example.com"]}, {}, INGRESS, True),
    "another pattern": ({"test_hosts": ["*.example.org"]}, {}, INGRESS, False),
    "operations' own address": ({}, {"ingress_address": "https://10.0.0.5"}, INGRESS, True),
}


@pytest.mark.parametrize("section, rollout, expose, allowed", THROUGH.values(), ids=THROUGH)
def test_tests_go_through_ingress_where_operations_say_so(section, rollout, expose, allowed):
    """Requests are sent from the pack's host: only to hosts below operations' domains."""
    config = {"cluster": "test", "application": {"ingress": section}, "rollout": rollout}
    spec = {"expose": expose, "test": {"through": "ingress", "http": [{"path": "/"}]}}
    if allowed:
        assert parse(application(spec), load_settings(config)).test is not None
        return
    with pytest.raises(InvalidSpecError, match=r"spec\.test\.through"):
        parse(application(spec), load_settings(config))


# What an object carries.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON | st.text() | JSON.map(json.dumps))
@example("1" * 5000)
@example("[" * 100000)
@example('{"a": "\\ud800"}')
@example('{"a": NaN}')
def test_reading_never_raises(value):
    """Each reader gives a value of its kind, whatever is there."""
    assert isinstance(untrusted.text(value), str)
    assert abs(untrusted.integer(value)) <= untrusted.MAX_INTEGER
    assert abs(untrusted.number(value)) <= 2.0**63
    moment = parse_time(value)
    if moment is not None:
        assert moment + dt.timedelta(days=365) > moment.astimezone(dt.timezone.utc)
    for key, each in untrusted.json_object(value).items():
        assert f"{key} {each}".encode() is not None
    for obj in (value, {"metadata": value, "status": value}, {"metadata": {"annotations": value}}):
        found = [*untrusted.annotations_of(obj).items(), *untrusted.labels_of(obj).items()]
        assert all(isinstance(word, str) for pair in found for word in pair)
        assert untrusted.status(obj) is not None


@pytest.mark.parametrize(
    "text, second",
    [
        ("2026-01-01T00:00:00Z", 0),
        ("2026-01-01T00:00:00.25Z", 0),
        ("2026-01-01T00:00:01.123456789Z", 1),
        ("2026-01-01T01:00:02+01:00", 2),
        ("2026-01-01T00:00:03", 3),
    ],
)
def test_moments_of_every_form(text, second):
    """RFC 3339, with any number of digits of a second."""
    moment = parse_time(text)
    assert moment is not None
    assert moment.replace(microsecond=0) == dt.datetime(2026, 1, 1, 0, 0, second, tzinfo=dt.UTC)


@given(st.text(min_size=1))
def test_a_quoted_segment_of_any_text_is_no_climb(text):
    """Encoded as a name, a text is either accepted as one segment or refused."""
    try:
        path = untrusted.check_path("/" + quote(text, safe=""))
    except (DefinitionError, UnicodeEncodeError):
        return
    assert path.count("/") == 1
