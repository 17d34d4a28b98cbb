"""How a section of the pack's configuration becomes a settings value. Pure; every part reads its
own section with this.

None, an empty mapping, an empty list and an empty string count as not set: StackStorm puts `{}` and
`[]` where the schema has an object or a list and the operator wrote nothing
(st2common/util/config_loader.py, _assign_default_values). An unknown key is an error.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, Dict, Mapping, Tuple, Type, TypeVar

from kubestorm.core.errors import DefinitionError

T = TypeVar("T")
_INTEGERS = frozenset(("int", "Optional[int]"))
_NUMBERS = _INTEGERS | {"float", "Optional[float]"}
_TEXTS = frozenset(("str", "Optional[str]"))
_LISTS_OF_TEXT = frozenset(("Tuple[str, ...]", "Optional[Tuple[str, ...]]"))


def read_section(kind: Type[T], raw: Any, where: str, *, keep_empty: bool = False) -> T:
    """Make a frozen dataclass of settings from a mapping of the configuration; `where` is its path,
    for errors.

    Fields annotated as booleans, numbers (0 or more), strings or lists of strings are checked; a
    list becomes a tuple. A value of the kind itself is returned as it is. With `keep_empty` an
    empty string is a value of its own in place of the default. Raises DefinitionError naming the
    setting.
    """
    if isinstance(raw, kind):
        return raw
    known = {item.name: item for item in fields(kind)}  # type: ignore
    values = section_values(raw, where, keep_empty=keep_empty)
    for key, value in values.items():
        if key not in known:
            raise DefinitionError(
                f"Unknown setting {where}.{key}; known: {', '.join(known)}.",
                field=f"{where}.{key}",
            )
        _check(str(known[key].type), value, f"{where}.{key}")
        if isinstance(value, list):
            values[key] = tuple(value)
    missing = [
        name
        for name, item in known.items()
        if name not in values and item.default is MISSING and item.default_factory is MISSING
    ]
    if missing:
        raise DefinitionError(f"{where} needs {', '.join(missing)}.", field=f"{where}.{missing[0]}")
    return kind(**values)


def section_values(raw: Any, where: str, *, keep_empty: bool = False) -> Dict[str, Any]:
    """What the operator set in a section, as a new dict. Raises DefinitionError where it is not a
    mapping.
    """
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise invalid_setting(where, "a mapping of settings", raw)
    unset: Tuple[Any, ...] = (None, {}, [], ()) if keep_empty else (None, {}, [], (), "")
    return {str(key): value for key, value in raw.items() if value not in unset}


def invalid_setting(where: str, right: str, found: Any) -> DefinitionError:
    """The error of a setting that is not what it should be: `right` goes after "must be"."""
    return DefinitionError(f"{where} must be {right} (found: {found!r}).", field=where)


def _check(annotation: str, value: Any, where: str) -> None:
    if annotation == "bool":
        if not isinstance(value, bool):
            raise invalid_setting(where, "true or false", value)
    elif annotation in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise invalid_setting(where, "a number of 0 or more", value)
        if annotation in _INTEGERS and value != int(value):
            raise invalid_setting(where, "an integer", value)
    elif annotation in _LISTS_OF_TEXT:
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
            raise invalid_setting(where, "a list of strings", value)
    elif annotation in _TEXTS and not isinstance(value, str):
        raise invalid_setting(where, "a string", value)
