"""Reading YAML and JSON files of packs."""

from __future__ import annotations

import pytest
import yaml
from stormcell.content.documents import parse_document
from stormcell.errors import DefinitionError

SAME_AS_SAFE_LOAD = {
    "plain": "a: 1\nb: [x, 2.5, true, null, 2024-02-29]\nc: {d: ~}\n",
    "yaml 1.1 words": "on: yes\noff: no\n",
    "block text": "a: |\n  one\n  two\nb: >-\n  three\n  four\n",
    "anchors": "a: &x {k: [1]}\nb: *x\n",
    "merge": "base: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}\n",
    "merge list": "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}\n",
    "unicode": "grüße: «ja»\n",
    "empty": "",
    "binary": "a: !!binary aGk=\n",
}


@pytest.mark.parametrize("text", SAME_AS_SAFE_LOAD.values(), ids=SAME_AS_SAFE_LOAD.keys())
def test_values_are_those_of_yaml_safe_load(text: str) -> None:
    """Whatever is right reads as StackStorm reads it."""
    assert parse_document(text, name="x.yaml") == yaml.safe_load(text)


REFUSED = {
    "duplicate key": ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' stands here a second time"),
    "nested duplicate": ("a:\n  b: 1\n  b: 1\n", "line 3: the key 'b'"),
    "syntax": ("a: [1\nb: 2\n", "is not valid YAML"),
    "tab": ("a:\n\tb: 1\n", "line 2, column 1"),
    "object": ("a: !!python/object/apply:os.system ['true']\n", "is not valid YAML"),
    "list as key": ("? [1]\n: 2\n", "a key must be text"),
    "circle": ("&a [*a]\n", "an alias leads back to itself"),
}


@pytest.mark.parametrize("text, message", REFUSED.values(), ids=REFUSED.keys())
def test_faults_are_told_with_their_place(text: str, message: str) -> None:
    """A fault names the file and the line."""
    with pytest.raises(DefinitionError, match=r"x\.yaml: ") as caught:
        parse_document(text, name="x.yaml")
    assert message in str(caught.value)


def test_an_alias_bomb_is_built_once() -> None:
    """Nested aliases share their values, so that memory does not explode."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    document = parse_document("\n".join(lines), name="x.yaml")
    assert document["a39"][0] is document["a39"][1]


@pytest.mark.parametrize(
    "text, message",
    [('{"a": 1, "a": 2}', "stands twice"), ('{"a": }', "line 1, column 7")],
    ids=["duplicate", "syntax"],
)
def test_json_faults_are_told(text: str, message: str) -> None:
    """JSON files are held to the same."""
    with pytest.raises(DefinitionError, match=message):
        parse_document(text, name="x.json", is_json=True)
