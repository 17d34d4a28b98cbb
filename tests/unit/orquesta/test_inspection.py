"""What is said of a wrong workflow before it runs."""

from __future__ import annotations

from typing import Any

import pytest
from stormcell.orquesta import OrquestaConductor
from stormcell.orquesta.spec import inline_pairs

TASK = r"properties.tasks.patternProperties.^\w+$"
NEXT = f"{TASK}.properties.next.items"

WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "unknown key": (
        "tasks: {a: {action: core.noop, foo: 1}}",
        {
            "type": "syntax",
            "message": "Additional properties are not allowed ('foo' was unexpected)",
            "schema_path": f"{TASK}.additionalProperties",
            "spec_path": "tasks.a",
        },
    ),
    "no tasks": (
        "version: 1.0",
        {
            "type": "syntax",
            "message": "'tasks' is a required property",
            "schema_path": "required",
            "spec_path": None,
        },
    ),
    "retry without count": (
        "tasks: {a: {action: core.noop, retry: {delay: 1}}}",
        {
            "type": "syntax",
            "message": "'count' is a required property",
            "schema_path": f"{TASK}.properties.retry.required",
            "spec_path": "tasks.a.retry",
        },
    ),
    "reserved name": (
        "tasks: {noop: {action: core.noop}}",
        {
            "type": "semantic",
            "message": 'The task name "noop" is reserved with special function.',
            "schema_path": TASK,
            "spec_path": "tasks.noop",
        },
    ),
    "undefined task": (
        "tasks: {a: {next: [{do: b}]}}",
        {
            "type": "semantic",
            "message": 'The task "b" is not defined.',
            "schema_path": f"{NEXT}.properties.do",
            "spec_path": "tasks.a.next[0].do",
        },
    ),
    "nowhere to start": (
        "tasks: {a: {next: [{do: b}]}, b: {next: [{do: a}]}}",
        {
            "type": "semantic",
            "message": "Unable to identify any tasks to start the workflow. If the workflow has a "
            "loop, please add a "
            "task that serves as an entry point (or lead) into the loop.",
            "schema_path": "properties.tasks",
            "spec_path": "tasks",
        },
    ),
    "items without action": (
        "tasks: {a: {with: '<% [1] %>'}}",
        {
            "type": "semantic",
            "message": "The action property is required for with items task.",
            "schema_path": TASK,
            "spec_path": "tasks.a",
        },
    ),
    "variable nobody sets": (
        "tasks: {a: {action: core.noop, next: [{when: <% ctx().x %>, do: noop}]}}",
        {
            "type": "context",
            "language": "yaql",
            "expression": "<% ctx().x %>",
            "message": 'Variable "x" is referenced before assignment.',
            "schema_path": f"{NEXT}.properties.when",
            "spec_path": "tasks.a.next[0].when",
        },
    ),
    "private variable": (
        "vars: [{__x: 1}]\ntasks: {a: {action: 'core.noop m={{ ctx(\"__x\") }}'}}",
        {
            "type": "context",
            "language": "jinja",
            "expression": '{{ ctx("__x") }}',
            "message": 'Variable "__x" that is prefixed with double underscores is considered a '
            "private variable and "
            "cannot be referenced.",
            "schema_path": f"{TASK}.properties.input",
            "spec_path": "tasks.a.input",
        },
    ),
    "mixed languages": (
        "tasks: {a: {action: core.echo, input: {message: '<% 1 %> {{ 2 }}'}}}",
        {
            "type": "expression",
            "language": None,
            "expression": "<% 1 %> {{ 2 }}",
            "message": "Expression with multiple types is not supported.",
            "schema_path": f"{TASK}.properties.input",
            "spec_path": "tasks.a.input",
        },
    ),
    "publish without quotes": (
        "tasks: {a: {next: [{publish: x=yes}]}}",
        {
            "type": "syntax",
            "message": (
                'Unable to understand "x=yes" as inline parameters; write text in quotes, as in '
                "name='value'."
            ),
            "schema_path": f"{NEXT}.properties.publish",
            "spec_path": "tasks.a.next[0].publish",
        },
    ),
    "not a ref": (
        "tasks: {a: {action: noop}}",
        {
            "type": "content",
            "message": 'The action reference "noop" is not formatted correctly.',
            "schema_path": f"{TASK}.properties.action",
            "spec_path": "tasks.a.action",
        },
    ),
    "no such action": (
        "tasks: {a: {action: core.nope}}",
        {
            "type": "content",
            "message": 'The action "core.nope" is not registered in the database.',
            "schema_path": f"{TASK}.properties.action",
            "spec_path": "tasks.a.action",
        },
    ),
    "missing input": (
        "tasks: {a: {action: core.echo}}",
        {
            "type": "content",
            "message": 'Action "core.echo" is missing required input "message".',
            "schema_path": f"{TASK}.properties.input",
            "spec_path": "tasks.a.input",
        },
    ),
    "unexpected input": (
        "tasks: {a: {action: core.noop x=1}}",
        {
            "type": "content",
            "message": 'Action "core.noop" has unexpected input "x".',
            "schema_path": rf"{TASK}.properties.input.patternProperties.^\w+$",
            "spec_path": "tasks.a.input.x",
        },
    ),
}

