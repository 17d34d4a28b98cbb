"""What a chat is told of an execution that has ended: in the words of its alias, or plainly.

Pure functions over the documents of the API. Source of behaviour:
contrib/chatops/actions/format_execution_result.py of StackStorm 3.9; an undefined name in an
alias's `result.format` renders as empty text, as it does there.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any

import msgspec

from stormcell.expressions.errors import ExpressionError
from stormcell.expressions.functions import to_human_time_from_seconds
from stormcell.expressions.jinja import render, render_values

HIDDEN = ("trigger", "trigger_type", "trigger_instance", "liveaction")
"""Parts of an execution that a format does not see."""
_SHOWN_OF_RUNNER = {
    "python-script": ("result", "stdout", "stderr", "exit_code"),
    "local-shell-cmd": ("stdout", "stderr", "return_code", "error"),
    "local-shell-script": ("stdout", "stderr", "return_code", "error"),
}


class _Six:
    """What StackStorm's formats use of `six`, the module of that name."""

    string_types = (str,)
    text_type = str

    @staticmethod
    def iteritems(mapping: Mapping[str, Any]) -> ItemsView[str, Any]:
        return mapping.items()

    @staticmethod
    def iterkeys(mapping: Mapping[str, Any]) -> KeysView[str]:
        return mapping.keys()

    @staticmethod
    def itervalues(mapping: Mapping[str, Any]) -> ValuesView[Any]:
        return mapping.values()


def formatted(execution: Mapping[str, Any], alias: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `enabled`, `message` and perhaps `extra`, for an execution and the alias it was asked
    through, if any.

    What cannot be rendered says so in its place: somebody waits for an answer.
    """
    seen = {name: value for name, value in execution.items() if name not in HIDDEN}
    context: dict[str, Any] = {"execution": seen, "six": _Six}
    asked: Mapping[str, Any] = {}
    if alias is not None:
        context["alias"] = alias
        asked = alias.get("result") or {}
    if not asked.get("enabled", True):
        return {"enabled": False, "message": plain_message(seen)}
    told: dict[str, Any] = {"enabled": True}
    if "extra" in asked:
        try:
            told["extra"] = render_values({"it": asked["extra"]}, context)["it"]
        except ExpressionError as error:
            told["extra"] = {}
            told["message"] = f'Cannot render "extra" in field "result" for alias. {error}'
            return told
    if "format" not in asked:
        return {**told, "message": plain_message(seen)}
    try:
        return {**told, "message": render(str(asked["format"]), context, lenient=True)}
    except ExpressionError as error:
        return {**told, "message": f'Cannot render "format" in field "result" for alias. {error}'}


def plain_message(execution: Mapping[str, Any]) -> str:
    """Return what is told where no alias says how."""
    lines = [
        "",
        f"Action {execution['action']['ref']} completed.",
        f"status : {execution['status']}",
        f"execution: {execution['id']}",
        "",
    ]
    if execution.get("web_url"):
        lines.append(f"web_url: {execution['web_url']}")
    if execution.get("elapsed_seconds"):
        lines.append(
            f"Took {to_human_time_from_seconds(execution['elapsed_seconds'])} to complete."
        )
    result = execution.get("result")
    if result:
        lines += ["result :", "--------", *_result_lines(execution, result)]
    return "\n".join(lines) + "\n"


def _result_lines(execution: Mapping[str, Any], result: Any) -> Iterator[str]:
    if not isinstance(result, Mapping):
        yield str(result)
        return
    shown = _SHOWN_OF_RUNNER.get((execution.get("runner") or {}).get("name", ""))
    if shown is not None:
        result = {name: value for name, value in result.items() if name in shown and value}
    yield from _lines(result, "")


def _lines(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Lines `key : value`; objects and text of several lines go below their key, indented."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name} : "
            yield from _lines(value, indent + "  ")
            continue
        text = value if isinstance(value, str) else _text(value)
        first, *others = text.strip().split("\n")
        if others:
            yield f"{indent}{name} : "
            yield from (f"{indent}  {line}" for line in (first, *others))
        else:
            yield f"{indent}{name} : {first}"


def _text(value: Any) -> str:
    return (
        msgspec.json.encode(value, enc_hook=str).decode() if isinstance(value, list) else str(value)
    )
