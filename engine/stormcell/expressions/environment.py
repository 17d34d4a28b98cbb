"""Jinja itself, set up as StackStorm sets it up. Imported at the first template: it takes a tenth
of a start's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.meta
import jinja2.sandbox

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


@lru_cache(maxsize=8192)
def _compile(text: str, lenient: bool) -> jinja2.Template:
    return (_LENIENT if lenient else _STRICT).from_string(text)


def render(text: str, context: Mapping[str, Any], *, lenient: bool) -> str:
    """Return what a template renders to; raises whatever goes wrong inside. Compiled once and kept."""
    return _compile(text, lenient).render(context)


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
