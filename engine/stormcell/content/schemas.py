"""JSON schema in StackStorm's dialect (`stormcell.expressions.dialect`), made ready for many
values.

Payloads and parameters are checked on the hot path, where `jsonschema` costs a hundred times the
rest, so a schema is compiled once to a function that answers "surely valid" or "look closer"; only
the latter pays for the library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from stormcell.content.checking import dotted
from stormcell.errors import InvalidInputError
from stormcell.expressions.budget import EXPRESSION_SECONDS, OverBudgetError, Scope
from stormcell.expressions.dialect import ANY_TYPE, allowing_null, violations, with_defaults

JsonObject = dict[str, Any]
Check = Callable[[Any], bool]


def parameters_schema(
    parameters: Mapping[str, JsonObject], *, allow_additional: bool = False
) -> JsonObject:
    """Return the object schema for named parameters; one without a type takes any value but null."""
    return {
        "type": "object",
        "properties": {name: schema or ANY_TYPE for name, schema in parameters.items()},
        "additionalProperties": allow_additional,
    }


class CompiledSchema:
    """A schema made ready. Safe to share and to call as often as one likes."""

    def __init__(self, schema: JsonObject) -> None:
        """Raises InvalidInputError where `schema` is not a JSON schema."""
        try:
            self.schema = allowing_null(schema)
            self._has_defaults = _mentions(self.schema, _DEFAULTS)
            self._accept = _compile(self.schema)
            self._has_patterns = _mentions(self.schema, _PATTERNS)
        except (re.error, TypeError, AttributeError, KeyError, ValueError) as error:
            raise InvalidInputError(f"not a usable JSON schema: {error}") from error

    def cleaned(self, instance: Any) -> Any:
        """Return the instance with defaults filled in. Raises InvalidInputError with all that does
        not fit.
        """
        if self._has_defaults:
            instance = with_defaults(instance, self.schema)
        problems = self.problems(instance, defaults=False)
        if problems:
            raise InvalidInputError("; ".join(problems))
        return instance

    def problems(self, instance: Any, *, defaults: bool = True) -> list[str]:
        """Return what does not fit, as sentences without the offending values; empty when it fits."""
        if defaults and self._has_defaults:
            instance = with_defaults(instance, self.schema)
        if not self._has_patterns:
            return self._problems(instance)
        try:
            with Scope(EXPRESSION_SECONDS):
                return self._problems(instance)
        except OverBudgetError as error:
            return [f"could not be checked by its patterns: {error}"]

    def _problems(self, instance: Any) -> list[str]:
        if self._accept(instance):
            return []
        try:
            return [_sentence(error) for error in violations(self.schema, instance)]
        except InvalidInputError as error:
            return [str(error)]


def _sentence(error: Any) -> str:
    path = list(error.absolute_path)
    place = f"'{dotted(path)}' " if path else ""
    kind, value = error.validator, error.validator_value
    if kind == "required":
        return f"{place}{error.message}".strip()
    if kind == "type":
        return f"{place}must be of type {' or '.join(value) if isinstance(value, list) else value}"
    if kind == "enum":
        return f"{place}must be one of {', '.join(map(str, value))}"
    if kind == "additionalProperties":
        known = set(error.schema.get("properties") or {})
        extra = ", ".join(sorted(f"'{key}'" for key in error.instance if key not in known))
        return f"{place}has keys that are not known: {extra}"
    if kind in ("anyOf", "oneOf"):
        kinds = [str(item.get("type", "?")) for item in value]
        return f"{place}must be one of the types {', '.join(kinds)}"
    return f"{place}breaks the schema's rule {kind}: {value}"


_DEFAULTS: Final = frozenset({"default"})
_PATTERNS: Final = frozenset({"pattern", "patternProperties"})


def _mentions(schema: Any, keywords: frozenset[str]) -> bool:
    """Whether a schema has one of these keywords (or a property of that name), at any depth."""
    if isinstance(schema, dict):
        return not keywords.isdisjoint(schema) or any(
            _mentions(part, keywords) for part in schema.values()
        )
    return isinstance(schema, list) and any(_mentions(part, keywords) for part in schema)


# -- the fast way
# ------------------------------------------------------------------------------------------------------

_NOTES: Final = frozenset(
    {
        "title",
        "description",
        "default",
        "secret",
        "immutable",
        "position",
        "$schema",
        "id",
        "format",
        "required",
    }
)


def _is_integer(value: Any) -> bool:
    return type(value) is int


_TYPES: Final[dict[str, Check]] = {
    "string": lambda v: type(v) is str,
    "integer": _is_integer,
    "number": lambda v: type(v) is int or type(v) is float,
    "boolean": lambda v: v is True or v is False,
    "null": lambda v: v is None,
    "object": lambda v: type(v) is dict,
    "array": lambda v: type(v) is list,
}


def _compile(schema: JsonObject) -> Check:
    """Return a function that is True only for what is surely valid. Whatever it does not know makes
    it say False.
    """
    checks: list[Check] = []
    known = _NOTES | {
        "type",
        "properties",
        "additionalProperties",
        "items",
        "enum",
        "anyOf",
        "pattern",
    }
    if not set(schema) <= known:
        return lambda value: False
    if "type" in schema:
        checks.append(_compile_type(schema["type"]))
    if "enum" in schema:
        texts = frozenset(item for item in schema["enum"] if isinstance(item, str))
        has_null = None in schema["enum"]
        checks.append(
            lambda value: (type(value) is str and value in texts) or (value is None and has_null)
        )
    if "pattern" in schema:
        search = re.compile(schema["pattern"]).search
        checks.append(lambda value: type(value) is not str or search(value) is not None)
    if "anyOf" in schema:
        choices = [_compile(item) for item in schema["anyOf"]]
        checks.append(lambda value: any(choice(value) for choice in choices))
    if "properties" in schema or "additionalProperties" in schema:
        checks.append(_compile_object(schema))
    if isinstance(schema.get("items"), dict):
        item_check = _compile(schema["items"])
        checks.append(lambda value: type(value) is not list or all(map(item_check, value)))
    elif "items" in schema:
        return lambda value: False
    if not checks:
        return lambda value: True
    if len(checks) == 1:
        return checks[0]
    return lambda value: all(check(value) for check in checks)


def _compile_type(kinds: Any) -> Check:
    if isinstance(kinds, str):
        return _TYPES[kinds]
    choices = [_TYPES[kind] for kind in kinds]
    if len(choices) == 2:
        first, second = choices
        return lambda value: first(value) or second(value)
    return lambda value: any(choice(value) for choice in choices)


def _compile_object(schema: JsonObject) -> Check:
    properties = schema.get("properties") or {}
    checks = {name: _compile(sub) for name, sub in properties.items()}
    required = [name for name, sub in properties.items() if sub.get("required") is True]
    additional = schema.get("additionalProperties", True)
    others: Check | None
    if isinstance(additional, dict):
        others = _compile(additional)
    else:
        others = None if additional else (lambda value: False)

    def check(value: Any) -> bool:
        if type(value) is not dict:
            return True  # What it should be is the business of `type`.
        for name in required:
            if name not in value:
                return False
        for name, item in value.items():
            test = checks.get(name, others)
            if test is not None and not test(item):
                return False
        return True

    return check
