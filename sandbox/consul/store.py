"""Consul's keys and sessions, with the raft index that orders every change.

Follows the API pages "KV store" and "Session" and the state store's rules for locks: a lock is a
key with a session, and ends with it. All calls come from one thread.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.clock import Clock
from sandbox.consul.errors import ConsulError
from sandbox.consul.watching import Watchers

FIRST_INDEX = 10
MAX_VALUE_BYTES = 512 * 1024
MIN_TTL_SECONDS, MAX_TTL_SECONDS = 10, 86400
# A session's TTL is a lower bound; the leader ends it after twice that time.
TTL_MULTIPLIER = 2
DEFAULT_LOCK_DELAY_SECONDS = 15.0
MAX_LOCK_DELAY_SECONDS = 60.0


@dataclass(frozen=True)
class Entry:
    """A key and its value."""

    key: str
    value: bytes
    flags: int
    create_index: int
    modify_index: int
    lock_index: int = 0
    session: str = ""


@dataclass
class Session:
    """A session; times in seconds."""

    id: str
    node: str
    name: str
    behavior: str
    ttl: str
    ttl_seconds: float
    lock_delay: float
    node_checks: list[str]
    service_checks: list[Any]
    create_index: int
    expires: float | None
    modify_index: int = 0

    def describe(self) -> dict[str, Any]:
        return {
            "ID": self.id,
            "Name": self.name,
            "Node": self.node,
            "LockDelay": int(self.lock_delay * 1e9),
            "Behavior": self.behavior,
            "TTL": self.ttl,
            "NodeChecks": self.node_checks,
            "ServiceChecks": self.service_checks or None,
            "CreateIndex": self.create_index,
            "ModifyIndex": self.modify_index or self.create_index,
        }


@dataclass
class Store:
    """The state of one data centre."""

    clock: Clock
    watchers: Watchers = field(default_factory=Watchers)
    index: int = FIRST_INDEX
    keys: dict[str, Entry] = field(default_factory=dict, repr=False)
    sessions: dict[str, Session] = field(default_factory=dict)
    # The index at which a key was last deleted, so that an index never goes back for who watches
    # it.
    graves: dict[str, int] = field(default_factory=dict)
    table_index: dict[str, int] = field(default_factory=dict)
    _lock_delays: dict[str, float] = field(default_factory=dict)
    _in_transaction: bool = False

    # -- index

    def change(self, table: str, name: str) -> int:
        """Count a change and wake who waits for it; returns its index. In a transaction all changes
        share one.
        """
        if not self._in_transaction:
            self.index += 1
        self.table_index[table] = self.index
        self.watchers.notify(table, name)
        return self.index

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several changes of keys under one index; all are undone if an error comes out."""
        before = dict(self.keys), dict(self.graves), dict(self.table_index), self.index
        self.index += 1
        self._in_transaction = True
        try:
            yield
        except BaseException:
            self.keys, self.graves, self.table_index, self.index = before
            raise
        finally:
            self._in_transaction = False

    # -- keys

    def key_index(self, key: str) -> int:
        """The index of a single key: its last change, or that of the whole table when it is not
        there.
        """
        entry = self.keys.get(key)
        return entry.modify_index if entry else self.table_index.get("kv", FIRST_INDEX)

    def tree(self, prefix: str) -> list[Entry]:
        return [self.keys[key] for key in sorted(self.keys) if key.startswith(prefix)]

    def tree_index(self, prefix: str) -> int:
        """The index of all keys below a prefix, deletions included."""
        if not prefix:
            return self.table_index.get("kv", FIRST_INDEX)
        changes = [entry.modify_index for entry in self.tree(prefix)]
        changes += [index for key, index in self.graves.items() if key.startswith(prefix)]
        return max(changes, default=self.table_index.get("kv", FIRST_INDEX))

    def set(self, key: str, value: bytes, flags: int = 0, **lock: Any) -> Entry:
        """Write a key; writing what it holds already changes nothing, its index included."""
        old = self.keys.get(key)
        wanted = Entry(
            key=key,
            value=value,
            flags=flags,
            create_index=old.create_index if old else 0,
            modify_index=old.modify_index if old else 0,
            lock_index=lock.get("lock_index", old.lock_index if old else 0),
            session=lock.get("session", old.session if old else ""),
        )
        if old == wanted:
            return old
        index = self.change("kv", key)
        entry = replace(wanted, create_index=wanted.create_index or index, modify_index=index)
        self.keys[key] = entry
        self.graves.pop(key, None)
        return entry

    def set_if(self, key: str, value: bytes, flags: int, index: int) -> Entry | None:
        """Check-and-set: 0 for a key that must not exist, else its ModifyIndex. None if it does not
        hold.
        """
        old = self.keys.get(key)
        if (old.modify_index if old else 0) != index:
            return None
        return self.set(key, value, flags)

    def lock(self, key: str, value: bytes, flags: int, session_id: str) -> Entry | None:
        """Acquire a key for a session. None while another holds it or its lock delay lasts. Raises
        ConsulError.
        """
        self.require_session(session_id)
        old = self.keys.get(key)
        if old and old.session and old.session != session_id:
            return None
        if self._lock_delays.get(key, 0) > self.clock():
            return None
        again = old is not None and old.session == session_id
        lock_index = (old.lock_index if old else 0) + (0 if again else 1)
        return self.set(key, value, flags, session=session_id, lock_index=lock_index)

    def unlock(self, key: str, value: bytes, flags: int, session_id: str) -> Entry | None:
        """Give a key back. None if that session does not hold it. Raises ConsulError without a
        session.
        """
        if not session_id:
            raise ConsulError(500, "missing session")
        old = self.keys.get(key)
        if not old or old.session != session_id:
            return None
        return self.set(key, value, flags, session="")

    def delete(self, key: str) -> None:
        if key in self.keys:
            self.graves[key] = self.change("kv", key)
            del self.keys[key]

    def delete_if(self, key: str, index: int) -> bool:
        """Check-and-delete; a key that is gone counts as deleted, an index of 0 never deletes one."""
        old = self.keys.get(key)
        if old and old.modify_index != index:
            return False
        self.delete(key)
        return True

    def delete_tree(self, prefix: str) -> None:
        entries = self.tree(prefix)
        if not entries:
            return
        index = self.change("kv", prefix)
        for entry in entries:
            del self.keys[entry.key]
            self.graves[entry.key] = index
            self.watchers.notify("kv", entry.key)

    # -- sessions

    def create_session(self, body: dict[str, Any], node: str) -> Session:
        """Make a session from a request's fields in lower case (durations in seconds). Raises
        ConsulError.
        """
        behavior = str(body.get("behavior") or "release")
        if behavior not in ("release", "delete"):
            raise ConsulError(400, f"Invalid Behavior setting '{behavior}'")
        ttl = float(body.get("ttl_seconds") or 0)
        if ttl and not MIN_TTL_SECONDS <= ttl <= MAX_TTL_SECONDS:
            raise ConsulError(
                400, f"Invalid Session TTL '{int(ttl * 1e9)}', must be between [10s=24h0m0s]"
            )
        session_id = str(uuid.uuid4())
        session = Session(
            id=session_id,
            node=node,
            name=str(body.get("name") or ""),
            behavior=behavior,
            ttl=str(body.get("ttl") or ""),
            ttl_seconds=ttl,
            lock_delay=min(
                float(body.get("lock_delay", DEFAULT_LOCK_DELAY_SECONDS)), MAX_LOCK_DELAY_SECONDS
            ),
            node_checks=list(body.get("nodechecks") or body.get("checks") or ["serfHealth"]),
            service_checks=list(body.get("servicechecks") or []),
            create_index=self.change("session", session_id),
            expires=self.clock() + ttl * TTL_MULTIPLIER if ttl else None,
        )
        self.sessions[session_id] = session
        return session

    def require_session(self, session_id: str) -> Session:
        session = self.sessions.get(session_id)
        if not session:
            raise ConsulError(500, f'invalid session "{session_id}"')
        return session

    def renew_session(self, session_id: str) -> Session | None:
        session = self.sessions.get(session_id)
        if session and session.ttl_seconds:
            session.expires = self.clock() + session.ttl_seconds * TTL_MULTIPLIER
        return session

    def destroy_session(self, session_id: str) -> None:
        """End a session: its keys are released or deleted, and cannot be locked until the lock
        delay is over.
        """
        session = self.sessions.pop(session_id, None)
        if not session:
            return
        self.change("session", session_id)
        for entry in [entry for entry in self.keys.values() if entry.session == session_id]:
            if session.lock_delay:
                self._lock_delays[entry.key] = self.clock() + session.lock_delay
            if session.behavior == "delete":
                self.delete(entry.key)
            else:
                self.set(entry.key, entry.value, entry.flags, session="")

    def destroy_sessions_of(self, node: str, check_id: str | None = None) -> None:
        """End the sessions of a node that is gone, or those that depend on a check of it that has
        become critical.
        """
        for session in list(self.sessions.values()):
            if session.node == node and (check_id is None or check_id in session.node_checks):
                self.destroy_session(session.id)

    def expire(self) -> None:
        """End the sessions whose time is over. Runs before every request, and when the next one is
        due.
        """
        now = self.clock()
        for session in [
            s for s in self.sessions.values() if s.expires is not None and s.expires <= now
        ]:
            self.destroy_session(session.id)

    def next_expiry(self) -> float | None:
        return min(
            (s.expires for s in self.sessions.values() if s.expires is not None), default=None
        )
