"""Parameters: rendered in the order they need each other, cast, validated, masked."""

from __future__ import annotations

from typing import Any

import pytest
from stormcell.content.schemas import CompiledSchema
from stormcell.errors import DefinitionError, InvalidInputError
from stormcell.expressions.lookups import StaticLookups
from stormcell.expressions.params import (
    render_final_parameters,
    render_live_parameters,
    render_parameters,
)
from stormcell.expressions.schemas import (
    mask_secrets,
    merge_schemas,
    validate_object,
    validate_parameters,
)

LOOKUPS = StaticLookups(
    system={"region": "eu"}, users={"ann": {"team": "red"}}, configs={"web": {"port": 80}}
)
CONTEXT = {"pack": "web", "user": "ann", "execution_id": "5"}


def live(schemas: dict[str, Any], given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return render_live_parameters(
        schemas, given, action_context=CONTEXT, lookups=LOOKUPS, additional=more
    )


CASTS: dict[str, tuple[str, Any, Any]] = {
    "integer": ("integer", "{{ 41 + 1 }}", 42),
    "number": ("number", "{{ 1.5 }}", 1.5),
    "boolean": ("boolean", "{{ true }}", True),
    "boolean, lower case": ("boolean", "{{ 'false' }}", False),
    "array from Python text": ("array", "{{ [1, 'a'] }}", [1, "a"]),
    "object from JSON": ("object", "{{ {'a': none} | to_json_string }}", {"a": None}),
    "string": ("string", "{{ 5 }}", "5"),
    "none by the magic word": ("string", "{{ none | use_none }}", None),
    "integer none by the magic word": ("integer", "{{ none | use_none }}", None),
    "typed inside an object": (
        "object",
        {"a": "{{trigger}}", "b": "x {{ trigger }}"},
        {"a": 7, "b": "x 7"},
    ),
    "a literal keeps its type": ("array", [1, {"a": 2}], [1, {"a": 2}]),
}


@pytest.mark.parametrize("kind,value,expected", CASTS.values(), ids=CASTS.keys())
def test_rendered_text_is_cast_by_the_schema(kind: str, value: Any, expected: Any) -> None:
    """Text that rendering gives becomes the type the schema asks for."""
    assert live({"p": {"type": kind}}, {"p": value}, trigger=7) == {"p": expected}


def test_parameters_depend_on_each_other() -> None:
    """A parameter may use others, and defaults that are templates join the live parameters."""
    schemas = {
        "a": {"type": "integer"},
        "b": {"type": "integer", "default": "{{ a }}"},
        "c": {"type": "string", "default": "{{ b }}-{{ config_context.port }}"},
        "d": {"type": "string", "default": "plain"},
    }
    assert live(schemas, {"a": 1}) == {"a": 1, "b": 1, "c": "1-80"}


def test_the_surroundings_are_known() -> None:
    """The datastore, the pack's configuration, the context and what the caller adds can be read."""
    template = (
        "{{ st2kv.system.region }} {{ st2kv.user.team }} {{ action_context.execution_id }} {{ "
        "trigger.x }}"
    )
    assert live({"p": {"type": "string"}}, {"p": template}, trigger={"x": 1}) == {"p": "eu red 5 1"}


def test_a_default_may_be_a_number_of_the_datastore() -> None:
    """An integer, from the text that the datastore holds."""
    schemas = {"count": {"type": "integer", "default": "{{ st2kv.system.hunt_count | int }}"}}
    lookups = StaticLookups(system={"hunt_count": "7"})
    found = render_live_parameters(schemas, {}, action_context=CONTEXT, lookups=lookups)
    assert found == {"count": 7}


def test_the_final_round_takes_given_values_as_they_are() -> None:
    """A value that looks like a template after the first round is not rendered again; plain
    defaults are added.
    """
    schemas = {
        "a": {"type": "string"},
        "b": {"type": "integer", "default": 3},
        "c": {"type": "string"},
    }
    final = render_final_parameters(
        schemas, {"a": "{{ b }}"}, action_context=CONTEXT, lookups=LOOKUPS
    )
    assert final == {"a": "{{ b }}", "b": 3, "c": None}


def test_immutable_default_wins_in_the_final_round() -> None:
    """An immutable parameter has its default."""
    schemas = {"a": {"type": "string", "immutable": True, "default": "fixed"}}
    assert render_final_parameters(schemas, {}, action_context=CONTEXT, lookups=LOOKUPS) == {
        "a": "fixed"
    }


ERRORS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "unknown name": (
        {"a": {}},
        {"a": "{{ nobody }}"},
        'Dependency unsatisfied in variable "nobody"',
    ),
    "circle": (
        {},
        {"a": "{{ b }}", "b": "{{ a }}"},
        "Cyclic dependency found in the following variables: a, b",
    ),
    "itself": ({}, {"a": "{{ a }}"}, "Cyclic dependency"),
    "failing template": ({}, {"a": "{{ 1 / 0 }}"}, 'Failed to render parameter "a"'),
    "cast": (
        {"a": {"type": "integer"}},
        {"a": "x"},
        'Failed to cast value .x. for parameter "a" of type "integer"',
    ),
    "not a string": ({"a": {"type": "string"}}, {"a": 5}, "must either be a string or None"),
    "quotes": ({"a": {"type": "object"}}, {"a": {"k": "{{ '\\x22' }}"}}, "json_escape"),
}


