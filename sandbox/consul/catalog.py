"""Consul's nodes, services and checks, one agent's among them.

After the API pages "Catalog", "Health" and "Agent". Checks of TTL kind change by themselves when
their time is over; HTTP, TCP, gRPC and script checks are kept but not run, and stay at the status
they were given.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from sandbox.consul.errors import ConsulError
from sandbox.consul.store import Store
from sandbox.consul.watching import parse_duration

PASSING, WARNING, CRITICAL = "passing", "warning", "critical"


@dataclass
class Check:
    id: str
    node: str
    name: str
    status: str
    kind: str = ""
    notes: str = ""
    output: str = ""
    service_id: str = ""
    service_name: str = ""
    ttl_seconds: float = 0
    due: float | None = None
    create_index: int = 0
    modify_index: int = 0

    def describe(self) -> dict[str, Any]:
        return {
            "Node": self.node,
            "CheckID": self.id,
            "Name": self.name,
            "Status": self.status,
            "Notes": self.notes,
            "Output": self.output,
            "ServiceID": self.service_id,
            "ServiceName": self.service_name,
            "ServiceTags": [],
            "Type": self.kind,
            "Definition": {},
            "CreateIndex": self.create_index,
            "ModifyIndex": self.modify_index,
        }


@dataclass
class Service:
    id: str
    name: str
    tags: list[str]
    address: str
    port: int
    meta: dict[str, str]
    weights: dict[str, int]
    enable_tag_override: bool = False
    create_index: int = 0
    modify_index: int = 0

    def describe(self) -> dict[str, Any]:
        return {
            "ID": self.id,
            "Service": self.name,
            "Tags": self.tags,
            "Address": self.address,
            "Port": self.port,
            "Meta": self.meta,
            "Weights": self.weights,
            "EnableTagOverride": self.enable_tag_override,
            "CreateIndex": self.create_index,
            "ModifyIndex": self.modify_index,
        }


@dataclass
class Node:
    name: str
    address: str
    datacenter: str
    meta: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    services: dict[str, Service] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    create_index: int = 0
    modify_index: int = 0

    def describe(self) -> dict[str, Any]:
        return {
            "ID": self.id,
            "Node": self.name,
            "Address": self.address,
            "Datacenter": self.datacenter,
            "TaggedAddresses": {"lan": self.address, "wan": self.address},
            "Meta": self.meta,
            "CreateIndex": self.create_index,
            "ModifyIndex": self.modify_index,
        }


class Catalog:
    """All nodes; `own` is the agent that serves the API."""

    def __init__(self, store: Store, *, node: str, datacenter: str, address: str) -> None:
        self._store = store
        self.datacenter = datacenter
        self.own = Node(node, address, datacenter)
        self.nodes = {node: self.own}
        self._touch(self.own, "")
        self._keep_check(
            self.own,
            Check(
                "serfHealth",
                node,
                "Serf Health Status",
                PASSING,
                output="Agent alive and reachable",
            ),
        )

    # -- registration

    def register(self, body: dict[str, Any]) -> None:
        """Register a node with its service and checks, from a catalog/register body in lower-case
        keys.

        Raises ConsulError.
        """
        name, address = str(body.get("node") or ""), str(body.get("address") or "")
        if not name or not address:
            raise ConsulError(400, "Must provide node and address")
        node = self.nodes.setdefault(name, Node(name, address, self.datacenter))
        node.address = address
        node.meta = dict(body.get("nodemeta") or node.meta)
        self._touch(node, "")
        if body.get("service"):
            self.add_service(node, lowered(body["service"]))
        for check in [*([body["check"]] if body.get("check") else []), *(body.get("checks") or [])]:
            self.add_check(node, lowered(check))

    def deregister(self, body: dict[str, Any]) -> None:
        """Take out a service, a check or a whole node. Raises ConsulError without a node's name."""
        if not body.get("node"):
            raise ConsulError(400, "Must provide node")
        node = self.nodes.get(str(body["node"]))
        if not node:
            return
        if body.get("serviceid"):
            self.remove_service(node, str(body["serviceid"]))
        elif body.get("checkid"):
            self.remove_check(node, str(body["checkid"]))
        elif node is not self.own:
            for service_id in list(node.services):
                self.remove_service(node, service_id)
            del self.nodes[node.name]
            self._store.change("catalog", "")
            self._store.destroy_sessions_of(node.name)

    def add_service(self, node: Node, body: dict[str, Any]) -> Service:
        """Add or replace a service, and its checks, from a body in lower-case keys. Raises
        ConsulError.
        """
        name = str(body.get("name") or body.get("service") or "")
        if not name:
            raise ConsulError(400, "Missing service name")
        service = Service(
            id=str(body.get("id") or name),
            name=name,
            tags=[str(tag) for tag in body.get("tags") or []],
            address=str(body.get("address") or ""),
            port=int(body.get("port") or 0),
            meta={str(key): str(value) for key, value in (body.get("meta") or {}).items()},
            weights=body.get("weights") or {"Passing": 1, "Warning": 1},
            enable_tag_override=bool(body.get("enabletagoverride")),
        )
        old = node.services.get(service.id)
        service.modify_index = self._touch(node, service.name)
        service.create_index = old.create_index if old else service.modify_index
        node.services[service.id] = service
        checks = [*([body["check"]] if body.get("check") else []), *(body.get("checks") or [])]
        for number, check in enumerate(checks, start=1):
            default_id = f"service:{service.id}" + (f":{number}" if len(checks) > 1 else "")
            self.add_check(
                node,
                {
                    "id": default_id,
                    "name": f"Service '{name}' check",
                    **lowered(check),
                    "serviceid": service.id,
                },
            )
        return service

    def remove_service(self, node: Node, service_id: str) -> bool:
        service = node.services.pop(service_id, None)
        if service:
            for check in [
                check for check in node.checks.values() if check.service_id == service_id
            ]:
                del node.checks[check.id]
            self._touch(node, service.name)
        return service is not None

    def add_check(self, node: Node, body: dict[str, Any]) -> Check:
        """Add or replace a check from a body in lower-case keys. Raises ConsulError."""
        name = str(body.get("name") or "")
        check_id = str(body.get("checkid") or body.get("id") or name)
        if not check_id:
            raise ConsulError(400, "Missing check name")
        service_id = str(body.get("serviceid") or "")
        if service_id and service_id not in node.services:
            raise ConsulError(500, f'ServiceID "{service_id}" does not exist')
        ttl = parse_duration(str(body["ttl"])) if body.get("ttl") else 0
        kinds = [kind for kind in ("ttl", "http", "tcp", "grpc", "udp") if body.get(kind)] or [
            "script"
        ] * bool(body.get("args"))
        status = str(body.get("status") or CRITICAL)
        if status not in (PASSING, WARNING, CRITICAL):
            raise ConsulError(400, "Bad check status")
        check = Check(
            id=check_id,
            node=node.name,
            name=name or check_id,
            status=status,
            kind=kinds[0] if kinds else "",
            notes=str(body.get("notes") or ""),
            output=str(body.get("output") or ""),
            service_id=service_id,
            service_name=node.services[service_id].name if service_id else "",
            ttl_seconds=ttl,
            due=self._store.clock() + ttl if ttl and status != CRITICAL else None,
        )
        return self._keep_check(node, check)

    def remove_check(self, node: Node, check_id: str) -> bool:
        check = node.checks.pop(check_id, None)
        if check:
            self._touch(node, check.service_name)
            self._store.destroy_sessions_of(node.name, check_id)
        return check is not None

    def report(self, check_id: str, status: str, output: str) -> None:
        """Take a TTL check's report. Raises ConsulError for a check that is not there or is not of
        TTL kind.
        """
        check = self.own.checks.get(check_id)
        if not check:
            raise ConsulError(
                404,
                f'Unknown check ID "{check_id}". Ensure that the check ID is passed, not the check name.',
            )
        if not check.ttl_seconds:
            raise ConsulError(500, f'CheckID "{check_id}" does not have associated TTL')
        check.due = self._store.clock() + check.ttl_seconds if status != CRITICAL else None
        self._set_status(self.own, check, status, output)

    def expire(self) -> None:
        """Turn TTL checks that were not renewed in time critical."""
        now = self._store.clock()
        for node in self.nodes.values():
            for check in node.checks.values():
                if check.due is not None and check.due <= now:
                    check.due = None
                    self._set_status(node, check, CRITICAL, "TTL expired")

    def _set_status(self, node: Node, check: Check, status: str, output: str) -> None:
        changed = check.status != status or check.output != output
        check.status, check.output = status, output
        if changed:
            check.modify_index = self._touch(node, check.service_name)
        if status == CRITICAL:
            self._store.destroy_sessions_of(node.name, check.id)

    def _keep_check(self, node: Node, check: Check) -> Check:
        old = node.checks.get(check.id)
        check.modify_index = self._touch(node, check.service_name)
        check.create_index = old.create_index if old else check.modify_index
        node.checks[check.id] = check
        return check

    def _touch(self, node: Node, service_name: str) -> int:
        index = self._store.change("catalog", service_name)
        node.modify_index = index
        node.create_index = node.create_index or index
        return index

    # -- looking

    def index(self) -> int:
        return self._store.table_index.get("catalog", self._store.index)

    def service_tags(self) -> dict[str, list[str]]:
        tags: dict[str, set[str]] = {"consul": set()}
        for node in self.nodes.values():
            for service in node.services.values():
                tags.setdefault(service.name, set()).update(service.tags)
        return {name: sorted(found) for name, found in sorted(tags.items())}

    def instances(self, name: str, tags: list[str]) -> list[tuple[Node, Service]]:
        """Where a service runs, with all of these tags."""
        return [
            (node, service)
            for node in self.nodes.values()
            for service in node.services.values()
            if service.name == name and set(tags) <= set(service.tags)
        ]

    @staticmethod
    def checks_of(node: Node, service: Service) -> list[Check]:
        """The checks that decide about an instance: its own and its node's."""
        return [check for check in node.checks.values() if check.service_id in ("", service.id)]


def catalog_service(node: Node, service: Service) -> dict[str, Any]:
    """An instance as catalog/service/NAME shows it."""
    described = {
        key: value
        for key, value in node.describe().items()
        if key not in ("Meta", "CreateIndex", "ModifyIndex")
    }
    return {
        **described,
        "NodeMeta": node.meta,
        "ServiceID": service.id,
        "ServiceName": service.name,
        "ServiceTags": service.tags,
        "ServiceAddress": service.address,
        "ServicePort": service.port,
        "ServiceMeta": service.meta,
        "ServiceWeights": service.weights,
        "ServiceEnableTagOverride": service.enable_tag_override,
        "CreateIndex": service.create_index,
        "ModifyIndex": service.modify_index,
    }


def lowered(body: Any) -> dict[str, Any]:
    """A body's fields under lower-case names without underscores, as Consul reads them whatever
    their case.

    Raises ConsulError.
    """
    if not isinstance(body, dict):
        raise ConsulError(400, "Request decode failed: expected an object")
    return {str(key).lower().replace("_", ""): value for key, value in body.items()}
