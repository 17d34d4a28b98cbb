"""The endpoints catalog and health."""

from __future__ import annotations

from typing import Any

from sandbox.consul.app import Answer, Call, Handler
from sandbox.consul.catalog import CRITICAL, PASSING, WARNING, Check, Node, catalog_service
from sandbox.consul.errors import ConsulError
from sandbox.consul.watching import Topic

STATES = (PASSING, WARNING, CRITICAL, "any")


def _tags(call: Call) -> list[str]:
    return call.request.query_params.getlist("tag")


def _node_meta(call: Call) -> dict[str, str]:
    pairs = (entry.partition(":") for entry in call.request.query_params.getlist("node-meta"))
    return {name: value for name, _, value in pairs}


def _fits(node: Node, meta: dict[str, str]) -> bool:
    return all(node.meta.get(name) == value for name, value in meta.items())


async def register(call: Call) -> Answer:
    body = await call.fields()
    call.require("node", str(body.get("node") or ""), "write")
    service = body.get("service") or {}
    if service:
        call.require(
            "service", str(service.get("Service") or service.get("service") or ""), "write"
        )
    call.catalog.register(body)
    return True


async def deregister(call: Call) -> Answer:
    body = await call.fields()
    call.require("node", str(body.get("node") or ""), "write")
    call.catalog.deregister(body)
    return True


async def datacenters(call: Call) -> Answer:
    return [call.catalog.datacenter]


async def nodes(call: Call) -> Answer:
    meta = _node_meta(call)
    found = await call.watched(
        Topic("catalog"), lambda: (call.catalog.index(), list(call.catalog.nodes.values()))
    )
    return [
        node.describe()
        for node in found
        if call.may("node", node.name, "read") and _fits(node, meta)
    ]


async def services(call: Call) -> Answer:
    found = await call.watched(
        Topic("catalog"), lambda: (call.catalog.index(), call.catalog.service_tags())
    )
    return {name: tags for name, tags in found.items() if call.may("service", name, "read")}


async def service(call: Call) -> Answer:
    name, meta = call.path["service"], _node_meta(call)

    def query() -> tuple[int, list[Any]]:
        return call.catalog.index(), call.catalog.instances(name, _tags(call))

    found = await call.watched(Topic("catalog", name, exact=True), query)
    if not call.may("service", name, "read"):
        return []
    return [catalog_service(node, instance) for node, instance in found if _fits(node, meta)]


async def node(call: Call) -> Answer:
    name = call.path["node"]
    found = await call.watched(
        Topic("catalog"), lambda: (call.catalog.index(), call.catalog.nodes.get(name))
    )
    if not found or not call.may("node", name, "read"):
        return {"Node": None, "Services": {}}
    shown = {
        i: s.describe() for i, s in found.services.items() if call.may("service", s.name, "read")
    }
    return {"Node": found.describe(), "Services": shown}


# -- health


async def health_service(call: Call) -> Answer:
    name, meta = call.path["service"], _node_meta(call)
    passing = call.has("passing") and call.query["passing"].lower() not in ("false", "0")

    def query() -> tuple[int, list[dict[str, Any]]]:
        answer = []
        for found, instance in call.catalog.instances(name, _tags(call)):
            checks = call.catalog.checks_of(found, instance)
            if _fits(found, meta) and not (
                passing and any(check.status != PASSING for check in checks)
            ):
                described = [check.describe() for check in checks]
                answer.append(
                    {"Node": found.describe(), "Service": instance.describe(), "Checks": described}
                )
        return call.catalog.index(), answer

    shown = await call.watched(Topic("catalog", name, exact=True), query)
    return shown if call.may("service", name, "read") else []


async def _checks(call: Call, topic: Topic, chosen: Any) -> Answer:
    def query() -> tuple[int, list[Check]]:
        every = [check for found in call.catalog.nodes.values() for check in found.checks.values()]
        return call.catalog.index(), [check for check in every if chosen(check)]

    found = await call.watched(topic, query)
    return [
        check.describe()
        for check in found
        if call.may("node", check.node, "read")
        and (not check.service_name or call.may("service", check.service_name, "read"))
    ]


async def health_node(call: Call) -> Answer:
    return await _checks(call, Topic("catalog"), lambda check: check.node == call.path["node"])


async def health_checks(call: Call) -> Answer:
    name = call.path["service"]
    return await _checks(
        call, Topic("catalog", name, exact=True), lambda check: check.service_name == name
    )


async def health_state(call: Call) -> Answer:
    state = call.path["state"]
    if state not in STATES:
        raise ConsulError(400, f"Invalid state {state!r}: use one of {', '.join(STATES)}")
    return await _checks(call, Topic("catalog"), lambda check: state in ("any", check.status))


ROUTES: list[tuple[str, str, Handler]] = [
    ("PUT", "catalog/register", register),
    ("PUT", "catalog/deregister", deregister),
    ("GET", "catalog/datacenters", datacenters),
    ("GET", "catalog/nodes", nodes),
    ("GET", "catalog/services", services),
    ("GET", "catalog/service/{service}", service),
    ("GET", "catalog/node/{node}", node),
    ("GET", "health/service/{service}", health_service),
    ("GET", "health/node/{node}", health_node),
    ("GET", "health/checks/{service}", health_checks),
    ("GET", "health/state/{state}", health_state),
]
