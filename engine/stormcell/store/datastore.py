"""The key-value datastore: scopes `system` and `user`, time to live, secret values sealed.

Source of behaviour: st2common/services/keyvalues.py and st2api/controllers/v1/keyvalue.py of
StackStorm 3.9. Values are texts, as there; what is not text is kept as its JSON.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from stormcell.errors import InvalidInputError
from stormcell.store.records import KeyValue
from stormcell.store.sealing import MASK, Sealer
from stormcell.store.writing import GroupCommit, Op

SYSTEM = "system"
USER = "user"
_LONGEST_TTL_SECONDS = 100 * 365 * 86_400
_COLUMNS = "scope, user, name, value, secret, expires_at"


def normal_scope(scope: str) -> str:
    """Take StackStorm's long names (`st2kv.system`) too."""
    short = scope.removeprefix("st2kv.")
    if short not in (SYSTEM, USER):
        raise InvalidInputError(f'The scope "{scope}" is not known. Use system or user.')
    return short


class Datastore:
    """Reads and writes entries. An expired entry is not there, whether or not it has been removed
    yet.
    """

    def __init__(self, connection: sqlite3.Connection, writer: GroupCommit, sealer: Sealer) -> None:
        self._connection = connection
        self._writer = writer
        self._sealer = sealer

    def get(self, name: str, *, scope: str = SYSTEM, user: str = "") -> KeyValue | None:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM datastore WHERE scope = ? AND user = ? AND name = ? "  # noqa: S608
            "AND (expires_at IS NULL OR expires_at > ?)",
            (normal_scope(scope), _owner(scope, user), name, time.time()),
        ).fetchone()
        return None if row is None else _read(row)

    def list(
        self, *, scope: str | None = SYSTEM, user: str = "", prefix: str = ""
    ) -> list[KeyValue]:
        """Entries by name; `scope` None means system's and this user's."""
        clauses = ["(expires_at IS NULL OR expires_at > ?)"]
        values: list[Any] = [time.time()]
        if scope is None:
            clauses.append("(scope = 'system' OR user = ?)")
            values.append(user)
        else:
            clauses.append("scope = ? AND user = ?")
            values += [normal_scope(scope), _owner(scope, user)]
        if prefix:
            clauses.append("substr(name, 1, ?) = ?")
            values += [len(prefix), prefix]
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM datastore WHERE {' AND '.join(clauses)} ORDER BY scope, name",  # noqa: S608
            values,
        )
        return [_read(row) for row in rows]

    def value(self, entry: KeyValue, *, decrypt: bool) -> str:
        """The value in clear, or `********` for a secret one that was not asked to be decrypted."""
        if not entry.secret:
            return entry.value
        return str(self._sealer.open(entry.value)) if decrypt else MASK

    async def set(
        self,
        name: str,
        value: str,
        *,
        scope: str = SYSTEM,
        user: str = "",
        ttl_seconds: float | None = None,
        secret: bool = False,
    ) -> KeyValue:
        """Write an entry; returns when it is on disk."""
        if not name:
            raise InvalidInputError("A key needs a name of at least one character.")
        if ttl_seconds is not None and not 0 < ttl_seconds <= _LONGEST_TTL_SECONDS:
            raise InvalidInputError(f"The ttl {ttl_seconds} is not a positive number of seconds.")
        entry = KeyValue(
            scope=normal_scope(scope),
            user=_owner(scope, user),
            name=name,
            value=self._sealer.seal(value) if secret else value,
            secret=secret,
            expires_at=None if ttl_seconds is None else time.time() + ttl_seconds,
        )
        await self._writer.submit([_upsert_op(entry)])
        return entry

    async def delete(self, name: str, *, scope: str = SYSTEM, user: str = "") -> bool:
        """Return whether there was one."""
        found = self.get(name, scope=scope, user=user) is not None
        await self._writer.submit(
            [
                (
                    "DELETE FROM datastore WHERE scope = ? AND user = ? AND name = ?",
                    (normal_scope(scope), _owner(scope, user), name),
                )
            ]
        )
        return found

    def expire_op(self) -> Op:
        return "DELETE FROM datastore WHERE expires_at <= ?", (time.time(),)


def _owner(scope: str, user: str) -> str:
    return user if normal_scope(scope) == USER else ""


def _upsert_op(entry: KeyValue) -> Op:
    return (
        "INSERT INTO datastore VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (scope, user, name) DO UPDATE SET "
        "value = excluded.value, secret = excluded.secret, expires_at = excluded.expires_at",
        (entry.scope, entry.user, entry.name, entry.value, int(entry.secret), entry.expires_at),
    )


def _read(row: tuple[Any, ...]) -> KeyValue:
    return KeyValue(
        scope=row[0], user=row[1], name=row[2], value=row[3], secret=bool(row[4]), expires_at=row[5]
    )
