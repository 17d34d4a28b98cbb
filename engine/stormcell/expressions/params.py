"""Parameters of an action, rendered: templates among parameters and defaults, in the order they
depend on each other.

Two rounds, as StackStorm does it. `render_live_parameters` renders what the caller gave (and
defaults that are templates): this is what is validated, stored and shown. `render_final_parameters`
adds the plain defaults: this is what the runner gets. Source: st2common/util/param.py of StackStorm
3.9.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import msgspec

from stormcell.conducting import Lookups
from stormcell.errors import InvalidInputError
from stormcell.expressions.datastore import datastore_context
from stormcell.expressions.errors import ExpressionError
from stormcell.expressions.jinja import is_expression, names_read, render
from stormcell.expressions.schemas import Schemas, cast, validate_parameters

_BARE_VARIABLE = re.compile(r'"{{([A-Za-z0-9_-]+)}}"')
"""In a list or object, `"{{name}}"` written without spaces keeps the type; anything else becomes
text.
"""


def render_parameters(
    schemas: Schemas,
    given: Mapping[str, Any],
    *,
    action_context: Mapping[str, Any],
    lookups: Lookups,
    additional: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Render, validate and complete: what an action's runner gets for what a caller gave.

    `schemas` are the action's and its runner's (`merge_schemas`). Raises InvalidInputError.
    """
    live = render_live_parameters(
        schemas, given, action_context=action_context, lookups=lookups, additional=additional
    )
    validate_parameters(schemas, live)
    return render_final_parameters(schemas, live, action_context=action_context, lookups=lookups)


def render_live_parameters(
    schemas: Schemas,
    given: Mapping[str, Any],
    *,
    action_context: Mapping[str, Any],
    lookups: Lookups,
    additional: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the given parameters and the defaults that are templates, rendered and cast to their
    schemas' types.

    `additional` are names beside the parameters, such as `trigger`. Raises InvalidInputError for an
    unknown name, a circle, a failing template or a value that does not cast.
    """
    graph = _Graph(_context(action_context, lookups))
    graph.values.update(additional or {})
    for name, value in given.items():
        graph.add(name, value)
    graph.add_defaults(schemas)
    context = graph.resolve()
    live = {name: cast(name, context[name], schemas.get(name) or {}) for name in given}
    for name, schema in schemas.items():
        default = schema.get("default")
        if (
            name in given
            or schema.get("immutable")
            or not is_expression(default)
            or default == context[name]
        ):
            continue
        live[name] = cast(name, context[name], schema)
    return live


def render_final_parameters(
    schemas: Schemas,
    live: Mapping[str, Any],
    *,
    action_context: Mapping[str, Any],
    lookups: Lookups,
) -> dict[str, Any]:
    """Return every parameter of the schemas: the live ones as plain values, and defaults, rendered
    and cast.
    """
    if not any(_may_render(schema.get("default")) for schema in schemas.values()):
        # As below, for the many actions whose defaults are plain values.
        complete = {**{name: schema.get("default") for name, schema in schemas.items()}, **live}
        for name, schema in schemas.items():
            if schema.get("immutable") or complete[name] is None:
                complete[name] = schema.get("default")
        return {
            name: cast(name, value, schemas.get(name) or {}) for name, value in complete.items()
        }
    graph = _Graph(_context(action_context, lookups))
    graph.values.update(live)
    graph.add_defaults(schemas)
    context = graph.resolve()
    return {
        name: cast(name, context[name], schemas.get(name) or {}) for name in {**schemas, **live}
    }


def _may_render(value: Any) -> bool:
    return is_expression(
        value if isinstance(value, str) else str(value) if isinstance(value, list | dict) else None
    )


def _context(action_context: Mapping[str, Any], lookups: Lookups) -> dict[str, Any]:
    user = action_context.get("api_user") or action_context.get("user") or ""
    pack = action_context.get("pack")
    return {
        "st2kv": datastore_context(lookups, user),
        "action_context": action_context,
        "config_context": lookups.pack_config(pack) if pack else {},
    }


class _Graph:
    """Values that are known, and templates that wait for the names they read."""

    def __init__(self, context: dict[str, Any]) -> None:
        self.values = context
        self._templates: dict[str, Any] = {}
        self._needs: dict[str, frozenset[str]] = {}

    def add(self, name: str, value: Any) -> None:
        """Take a value in; text that does not parse as Jinja is a plain value, as in StackStorm."""
        self.values.pop(name, None)
        self._templates.pop(name, None)
        self._needs.pop(name, None)
        if _may_render(value):
            needs = names_read(str(value))
            if needs is None:
                self.values[name] = value
                return
            self._templates[name] = value
            self._needs[name] = needs
        else:
            self.values[name] = value

    def add_defaults(self, schemas: Schemas) -> None:
        for name, schema in schemas.items():
            known = name in self._templates or self.values.get(name) is not None
            if not known or schema.get("immutable"):
                self.add(name, schema.get("default"))

    def resolve(self) -> dict[str, Any]:
        if not self._templates:
            return self.values
        for needs in self._needs.values():
            for name in sorted(needs):
                if name not in self.values and name not in self._templates:
                    raise InvalidInputError(f'Dependency unsatisfied in variable "{name}"')
        try:
            order = list(TopologicalSorter(self._needs).static_order())
        except CycleError as error:
            names = ", ".join(sorted(set(error.args[1])))
            raise InvalidInputError(
                f"Cyclic dependency found in the following variables: {names}. "
                "Likely the variable is referencing itself"
            ) from error
        for name in order:
            if name in self._templates:
                self.values[name] = self._render(name)
        return self.values

    def _render(self, name: str) -> Any:
        template = self._templates[name]
        try:
            if isinstance(template, str):
                return render(template, self.values)
            text = msgspec.json.encode(template).decode()
            return msgspec.json.decode(
                render(_BARE_VARIABLE.sub(r"{{\1 | to_complex}}", text), self.values)
            )
        except ExpressionError as error:
            raise InvalidInputError(f'Failed to render parameter "{name}": {error}') from error
        except msgspec.DecodeError as error:
            raise InvalidInputError(
                f'Failed to render parameter "{name}": the result is not JSON ({error}). '
                'Write "{{name}}" alone to keep a type, or use the filter json_escape inside longer text.'
            ) from error
