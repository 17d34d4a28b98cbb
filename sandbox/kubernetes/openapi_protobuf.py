"""An OpenAPI v2 document in gnostic's protobuf form (openapiv2/OpenAPIv2.proto), which kubectl
before 1.24 insists on.

Only the messages that such a document of ours uses. Field numbers are gnostic's.
"""

from __future__ import annotations

import json
import struct
from typing import Any

Json = dict[str, Any]

_STRINGS = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
_DOUBLES = {"multipleOf": 6, "maximum": 7, "minimum": 9}
_BOOLEANS = {"exclusiveMaximum": 8, "exclusiveMinimum": 10, "uniqueItems": 16}
_INTEGERS = {
    "maxLength": 11,
    "minLength": 12,
    "maxItems": 14,
    "minItems": 15,
    "maxProperties": 17,
    "minProperties": 18,
}


def encode_document(document: Json) -> bytes:
    """`Document`: swagger, info, paths (none: nobody reads them from this form), definitions."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    definitions = b"".join(
        _message(1, _named(name, _schema(s))) for name, s in sorted(document["definitions"].items())
    )
    return (
        _text(1, document["swagger"])
        + _message(2, info)
        + _message(8, b"")
        + _message(9, definitions)
    )


def _schema(schema: Json) -> bytes:
    parts = [_scalars(schema)]
    if "default" in schema:
        parts.append(_message(5, _any(schema["default"])))
    parts += [_text(19, name) for name in schema.get("required") or []]
    parts += [_message(20, _any(value)) for value in schema.get("enum") or []]
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        parts.append(_message(21, _message(1, _schema(extra))))
    elif isinstance(extra, bool):
        parts.append(_message(21, _varint_field(2, int(extra))))
    if "type" in schema:
        parts.append(_message(22, _text(1, schema["type"])))
    if isinstance(schema.get("items"), dict):
        parts.append(_message(23, _message(1, _schema(schema["items"]))))
    if schema.get("properties"):
        below = b"".join(
            _message(1, _named(name, _schema(s)))
            for name, s in sorted(schema["properties"].items())
        )
        parts.append(_message(25, below))
    parts += [
        _message(31, _named(name, _any(value)))
        for name, value in sorted(schema.items())
        if name.startswith("x-")
    ]
    return b"".join(parts)


def _scalars(schema: Json) -> bytes:
    parts = [_text(number, schema[name]) for name, number in _STRINGS.items() if name in schema]
    parts += [_double(number, schema[name]) for name, number in _DOUBLES.items() if name in schema]
    parts += [
        _varint_field(number, int(schema[name]))
        for name, number in _BOOLEANS.items()
        if name in schema
    ]
    parts += [
        _varint_field(number, schema[name]) for name, number in _INTEGERS.items() if name in schema
    ]
    return b"".join(parts)


def _any(value: Any) -> bytes:
    """`Any`: only its YAML, of which JSON is a part."""
    return _text(2, json.dumps(value))


def _named(name: str, value: bytes) -> bytes:
    return _text(1, name) + _message(2, value)


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _message(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)
