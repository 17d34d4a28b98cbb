"""Secrets at rest: sealed where they stand, masked where they show."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stormcell.errors import PermanentError
from stormcell.store.sealing import MASK, PREFIX, Sealer, is_sealed, load_key, mask

SEALER = Sealer(b"k" * 32)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_what_is_sealed_opens_as_it_was(value: object) -> None:
    """A round trip keeps any JSON value, at any depth."""
    assert SEALER.open({"a": [SEALER.seal(value)]}) == {"a": [value]}


@given(st.text(min_size=4))
def test_no_answer_shows_a_sealed_secret(secret: str) -> None:
    """Masking leaves nothing of the secret, nor of its sealed form."""
    shown = mask({"a": [SEALER.seal(secret)], "b": {"c": SEALER.seal(secret)}})
    assert shown == {"a": [MASK], "b": {"c": MASK}}


def test_schemas_say_what_is_secret_at_any_depth() -> None:
    """`secret: true` is found in properties of objects and in items of lists; the rest stays as it
    is.
    """
    schemas = {
        "plain": {"type": "string"},
        "one": {"type": "string", "secret": True},
        "deep": {"type": "object", "properties": {"in": {"secret": True}, "out": {}}},
        "many": {
            "type": "array",
            "items": {"type": "object", "properties": {"in": {"secret": True}}},
        },
    }
    values = {
        "plain": "a",
        "one": "b",
        "deep": {"in": 1, "out": 2},
        "many": [{"in": "c"}],
        "unknown": "d",
    }
    sealed = SEALER.seal_by_schema(schemas, values)
    assert mask(sealed) == {
        "plain": "a",
        "one": MASK,
        "deep": {"in": MASK, "out": 2},
        "many": [{"in": MASK}],
        "unknown": "d",
    }
    assert SEALER.open(sealed) == values


def test_a_secret_that_wanders_is_sealed_where_it_arrives() -> None:
    """A text that contains a known secret is sealed whole; a short secret is not looked for."""
    known = SEALER.secrets_in([SEALER.seal("sesame"), SEALER.seal({"pin": "123"})])
    assert known == {"sesame"}
    result = SEALER.seal_known({"out": "open sesame now", "other": 1}, known)
    assert is_sealed(result["out"])
    assert SEALER.open(result) == {"out": "open sesame now", "other": 1}


def test_text_that_only_looks_sealed_is_left_alone() -> None:
    """A caller's text with the prefix does not break opening."""
    assert SEALER.open(PREFIX + "nonsense") == PREFIX + "nonsense"


def test_another_key_does_not_open() -> None:
    """The error says which file is wrong."""
    with pytest.raises(PermanentError, match="datastore-key"):
        Sealer(os.urandom(32)).decrypt(SEALER.encrypt(b"x"))


def test_the_key_file_is_private_and_stays(tmp_path: Path) -> None:
    """Made with mode 0600 at first; the same key later."""
    file = tmp_path / "datastore-key"
    first = load_key(file)
    assert (file.stat().st_mode & 0o777, load_key(file)) == (0o600, first)
