"""Make JSON of what an action returns, as StackStorm does with orjson.

Dates, UUIDs, enums and data classes become text or mappings; NaN and infinities become null.
Anything else that is not JSON (an object, a set, bytes, a key that is not text) makes the whole
result the text of it.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import math
import uuid
from typing import Any, Tuple

_LARGEST = (1 << 64) - 1
_SMALLEST = -(1 << 63)


def encode_result(result: Any) -> str:
    """Return JSON text for a result, whatever it is."""
    try:
        return json.dumps(_plain(result), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(str(result))


def _plain(value: Any) -> Any:  # noqa: C901 - a flat list of types
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        value.encode()  # A lone surrogate is no text; UnicodeEncodeError is a ValueError.
        return value
    if kind is int:
        if not _SMALLEST <= value <= _LARGEST:
            raise TypeError("an integer of more than 64 bits")
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is dict:
        return {_key(key): _plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    bases: Tuple[Any, ...] = (str, int, dict, list)
    for base in bases:
        if isinstance(value, base):
            return _plain(base(value))
    raise TypeError(f"not JSON: {kind.__name__}")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError("a key that is not text")
    return str(key)
