"""What a chat is told of an execution that ended."""

from __future__ import annotations

from typing import Any

import pytest
from stormcell.chatops import formatted, plain_message

EXECUTION: dict[str, Any] = {
    "id": "5f00",
    "status": "succeeded",
    "action": {"ref": "core.local"},
    "runner": {"name": "local-shell-cmd"},
    "elapsed_seconds": 3.2,
    "result": {"stdout": "one\ntwo\n", "stderr": "", "return_code": 0, "succeeded": True},
    "liveaction": {"hidden": True},
    "trigger_instance": {"hidden": True},
}

TOLD: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "format": (
        {"result": {"format": "{{ execution.id }} is {{ execution.status }}"}},
        {"enabled": True, "message": "5f00 is succeeded"},
    ),
    "undefined-is-empty": (
        {"result": {"format": "<{{ execution.result.nothing }}>"}},
        {"enabled": True, "message": "<>"},
    ),
    "alias-is-seen": (
        {"name": "say", "result": {"format": "{{ alias.name }}"}},
        {"enabled": True, "message": "say"},
    ),
    "filters": (
        {"result": {"format": "{{ execution.elapsed_seconds | to_human_time_from_seconds }}"}},
        {"enabled": True, "message": "3s"},
    ),
    "six": (
        {
            "result": {
                "format": (
                    "{% for k, v in six.iteritems(execution.action) %}{{ k }}={{ v }}{% endfor %}"
                )
            }
        },
        {"enabled": True, "message": "ref=core.local"},
    ),
    "extra": (
        {
            "result": {
                "format": "x",
                "extra": {"slack": {"title": "{{ execution.action.ref }}", "n": 3}},
            }
        },
        {"enabled": True, "message": "x", "extra": {"slack": {"title": "core.local", "n": 3}}},
    ),
    "event-is-not-seen": (
        {"result": {"format": "{{ execution.trigger_instance }}{{ execution.liveaction }}"}},
        {"enabled": True, "message": ""},
    ),
}


@pytest.mark.parametrize("alias, told", TOLD.values(), ids=TOLD.keys())
def test_an_alias_says_how_it_is_told(alias: dict[str, Any], told: dict[str, Any]) -> None:
    """`result.format` and `result.extra` are rendered over the execution and the alias."""
    assert formatted(EXECUTION, alias) == told


@pytest.mark.parametrize(
    "result, field",
    [
        ({"format": "{{ execution.id | nofilter }}"}, "format"),
        ({"format": "x", "extra": {"a": "{{ nobody }}"}}, "extra"),
    ],
    ids=["format", "extra"],
)
def test_what_cannot_be_rendered_is_told(result: dict[str, Any], field: str) -> None:
    """Somebody waits in the chat: a wrong template is an answer too."""
    told = formatted(EXECUTION, {"result": result})
    assert told["enabled"] is True
    assert f'Cannot render "{field}" in field "result" for alias.' in told["message"]


def test_silence_is_said() -> None:
    """An alias whose result is switched off is not enabled."""
    assert formatted(EXECUTION, {"result": {"enabled": False, "format": "x"}})["enabled"] is False


def test_without_an_alias_it_is_told_plainly() -> None:
    """Action, status, id, duration and what the runner brought, without what is empty."""
    lines = [line for line in plain_message(EXECUTION).splitlines() if line]
    assert lines == [
        "Action core.local completed.",
        "status : succeeded",
        "execution: 5f00",
        "Took 3s to complete.",
        "result :",
        "--------",
        "stdout : ",
        "  one",
        "  two",
    ]
    assert formatted(EXECUTION, None) == {"enabled": True, "message": plain_message(EXECUTION)}


@pytest.mark.parametrize(
    "result, lines",
    [
        (
            {"output": {"a": {"b": [1, "x"]}}, "errors": []},
            ["output : ", "  a : ", '    b : [1,"x"]', "errors : []"],
        ),
        ("text", ["text"]),
        (None, []),
    ],
    ids=["objects", "text", "nothing"],
)
def test_results_of_workflows_are_told_whole(result: Any, lines: list[str]) -> None:
    """Objects go below their keys, indented."""
    message = plain_message(
        {**EXECUTION, "runner": {"name": "orquesta"}, "elapsed_seconds": 0, "result": result}
    )
    body = message.partition("--------\n")[2]
    assert body.splitlines() == lines
