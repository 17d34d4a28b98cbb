"""Outputs of actions against their output_schema."""

from __future__ import annotations

from typing import Any

import pytest
from stormcell.content.models import Action
from stormcell.content.runner_types import RUNNER_TYPES
from stormcell.outputs import output_fault, sealed_output
from stormcell.store.sealing import MASK, Sealer, mask

SEALER = Sealer(b"k" * 32)
SECRET = {"type": "string", "secret": True}


def _action(schema: dict[str, Any], runner: str = "python-script") -> Action:
    return Action(
        pack="p", name="a", file="actions/a.yaml", runner_type=runner, output_schema=schema
    )


def _brought(output: Any) -> dict[str, Any]:
    return {"result": output, "exit_code": 0, "stdout": "", "stderr": ""}


# schema, output, what an answer shows
SHOWN: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "a property": (
        {"type": "object", "properties": {"pin": SECRET, "name": {"type": "string"}}},
        {"pin": "4711", "name": "x", "more": 1},
        {"pin": MASK, "name": "x", "more": 1},
    ),
    "the older form": ({"pin": SECRET}, {"pin": "4711", "more": 1}, {"pin": MASK, "more": 1}),
    "the older form with a property called type": (
        {"type": SECRET},
        {"type": "4711"},
        {"type": MASK},
    ),
    "all of it": ({"type": "object", "secret": True}, {"a": 1}, MASK),
    "text": (SECRET, "4711", MASK),
    "items": ({"type": "array", "items": SECRET}, ["a", "b"], [MASK, MASK]),
    "items by their place": (
        {"type": "array", "items": [{"type": "integer"}, SECRET], "additionalItems": SECRET},
        [1, "a", "b"],
        [1, MASK, MASK],
    ),
    "a pattern": (
        {"type": "object", "properties": {"pin_length": {}}, "patternProperties": {"^pin": SECRET}},
        {"pin_a": "a", "pin_length": 1, "b": 2},
        {"pin_a": MASK, "pin_length": 1, "b": 2},
    ),
    "a pattern that is mistyped": (
        {"type": "object", "patternProperties": {"(": SECRET}},
        {"a": "b"},
        {"a": MASK},
    ),
    "any other property": (
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "additionalProperties": SECRET,
        },
        {"a": 1, "b": "c"},
        {"a": 1, "b": MASK},
    ),
    "deep down": (
        {
            "type": "object",
            "properties": {
                "l": {"type": "array", "items": {"type": "object", "properties": {"k": SECRET}}}
            },
        },
        {"l": [{"k": "a", "z": 1}]},
        {"l": [{"k": MASK, "z": 1}]},
    ),
    "of another type than said": ({"type": "array", "items": SECRET}, {"a": 1}, {"a": 1}),
    "nothing": ({"type": "object", "properties": {"pin": SECRET}}, None, None),
}


@pytest.mark.parametrize("schema, output, shown", SHOWN.values(), ids=SHOWN)
def test_secret_output_is_masked(schema: dict[str, Any], output: Any, shown: Any) -> None:
    """Whatever the schema marks, in either of its forms, shows as stars and opens as it was."""
    sealed = sealed_output(SEALER, _action(schema), RUNNER_TYPES["python-script"], _brought(output))
    assert mask(sealed) == _brought(shown)
    assert SEALER.open(sealed) == _brought(output)


def test_the_schema_speaks_of_the_runners_output_key() -> None:
    """An HTTP action's body, a workflow's output; what stands beside it stays."""
    schema = {"type": "object", "properties": {"pin": SECRET, "status_code": SECRET}}
    result = {"body": {"pin": "4711"}, "status_code": 200}
    sealed = sealed_output(SEALER, _action(schema), RUNNER_TYPES["http-request"], result)
    assert mask(sealed) == {"body": {"pin": MASK}, "status_code": 200}


COUNT = {
    "type": "object",
    "properties": {"n": {"type": "integer", "required": True}},
    "additionalProperties": False,
}
# runner, schema, result, what is said of it
CHECKED: dict[str, tuple[str, dict[str, Any], Any, str | None]] = {
    "fits": ("python-script", COUNT, _brought({"n": 1}), None),
    "no schema": ("python-script", {}, _brought("x"), None),
    "the older form": ("python-script", {"n": {"type": "integer"}}, _brought({"n": "x"}), None),
    "a runner without a schema": ("local-shell-cmd", COUNT, {"stdout": "x"}, None),
    "nothing at all": ("python-script", COUNT, None, None),
    "another type": (
        "python-script",
        COUNT,
        _brought({"n": "x"}),
        "'x' is not of type 'integer' (output result.n)",
    ),
    "missing": ("python-script", COUNT, _brought({}), "'n' is a required property (output result)"),
    "one more": (
        "python-script",
        COUNT,
        _brought({"n": 1, "m": 2}),
        "Additional properties are not allowed ('m' was unexpected) (output result)",
    ),
    "no output": ("orquesta", COUNT, {"errors": []}, "'output' is a required property"),
    "of the runner": (
        "http-request",
        {},
        {"status_code": "x"},
        "'x' is not of type 'integer' (output status_code)",
    ),
    "secret": (
        "python-script",
        {"type": "object", "properties": {"pin": {"type": "integer", "secret": True}}},
        _brought({"pin": "x"}),
        "******** does not satisfy 'type': 'integer' (output result.pin)",
    ),
}


@pytest.mark.parametrize("runner, schema, result, said", CHECKED.values(), ids=CHECKED)
def test_output_is_checked(
    runner: str, schema: dict[str, Any], result: Any, said: str | None
) -> None:
    """The result of an execution becomes StackStorm's, with the reason, where its output does not
    fit.
    """
    fault = output_fault(_action(schema, runner), RUNNER_TYPES[runner], result)
    assert (fault or {}).get("error") == said
    if fault:
        assert fault["message"] == "Error validating output. See error output for more details."
