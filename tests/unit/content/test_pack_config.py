"""A pack's configuration: defaults, checks, secrets and datastore values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stormcell.content.config import MASK, load_config, mask_config
from stormcell.content.models import Pack
from stormcell.errors import DefinitionError
from stormcell.expressions.lookups import StaticLookups

SCHEMA: dict[str, Any] = {
    "url": {"type": "string", "required": True},
    "token": {"type": "string", "secret": True},
    "retries": {"type": "integer", "default": 3},
    "auth": {
        "type": "object",
        "properties": {
            "user": {"type": "string", "default": "admin"},
            "password": {"type": "string", "secret": True},
        },
    },
    "regions": {
        "type": "object",
        "patternProperties": {
            "^eu-": {"type": "object", "properties": {"vat": {"type": "boolean", "default": True}}}
        },
        "additionalProperties": {
            "type": "object",
            "properties": {"vat": {"type": "boolean", "default": False}},
        },
    },
    "hosts": {
        "type": "array",
        "items": {"type": "object", "properties": {"port": {"type": "integer", "default": 22}}},
    },
    "keys": {"type": "object", "secret": True},
}


def _load(tmp_path: Path, text: str | None, schema: dict[str, Any] = SCHEMA) -> Any:
    if text is not None:
        (tmp_path / "sample.yaml").write_text(text, encoding="utf-8")
    pack = Pack(
        ref="sample",
        name="s",
        description="",
        version="1.0.0",
        author="a",
        path=tmp_path,
        config_schema=schema,
    )
    return load_config(pack, tmp_path)


def test_defaults_are_nested(tmp_path: Path) -> None:
    """Properties first, then patterns, then additionalProperties; and each item of a list."""
    config = _load(tmp_path, "url: x\nregions: {eu-1: {}, us-1: {}}\nhosts: [{}, {port: 1}]\n")
    assert config.values == {
        "url": "x",
        "retries": 3,
        "auth": {"user": "admin"},
        "regions": {"eu-1": {"vat": True}, "us-1": {"vat": False}},
        "hosts": [{"port": 22}, {"port": 1}],
    }


def test_no_file_gives_the_defaults(tmp_path: Path) -> None:
    """A pack without a file is configured by its schema alone."""
    assert _load(tmp_path, None, {"size": {"type": "integer", "default": 5}}).values == {"size": 5}


FAULTS = {
    "required": ("retries: 1\n", "'url' is a required property"),
    "type": ("url: x\nretries: many\n", "'retries' must be of type integer"),
    "expression for a number": (
        "url: x\nretries: '{{ st2kv.system.n }}'\n",
        "'retries' must be of type integer",
    ),
    "nested": ("url: x\nhosts: [{port: ssh}]\n", r"'hosts\[0\].port' must be of type integer"),
    "decrypt_kv": (
        "url: x\ntoken: '{{ st2kv.system.t | decrypt_kv }}'\n",
        "remove the filter decrypt_kv",
    ),
    "list": ("- a\n", "must be a mapping"),
}


@pytest.mark.parametrize("text, message", FAULTS.values(), ids=FAULTS.keys())
def test_what_does_not_fit_is_told(tmp_path: Path, text: str, message: str) -> None:
    """The sentence names the file and the setting."""
    with pytest.raises(DefinitionError, match=message) as caught:
        _load(tmp_path, text)
    assert "configs/sample.yaml" in str(caught.value)


def test_datastore_values_are_resolved_when_used(tmp_path: Path) -> None:
    """Secrets are decrypted by themselves, wherever they are nested."""
    config = _load(
        tmp_path,
        "url: '{{ st2kv.system.url }}'\ntoken: '{{ st2kv.system.token }}'\n"
        "auth: {password: '{{ st2kv.system.token }}'}\nkeys: {a: '{{ st2kv.system.token }}'}\n",
    )
    asked: list[tuple[str, bool]] = []

    class Lookups(StaticLookups):
        def datastore(self, name: str, *, scope: str, decrypt: bool = False, user: str = "") -> Any:
            asked.append((name, decrypt))
            return {"url": "http://x", "token": "clear" if decrypt else "cipher"}[name]

    resolved = config.resolved(Lookups())
    assert resolved["url"] == "http://x"
    assert resolved["token"] == resolved["auth"]["password"] == resolved["keys"]["a"] == "clear"
    assert ("url", False) in asked
    assert ("token", False) not in asked


def test_secrets_are_masked(tmp_path: Path) -> None:
    """What people see has no secret in it; a secret object is masked as a whole."""
    values = {"url": "x", "token": "t", "auth": {"user": "u", "password": "p"}, "keys": {"a": "b"}}
    assert mask_config(values, SCHEMA) == {
        "url": "x",
        "token": MASK,
        "auth": {"user": "u", "password": MASK},
        "keys": MASK,
    }
