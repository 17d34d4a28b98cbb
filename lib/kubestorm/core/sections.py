"""How a section of the pack's configuration becomes a settings value. Pure; every part reads its
own section with this, and config.schema.yaml is generated from the same classes.

None, an empty mapping, an empty list and an empty string count as not given: StackStorm puts `{}`
and `[]` where the schema has an object or a list and the operator wrote nothing
(st2common/util/config_loader.py, _assign_default_values). An unknown key is an error.
"""

from __future__ import annotations

import difflib
import functools
import typing
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Type, TypeVar

from kubestorm.core.errors import DefinitionError

T = TypeVar("T")
Hint = Any
"""A type as `typing.get_type_hints` gives it."""


def setting(default: Any = MISSING, **limits: Any) -> Any:
    """A field of a settings class with limits, which `read_section` checks and the schema shows.

    `least` and `most` of a number, `one_of` for a string or the strings of a list, `internal=True`
    for a field that is no setting, `schema` for a mapping that has a schema of its own.
    """
    if callable(default):
        return field(default_factory=default, metadata=limits)
    return field(default=default, metadata=limits)


def read_section(kind: Type[T], raw: Any, where: str, defaults: Optional[T] = None) -> T:
    """Make a frozen dataclass of settings from a mapping; `where` is its path, for errors.

    Every field is checked by its annotation and its limits, classes within it included; a list
    becomes a tuple; numbers are 0 or more unless `least` says otherwise. What is not given is as in
    `defaults`, or as the class says. A value of the kind itself is returned as it is. In a class
    with `KEEP_EMPTY` an empty string is a value; `MOVED` names keys of old and where they are now;
    a method `validate(where)` is called last. Raises DefinitionError naming the setting.
    """
    if isinstance(raw, kind):
        return raw
    known = settings_of(typing.cast(Any, kind))
    values = section_values(raw, where, keep_empty=getattr(kind, "KEEP_EMPTY", False))
    moved: Mapping[str, str] = getattr(kind, "MOVED", {})
    for key in map(str, raw or ()):
        if key in moved:
            raise DefinitionError(f"{where}.{key} {moved[key]}", field=f"{where}.{key}")
        if key not in known:
            raise unknown_setting(where, key, known)
    for key, value in values.items():
        item, hint = known[key]
        if is_dataclass(hint) and is_dataclass(item.default):
            values[key] = read_section(
                typing.cast(type, hint), value, f"{where}.{key}", item.default
            )
        else:
            values[key] = _read(hint, item.metadata, value, f"{where}.{key}")
    values = {**(vars(defaults) if defaults else {}), **values}
    missing = [name for name, (item, _) in known.items() if name not in values and needs(item)]
    if missing:
        raise DefinitionError(f"{where} needs {', '.join(missing)}.", field=f"{where}.{missing[0]}")
    settings = kind(**values)
    validate: Optional[Callable[[str], None]] = getattr(settings, "validate", None)
    if validate is not None:
        validate(where)
    return settings


def section_values(raw: Any, where: str, *, keep_empty: bool = False) -> Dict[str, Any]:
    """What the operator wrote of a section, as a new dict. Raises DefinitionError where it is no
    mapping.
    """
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise invalid_setting(where, "a mapping of settings", raw)
    silent: Tuple[Any, ...] = (None, {}, [], ()) if keep_empty else (None, {}, [], (), "")
    return {str(key): value for key, value in raw.items() if value not in silent}


def invalid_setting(where: str, right: str, found: Any) -> DefinitionError:
    """The error of a setting that is not what it should be: `right` goes after "must be"."""
    return DefinitionError(f"{where} must be {right} (found: {found!r}).", field=where)


def unknown_setting(where: str, key: str, known: Iterable[str]) -> DefinitionError:
    """The error of a key that there is not, with the nearest one that there is."""
    names = list(known)
    near = difflib.get_close_matches(key, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}."
    path = f"{where}.{key}" if where else key
    return DefinitionError(f"Unknown setting {path}; {hint}", field=path)


def unique(values: Iterable[str], where: str, what: str) -> None:
    """Raises DefinitionError where a value is there twice."""
    seen: List[str] = []
    for value in values:
        if value in seen:
            raise DefinitionError(f"{where} has the {what} {value} twice.", field=where)
        seen.append(value)


def needs(item: Field[Any]) -> bool:
    """Whether a field has no default."""
    return item.default is MISSING and item.default_factory is MISSING


@functools.lru_cache(maxsize=None)
def settings_of(kind: type) -> Dict[str, Tuple[Field[Any], Hint]]:
    """The settings of a class by name, each with its type."""
    hints = typing.get_type_hints(kind)
    return {
        item.name: (item, without_none(hints[item.name]))
        for item in fields(kind)
        if not item.metadata.get("internal")
    }


def without_none(hint: Hint) -> Hint:
    """X of Optional[X]."""
    origin: Any = typing.get_origin(hint)
    if origin is typing.Union:
        return next(one for one in typing.get_args(hint) if one is not type(None))
    return hint


def _read(hint: Hint, limits: Mapping[str, Any], value: Any, where: str) -> Any:
    origin: Any = typing.get_origin(hint)
    inside = typing.get_args(hint)
    if is_dataclass(hint):
        return read_section(typing.cast(type, hint), value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise invalid_setting(where, f"a list{_of(inside[0])}", value)
        if inside[-1] is not ...:
            if len(value) != len(inside):
                raise invalid_setting(where, f"a list of {len(inside)} values", value)
            return tuple(_read(inside[0], limits, one, where) for one in value)
        if inside[0] is str and not all(isinstance(one, str) for one in value):
            raise invalid_setting(where, "a list of strings", value)
        return tuple(
            _read(inside[0], limits, one, where if inside[0] is str else f"{where}[{index}]")
            for index, one in enumerate(value)
        )
    if origin is not None:  # a mapping
        if not isinstance(value, Mapping):
            raise invalid_setting(where, "a mapping", value)
        return {key: _read(inside[1], limits, one, f"{where}.{key}") for key, one in value.items()}
    _check_leaf(hint, limits, value, where)
    return value


def _of(hint: Hint) -> str:
    return " of strings" if hint is str else ""


def _check_leaf(hint: Hint, limits: Mapping[str, Any], value: Any, where: str) -> None:
    if hint is bool:
        if not isinstance(value, bool):
            raise invalid_setting(where, "true or false", value)
    elif hint in (int, float):
        least, most = limits.get("least", 0), limits.get("most")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_whole = hint is float or (is_number and value == int(value))
        if not is_number or not is_whole or value < least or (most is not None and value > most):
            kind = "an integer" if hint is int else "a number"
            ends = f"of {least} or more" if most is None else f"between {least} and {most}"
            raise invalid_setting(where, f"{kind} {ends}", value)
    elif hint is str and not isinstance(value, str):
        raise invalid_setting(where, "a string", value)
    choices = limits.get("one_of")
    if choices and value not in choices:
        raise invalid_setting(where, f"one of {', '.join(map(str, choices))}", value)
