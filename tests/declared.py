"""Registries as the configuration declares them, from short entries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

OF_HOST = ("host", "insecure_http", "ca_file", "url", "credentials")


def section(entries: Iterable[dict[str, Any]], default: str = "") -> dict[str, Any]:
    """The section `registries`: entries of one host become its `access`, in their order."""
    hosts: dict[str, dict[str, Any]] = {}
    for entry in entries:
        host = {key: value for key, value in entry.items() if key in OF_HOST}
        access = {key: value for key, value in entry.items() if key not in OF_HOST}
        whole = hosts.setdefault(entry["host"], {**host, "access": []})
        whole["access"].append(access or {"namespaces": ["*"]})
    return {"default": default, "hosts": list(hosts.values())}
