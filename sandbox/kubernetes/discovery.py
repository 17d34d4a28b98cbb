"""What the server says it serves: /api, /apis, /apis/GROUP, /apis/GROUP/VERSION."""

from __future__ import annotations

from typing import Any

from sandbox.kubernetes.resources import REVIEWS, Catalog, Resource

Json = dict[str, Any]

# The version is that of the API the table of kinds mirrors; the part after the plus sign says who
# answers.
VERSION: Json = {
    "major": "1", "minor": "29", "gitVersion": "v1.29.0+kubestorm.sandbox", "gitCommit": "0", "gitTreeState": "clean",
    "buildDate": "2024-01-01T00:00:00Z", "goVersion": "none", "compiler": "python", "platform": "linux/amd64",
}  # fmt: skip

_SUBRESOURCE_VERBS = {
    "status": ("get", "patch", "update"), "scale": ("get", "patch", "update"), "log": ("get",), "binding": ("create",),
    "eviction": ("create",), "token": ("create",), "finalize": ("update",),
    "ephemeralcontainers": ("get", "patch", "update"),
}  # fmt: skip
_SUBRESOURCE_KINDS: dict[str, Json] = {
    "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
    "eviction": {"group": "policy", "version": "v1", "kind": "Eviction"},
    "binding": {"kind": "Binding"},
    "token": {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"},
}


def api_versions(address: str) -> Json:
    """`/api`."""
    where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where}


def _group(name: str, versions: list[str]) -> Json:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def api_groups(catalog: Catalog) -> Json:
    """`/apis`."""
    groups = [_group(name, versions) for name, versions in catalog.groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(catalog: Catalog, name: str) -> Json | None:
    """`/apis/GROUP`."""
    versions = catalog.groups().get(name)
    return (
        {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}
        if name and versions
        else None
    )


def api_resources(catalog: Catalog, group: str, version: str) -> Json | None:
    """`/api/v1` and `/apis/GROUP/VERSION`; None when nothing is served there."""
    listed: list[Json] = []
    for row in sorted(catalog.rows(), key=lambda row: row.plural):
        if row.group == group and version in row.versions:
            listed += _entries(row, version)
    if not listed:
        return None
    name = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": name,
        "resources": listed,
    }


def _entries(row: Resource, version: str) -> list[Json]:
    main: Json = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
    }
    main["verbs"] = list(row.verbs)
    if row.short_names:
        main["shortNames"] = list(row.short_names)
    if row.categories:
        main["categories"] = list(row.categories)
    if row.plural not in REVIEWS:
        main["storageVersionHash"] = "sandbox"
    subresources = sorted(name for name in _SUBRESOURCE_VERBS if row.has(name, version))
    return [main, *(_subresource(row, name) for name in subresources)]


def _subresource(row: Resource, name: str) -> Json:
    kind = _SUBRESOURCE_KINDS.get(name, {"kind": row.kind})
    entry = {
        "name": f"{row.plural}/{name}",
        "singularName": "",
        "namespaced": row.namespaced,
        **kind,
    }
    return {**entry, "verbs": list(_SUBRESOURCE_VERBS[name])}
