"""Cluster IPs and node ports of Services, handed out in order and never twice while the server
runs.
"""

from __future__ import annotations

from typing import Any

from sandbox.kubernetes.errors import invalid, wrong

Json = dict[str, Any]

_FIRST_NODE_PORT, _LAST_NODE_PORT = 30000, 32767


class Addresses:
    """What Services have been given. 10.96.0.0/16, the first address left to the API server itself."""

    def __init__(self) -> None:
        self._next_address = 10
        self._next_port = _FIRST_NODE_PORT
        self._ports: set[int] = set()

    def assign(self, service: Json, old: Json | None = None) -> None:
        """Fill in a Service's cluster IP and node ports where they are wanted, in place."""
        spec = service["spec"]
        before = (old or {}).get("spec") or {}
        if spec.get("type") != "ExternalName":
            spec.setdefault("clusterIP", before.get("clusterIP") or self._address())
            spec.setdefault("clusterIPs", [spec["clusterIP"]])
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            known = {
                (port.get("name"), port.get("port")): port.get("nodePort")
                for port in before.get("ports") or []
            }
            for port in spec.get("ports") or []:
                if not port.get("nodePort"):
                    port["nodePort"] = (
                        known.get((port.get("name"), port.get("port"))) or self._port()
                    )
                elif port["nodePort"] not in known.values():
                    self._claim(service, port["nodePort"])

    def _address(self) -> str:
        self._next_address += 1
        return f"10.96.{self._next_address >> 8}.{self._next_address & 255}"

    def _port(self) -> int:
        while self._next_port in self._ports:
            self._next_port += 1
        self._ports.add(self._next_port)
        return self._next_port

    def _claim(self, service: Json, port: int) -> None:
        name = service["metadata"]["name"]
        if not _FIRST_NODE_PORT <= port <= _LAST_NODE_PORT:
            valid = f"{_FIRST_NODE_PORT}-{_LAST_NODE_PORT}"
            why = f"provided port is not in the valid range. The range of valid ports is {valid}"
            raise invalid("", "Service", name, [wrong("spec.ports[0].nodePort", port, why)])
        if port in self._ports:
            raise invalid(
                "",
                "Service",
                name,
                [wrong("spec.ports[0].nodePort", port, "provided port is already allocated")],
            )
        self._ports.add(port)
