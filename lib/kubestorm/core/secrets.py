"""A value that must not be seen: its text leaves only through `reveal`, and a search for that word
finds each use.
"""

from __future__ import annotations

import hmac
import secrets
import string

# RDS refuses "/", "@", the double quote and spaces, and MySQL counts at most 41 characters,
# PostgreSQL 128. Source: the MasterUserPassword parameter of the CreateDBInstance page of the RDS
# API reference.
PASSWORD_ALPHABET = string.ascii_letters + string.digits + "-_.~"
PASSWORD_LENGTH = 40


class Secret:
    """Text whose `repr`, `str` and pickled form hide it. Equality and hash follow identity, so that
    it is no oracle.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text, for the one call that needs it. Never put it into a variable that outlives that
        call.
        """
        return self._value

    def same_as(self, other: Secret) -> bool:
        """Whether both hide the same text, compared in constant time."""
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is neither pickled nor copied: pass the path it is kept at")


def make_password() -> Secret:
    """A new password of 40 characters (240 bits), legal for every engine of RDS and inside URLs
    without quoting.
    """
    first = secrets.choice(
        string.ascii_letters
    )  # some clients read a leading "-" or "~" as something else
    rest = "".join(secrets.choice(PASSWORD_ALPHABET) for _ in range(PASSWORD_LENGTH - 1))
    return Secret(first + rest)
