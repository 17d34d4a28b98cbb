"""The endpoints kv, txn and session."""

from __future__ import annotations

import base64
from typing import Any

from starlette.responses import JSONResponse, Response

from sandbox.consul import txn
from sandbox.consul.app import Answer, Call, Handler
from sandbox.consul.errors import ConsulError
from sandbox.consul.store import MAX_VALUE_BYTES, Entry, Session
from sandbox.consul.watching import Topic, parse_duration

TOO_LARGE = (
    "Request body({} bytes) too large, max size: {} bytes. "
    "See https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size."
)


def describe(entry: Entry, *, value: bool = True) -> dict[str, Any]:
    """A key as the API shows it; the value in base64, null when it is empty or not asked for."""
    described: dict[str, Any] = {
        "LockIndex": entry.lock_index,
        "Key": entry.key,
        "Flags": entry.flags,
        "Value": base64.b64encode(entry.value).decode() if value and entry.value else None,
        "CreateIndex": entry.create_index,
        "ModifyIndex": entry.modify_index,
    }
    if entry.session:
        described["Session"] = entry.session
    return described


def _key(call: Call, *, optional: bool = False) -> str:
    key = call.path.get("key", "")
    if not key and not optional:
        raise ConsulError(400, "Missing key name")
    return key


def _refuse_conflicting(call: Call, *names: str) -> None:
    found = [name for name in names if call.has(name)]
    if len(found) > 1:
        raise ConsulError(400, f"Conflicting flags: {', '.join(found)}")


async def get_key(call: Call) -> Answer:
    if call.has("keys"):
        return await _get_names(call)
    if call.has("recurse"):
        return await _get_tree(call)
    key = _key(call)
    call.require("key", key, "read")
    topic = Topic("kv", key, exact=True)
    entry: Entry | None = await call.watched(
        topic, lambda: (call.store.key_index(key), call.store.keys.get(key))
    )
    if not entry:
        return Response(status_code=404)
    if call.has("raw"):
        safe = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
        return Response(entry.value, headers=safe, media_type="application/octet-stream")
    return [describe(entry)]


async def _get_tree(call: Call) -> Answer:
    prefix = _key(call, optional=True)
    entries = await call.watched(
        Topic("kv", prefix), lambda: (call.store.tree_index(prefix), call.store.tree(prefix))
    )
    shown = [describe(entry) for entry in entries if call.may("key", entry.key, "read")]
    return shown or Response(status_code=404)


async def _get_names(call: Call) -> Answer:
    prefix, separator = _key(call, optional=True), call.query.get("separator", "")
    entries = await call.watched(
        Topic("kv", prefix), lambda: (call.store.tree_index(prefix), call.store.tree(prefix))
    )
    names: list[str] = []
    for entry in entries:
        if not call.may("key", entry.key, "read"):
            continue
        end = entry.key.find(separator, len(prefix)) if separator else -1
        name = entry.key if end < 0 else entry.key[: end + len(separator)]
        if name not in names[-1:]:
            names.append(name)
    return names or Response(status_code=404)


async def put_key(call: Call) -> Answer:
    key = _key(call)
    _refuse_conflicting(call, "cas", "acquire", "release")
    call.require("key", key, "write")
    value = await call.request.body()
    if len(value) > MAX_VALUE_BYTES:
        raise ConsulError(413, TOO_LARGE.format(len(value), MAX_VALUE_BYTES))
    flags, cas = call.number("flags") or 0, call.number("cas")
    if cas is not None:
        return call.store.set_if(key, value, flags, cas) is not None
    if call.has("acquire"):
        return call.store.lock(key, value, flags, call.query["acquire"]) is not None
    if call.has("release"):
        return call.store.unlock(key, value, flags, call.query["release"]) is not None
    call.store.set(key, value, flags)
    return True


