"""Settings, headers, times, names and what is remembered: the parts around the readers."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.registry.challenges import (
    Challenge,
    next_page,
    parse_challenge,
    retry_after_seconds,
)
from kubestorm.clients.registry.client import parse_created
from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import ImageName, split_reference
from kubestorm.core.times import format_time, parse_timestamp
from kubestorm.sources.registry.checks import check_of
from kubestorm.sources.registry.settings import AuthSettings, RegistrySettings

ROOT = Path(__file__).parents[3]
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone.utc)
SIGNED = {"method": "hmac", "secret_file": "/etc/kubestorm/webhook"}
SOURCE = {"name": "ci", "type": "distribution", "auth": SIGNED}


def settings(**section: Any) -> RegistrySettings:
    return RegistrySettings.from_config({"registries": section})


class Datastore:
    """StackStorm's datastore as a sensor sees it."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get_value(self, name):
        return self.values.get(name)

    def set_value(self, name, value):
        self.values[name] = value


@pytest.mark.parametrize(
    "section, field, word",
    [
        ({"sorces": []}, "registries.sorces", "sources"),
        ({"sources": ["x"]}, "registries.sources[0]", "mapping"),
        ({"sources": [{"name": "a"}]}, "registries.sources[0].type", "type"),
        (
            {"sources": [{"name": "a b", "type": "quay"}]},
            "registries.sources[0].name",
            "small letters",
        ),
        ({"sources": [{"name": "a", "type": "nexus"}]}, "registries.sources[0].type", "harbor"),
        (
            {"sources": [{"name": "a", "type": "quay"}]},
            "registries.sources[0].auth",
            "unsigned: true",
        ),
        ({"sources": [{**SOURCE, "unsigned": True}]}, "registries.sources[0].unsigned", "keep one"),
        (
            {"sources": [{**SOURCE, "unsigned": "no"}]},
            "registries.sources[0].unsigned",
            "true or false",
        ),
        (
            {"sources": [{**SOURCE, "auth": {"method": "magic"}}]},
            "registries.sources[0].auth.method",
            "hmac",
        ),
        (
            {"sources": [{**SOURCE, "auth": {"method": "token"}}]},
            "registries.sources[0].auth.secret_file",
            "one",
        ),
        (
            {"sources": [{**SOURCE, "auth": {**SIGNED, "method": "basic"}}]},
            "registries.sources[0].auth.username",
            "",
        ),
        (
            {"sources": [{**SOURCE, "auth": {**SIGNED, "algorithm": "md5"}}]},
            "registries.sources[0].auth.algorithm",
            "",
        ),
        (
            {"sources": [{**SOURCE, "auth": {**SIGNED, "query": "t"}}]},
            "registries.sources[0].auth.query",
            "token",
        ),
        (
            {"sources": [{**SOURCE, "auth": {**SIGNED, "sekret": "t"}}]},
            "registries.sources[0].auth.sekret",
            "method",
        ),
        ({"sources": [SOURCE, SOURCE]}, "registries.sources", "twice"),
        (
            {"sources": [SOURCE, {**SOURCE, "name": "b", "path": "/registry/ci"}]},
            "registries.sources",
            "twice",
        ),
        ({"sources": [{**SOURCE, "path": "x"}]}, "registries.sources[0].path", "slash"),
        (
            {"sources": [{**SOURCE, "registry": "https://x"}]},
            "registries.sources[0].registry",
            "host",
        ),
        (
            {"sources": [{"name": "a", "type": "ecr", "sqs": {}, "pubsub": {"token_file": "x"}}]},
            "registries.sources[0].pubsub.subscription",
            "subscription",
        ),
        ({"connections": [{"host": "x.y"}]}, "registries.connections", "now registries.hosts"),
        ({"hosts": [{"host": "https://x"}]}, "registries.hosts[0].host", "port"),
        (
            {"hosts": [{"host": "x.y", "url": "http://x.y"}]},
            "registries.hosts[0].url",
            "insecure_http",
        ),
        ({"hosts": [{"host": "x.y"}, {"host": "x.y"}]}, "registries.hosts", "twice"),
        (
            {"hosts": [{"host": "x.y", "credentials": {"username": "a"}}]},
            "registries.hosts[0].credentials.password_file",
            "both",
        ),
        (
            {"hosts": [{"host": "x.y", "credentials": {"vault_path": "a", "cloud": "ecr"}}]},
            "registries.hosts[0].credentials",
            "keep one",
        ),
        (
            {"hosts": [{"host": "x.y", "credentials": {"cloud": "azure"}}]},
            "registries.hosts[0].credentials.cloud",
            "google",
        ),
        ({"polling": {"interval_seconds": 0}}, "registries.polling.interval_seconds", "1"),
        ({"polling": {"jitter": 2}}, "registries.polling.jitter", "between"),
        (
            {"polling": {"repositories": [{"repository": "cart"}]}},
            "registries.polling.repositories[0].repository",
            "registry",
        ),
        (
            {"polling": {"repositories": [{"repository": "x.y/a", "follow": {"semver": "z"}}]}},
            "registries.polling.repositories[0].follow.semver",
            "range",
        ),
        ({"listener": {"port": -1}}, "registries.listener.port", "between 0 and"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_a_setting_that_is_wrong_is_named(section, field, word):
    """With the way to it, and what would be right."""
    with pytest.raises(DefinitionError) as caught:
        settings(**section)
    assert caught.value.field == field
    assert word in str(caught.value)


def filled(schema: dict[str, Any], value: Any) -> Any:
    """A value with defaults as StackStorm's config loader writes them: nested, and {} and [] for
    what is not there.
    """
    if schema.get("type") == "object" and schema.get("properties"):
        found = dict(value or {})
        for key, inner in schema["properties"].items():
            if "default" in inner and key not in found:
                found[key] = inner["default"]
            if inner.get("type") in ("object", "array") or key in found:
                found[key] = filled(inner, found.get(key))
        return found
    if schema.get("type") == "array":
        return [filled(schema["items"], item) for item in value or []]
    return {} if schema.get("type") == "object" and not value else value


EVERYTHING = {
    "listener": {"host": "0.0.0.0", "port": 8443, "certificate_file": "/a", "key_file": "/b"},
    "hosts": [
        {"host": "registry.example.com:5000", "insecure_http": True},
        {"host": "docker.io", "credentials": {"username": "ci", "password_file": "/c"}},
        {"host": "111122223333.dkr.ecr.eu-west-1.amazonaws.com", "credentials": {"cloud": "ecr"}},
    ],
    "sources": [
        SOURCE,
        {
            "name": "hub",
            "type": "dockerhub",
            "auth": {"query": "token", "vault_path": "webhooks/hub"},
        },
        {"name": "lan", "type": "harbor", "unsigned": True, "repositories": ["shop/*"]},
        {
            "name": "aws",
            "type": "ecr",
            "sqs": {"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/pushes"},
        },
        {
            "name": "gcp",
            "type": "artifact_registry",
            "pubsub": {"subscription": "projects/acme/subscriptions/st2"},
        },
    ],
    "polling": {
        "interval_seconds": 60,
        "repositories": [{"repository": "docker.io/acme/cart", "follow": {"semver": "^1.2"}}],
    },
}


@pytest.mark.parametrize("section", [EVERYTHING, {}], ids=["everything", "nothing"])
def test_the_schema_takes_it_and_what_stackstorm_fills_in_changes_nothing(section):
    """A left out `auth`, `sqs` or `follow` comes as {} and stays left out."""
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text())["registries"]
    jsonschema.Draft3Validator(schema).validate(section)
    assert RegistrySettings.from_config({"registries": filled(schema, section)}) == settings(
        **section
    )


def test_only_what_is_listed_is_asked_otherwise():
    """A registry that nobody listed is asked by HTTPS and without a login; Docker Hub's API is
    elsewhere.
    """
    found = settings(**EVERYTHING)
    assert found.connection("quay.io").base_url == "https://quay.io"
    assert (
        found.connection("registry.example.com:5000").base_url == "http://registry.example.com:5000"
    )
    assert found.connection("docker.io").base_url == "https://registry-1.docker.io"


@pytest.mark.parametrize(
    "auth, check",
    [
        ({"method": "hmac"}, ("HmacCheck", "X-Hub-Signature-256", "sha256=")),
        (
            {"method": "hmac", "header": "X-Hub-Signature", "algorithm": "sha1"},
            ("HmacCheck", "X-Hub-Signature", "sha1="),
        ),
        ({"method": "hmac", "header": "X-Sig"}, ("HmacCheck", "X-Sig", "")),
        ({"method": "hmac", "prefix": ""}, ("HmacCheck", "X-Hub-Signature-256", "")),
        ({}, ("TokenCheck", "Authorization", "Bearer")),
        ({"header": "X-Token"}, ("TokenCheck", "X-Token", "")),
        ({"scheme": ""}, ("TokenCheck", "Authorization", "")),
        ({"query": "token"}, ("QueryCheck", None, None)),
        ({"method": "basic", "username": "ann"}, ("BasicCheck", None, None)),
    ],
    ids=str,
)
def test_what_is_usual_needs_no_setting(auth, check):
    """A header brings its usual prefix or word with it."""
    source = settings(sources=[{**SOURCE, "auth": {**auth, "secret_file": "/x"}}]).sources[0]
    made = check_of(source, lambda: None)
    prefix = (
        getattr(made, "prefix", None) if hasattr(made, "prefix") else getattr(made, "scheme", None)
    )
    assert (type(made).__name__, getattr(made, "header", None), prefix) == check
    assert AuthSettings().method == "token"


@pytest.mark.parametrize(
    "header, expected",
    [
        (
            'Bearer realm="https://a/t",service="r, s",scope="repository:a/b:pull,push"',
            Challenge(
                "bearer",
                {"realm": "https://a/t", "service": "r, s", "scope": "repository:a/b:pull,push"},
            ),
        ),
        (
            'bearer Realm = "https://a/t" , service=r',
            Challenge("bearer", {"realm": "https://a/t", "service": "r"}),
        ),
        ('Basic realm="Registry \\"x\\""', Challenge("basic", {"realm": 'Registry "x"'})),
        ("Negotiate", Challenge("negotiate", {})),
        ("", Challenge("", {})),
        ('Bearer realm="unfinished', Challenge("bearer", {})),
    ],
)
def test_a_challenge_is_read(header, expected):
    """Quoted or not, with commas inside quotes, and with what nobody should send."""
    assert parse_challenge(header) == expected


@given(st.text(max_size=200))
def test_any_header_is_read(text):
    """Whatever a registry sends is a challenge, a page or none, and never an error."""
    parse_challenge(text)
    next_page(text, "https://r.example/v2/a/tags/list")
    retry_after_seconds(text, NOON)
    parse_timestamp(text)


@pytest.mark.parametrize(
    "header, expected",
    [
        ('</v2/a/tags/list?last=b&n=2>; rel="next"', "https://r.example/v2/a/tags/list?last=b&n=2"),
        ("<tags/list?n=2>;rel=next", "https://r.example/v2/a/tags/tags/list?n=2"),
        ('<https://evil.example/x>; rel="next"', "https://evil.example/x"),
        ('</a>; rel="prev", </b>; rel="next"', "https://r.example/b"),
        ('</a>; rel="prev"', None),
        ("", None),
    ],
)
def test_the_next_page_is_found(header, expected):
    """Relative to the page before, by the relation `next` alone."""
    assert next_page(header, "https://r.example/v2/a/tags/list") == expected


@pytest.mark.parametrize(
    "header, seconds",
    [
        ("7", 7.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        (None, None),
        ("99999999", 21600.0),
    ],
)
def test_patience_is_a_number_of_seconds(header, seconds):
    """By number or by date, never in the past, and never for days."""
    assert retry_after_seconds(header, NOON) == seconds


@pytest.mark.parametrize(
    "text, instant",
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T13:00:00.123456789+01:00", NOON + dt.timedelta(microseconds=123456)),
        ("2026-03-01t12:00:00.1z", NOON + dt.timedelta(milliseconds=100)),
        (1772366400, NOON),
        (1772366400000, NOON),
        ("2026-02-30T12:00:00Z", None),
        ("yesterday", None),
        (None, None),
        (True, None),
        (1e300, None),
    ],
)
def test_instants_are_read(text, instant):
    """As Go, Java and Python write them, and as numbers."""
    assert parse_timestamp(text) == instant


def test_a_reproducible_build_has_no_time():
    """Its year is 1970 or 1980, which says nothing of when it was made."""
    assert parse_created("1970-01-01T00:00:00Z") is None
    assert parse_created("1980-01-01T00:00:01Z") is None
    assert parse_created("2026-03-01T12:00:00Z") == NOON
    assert format_time(NOON, "auto") == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize(
    "text, parts",
    [
        ("r.example:5000/a/b:1.2@sha256:00", ("r.example:5000/a/b", "1.2", "sha256:00")),
        ("r.example:5000/a", ("r.example:5000/a", "", "")),
        ("a:1", ("a", "1", "")),
        ("a@sha256:00", ("a", "", "sha256:00")),
    ],
)
def test_a_reference_has_parts(text, parts):
    """A port is no tag."""
    assert split_reference(text) == parts


@pytest.mark.parametrize(
    "text", ["cart", "team/cart", "https://r.example/cart", "r.example/", "r.example/Cart", ""]
)
def test_a_name_without_a_registry_is_refused(text):
    """Docker Hub's images are named in full, so that nobody guesses."""
    with pytest.raises(DefinitionError, match=r"docker\.io/acme/cart"):
        ImageName.parse(text)
    assert ImageName.parse("R.example:5000/a/b_c") == ("r.example:5000", "a/b_c")
