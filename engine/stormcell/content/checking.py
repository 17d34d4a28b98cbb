"""Hold a document against the shape of its file, and word every fault so that its author can mend
it.

The fast way is `msgspec.convert`; it stops at the first fault and words it tersely, so a document
that fails is looked at again with the JSON schema of the same shape.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from stormcell.content.documents import line_of
from stormcell.errors import DefinitionError

_TYPE_NAMES = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    bool: "true or false",
    type(None): "nothing (null)",
}


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
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "a number"
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def closest(word: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'x'?" where one of the known words is near, else the list of them."""
    words = sorted(known)
    near = difflib.get_close_matches(str(word), words, n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(words)}."


def dotted(path: Sequence[str | int]) -> str:
    """Write a path as people do: `trigger.parameters`, `formats[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


@cache
def _validator(shape: Any) -> Any:
    import jsonschema  # Slow to import, and needed only when something is wrong.

    return jsonschema.Draft202012Validator(msgspec.json.schema(shape))


def _explain(document: Any, shape: Any, *, file: Path, name: str) -> list[DefinitionError]:
    found: dict[tuple[str, str], DefinitionError] = {}
    for error in _validator(shape).iter_errors(document):
        for leaf in _leaves(error):
            path = list(leaf.absolute_path)
            for message, remedy in _word(leaf):
                line = line_of(file, path)
                place = dotted(path) + (f" (line {line})" if line else "")
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
    kind, schema = error.validator, error.schema
    if kind == "required":
        missing = [key for key in schema["required"] if key not in error.instance]
        for key in missing:
            if key in error.message:
                yield f"the key '{key}' is missing.", "Add it."
    elif kind == "additionalProperties":
        known = schema.get("properties", {})
        for key in error.instance:
            if key not in known:
                yield (
                    f"the key '{key}' is not one that StackStorm knows here.",
                    closest(str(key), known),
                )
    elif kind == "enum":
        yield (
            f"must be one of {', '.join(map(str, schema['enum']))}.",
            _near(error.instance, schema["enum"]),
        )
    elif kind == "pattern":
        yield "has characters that are not allowed.", f"It must match {schema['pattern']}."
    elif kind in ("type", "anyOf"):
        wanted = _wanted(schema)
        yield f"must be {wanted or 'of another type'}, and is {describe(error.instance)}.", ""
    elif kind == "propertyNames":
        yield "has a key that is not allowed.", "Letters, digits and underscores only."
    else:
        yield f"{error.message}.", ""


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
