"""JSON schema as StackStorm means it: draft 4, with `required: true` on the property itself (draft
3's way).

Three things are done with such a schema: fill in defaults, validate with the message of
`jsonschema`, and accept fast. Payloads and parameters are checked on the hot path, where
`jsonschema` costs a hundred times the rest, so a schema is compiled once to a function that answers
"surely valid" or "look closer"; only the latter pays for the library.

Source: st2common/util/schema/__init__.py of StackStorm 3.9.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from stormcell.content.checking import dotted
from stormcell.errors import InvalidInputError
from stormcell.expressions.dialect import violations

JsonObject = dict[str, Any]
Check = Callable[[Any], bool]

_ANY_TYPE: Final[JsonObject] = {
    "anyOf": [{"type": t} for t in ("array", "boolean", "integer", "number", "object", "string")]
}


def parameters_schema(
    parameters: Mapping[str, JsonObject], *, allow_additional: bool = False
) -> JsonObject:
    """Return the object schema for named parameters; one without a type takes any value but null."""
    return {
        "type": "object",
        "properties": {name: schema or _ANY_TYPE for name, schema in parameters.items()},
        "additionalProperties": allow_additional,
    }


def with_defaults(instance: Any, schema: JsonObject) -> Any:
    """Return a copy in which absent (or null) properties have their default, also inside objects
    and lists given.
    """
    if isinstance(instance, dict):
        result = dict(instance)
        dependencies = schema.get("dependencies") or {}
        for name, subschema in (schema.get("properties") or {}).items():
            if not isinstance(subschema, dict):
                continue
            needed = dependencies.get(name, [])
            met = not isinstance(needed, list) or all(other in result for other in needed)
            if result.get(name) is None and "default" in subschema and met:
                result[name] = copy.deepcopy(subschema["default"])
            if isinstance(result.get(name), (dict, list)):
                result[name] = with_defaults(result[name], subschema)
        return result
    if isinstance(instance, list):
        items = schema.get("items") or []
        schemas = [items] * len(instance) if isinstance(items, dict) else items
        result_list = list(instance)
        for index, subschema in enumerate(schemas[: len(result_list)]):
            if result_list[index] is None and "default" in subschema:
                result_list[index] = copy.deepcopy(subschema["default"])
            result_list[index] = with_defaults(result_list[index], subschema)
        return result_list
    return instance


def allowing_null(schema: JsonObject) -> JsonObject:
    """Return a copy in which what is optional and has no default other than null may be null."""
    result = dict(schema)
    properties = {}
    for name, given in (schema.get("properties") or {}).items():
        if not isinstance(given, dict):
            properties[name] = given
            continue
        sub = dict(given)
        if sub.get("default") is None and (
            "default" in sub or sub.get("required", False) is not True
        ):
            sub = _nullable(sub)
        kinds = sub.get("type")
        if (
            _has(kinds, "array")
            and isinstance(sub.get("items"), dict)
            and sub["items"].get("properties")
        ):
            sub["items"] = allowing_null(sub["items"])
        if _has(kinds, "object") and sub.get("properties"):
            sub = allowing_null(sub)
        properties[name] = sub
    if properties:
        result["properties"] = properties
    return result


def _has(kinds: Any, kind: str) -> bool:
    return kinds == kind or (isinstance(kinds, list) and kind in kinds)


def _nullable(schema: JsonObject) -> JsonObject:
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            if any(_has(item.get("type"), "null") for item in schema[choice]):
                return schema
            return {**schema, choice: [*schema[choice], {"type": "null"}]}
    kinds = schema.get("type", "string" if "enum" not in schema else None)
    if kinds is None:
        kinds = "string"
    as_list = kinds if isinstance(kinds, list) else [kinds]
    result = {**schema, "type": as_list if "null" in as_list else [*as_list, "null"]}
    if "enum" in schema and None not in schema["enum"]:
        result["enum"] = [*schema["enum"], None]
    return result


class CompiledSchema:
    """A schema made ready. Safe to share and to call as often as one likes."""

    def __init__(self, schema: JsonObject, *, allow_null: bool = True) -> None:
        """Raises InvalidInputError where `schema` is not a JSON schema."""
        self.schema = allowing_null(schema) if allow_null else schema
        self._has_defaults = _mentions_default(self.schema)
        try:
            self._accept = _compile(self.schema)
        except (re.error, TypeError, AttributeError, KeyError) as error:
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
        return [sentence for sentence, _ in self.faults(instance, defaults=defaults)]

    def faults(self, instance: Any, *, defaults: bool = True) -> list[tuple[str, Any]]:
        """Return what does not fit: a sentence and the offending value for each."""
        if defaults and self._has_defaults:
            instance = with_defaults(instance, self.schema)
        if self._accept(instance):
            return []
        try:
            return [
                (_sentence(error), error.instance)
                for error in violations(self.schema, instance, lists=True)
            ]
        except InvalidInputError as error:
            return [(str(error), None)]


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


def _mentions_default(schema: Any) -> bool:
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and any(
            isinstance(sub, dict) and "default" in sub for sub in schema["properties"].values()
        ):
            return True
        return any(_mentions_default(value) for value in schema.values())
    return isinstance(schema, list) and any(_mentions_default(value) for value in schema)


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
    if not set(schema) <= known or isinstance(schema.get("required"), list):
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
