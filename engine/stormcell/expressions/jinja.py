"""Jinja as StackStorm has it: sandboxed, undefined names are errors, StackStorm's filters, text
out.

What keeps its type and what becomes text follows st2common/util/jinja.py. The library is loaded by
the first template.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

import msgspec

from stormcell.expressions.errors import ExpressionError

_MARKERS = ("{{", "{%")


@cache
def load() -> ModuleType:
    """Load Jinja now, rather than when somebody waits for a template."""
    from stormcell.expressions import environment

    return environment


def is_expression(value: Any) -> bool:
    """True where text may hold Jinja. As StackStorm decides: a marker somewhere is enough."""
    return isinstance(value, str) and any(marker in value for marker in _MARKERS)


def render(template: str, context: Mapping[str, Any], *, lenient: bool = False) -> str:
    """Return the text a template renders to. `lenient` reads undefined names as empty text.

    Raises ExpressionError for whatever goes wrong inside.
    """
    try:
        text: str = load().render(template, context, lenient=lenient)
        return text
    except ExpressionError:
        raise
    except (
        Exception
    ) as error:  # a template calls filters and methods of data: any error is its author's
        raise ExpressionError(
            _sentence(template, error), expression=template, kind=type(error).__name__
        ) from error


def names_read(template: str) -> frozenset[str] | None:
    """The names a template reads and does not set; None for text that does not parse."""
    names: frozenset[str] | None = load().names_read(template)
    return names


def syntax_problem(template: str) -> str | None:
    """Why a template does not parse; None where it does."""
    problem: str | None = load().syntax_problem(template)
    return problem


def render_values(
    mapping: Mapping[str, Any], context: Mapping[str, Any], *, lenient: bool = False
) -> dict[str, Any]:
    """Render each value; source: `render_values` of StackStorm, used by action-chains.

    Lists and objects are rendered as JSON text and decoded again. A value that rendering leaves as
    it is keeps its type; any other scalar becomes text. `__context` is the whole context. Raises
    ExpressionError that names the key.
    """
    if not context:
        return dict(mapping)
    scope = {"__context": context, **context}
    return {key: _render_value(key, value, scope, lenient) for key, value in mapping.items()}


def _render_value(key: str, value: Any, scope: Mapping[str, Any], lenient: bool) -> Any:
    compound = isinstance(value, dict | list)
    text = msgspec.json.encode(value).decode() if compound else str(value)
    if not is_expression(text) and "{#" not in text:
        return value
    try:
        rendered = render(text, scope, lenient=lenient)
        if rendered == text:
            return value
        return msgspec.json.decode(rendered) if compound else rendered
    except ExpressionError as error:
        message = f'Failed rendering value for "{key}": {error}'
        raise ExpressionError(message, expression=error.expression, kind=error.kind) from error
    except msgspec.DecodeError as error:
        message = (
            f'Failed rendering value for "{key}": the result is not JSON ({error}). '
            "Use the filter json_escape inside quotes, or to_json_string without them."
        )
        raise ExpressionError(message, expression=text, kind="JSONDecodeError") from error


def _sentence(template: str, error: Exception) -> str:
    shown = template if len(template) <= 200 else f"{template[:197]}..."
    return f"Unable to render '{shown}': {error}"
