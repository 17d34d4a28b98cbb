"""Hold a document against the shape of its file, and word every fault so that its author can mend
it.

The fast way is `msgspec.convert`; it stops at the first fault and words it tersely, so a document
that fails is looked at again with the JSON schema of the same shape.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from stormcell.content.documents import line_of
from stormcell.content.shapes import OutputSchema, Parameter, Schema
from stormcell.errors import DefinitionError

_TYPE_NAMES = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a decimal number",
    type(None): "nothing (null)",
    datetime: "a date with a time",
}
_REMEDIES = {
    "required": "Write `required: true` at each property that must be there.",
    "email": "StackStorm does not register a pack without one.",
}
"""Last key of the path -> what to do, where the sentence alone would not tell."""


def faults(document: Any, shape: Any, *, file: Path, name: str) -> list[DefinitionError]:
    """Return what is wrong with a document, one error a fault; empty when it has the shape."""
    if not isinstance(document, dict):
        return [
            DefinitionError(
                f"must be a mapping of keys to values, and is {describe(document)}.",
                file=name,
                remedy="",
            )
        ]
    try:
        msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        return _explain(document, shape, file=file, name=name) or [
            DefinitionError(f"{error}.", file=name)
        ]
    return []


def describe(value: Any) -> str:
    """Name a value for a person, without showing it: it may be a secret."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def closest(word: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'x'?" where one of the known words is near, else the list of them."""
    words = sorted(known)
    near = difflib.get_close_matches(str(word), words, n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{near[0]}'?"
    return f"Known: {', '.join(words)}." if words else "There is none."


def dotted(path: Sequence[str | int]) -> str:
    """Write a path as people do: `trigger.parameters`, `formats[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def place_in(file: Path, path: Sequence[str | int]) -> str:
    """Write a path with the line on which it stands in the file: `trigger.type (line 3)`."""
    if not path:
        return ""
    line = line_of(file, path)
    return dotted(path) + (f" (line {line})" if line else "")


@cache
def _validator(shape: Any) -> Any:
    import jsonschema  # Slow to import, and needed only when something is wrong.

    schema = msgspec.json.schema(shape)
    for kind in (Schema, OutputSchema, Parameter):
        schema["$defs"].get(kind.__name__, {}).update(kind.beside)
    return jsonschema.Draft202012Validator(schema)


def _explain(document: Any, shape: Any, *, file: Path, name: str) -> list[DefinitionError]:
    found: dict[tuple[str, str], DefinitionError] = {}
    for error in _validator(shape).iter_errors(document):
        for leaf in _leaves(error):
            path = list(leaf.absolute_path)
            for message, remedy in _word(leaf):
                place = place_in(file, path)
                found.setdefault(
                    (place, message), DefinitionError(message, file=name, path=place, remedy=remedy)
                )
    return list(found.values())


def _leaves(error: Any) -> Iterator[Any]:
    """Of a choice between types, follow the one that the value is of; its faults are the ones to
    tell.
    """
    if not error.context:
        yield error
        return
    branches: dict[Any, list[Any]] = {}
    for child in error.context:
        branches.setdefault(child.schema_path[0], []).append(child)
    for children in branches.values():
        if not any(
            child.validator in ("type", "enum", "const") and len(child.path) == 0
            for child in children
        ):
            for child in children:
                yield from _leaves(child)
            return
    yield error


def _word(error: Any) -> Iterator[tuple[str, str]]:
    kind, schema, value = error.validator, error.schema, error.instance
    remedy = _REMEDIES.get(str(error.path[-1]), "") if error.path else ""
    if kind in ("required", "dependentRequired"):
        yield from _missing(kind, schema, value)
    elif kind == "additionalProperties":
        known = schema.get("properties", {})
        for key in value:
            if key not in known:
                yield (
                    f"the key '{key}' is not one that StackStorm knows here.",
                    closest(str(key), known),
                )
    elif kind == "enum":
        near = _near(value, schema["enum"])
        yield f"must be one of {', '.join(map(str, schema['enum']))}.", near
    elif kind == "pattern":
        key = f"the key '{value}' " if "propertyNames" in error.schema_path else ""
        yield f"{key}must be {schema.get('description') or schema['pattern']}.", remedy
    elif kind in ("type", "anyOf"):
        near = _near(
            value, [c for choice in schema.get("anyOf", []) for c in choice.get("enum", [])]
        )
        wanted = _wanted(schema) or "of another type"
        yield f"must be {wanted}, and is {describe(value)}.", remedy or near or _absent(value)
    else:
        bound = schema.get(kind)
        yield _BOUNDS.get(kind, error.message + ".").format(bound), remedy


def _missing(kind: str, schema: dict[str, Any], value: Any) -> Iterator[tuple[str, str]]:
    if kind == "required":
        for key in schema[kind]:
            if key not in value:
                yield f"the key '{key}' is missing.", _REMEDIES.get(key, "Add it.")
        return
    for key, (other,) in schema[kind].items():
        if key in value and other not in value:
            yield f"'{key}' needs '{other}' beside it.", ""


def _absent(value: Any) -> str:
    return "Give it a value or remove the key." if value is None else ""


_BOUNDS = {
    "minimum": "must be {} or more.",
    "exclusiveMinimum": "must be more than {}.",
    "minLength": "must not be empty.",
    "maxLength": "must have at most {} characters.",
    "minItems": "must have at least {} item.",
    "maxItems": "must have at most {} items.",
    "uniqueItems": "must not name a value twice.",
}


def _near(value: Any, known: Sequence[Any]) -> str:
    near = difflib.get_close_matches(str(value), [str(item) for item in known], n=1)
    return f"Did you mean '{near[0]}'?" if near else ""


def _wanted(schema: dict[str, Any]) -> str:
    names = {
        "object": "a mapping",
        "array": "a list",
        "string": "text",
        "boolean": "true or false",
        "integer": "a whole number",
        "number": "a number",
    }
    types: list[str] = []
    for choice in schema.get("anyOf", [schema]):
        if "$ref" in choice:
            types.append("a mapping")
        elif "enum" in choice:
            types.append("one of " + ", ".join(map(str, choice["enum"])))
        else:
            given = choice.get("type", [])
            types += [
                names[t] for t in ([given] if isinstance(given, str) else given) if t in names
            ]
    return " or ".join(dict.fromkeys(types))
