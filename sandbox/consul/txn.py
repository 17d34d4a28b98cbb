"""Consul's transactions over keys: all operations hold and are carried out, or none is.

After the API page "Transaction". Operations on nodes, services and checks are left out and refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from sandbox.consul.catalog import lowered
from sandbox.consul.errors import ConsulError
from sandbox.consul.store import MAX_VALUE_BYTES, Entry, Store

MAX_OPERATIONS = 64
READS = frozenset({"get", "get-tree", "check-index", "check-session", "check-not-exists"})
WRITES = frozenset({"set", "cas", "lock", "unlock", "delete", "delete-tree", "delete-cas"})


class OperationFailed(Exception):
    """One operation does not hold; the message is what the answer's Errors say."""


class _Undo(Exception):
    """Carries nothing: it makes the store forget what the transaction did."""


def parse_operations(body: Any) -> list[dict[str, Any]]:
    """A txn body as operations with lower-case keys and `value` in bytes. Raises ConsulError."""
    if not isinstance(body, list):
        raise ConsulError(400, "Failed to parse body: expected a list of operations")
    if len(body) > MAX_OPERATIONS:
        raise ConsulError(
            413, f"Transaction contains too many operations ({len(body)} > {MAX_OPERATIONS})"
        )
    operations = []
    for entry in body:
        kinds = lowered(entry)
        if set(kinds) != {"kv"}:
            raise ConsulError(400, "the sandbox carries out KV operations only")
        operation = lowered(kinds["kv"])
        try:
            operation["value"] = base64.b64decode(operation.get("value") or "", validate=True)
        except (binascii.Error, TypeError):
            raise ConsulError(400, "Failed to parse body: illegal base64 data in Value") from None
        if len(operation["value"]) > MAX_VALUE_BYTES:
            key, size = operation.get("key"), len(operation["value"])
            raise ConsulError(
                413, f'Value for key "{key}" is too large ({size} > {MAX_VALUE_BYTES} bytes)'
            )
        operations.append(operation)
    return operations


def apply(
    store: Store, operations: list[dict[str, Any]], may: Callable[[str, str], str | None]
) -> tuple[list[tuple[Entry, bool]], list[dict[str, Any]]]:
    """Carry out a transaction; returns the results, each with whether its value is shown, and the
    errors.

    `may(verb, key)` gives the reason why the caller may not, or None.
    """
    errors: list[dict[str, Any]] = []
    results: list[tuple[Entry, bool]] = []
    try:
        with store.transaction():
            for number, operation in enumerate(operations):
                try:
                    results += _one(store, operation, may)
                except (OperationFailed, ConsulError) as error:
                    errors.append({"OpIndex": number, "What": str(error)})
            if errors:
                raise _Undo
    except _Undo:
        results = []
    return results, errors


def _one(
    store: Store, operation: dict[str, Any], may: Callable[[str, str], str | None]
) -> list[tuple[Entry, bool]]:
    verb, key = str(operation.get("verb") or ""), str(operation.get("key") or "")
    if verb not in READS | WRITES:
        raise OperationFailed(f'unknown KV verb "{verb}"')
    if not key and verb not in ("get-tree", "delete-tree"):
        raise OperationFailed("Must provide key")
    refusal = may(verb, key)
    if refusal:
        raise OperationFailed(refusal)
    return (
        _read(store, verb, key, operation) if verb in READS else _write(store, verb, key, operation)
    )


def _read(store: Store, verb: str, key: str, operation: dict[str, Any]) -> list[tuple[Entry, bool]]:
    if verb == "get-tree":
        return [(entry, True) for entry in store.tree(key)]
    entry = store.keys.get(key)
    if verb == "check-not-exists":
        if entry:
            raise OperationFailed(f'key "{key}" exists')
        return []
    if not entry:
        raise OperationFailed(f'key "{key}" doesn\'t exist')
    if verb == "get":
        return [(entry, True)]
    wanted, session = int(operation.get("index") or 0), str(operation.get("session") or "")
    if verb == "check-index" and entry.modify_index != wanted:
        raise OperationFailed(
            f'failed index check for key "{key}", current modify index {entry.modify_index} != {wanted}'
        )
    if verb == "check-session" and entry.session != session:
        raise OperationFailed(
            f'failed session check for key "{key}", current session "{entry.session}" != "{session}"'
        )
    return [(entry, False)]


def _write(
    store: Store, verb: str, key: str, operation: dict[str, Any]
) -> list[tuple[Entry, bool]]:
    value, flags = operation["value"], int(operation.get("flags") or 0)
    index, session = int(operation.get("index") or 0), str(operation.get("session") or "")
    if verb == "delete":
        store.delete(key)
        return []
    if verb == "delete-tree":
        store.delete_tree(key)
        return []
    if verb == "delete-cas":
        if not store.delete_if(key, index):
            raise OperationFailed(f'failed to delete key "{key}", index is stale')
        return []
    actions: dict[str, tuple[Callable[[], Entry | None], str]] = {
        "set": (lambda: store.set(key, value, flags), ""),
        "cas": (
            lambda: store.set_if(key, value, flags, index),
            f'failed to set key "{key}", index is stale',
        ),
        "lock": (
            lambda: store.lock(key, value, flags, session),
            f'failed to lock key "{key}", lock is already held',
        ),
        "unlock": (
            lambda: store.unlock(key, value, flags, session),
            f'failed to unlock key "{key}", lock isn\'t held, or is held by another session',
        ),
    }
    action, failure = actions[verb]
    entry = action()
    if entry is None:
        raise OperationFailed(failure)
    return [(entry, False)]
