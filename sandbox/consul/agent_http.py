"""The endpoints agent, status and event."""

from __future__ import annotations

import base64
import uuid
from typing import Any

from sandbox.consul.app import VERSION, Answer, Call, Handler
from sandbox.consul.catalog import CRITICAL, PASSING, WARNING, Service
from sandbox.consul.errors import ConsulError, no_leader
from sandbox.consul.watching import Topic

SERVER_PORT = 8300
MAX_EVENTS = 256


async def leader(call: Call) -> Answer:
    return f"{call.catalog.own.address}:{SERVER_PORT}" if call.world.has_leader else ""


async def peers(call: Call) -> Answer:
    return [f"{call.catalog.own.address}:{SERVER_PORT}"]


def _member(call: Call) -> dict[str, Any]:
    own = call.catalog.own
    return {
        "Name": own.name,
        "Addr": own.address,
        "Port": 8301,
        "Tags": {
            "role": "consul",
            "dc": own.datacenter,
            "id": own.id,
            "bootstrap": "1",
            "build": VERSION,
        },
        "Status": 1,
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    }


async def self_(call: Call) -> Answer:
    own = call.catalog.own
    call.require("agent", own.name, "read")
    config = {
        "Datacenter": own.datacenter,
        "PrimaryDatacenter": own.datacenter,
        "NodeName": own.name,
        "NodeID": own.id,
        "Revision": "sandbox",
        "Server": True,
        "Version": VERSION,
        "BuildDate": "2024-10-29T19:04:05Z",
    }
    stats = {"consul": {"leader": str(call.world.has_leader).lower(), "server": "true"}}
    return {
        "Config": config,
        "DebugConfig": {},
        "Stats": stats,
        "Member": _member(call),
        "Meta": own.meta,
    }


async def members(call: Call) -> Answer:
    return [_member(call)] if call.may("node", call.catalog.own.name, "read") else []


def _agent_service(call: Call, service: Service) -> dict[str, Any]:
    described = {
        k: v for k, v in service.describe().items() if k not in ("CreateIndex", "ModifyIndex")
    }
    return {**described, "Datacenter": call.catalog.datacenter}


async def services(call: Call) -> Answer:
    own = call.catalog.own.services
    return {
        i: _agent_service(call, service)
        for i, service in own.items()
        if call.may("service", service.name, "read")
    }


async def service(call: Call) -> Answer:
    found = call.catalog.own.services.get(call.path["id"])
    if not found:
        raise ConsulError(404, f"unknown service ID: {call.path['id']}")
    call.require("service", found.name, "read")
    return _agent_service(call, found)


async def register_service(call: Call) -> Answer:
    body = await call.fields()
    call.require("service", str(body.get("name") or ""), "write")
    call.catalog.add_service(call.catalog.own, body)


async def deregister_service(call: Call) -> Answer:
    service_id = call.path["id"]
    found = call.catalog.own.services.get(service_id)
    unknown = f'Unknown service ID "{service_id}". Ensure that the service ID is passed, not the service name.'
    if not found:
        raise ConsulError(404, unknown)
    call.require("service", found.name, "write")
    call.catalog.remove_service(call.catalog.own, service_id)


async def checks(call: Call) -> Answer:
    return {
        check.id: check.describe()
        for check in call.catalog.own.checks.values()
        if check.id != "serfHealth"
    }


async def register_check(call: Call) -> Answer:
    body = await call.fields()
    call.require("node", call.catalog.own.name, "write")
    if not body.get("name"):
        raise ConsulError(400, "Missing check name")
    call.catalog.add_check(call.catalog.own, body)


async def deregister_check(call: Call) -> Answer:
    call.require("node", call.catalog.own.name, "write")
    if not call.catalog.remove_check(call.catalog.own, call.path["id"]):
        raise ConsulError(
            404, f'Unknown check ID "{call.path["id"]}". Ensure that the check ID is passed.'
        )


def _reporting(status: str) -> Handler:
    async def report(call: Call) -> Answer:
        call.require("node", call.catalog.own.name, "write")
        call.catalog.report(call.path["id"], status, call.query.get("note", ""))

    return report


async def update_check(call: Call) -> Answer:
    body = await call.fields()
    call.require("node", call.catalog.own.name, "write")
    status = str(body.get("status") or "")
    if status not in (PASSING, WARNING, CRITICAL):
        raise ConsulError(400, f'Invalid check status: "{status}"')
    call.catalog.report(call.path["id"], status, str(body.get("output") or ""))


# -- events


async def fire_event(call: Call) -> Answer:
    name = call.path["name"]
    call.require("event", name, "write")
    if not call.world.has_leader:
        raise no_leader()
    payload = await call.request.body()
    event = {
        "ID": str(uuid.uuid4()),
        "Name": name,
        "Payload": base64.b64encode(payload).decode() if payload else None,
        "NodeFilter": call.query.get("node", ""),
        "ServiceFilter": call.query.get("service", ""),
        "TagFilter": call.query.get("tag", ""),
        "Version": 1,
        "LTime": call.store.change("event", name),
    }
    call.world.events = [*call.world.events, event][-MAX_EVENTS:]
    return event


async def list_events(call: Call) -> Answer:
    name = call.query.get("name")

    def query() -> tuple[int, list[dict[str, Any]]]:
        found = [event for event in call.world.events if name in (None, event["Name"])]
        return max((event["LTime"] for event in found), default=1), found

    topic = Topic("event", name, exact=True) if name else Topic("event")
    found = await call.watched(topic, query)
    return [event for event in found if call.may("event", event["Name"], "read")]


ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "status/leader", leader),
    ("GET", "status/peers", peers),
    ("GET", "agent/self", self_),
    ("GET", "agent/members", members),
    ("GET", "agent/services", services),
    ("GET", "agent/service/{id}", service),
    ("PUT", "agent/service/register", register_service),
    ("PUT", "agent/service/deregister/{id}", deregister_service),
    ("GET", "agent/checks", checks),
    ("PUT", "agent/check/register", register_check),
    ("PUT", "agent/check/deregister/{id}", deregister_check),
    ("PUT", "agent/check/pass/{id}", _reporting(PASSING)),
    ("PUT", "agent/check/warn/{id}", _reporting(WARNING)),
    ("PUT", "agent/check/fail/{id}", _reporting(CRITICAL)),
    ("PUT", "agent/check/update/{id}", update_check),
    ("PUT", "event/fire/{name}", fire_event),
    ("GET", "event/list", list_events),
]
