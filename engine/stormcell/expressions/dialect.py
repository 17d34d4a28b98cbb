"""StackStorm's dialect of JSON schema: draft 4, with `required: true` on the property itself (draft
3), without draft 4's list of names, and deaf to exclusiveMinimum and exclusiveMaximum.

Before a value is checked, what is absent gets its default and what is optional may be null. The
library `jsonschema` is asked for sentences, where the compiled check of
`stormcell.content.schemas` does not say yes at once, and imported then: it takes an eighth of a
start's time. Source: st2common/util/schema/__init__.py of StackStorm 3.9, step by step.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from stormcell.errors import InvalidInputError

if TYPE_CHECKING:
    from jsonschema import ValidationError

JsonObject = dict[str, Any]
ANY_TYPE: Final[JsonObject] = {
    "anyOf": [{"type": t} for t in ("array", "boolean", "integer", "number", "object", "string")]
}
"""The schema of a parameter that has none: anything but null."""


def with_defaults(instance: Any, schema: Mapping[str, Any]) -> Any:
    """Return a copy in which absent (or null) properties have their default, also inside objects
    and lists given, as far as the schema calls them so.
    """
    kinds = schema.get("type")
    if is_kind(kinds, "array"):  # what may be both is looked at as a list alone
        return _list_with_defaults(instance, schema) if isinstance(instance, list) else instance
    if is_kind(kinds, "object") and isinstance(instance, dict):
        return _object_with_defaults(instance, schema)
    return instance


def _object_with_defaults(instance: JsonObject, schema: Mapping[str, Any]) -> JsonObject:
    result = dict(instance)
    properties, dependencies = schema.get("properties") or {}, schema.get("dependencies") or {}
    for name, subschema in properties.items():
        met = all(
            other in result or "default" in properties.get(other, {})
            for other in dependencies.get(name, ())
        )
        if result.get(name) is None and "default" in subschema and met:
            result[name] = copy.deepcopy(subschema["default"])
        if name in result:
            result[name] = with_defaults(result[name], subschema)
    return result


def _list_with_defaults(instance: list[Any], schema: Mapping[str, Any]) -> list[Any]:
    items, result = schema.get("items") or [], list(instance)
    schemas = [items] * len(result) if isinstance(items, dict) else items
    for index, subschema in enumerate(schemas[: len(result)]):
        if result[index] is None and "default" in subschema:
            result[index] = copy.deepcopy(subschema["default"])
        result[index] = with_defaults(result[index], subschema)
    return result


def allowing_null(schema: Mapping[str, Any]) -> JsonObject:
    """Return a copy in which what is optional and has no default other than null may be null."""
    result = dict(schema)
    if schema.get("properties"):
        result["properties"] = {name: _nullable(sub) for name, sub in schema["properties"].items()}
    return result


def _nullable(given: JsonObject) -> JsonObject:
    sub = dict(given)
    kinds, items = sub.get("type"), sub.get("items")
    if is_kind(kinds, "array") and isinstance(items, dict):
        sub["items"] = allowing_null(items)
    if is_kind(kinds, "object"):
        sub = allowing_null(sub)
    if sub.get("default") is not None or ("default" not in sub and sub.get("required")):
        return sub
    for choice in ("anyOf", "oneOf"):
        if choice in sub and not any(one.get("type", "string") == "null" for one in sub[choice]):
            sub[choice] = [*sub[choice], {"type": "null"}]
            return sub
    if isinstance(kinds, list) or not ("anyOf" in sub or "oneOf" in sub):
        several = kinds if isinstance(kinds, list) else [kinds or "string"]
        sub["type"] = several if "null" in several else [*several, "null"]
    return sub


def is_kind(kinds: Any, kind: str) -> bool:
    """Whether a schema's `type`, a word or a list of words, has this word."""
    return kinds == kind or (isinstance(kinds, list) and kind in kinds)


def violations(schema: Mapping[str, Any], instance: Any) -> Iterator[ValidationError]:
    """Yield what does not fit, as the library's errors.

    InvalidInputError where the schema itself is wrong.
    """
    validator, broken = _library()
    try:
        yield from validator(schema).iter_errors(instance)
    except broken as error:
        raise InvalidInputError(f"the schema itself is wrong: {type(error).__name__}") from error


@cache
def _library() -> tuple[Any, tuple[type[Exception], ...]]:
    from jsonschema import Draft4Validator, Draft202012Validator, ValidationError, exceptions
    from jsonschema.validators import extend

    def properties(
        validator: Any, properties: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        if not validator.is_type(instance, "object"):
            return
        for name, subschema in properties.items():
            if name in instance:
                yield from validator.descend(instance[name], subschema, path=name, schema_path=name)
            elif isinstance(subschema, Mapping) and subschema.get("required") is True:
                # The stub is wrong: `validator` is the keyword's name.
                yield ValidationError(f"{name!r} is a required property", validator="required")  # type: ignore[arg-type]

    def unheard(*_: Any) -> Iterator[ValidationError]:
        return iter(())

    plain = Draft202012Validator.VALIDATORS  # its bounds know nothing of draft 4's exclusive flags
    changed = {
        "properties": properties,
        "required": unheard,
        "minimum": plain["minimum"],
        "maximum": plain["maximum"],
    }
    extended: Any = extend(Draft4Validator, changed)
    return extended, (exceptions.SchemaError, exceptions.UnknownType, re.error)
