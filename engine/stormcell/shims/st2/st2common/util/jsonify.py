"""JSON, by the names StackStorm gives."""

from __future__ import annotations

import json
from typing import Any


def json_encode(obj: Any, indent: Any = None) -> str:
    """Return JSON text."""
    return json.dumps(obj, indent=indent)


def json_decode(data: Any) -> Any:
    """Return the value of JSON text."""
    return json.loads(data)
