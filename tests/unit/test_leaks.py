"""The search for leaked secrets finds what was planted, so that its silence elsewhere means
something.
"""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.leaks import find

SECRET = 'p4ss+w/rd"é#Zz09'

ENCODERS = {
    "raw": lambda text: text.encode(),
    "url": lambda text: urllib.parse.quote(text, safe="").encode(),
    "json": lambda text: json.dumps({"k": text}).encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()),
    "hex": lambda text: text.encode().hex().encode(),
    "json-in-json": lambda text: json.dumps(json.dumps({"k": text})).encode(),
}


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS.keys())
@given(before=st.text(max_size=7), after=st.text(max_size=7))
def test_a_planted_secret_is_found(encode, before, after):
    """Whatever stands around it, a secret is found in every form that is searched for."""
    assert list(find(SECRET, [("file", encode(before + SECRET + after))]))


def test_nothing_is_found_where_there_is_nothing():
    """Text without the secret gives no finding."""
    assert not list(
        find(SECRET, [("file", b"username: orders, vault_path: secret/kubestorm/x" * 100)])
    )
