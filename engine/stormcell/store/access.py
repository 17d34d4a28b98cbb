"""API keys (kept as hashes) and the operator's overrides of content (enabled or disabled, made
through the API).
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from typing import Any

import msgspec

from stormcell.ids import new_id
from stormcell.store.writing import GroupCommit
from stormcell.times import now

_KEY_BYTES = 32
_KEY_COLUMNS = "id, key_hash, user, metadata, enabled, created_at, account"


class ApiKey(msgspec.Struct, kw_only=True, frozen=True):
    """Who a key stands for; the key itself is not kept."""

    id: str
    key_hash: str
    user: str
    metadata: dict[str, Any]
    enabled: bool
    created_at: str
    account: str = ""
    """Id of the user's entry in the file of users; with the entry the key ends."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """What the key is narrowed down to; none: all that its user may do."""
        return tuple(self.metadata.get("scopes") or ())


class ApiKeys:
    """Makes and checks keys. A key has 256 random bits, so a plain SHA-256 of it is safe to keep."""

    def __init__(self, connection: sqlite3.Connection, writer: GroupCommit) -> None:
        self._connection = connection
        self._writer = writer
        self._enabled: dict[str, ApiKey] | None = None  # by hash; nobody else writes this table

    def create(
        self, user: str, metadata: dict[str, Any] | None = None, *, account: str = ""
    ) -> tuple[str, ApiKey]:
        """Make a key and return it in clear, for the only time, with its record."""
        clear = secrets.token_hex(_KEY_BYTES)
        key = ApiKey(
            id=new_id(),
            key_hash=_hash(clear),
            user=user,
            metadata=metadata or {},
            enabled=True,
            created_at=now(),
            account=account,
        )
        metadata_json = msgspec.json.encode(key.metadata)
        self._write(
            f"INSERT INTO api_keys ({_KEY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (key.id, key.key_hash, user, metadata_json, 1, key.created_at, account),
        )
        return clear, key

    def enabled(self, clear: str) -> ApiKey | None:
        """The record of a key in clear, None where it is unknown or disabled."""
        if self._enabled is None:
            self._enabled = {key.key_hash: key for key in self.list() if key.enabled}
        return self._enabled.get(_hash(clear))

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        self._writer.write_now([(statement, values)])
        self._enabled = None

    def list(self) -> list[ApiKey]:
        rows = self._connection.execute(f"SELECT {_KEY_COLUMNS} FROM api_keys")  # noqa: S608
        return [
            ApiKey(
                id=row[0],
                key_hash=row[1],
                user=row[2],
                metadata=msgspec.json.decode(row[3]),
                enabled=bool(row[4]),
                created_at=row[5],
                account=row[6],
            )
            for row in rows
        ]

    def find(self, id_or_key: str) -> ApiKey | None:
        """By its id, or by the key in clear."""
        hashed = _hash(id_or_key)
        return next(
            (key for key in self.list() if id_or_key == key.id or hashed == key.key_hash), None
        )

    def change(self, key_id: str, *, metadata: dict[str, Any], enabled: bool) -> ApiKey:
        """Change the metadata of a key, or switch it on or off; it must be there."""
        statement = "UPDATE api_keys SET metadata = ?, enabled = ? WHERE id = ?"
        self._write(statement, (msgspec.json.encode(metadata), int(enabled), key_id))
        return next(key for key in self.list() if key.id == key_id)

    def delete(self, key_id: str) -> bool:
        found = any(key.id == key_id for key in self.list())
        self._write("DELETE FROM api_keys WHERE id = ?", (key_id,))
        return found


class Override(msgspec.Struct, kw_only=True, frozen=True):
    """What the API changed about one thing of a pack's content."""

    kind: str
    ref: str
    enabled: bool | None
    document: dict[str, Any] | None
    """The whole body of something made or changed through the API; None where only `enabled`
    changed.
    """


class Overrides:
    """Content as the API left it, laid over what the packs' files say at every load."""

    def __init__(self, connection: sqlite3.Connection, writer: GroupCommit) -> None:
        self._connection = connection
        self._writer = writer

    def list(self, kind: str) -> list[Override]:
        rows = self._connection.execute(
            "SELECT kind, ref, enabled, document FROM overrides WHERE kind = ?", (kind,)
        )
        return [
            Override(
                kind=row[0],
                ref=row[1],
                enabled=None if row[2] is None else bool(row[2]),
                document=None if row[3] is None else msgspec.json.decode(row[3]),
            )
            for row in rows
        ]

    def put(self, override: Override) -> None:
        document = None if override.document is None else msgspec.json.encode(override.document)
        self._writer.write_now(
            [
                (
                    "INSERT INTO overrides VALUES (?, ?, ?, ?) ON CONFLICT (kind, ref) DO UPDATE SET "
                    "enabled = excluded.enabled, document = excluded.document",
                    (override.kind, override.ref, override.enabled, document),
                )
            ]
        )

    def delete(self, kind: str, ref: str) -> None:
        self._writer.write_now([("DELETE FROM overrides WHERE kind = ? AND ref = ?", (kind, ref))])


def _hash(clear: str) -> str:
    return hashlib.sha256(clear.encode("utf-8", "replace")).hexdigest()