@pytest.mark.parametrize("schemas,given,message", ERRORS.values(), ids=ERRORS.keys())
def test_what_cannot_be_rendered_is_a_sentence(
    schemas: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    """Each failure names the parameter or the variable."""
    with pytest.raises(InvalidInputError, match=message):
        live(schemas, given)


def test_text_that_is_not_jinja_after_all_is_kept() -> None:
    """Markers alone do not make a template."""
    assert live({"a": {"type": "string"}}, {"a": "{{ not jinja"}) == {"a": "{{ not jinja"}


def test_secret_values_stay_out_of_messages() -> None:
    """Neither a failing cast nor a failing check shows a secret value."""
    schema = {"p": {"type": "integer", "secret": True}}
    with pytest.raises(InvalidInputError) as of_cast:
        live(schema, {"p": "hunter2"})
    with pytest.raises(InvalidInputError) as of_check:
        validate_parameters(schema, {"p": "hunter2"})
    assert "hunter2" not in str(of_cast.value) + str(of_check.value)


HOLDING: dict[str, tuple[dict[str, Any], Any]] = {
    "a property": (
        {"type": "array", "items": {"properties": {"k": {"secret": True}}}},
        {"k": "hunter2"},
    ),
    "an item by its place": (
        {"type": "array", "items": [{"type": "integer", "secret": True}]},
        ["hunter2"],
    ),
    "what a pattern names": (
        {"type": "object", "patternProperties": {"^k": {"type": "null", "secret": True}}},
        {"k": "hunter2"},
    ),
    "any other property": (
        {"type": "object", "additionalProperties": {"type": "null", "secret": True}},
        {"k": "hunter2"},
    ),
    "text that is no object": (
        {"type": "object", "properties": {"k": {"secret": True}}},
        '{"k": "hunter2"',
    ),
}


@pytest.mark.parametrize("schema, value", HOLDING.values(), ids=HOLDING)
def test_what_holds_a_secret_stays_out_of_messages(schema: dict[str, Any], value: Any) -> None:
    """The value that does not fit is not shown where a secret may be in it, or it in a secret."""
    with pytest.raises(InvalidInputError) as failed:
        validate_parameters({"p": schema}, live({"p": schema}, {"p": value}))
    assert "hunter2" not in str(failed.value)


INVALID: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "required": ({"a": {"type": "string", "required": True}}, {}, "'a' is a required property"),
    "unknown": ({"a": {"type": "string"}}, {"b": 1}, "'b' was unexpected"),
    "type": (
        {"a": {"type": "integer"}},
        {"a": "x"},
        "'x' is not of type 'integer', 'null' .parameter a.",
    ),
    "enum": ({"a": {"type": "string", "enum": ["x", "y"]}}, {"a": "z"}, "'z' is not one of"),
    "immutable": (
        {"a": {"immutable": True, "default": 1}},
        {"a": 2},
        r"Override of immutable parameter\(s\) \['a'\]",
    ),
    "none where a default is": (
        {"a": {"type": "integer", "minimum": 3, "default": 1}},
        {"a": None},
        "less than",
    ),
    "nested": (
        {"a": {"type": "object", "properties": {"b": {"type": "string", "required": True}}}},
        {"a": {}},
        "'b' is a required property",
    ),
}