async def delete_key(call: Call) -> Answer:
    _refuse_conflicting(call, "recurse", "cas")
    if call.has("recurse"):
        prefix = _key(call, optional=True)
        if not call.acl.allows_tree(call.token, prefix):
            raise call.acl.refusal(call.token, "key", prefix, "write")
        call.store.delete_tree(prefix)
        return True
    key, cas = _key(call), call.number("cas")
    call.require("key", key, "write")
    if cas is not None:
        return call.store.delete_if(key, cas)
    call.store.delete(key)
    return True


async def transact(call: Call) -> Answer:
    operations = txn.parse_operations(await call.json())

    def may(verb: str, key: str) -> str | None:
        access = "read" if verb in txn.READS else "write"
        if verb == "get-tree":
            return None
        allowed = (
            call.acl.allows_tree(call.token, key)
            if verb == "delete-tree"
            else call.may("key", key, access)
        )
        return None if allowed else call.acl.refusal(call.token, "key", key, access).text

    results, errors = txn.apply(call.store, operations, may)
    shown = [
        {"KV": describe(e, value=value)}
        for e, value in results
        if call.may("key", e.key, "read") or not value
    ]
    body = {"Results": shown or None, "Errors": errors or None}
    return JSONResponse(body, 409 if errors else 200)


# -- sessions


def _seconds(value: Any) -> float:
    """A duration as Consul reads it from JSON: text with a unit, or a number: nanoseconds when
    large, else seconds.
    """
    if isinstance(value, int | float):
        return value / 1e9 if value >= 1000 else float(value)
    return parse_duration(str(value))


async def create_session(call: Call) -> Answer:
    body = await call.fields()
    node = str(body.get("node") or call.catalog.own.name)
    call.require("session", node, "write")
    if node not in call.catalog.nodes:
        raise ConsulError(500, "Missing node registration")
    if body.get("lockdelay") is not None:
        body["lock_delay"] = _seconds(body["lockdelay"])
    if body.get("ttl"):
        body["ttl_seconds"] = parse_duration(str(body["ttl"]))
    checks = call.catalog.nodes[node].checks
    for check_id in body.get("nodechecks") or body.get("checks") or []:
        if check_id not in checks:
            raise ConsulError(500, f"Missing check '{check_id}' registration")
        if checks[check_id].status == "critical":
            raise ConsulError(500, f"Check '{check_id}' is in critical state")
    return {"ID": call.store.create_session(body, node).id}


async def destroy_session(call: Call) -> Answer:
    session = call.store.sessions.get(call.path["id"])
    call.require("session", session.node if session else "", "write")
    call.store.destroy_session(call.path["id"])
    return True


async def renew_session(call: Call) -> Answer:
    session = call.store.sessions.get(call.path["id"])
    if not session:
        raise ConsulError(404, f"Session id '{call.path['id']}' not found")
    call.require("session", session.node, "write")
    call.store.renew_session(session.id)
    return [session.describe()]


async def _sessions(call: Call, topic: Topic, chosen: Any) -> Answer:
    def query() -> tuple[int, list[Session]]:
        index = call.store.table_index.get("session", call.store.index)
        return index, [session for session in call.store.sessions.values() if chosen(session)]

    found = await call.watched(topic, query)
    return [session.describe() for session in found if call.may("session", session.node, "read")]


async def session_info(call: Call) -> Answer:
    wanted = call.path["id"]
    return await _sessions(
        call, Topic("session", wanted, exact=True), lambda session: session.id == wanted
    )


async def list_sessions(call: Call) -> Answer:
    return await _sessions(call, Topic("session"), lambda _session: True)


async def node_sessions(call: Call) -> Answer:
    return await _sessions(
        call, Topic("session"), lambda session: session.node == call.path["node"]
    )


ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "kv/{key:path}", get_key),
    ("PUT", "kv/{key:path}", put_key),
    ("DELETE", "kv/{key:path}", delete_key),
    ("PUT", "txn", transact),
    ("PUT", "session/create", create_session),
    ("PUT", "session/destroy/{id}", destroy_session),
    ("PUT", "session/renew/{id}", renew_session),
    ("GET", "session/info/{id}", session_info),
    ("GET", "session/list", list_sessions),
    ("GET", "session/node/{node}", node_sessions),
]
