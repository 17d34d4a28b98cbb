"""Where a JSON schema of StackStorm's dialect says `secret: true`, and which part of a schema a
value is held to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from stormcell.expressions.budget import CRITERIA_SECONDS, OverBudgetError, Scope


def part_of(schema: Mapping[str, Any], place: str | int) -> Any:
    """The schema of a property or an item; None where nothing is said of it. As in StackStorm,
    properties go first, then patterns, then what is said of all others."""
    return _of_item(schema, place) if isinstance(place, int) else _of_property(schema, place)


def _of_property(schema: Mapping[str, Any], name: str) -> Any:
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and name in properties:
        return properties[name]
    patterns = schema.get("patternProperties")
    for pattern, below in patterns.items() if isinstance(patterns, Mapping) else ():
        if _fits(pattern, name):
            return below
    return schema.get("additionalProperties")


def _of_item(schema: Mapping[str, Any], index: int) -> Any:
    items = schema.get("items")
    if not isinstance(items, list):
        return items
    return items[index] if index < len(items) else schema.get("additionalItems")


def _fits(pattern: str, name: str) -> bool:
    try:
        with Scope(CRITERIA_SECONDS):
            return re.search(pattern, name) is not None
    except (re.error, OverBudgetError):
        return True  # a mistyped pattern must not uncover what it was to hide


def says_of_parts(schema: Mapping[str, Any]) -> bool:
    """Whether it says anything of an object's properties or a list's items."""
    return any(isinstance(schema.get(key), Mapping | list) for key in _PARTS)


_PARTS = ("properties", "patternProperties", "additionalProperties", "items", "additionalItems")


def holds_secret(schema: Any) -> bool:
    """Whether anything in it is marked secret, at whatever depth."""
    if isinstance(schema, Mapping):
        return schema.get("secret") is True or _any(schema.values())
    return isinstance(schema, list) and _any(schema)


def _any(parts: Iterable[Any]) -> bool:
    return any(holds_secret(part) for part in parts)