@pytest.mark.parametrize("schemas,values,message", INVALID.values(), ids=INVALID.keys())
def test_values_that_do_not_fit_are_refused(
    schemas: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    """StackStorm's extensions of JSON schema are checked with its messages."""
    with pytest.raises(InvalidInputError, match=message):
        validate_parameters(schemas, values)


def test_valid_values_come_back_with_defaults() -> None:
    """Defaults are filled in at any depth; what is optional may be None; an empty schema takes
    anything but None.
    """
    schemas: dict[str, Any] = {
        "a": {"type": "integer", "default": 5},
        "b": {"type": "string"},
        "c": {"type": "object", "properties": {"d": {"type": "integer", "default": 6}}},
        "e": {},
    }
    checked = validate_parameters(schemas, {"b": None, "c": {}, "e": [1]})
    assert checked == {"a": 5, "b": None, "c": {"d": 6}, "e": [1]}


def test_all_rounds_together() -> None:
    """What a runner gets."""
    schemas = {"n": {"type": "integer", "required": True}, "t": {"type": "integer", "default": 60}}
    got = render_parameters(schemas, {"n": "{{ 2 }}"}, action_context=CONTEXT, lookups=LOOKUPS)
    assert got == {"n": 2, "t": 60}


def test_merging_runner_and_action_schemas() -> None:
    """An action may set a runner parameter's default, but not change its type."""
    runner = {"timeout": {"type": "integer", "default": 60}}
    merged = merge_schemas(runner, {"timeout": {"default": 5}, "x": {"type": "string"}})
    assert merged == {"timeout": {"type": "integer", "default": 5}, "x": {"type": "string"}}
    with pytest.raises(
        DefinitionError, match=r'"type" for the runner parameter "timeout" in action "a\.b"'
    ):
        merge_schemas(runner, {"timeout": {"type": "string"}}, action_ref="a.b")


def test_secrets_are_masked_at_any_depth() -> None:
    """Everything marked secret is stars; the rest is untouched."""
    schemas: dict[str, Any] = {
        "p": {"type": "string", "secret": True},
        "o": {"type": "object", "properties": {"k": {"type": "string", "secret": True}}},
        "l": {"type": "array", "items": {"type": "object", "properties": {"s": {"secret": True}}}},
        "w": {"type": "object", "secret": True},
    }
    values = {"p": "1", "o": {"k": "2", "z": 3}, "l": [{"s": 4}], "w": {"a": 5}, "free": 6}
    masked = mask_secrets(schemas, values)
    assert masked == {
        "p": "********",
        "o": {"k": "********", "z": 3},
        "l": [{"s": "********"}],
        "w": "********",
        "free": 6,
    }
    assert values["o"] == {"k": "2", "z": 3}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": "string"}},
        {"type": "object", "properties": {"a": None}},
        {"type": "object", "properties": ["a"]},
        {"type": "object", "properties": {"a": {"anyOf": ["string"]}}},
    ],
    ids=["text", "null", "list", "choice of text"],
)
def test_a_schema_that_is_none_is_refused(schema: dict[str, Any]) -> None:
    """An inquiry's is whatever its workflow wrote."""
    with pytest.raises(InvalidInputError, match="the schema itself is wrong"):
        validate_object({"a": "x"}, schema)
    with pytest.raises(InvalidInputError, match="not a usable JSON schema"):
        CompiledSchema(schema)
