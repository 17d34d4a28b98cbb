"""JSON schema as StackStorm means it: the fast answer agrees with the slow one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stormcell.content.schemas import CompiledSchema
from stormcell.errors import InvalidInputError
from stormcell.expressions.dialect import allowing_null

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "required": True, "pattern": "^[a-z]+$"},
        "size": {"type": "integer", "default": 3},
        "mode": {"type": "string", "enum": ["a", "b"]},
        "ratio": {"type": "number", "required": True, "default": 0.5},
        "tags": {"type": "array", "items": {"type": "string"}},
        "nested": {
            "type": "object",
            "properties": {"deep": {"type": "boolean", "default": True}},
            "additionalProperties": False,
        },
        "either": {"anyOf": [{"type": "string"}, {"type": "array"}]},
    },
    "additionalProperties": False,
}

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "fits": ({"name": "x"}, []),
    "optional null": ({"name": "x", "tags": None, "either": None}, []),
    "null in an enum": ({"name": "x", "mode": None}, ["'mode' must be one of a, b"]),
    "missing": ({}, ["'name' is a required property"]),
    "required null": ({"name": None}, ["'name' must be of type string"]),
    "type": ({"name": "x", "size": "3"}, ["'size' must be of type integer"]),
    "bool is no integer": ({"name": "x", "size": True}, ["'size' must be of type integer"]),
    "enum": ({"name": "x", "mode": "c"}, ["'mode' must be one of a, b"]),
    "unknown": ({"name": "x", "nmae": 1}, ["'nmae'"]),
    "pattern": ({"name": "X"}, ["'name' breaks the schema's rule pattern"]),
    "item": ({"name": "x", "tags": ["a", 1]}, ["'tags[1]' must be of type string"]),
    "nested": (
        {"name": "x", "nested": {"other": 1}},
        ["'nested' has keys that are not known: 'other'"],
    ),
    "any of": ({"name": "x", "either": 1}, ["'either' must be one of the types string, array"]),
}


@pytest.mark.parametrize("instance, expected", CASES.values(), ids=CASES.keys())
def test_problems_are_sentences(instance: dict[str, Any], expected: list[str]) -> None:
    """Each names the field and what would be right."""
    problems = CompiledSchema(SCHEMA).problems(instance)
    assert len(problems) == len(expected)
    for problem, part in zip(problems, expected, strict=True):
        assert part in problem


def test_defaults_are_filled_in() -> None:
    """Absent values, also in objects that are given, become their default; the given mapping is
    left alone.
    """
    given_value = {"name": "x", "nested": {}}
    cleaned = CompiledSchema(SCHEMA).cleaned(given_value)
    assert cleaned == {"name": "x", "size": 3, "ratio": 0.5, "nested": {"deep": True}}
    assert given_value == {"name": "x", "nested": {}}


def test_values_are_not_told() -> None:
    """What does not fit may be a secret: the sentence does not hold it."""
    problems = CompiledSchema(SCHEMA).problems(
        {"name": "Hunter2", "size": "s3cret", "mode": "p4ss"}
    )
    assert not any(secret in " ".join(problems) for secret in ("Hunter2", "s3cret", "p4ss"))


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-1, 1)
    | st.sampled_from(["", "a", "x", "X"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "deep"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "other"]), _VALUES, max_size=5))
def test_the_fast_answer_is_never_more_lenient(instance: dict[str, Any]) -> None:
    """What the compiled function accepts, jsonschema accepts too."""
    compiled = CompiledSchema(SCHEMA)
    fast = compiled._accept(instance)
    compiled._accept = lambda value: False
    slow = not compiled.problems(instance, defaults=False)
    assert slow or not fast


def test_null_is_allowed_where_stackstorm_allows_it() -> None:
    """Optional without a default: null fits; with a default, or required: it does not."""
    schema = allowing_null(
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string", "default": "x"}},
        }
    )
    assert schema["properties"]["a"]["type"] == ["string", "null"]
    assert schema["properties"]["b"]["type"] == "string"


AS_STACKSTORM_DOES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]] = {
    "a default below what has no type is not filled in": (
        {"type": "object", "properties": {"a": {"properties": {"b": {"default": 1}}}}},
        {"a": "x"},
        {"a": "x"},
    ),
    "a schema without a type has no defaults": (
        {"properties": {"a": {"default": 1}}},
        {},
        {},
    ),
    "a default waits for what it depends on": (
        {"type": "object", "properties": {"a": {"default": 1}}, "dependencies": {"a": ["b"]}},
        {},
        {},
    ),
    "exclusive bounds are not heard": (
        {"type": "object", "properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}},
        {"a": 1},
        None,
    ),
    "a number at its exclusive bound": (
        {
            "type": "object",
            "properties": {"a": {"type": "integer", "minimum": 1, "exclusiveMinimum": True}},
        },
        {"a": 1},
        {"a": 1},
    ),
    "formats are not looked at": (
        {"type": "object", "properties": {"a": {"type": "string", "format": "date-time"}}},
        {"a": "x"},
        {"a": "x"},
    ),
    "what has no type is text or null": (
        {"type": "object", "properties": {"a": {}}},
        {"a": 1},
        None,
    ),
}


@pytest.mark.parametrize(
    "schema, value, cleaned", AS_STACKSTORM_DOES.values(), ids=AS_STACKSTORM_DOES.keys()
)
def test_values_are_judged_as_stackstorm_does(
    schema: dict[str, Any], value: dict[str, Any], cleaned: dict[str, Any] | None
) -> None:
    """Also where that is not what a reader of JSON schema expects."""
    compiled = CompiledSchema(schema)
    if cleaned is None:
        assert compiled.problems(value)
    else:
        assert compiled.cleaned(value) == cleaned


def test_a_schema_that_is_none_is_refused() -> None:
    """An unknown type is found before anything is checked."""
    with pytest.raises(InvalidInputError, match="not a usable JSON schema"):
        CompiledSchema({"type": "strng"})
