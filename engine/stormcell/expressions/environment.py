"""Jinja itself, set up as StackStorm sets it up. Imported at the first template: it takes a tenth
of a start's time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nodes
import jinja2.sandbox

from stormcell.expressions import budget
from stormcell.expressions.datastore import KeyReference, decrypt_kv
from stormcell.expressions.functions import FUNCTIONS, to_complex


class _Sandbox(jinja2.sandbox.SandboxedEnvironment):
    """Every attribute of a datastore reference is a key, also one whose name the sandbox would
    refuse.
    """

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, KeyReference):
            return obj[attribute]
        return super().getattr(obj, attribute)


def _contains(item: Any, container: Any) -> bool:
    return item in container


def _environment(undefined: type[jinja2.Undefined]) -> jinja2.sandbox.SandboxedEnvironment:
    environment = _Sandbox(undefined=undefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(FUNCTIONS)
    environment.filters["to_complex"] = to_complex
    environment.filters["decrypt_kv"] = decrypt_kv
    environment.tests["in"] = _contains
    return environment


_STRICT = _environment(jinja2.StrictUndefined)
_LENIENT = _environment(jinja2.Undefined)


_LIGHT_NODES = (
    jinja2.nodes.Template,
    jinja2.nodes.Output,
    jinja2.nodes.TemplateData,
    jinja2.nodes.Name,
    jinja2.nodes.Const,
    jinja2.nodes.Getattr,
    jinja2.nodes.Getitem,
)
_LIGHT_FILTERS = frozenset(
    {
        *("d", "default", "int", "float", "string", "lower", "upper", "trim", "length"),
        *("first", "last", "to_complex", "use_none", "decrypt_kv"),
    }
)


def is_light(tree: jinja2.nodes.Node, calls: Collection[str] = ()) -> bool:
    """Whether a template only looks values up, so that it cannot take long and needs no budget.
    `calls`: functions that only look up, too."""
    return all(_is_light(node, calls) for node in (tree, *tree.find_all(jinja2.nodes.Node)))


def _is_light(node: jinja2.nodes.Node, calls: Collection[str]) -> bool:
    if isinstance(node, jinja2.nodes.Filter):
        return node.name in _LIGHT_FILTERS
    if isinstance(node, jinja2.nodes.Call):
        return isinstance(node.node, jinja2.nodes.Name) and node.node.name in calls
    return isinstance(node, _LIGHT_NODES)


@lru_cache(maxsize=8192)
def _compile(text: str, lenient: bool) -> tuple[jinja2.Template, bool]:
    environment = _LENIENT if lenient else _STRICT
    light = is_light(environment.parse(text))
    if light:
        return environment.from_string(text), light
    # Compiling works out what is constant, such as `10 ** 10 ** 10`.
    template: jinja2.Template = budget.limited(environment.from_string, text)
    return template, light


def render(text: str, context: Mapping[str, Any], *, lenient: bool) -> str:
    """Return what a template renders to; raises whatever goes wrong inside, OverBudgetError where
    it takes too much. Compiled once and kept."""
    template, light = _compile(text, lenient)
    if light:
        return template.render(context)
    text = budget.limited(template.render, context)
    return budget.checked_result(text)


@lru_cache(maxsize=8192)
def names_read(text: str) -> frozenset[str] | None:
    """The names a template reads and does not set; None for text that does not parse."""
    try:
        return frozenset(jinja2.meta.find_undeclared_variables(_STRICT.parse(text)))
    except jinja2.TemplateSyntaxError:
        return None


def syntax_problem(text: str) -> str | None:
    """Why a template does not parse; None where it does."""
    try:
        _STRICT.parse(text)
    except jinja2.TemplateSyntaxError as error:
        return error.message or "it is no template"
    return None
