"""Parameters against their schemas: StackStorm's dialect of JSON schema, defaults, casts and
masking.

The dialect is draft 4 with `required: true` on the property itself (draft 3), `immutable`, `secret`
and `position`. Source: st2common/util/schema, util/casts.py, util/secrets.py, services/action.py of
StackStorm 3.9.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stormcell.errors import CastError, DefinitionError, InvalidInputError
from stormcell.expressions.budget import EXPRESSION_SECONDS, Scope
from stormcell.expressions.dialect import ANY_TYPE, allowing_null, violations, with_defaults
from stormcell.expressions.functions import NONE_MARK
from stormcell.secrecy import holds_secret, part_of

Schemas = Mapping[str, Mapping[str, Any]]
"""Parameter name -> JSON schema."""

MASK = "********"
_RUNNER_OVERRIDABLE = frozenset({"default", "description", "enum", "immutable", "required"})
_NAMES_ONLY = frozenset({"required", "additionalProperties"})
"""Keywords whose messages hold names of properties and no values."""


def merge_schemas(
    runner: Schemas, action: Schemas, *, action_ref: str = ""
) -> dict[str, dict[str, Any]]:
    """Return the schemas of an action's parameters with its runner's, the action's attributes
    winning.

    Raises DefinitionError where an action overrides what StackStorm does not let it override.
    """
    merged = {name: dict(schema) for name, schema in runner.items()}
    for name, schema in action.items():
        base = merged.setdefault(name, {})
        if name in runner:
            _check_override(action_ref, name, runner[name], schema)
        base.update(schema)
    return merged


def _check_override(
    action_ref: str, name: str, runner: Mapping[str, Any], action: Mapping[str, Any]
) -> None:
    for attribute, value in action.items():
        if attribute not in _RUNNER_OVERRIDABLE and value != runner.get(attribute):
            raise DefinitionError(
                f'The attribute "{attribute}" for the runner parameter "{name}" in action "{action_ref}" '
                "cannot be overridden.",
                remedy=f"Remove it, or override one of: {', '.join(sorted(_RUNNER_OVERRIDABLE))}.",
            )


def validate_parameters(schemas: Schemas, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with defaults filled in; raise InvalidInputError where they do not fit.

    A parameter that is optional, or whose default is None, may be None. Immutable parameters must
    not be given (pass the caller's values, not the ones with defaults).
    """
    if schemas:
        properties = {name: schema or ANY_TYPE for name, schema in schemas.items()}
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        checked = validate_object(values, schema)
    else:
        checked = dict(values)
    immutable = [name for name in values if schemas.get(name, {}).get("immutable")]
    if immutable:
        raise InvalidInputError(f"Override of immutable parameter(s) {immutable} is unsupported.")
    return checked


def validate_object(value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with defaults filled in, checked as StackStorm checks it: optional
    properties may be None. Raises InvalidInputError, also where the schema itself is wrong: that of
    an inquiry is whatever its workflow wrote."""
    try:
        checked: dict[str, Any] = with_defaults(dict(value), schema)
        schema = allowing_null(schema)
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidInputError(f"the schema itself is wrong: {type(error).__name__}") from error
    validate(checked, schema)
    return checked


def validate(value: Any, schema: Mapping[str, Any], *, what: str = "parameter") -> None:
    """Check a value against a schema of StackStorm's dialect; raise InvalidInputError with the
    first error.
    """
    with Scope(EXPRESSION_SECONDS):
        error = next(violations(schema, value), None)
    if error is None:
        return
    place = ".".join(str(part) for part in error.path)
    message = error.message
    if _is_secret(schema, list(error.path), str(error.validator)):
        message = f"{MASK} does not satisfy {error.validator!r}: {error.validator_value!r}"
    raise InvalidInputError(f"{message} ({what} {place})" if place else message)


def _is_secret(schema: Mapping[str, Any], path: list[str | int], keyword: str) -> bool:
    """Whether a message about the value at `path` may hold a secret: one on the way to it, or one
    that is in it.
    """
    for part in path:
        below = part_of(schema, part)
        schema = below if isinstance(below, Mapping) else {}
        if schema.get("secret"):
            return True
    return keyword not in _NAMES_ONLY and holds_secret(schema)


def _none_or(value: Any) -> Any:
    return None if isinstance(value, str) and value == NONE_MARK else value


def _cast_compound(value: Any) -> Any:
    value = _none_or(value)
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return ast.literal_eval(value)


def _cast_boolean(value: Any) -> Any:
    value = _none_or(value)
    return ast.literal_eval(value.capitalize()) if isinstance(value, str) else value


def _cast_string(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(
            f'Value "{value}" must either be a string or None. Got "{type(value).__name__}".'
        )
    return _none_or(value)


def _cast_number(to: type[int] | type[float]) -> Callable[[Any], Any]:
    def cast(value: Any) -> Any:
        value = _none_or(value)
        return None if value is None else to(value)

    return cast


_CASTS: dict[str, Callable[[Any], Any]] = {
    "array": _cast_compound,
    "boolean": _cast_boolean,
    "integer": _cast_number(int),
    "number": _cast_number(float),
    "object": _cast_compound,
    "string": _cast_string,
}


def cast(name: str, value: Any, schema: Mapping[str, Any]) -> Any:
    """Return `value` as the schema's type: rendered text becomes numbers, booleans, lists and
    objects.

    Raises InvalidInputError that names the parameter. A schema with several types casts nothing, as
    in StackStorm.
    """
    kind = schema.get("type")
    if value is None or not isinstance(kind, str) or kind not in _CASTS:
        return value
    try:
        return _CASTS[kind](value)
    except (ValueError, TypeError, SyntaxError) as error:
        shown = MASK if holds_secret(schema) else repr(value)
        raise CastError(
            f'Failed to cast value {shown} for parameter "{name}" of type "{kind}": {_reason(error, schema)}'
        ) from error


def _reason(error: Exception, schema: Mapping[str, Any]) -> str:
    return type(error).__name__ if holds_secret(schema) else str(error)


def mask_secrets(schemas: Schemas, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with everything that a schema marks `secret: true` as `********`, at any
    depth.
    """
    return {name: _masked(schemas.get(name) or {}, value) for name, value in values.items()}


def _masked(schema: Mapping[str, Any], value: Any) -> Any:
    if schema.get("secret"):
        return MASK
    if isinstance(value, Mapping) and isinstance(schema.get("properties"), Mapping):
        return mask_secrets(schema["properties"], value)
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, Mapping):
        return [_masked(items, item) for item in value]
    return value