ACTIONS: dict[str, dict[str, Any]] = {
    "core.noop": {},
    "core.echo": {"message": {"type": "string", "required": True}},
}


@pytest.mark.parametrize("text,expected", WRONG.values(), ids=WRONG.keys())
def test_each_mistake_is_told(text: str, expected: dict[str, Any]) -> None:
    """As StackStorm prints them: type, message, where in the schema and where in the workflow."""
    actions = None if expected["type"] == "context" else ACTIONS.get
    assert OrquestaConductor(text, find_parameters=actions).inspect() == [expected]


@pytest.mark.parametrize("value", ["<% 1 + %>", "{{ 1 + }}"])
def test_expressions_that_do_not_parse(value: str) -> None:
    """Told with their text and language, and not a word about the rest."""
    (problem,) = OrquestaConductor(
        {"tasks": {"a": {"action": "core.noop", "input": {"x": value}}}}
    ).inspect()[:1]
    assert (problem["type"], problem["spec_path"]) == ("expression", "tasks.a.input")
    assert problem["expression"] == value


def test_a_join_below_different_forks_is_ambiguous() -> None:
    """The engine could not know which branches belong together."""
    text = """
tasks:
  a: {next: [{do: [s, j]}]}
  b: {next: [{do: s}]}
  s: {next: [{do: j}]}
  j: {join: all}
"""
    (problem,) = OrquestaConductor(text).inspect()
    assert (problem["type"], problem["spec_path"]) == ("semantic", "tasks.j")
    assert 'The join task "j" is unreachable.' in problem["message"]


def test_all_mistakes_are_told_at_once_and_sorted() -> None:
    """By type, then by place."""
    text = (
        "tasks: {a: {action: nope, next: [{when: <% ctx(x) %>, do: b}, {when: <% 1 + %>, do: "
        "noop}]}}"
    )
    kinds = [one["type"] for one in OrquestaConductor(text, find_parameters=ACTIONS.get).inspect()]
    assert kinds == ["content", "context", "expression", "semantic"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "tasks: [",
        "tasks: {a: [1]}",
        "tasks: {a: {next: {do: b}}}",
        "tasks: 5",
        "tasks: {a: {action: 5}}",
    ],
)
def test_nonsense_is_an_error_and_no_crash(text: str) -> None:
    """Whatever the text is."""
    assert OrquestaConductor(text).inspect()


INLINE: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "numbers": ("a=1 b=-2.5", [{"a": 1}, {"b": -2.5}]),
    "words": ("a=true b=FALSE c=null", [{"a": True}, {"b": False}, {"c": None}]),
    "quotes": ("a='x y' b=\"z\"", [{"a": "x y"}, {"b": "z"}]),
    "a quoted number is text": ("a='1'", [{"a": "1"}]),
    "an object in quotes": ("a='{\"k\": 1}'", [{"a": {"k": 1}}]),
    "a list": ("a=[1, 2]", [{"a": [1, 2]}]),
    "expressions": ("a=<% ctx(b) %> c={{ d }}", [{"a": "<% ctx(b) %>"}, {"c": "{{ d }}"}]),
    "nothing": ("core.local", []),
}


@pytest.mark.parametrize("text,pairs", INLINE.values(), ids=INLINE.keys())
def test_inline_parameters(text: str, pairs: list[dict[str, Any]]) -> None:
    """Values keep their JSON type."""
    assert inline_pairs(text) == pairs
