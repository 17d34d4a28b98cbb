"""The JSON schema of a workflow definition.

Source: orquesta/specs/native/v1/models.py and orquesta/specs/types.py of StackStorm;
`output-on-error` is ours.
"""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_TEXT_OR_COUNT: dict[str, Any] = {"oneOf": [_TEXT, _COUNT]}
_ANY: dict[str, Any] = {
    "anyOf": [
        {"type": name}
        for name in ("null", "array", "boolean", "integer", "number", "object", "string")
    ]
}
_ONE_KEY: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "patternProperties": {r"^\w+$": _ANY},
}
_KEYS: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "patternProperties": {r"^\w+$": _ANY},
}


def _unique(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "uniqueItems": True, "minItems": 1}


_ITEMS = r"^(\s+)?({expr})(\s+)?$|^(\s+)?((\w+,\s?|\s+)+)?(\w+)\s+in\s+({expr})(\s+)?$".format(
    expr="{{.*?}}|<%.*?%>"
)

_TRANSITION = {
    "type": "object",
    "properties": {
        "when": _TEXT,
        "publish": {"oneOf": [_TEXT, _unique(_ONE_KEY)]},
        "do": {"oneOf": [_TEXT, _unique(_TEXT)]},
    },
    "additionalProperties": False,
}
_TASK = {
    "type": "object",
    "properties": {
        "delay": _TEXT_OR_COUNT,
        "join": {"oneOf": [{"enum": ["all"]}, _COUNT]},
        "with": {
            "type": "object",
            "properties": {
                "items": {"type": "string", "minLength": 1, "pattern": _ITEMS},
                "concurrency": _TEXT_OR_COUNT,
            },
            "additionalProperties": False,
        },
        "action": _TEXT,
        "input": {"oneOf": [_TEXT, _KEYS]},
        "retry": {
            "type": "object",
            "properties": {"when": _TEXT, "count": _TEXT_OR_COUNT, "delay": _TEXT_OR_COUNT},
            "required": ["count"],
            "additionalProperties": False,
        },
        "next": {"type": "array", "items": _TRANSITION},
    },
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "version": {"enum": ["1.0", 1.0]},
        "description": _TEXT,
        "tags": _unique(_TEXT),
        "vars": _unique(_ONE_KEY),
        "input": _unique({"oneOf": [_TEXT, _ONE_KEY]}),
        "output": _unique(_ONE_KEY),
        "output-on-error": _unique(_ONE_KEY),
        "tasks": {"type": "object", "minProperties": 1, "patternProperties": {r"^\w+$": _TASK}},
    },
    "required": ["tasks"],
    "additionalProperties": False,
}
