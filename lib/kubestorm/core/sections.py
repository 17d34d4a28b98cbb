"""How a section of the pack's configuration becomes a settings value. Pure; every part reads its
own section with this.

None, an empty object, an empty list and an empty text count as not given: StackStorm puts `{}` and
`[]` where the schema has an object or a list and the operator wrote nothing
(st2common/util/config_loader.py, _assign_default_values). A key nobody reads is an error, not a
silence.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, Dict, Mapping, Tuple, Type, TypeVar

from kubestorm.core.errors import DefinitionError

T = TypeVar("T")
_NUMBERS = frozenset(("int", "float", "Optional[int]", "Optional[float]"))
_TEXTS = frozenset(("str", "Optional[str]"))
_LISTS_OF_TEXT = frozenset(("Tuple[str, ...]", "Optional[Tuple[str, ...]]"))


def build(kind: Type[T], raw: Any, where: str, *, keep_empty: bool = False) -> T:
    """Make a frozen dataclass of settings from an object of the configuration; `where` is its path,
    for errors.

    Fields that are annotated as booleans, numbers (0 or more), texts or lists of texts are checked;
    a list becomes a tuple. A value of the kind itself is returned as it is. With `keep_empty` an
    empty text is a value: nothing, in place of the default. Raises DefinitionError naming the
    setting.
    """
    if isinstance(raw, kind):
        return raw
    known = {item.name: item for item in fields(kind)}  # type: ignore
    values = given(raw, where, keep_empty=keep_empty)
    for key, value in values.items():
        if key not in known:
            raise DefinitionError(
                f"{where} has no setting {key}; there are {', '.join(known)}.",
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


def given(raw: Any, where: str, *, keep_empty: bool = False) -> Dict[str, Any]:
    """What the operator wrote of a section, as a new dict. Raises DefinitionError where it is no
    object.
    """
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise DefinitionError(f"{where} holds {raw!r}; it is an object of settings.", field=where)
    silent: Tuple[Any, ...] = (None, {}, [], ()) if keep_empty else (None, {}, [], (), "")
    return {str(key): value for key, value in raw.items() if value not in silent}


def wrong(where: str, right: str, found: Any) -> DefinitionError:
    """The error of a setting that is not what it should be: `right` goes after "is"."""
    return DefinitionError(f"{where} is {right} (found: {found!r}).", field=where)


def _check(annotation: str, value: Any, where: str) -> None:
    if annotation == "bool":
        if not isinstance(value, bool):
            raise wrong(where, "true or false", value)
    elif annotation in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise wrong(where, "a number of 0 or more", value)
    elif annotation in _LISTS_OF_TEXT:
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
            raise wrong(where, "a list of texts", value)
    elif annotation in _TEXTS and not isinstance(value, str):
        raise wrong(where, "a text", value)
