"""`k=v` on the command line to the values an action's schema asks for, as the `st2` command reads
them.

Source of behaviour: st2client/commands/action.py of StackStorm 3.9
(`_get_action_parameters_from_args`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

_TRUE = frozenset({"true", "1", "yes", "y", "on", "t"})
_FALSE = frozenset({"false", "0", "no", "n", "off", "f"})


def parse_parameters(words: Iterable[str], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that `name=value` words give; `name=@file` reads a file, JSON is taken
    for lists and objects. A word that does not fit is a click.UsageError."""
    parsed: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f'"{word}" is not name=value.')
        if schemas and name not in schemas:
            raise click.UsageError(
                f'There is no parameter "{name}". Known: {", ".join(sorted(schemas))}.'
            )
        schema = schemas.get(name) or {}
        parsed[name] = _cast(name, _contents(name, text), schema.get("type"))
    return parsed


def _contents(name: str, text: str) -> str:
    if not text.startswith("@") or not text[1:]:
        return text
    try:
        return Path(text[1:]).expanduser().read_text()
    except OSError as error:
        raise click.UsageError(f"{name}: {text[1:]} cannot be read ({error.strerror}).") from error


def _cast(name: str, text: str, kind: Any) -> Any:
    cast = _CASTS.get(kind) if isinstance(kind, str) else None
    if cast is None:
        return text
    try:
        return cast(text)
    except ValueError as error:
        raise click.UsageError(f'{name}: "{text}" is no {kind}. {error}') from error


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("Write true or false.")
    return word in _TRUE


def _array(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        return list(_json(text))
    return [part.strip() for part in text.split(",")] if text else []


def _object(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        return dict(_json(text))
    pairs = [part.partition("=" if "=" in part else ":") for part in text.split(",") if part]
    if any(not middle for _, middle, _ in pairs):
        raise ValueError('Write JSON, as in {"a": 1}, or a=1,b=2.')
    return {key.strip(): value.strip() for key, _, value in pairs}


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"It is not JSON: {error}.") from error


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


_CASTS: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "number": _number,
    "boolean": _boolean,
    "array": _array,
    "object": _object,
}
