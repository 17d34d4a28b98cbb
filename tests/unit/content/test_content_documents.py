"""Reading YAML files of packs."""

from __future__ import annotations

import pytest
import yaml
from stormcell.content.documents import parse_document
from stormcell.errors import DefinitionError

SAME_AS_SAFE_LOAD = {
    "plain": "a: 1\nb: [x, 2.5, true, null, 2024-02-29 12:00:00]\nc: {d: ~}\n",
    "yaml 1.1 words": "a: yes\nb: off\n",
    "block text": "a: |\n  one\n  two\nb: >-\n  three\n  four\n",
    "anchors": "a: &x {k: [1]}\nb: *x\n",
    "unicode": "grüße: «ja»\n",
    "empty": "",
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
    "word that is true": (
        "on: 1\n",
        "line 1: a key must be text, and 'on' is not. Put it in quotes.",
    ),
    "number as key": ("a: {1: x}\n", "line 1: a key must be text, and '1' is not"),
    "circle": ("&a [*a]\n", "an alias leads back to itself"),
    "merge": (
        "a: &a {x: 1}\nb: {<<: *a}\n",
        "line 2: StackStorm cannot load the merge key '<<'. Write the keys out; "
        "a whole value may be repeated with an alias (`key: *name`).",
    ),
    "merge list": ("a: &a {x: 1}\nb: {<<: [*a, *a]}\n", "the merge key '<<'"),
    "date": (
        "a: 2024-02-29\n",
        "line 1: is read as a YAML date, which StackStorm does not keep. Put it in quotes.",
    ),
    "binary": ("a: !!binary aGk=\n", "is read as a YAML binary, which"),
    "set": (
        "a: !!set {x}\n",
        "is read as a YAML set, which StackStorm does not keep. Write a plain",
    ),
    "more than 64 bits": ("a: 9223372036854775808\n", "an integer of more than 64 bits"),
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
