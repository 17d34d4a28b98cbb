"""JSON as it is kept: what cannot be read back or shown is refused before anything has changed.

StackStorm's database takes 100 levels, too (MongoDB's limit for nested documents).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from stormcell.errors import InvalidInputError

LEVELS: Final = 100
"""Objects and lists within one another, of payloads, parameters, contexts and results."""
STATE_LEVELS: Final = 3 * LEVELS
"""The same of a workflow's state, in which results stand inside other things."""
_SHORTEST_DEEP_BYTES: Final = 2 * LEVELS

_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode = msgspec.json.Decoder().decode


def encoded(value: Any, what: str, *, levels: int = LEVELS) -> bytes:
    """Return a value as JSON. InvalidInputError where it cannot be kept, as a sentence that begins
    with `what`."""
    try:
        data = _encode(value)
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{what} cannot be kept: it has text that is not valid Unicode (a lone surrogate)."
        ) from error
    except RecursionError as error:
        raise InvalidInputError(_too_deep(what, levels)) from error
    except (OverflowError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{what} cannot be kept: {error}.") from error
    if len(data) > _SHORTEST_DEEP_BYTES and _is_deeper(data, value, levels):
        raise InvalidInputError(_too_deep(what, levels))
    return data


def decoded(data: bytes) -> Any:
    """Return a kept value. One from before there was a limit of depth becomes a sentence, so that it
    harms nothing that goes through it."""
    try:
        value = _decode(data)
    except (RecursionError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return {"error": f"This value cannot be read: {type(error).__name__}."}
    if len(data) > _SHORTEST_DEEP_BYTES and _is_deeper(data, value, STATE_LEVELS):
        return {"error": _too_deep("This value", STATE_LEVELS)}
    return value


def check_levels(data: bytes, value: Any, what: str) -> None:
    """InvalidInputError where a value that was read from `data` is nested too deeply."""
    if len(data) > _SHORTEST_DEEP_BYTES and _is_deeper(data, value, LEVELS):
        raise InvalidInputError(_too_deep(what, LEVELS))


def _too_deep(what: str, levels: int) -> str:
    return f"{what} cannot be kept: it is nested more than {levels} levels deep."


def _is_deeper(data: bytes, value: Any, levels: int) -> bool:
    if data.count(b"{") + data.count(b"[") <= levels:
        return False
    waiting = [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        below = item.values() if isinstance(item, dict) else item if _is_list(item) else ()
        if level > levels and isinstance(item, dict | list | tuple):
            return True
        waiting.extend((part, level + 1) for part in below)
    return False


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
