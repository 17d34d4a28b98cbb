"""`st2kv`: the datastore as expressions see it, read only when a value is used.

`{{ st2kv.system.a.b }}` names the key `a.b`; which dot is the last is known only at the end, so
each step gives a longer reference and only `str()` reads. Source: st2common/services/keyvalues.py,
expressions/functions/datastore.py.
"""

from __future__ import annotations

from typing import Any

from stormcell.conducting import Lookups
from stormcell.errors import NotFoundError
from stormcell.expressions.errors import ExpressionError

SYSTEM_USER = "stanley"
"""StackStorm's default system user, in whose scope runs without a user read."""


class KeyReference:
    """A key of the datastore that is read when it becomes text; an absent key is empty text, as in
    StackStorm.

    All public attribute names are keys, so the object's own state is private.
    """

    __slots__ = ("_lookups", "_name", "_scope", "_user")

    def __init__(self, lookups: Lookups, scope: str, user: str = "", name: str = "") -> None:
        self._lookups = lookups
        self._scope = scope
        self._user = user
        self._name = name

    def __getattr__(self, name: str) -> KeyReference:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> KeyReference:
        longer = f"{self._name}.{name}" if self._name else str(name)
        return type(self)(self._lookups, self._scope, self._user, longer)

    def __str__(self) -> str:
        try:
            value = self._lookups.datastore(self._name, scope=self._scope, user=self._user)
        except NotFoundError:
            return ""
        return "" if value is None else str(value)

    def __repr__(self) -> str:
        return f"<st2kv.{self._scope}.{self._name}>"


class SystemKeyReference(KeyReference):
    """A key of the system's scope, which the filters `int` and `float` can read.

    In StackStorm, since 2.3, those of a user's scope cannot be: both filters give 0 there.
    """

    __slots__ = ()

    def __int__(self) -> int:
        return int(float(self))

    def __float__(self) -> float:
        return float(str(self))


def datastore_context(lookups: Lookups, user: str = "") -> dict[str, KeyReference]:
    """Return what `st2kv` stands for in a Jinja context."""
    return {
        "system": SystemKeyReference(lookups, "system"),
        "user": KeyReference(lookups, "user", user or SYSTEM_USER),
    }


def decrypt_kv(value: Any) -> Any:
    """The filter `decrypt_kv`: the plain text of an encrypted key, named as `st2kv.system.x |
    decrypt_kv`.
    """
    if not isinstance(value, KeyReference):
        raise ExpressionError(
            "decrypt_kv needs a datastore key, as in {{ st2kv.system.name | decrypt_kv }}; it was given another value.",
            expression="decrypt_kv",
            kind="ValueError",
        )
    name, scope = value._name, value._scope  # its own module's private state
    try:
        found = value._lookups.datastore(name, scope=scope, decrypt=True, user=value._user)
    except NotFoundError:
        found = None
    if found is None or found == "":
        raise ExpressionError(
            f'Referenced datastore item "st2kv.{scope}.{name}" doesn\'t exist or it contains an empty string.',
            expression=f"st2kv.{scope}.{name}",
            kind="ValueError",
        )
    return found
