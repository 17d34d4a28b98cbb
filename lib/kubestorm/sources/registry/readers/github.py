"""GitHub's container registry, by the events `package` and `registry_package`; both may be sent for
one push.

Source: GitHub's docs, "Webhook events and payloads".
"""

from __future__ import annotations

from typing import Any, List, Mapping
from urllib.parse import unquote

from kubestorm.core.image_names import split_reference
from kubestorm.core.times import parse_timestamp
from kubestorm.sources.registry.pushed import PushedImage, identity, mapping, text

HOST = "ghcr.io"
EVENTS = ("package", "registry_package")
ACTIONS = ("published", "updated")


def read(headers: Mapping[str, str], body: Any) -> List[PushedImage]:
    """One version of one package. What the header names as another event (ping, push) is passed
    over.
    """
    body = mapping(body)
    if headers.get("x-github-event", EVENTS[0]) not in EVENTS:
        return []
    package = body.get("package") if "package" in body else body.get("registry_package")
    if text(body, "action", required=True) not in ACTIONS:
        return []
    package = mapping(package, what="package or registry_package")
    if "container" not in (
        text(package, "package_type").lower(),
        text(package, "ecosystem").lower(),
    ):
        return []
    version = mapping(package, "package_version")
    manifest = mapping(version, "container_metadata").get("manifest") or {}
    tag = text(version, "container_metadata", "tag", "name")
    digest = (
        text(version, "container_metadata", "tag", "digest")
        or text(manifest, "digest")
        or text(version, "version", required=True)
    )
    host, repository = _name(package, version)
    when = version.get("updated_at") or version.get("created_at")
    return [
        PushedImage(
            registry=host,
            repository=repository,
            tag=tag,
            digest=digest,
            media_type=text(manifest, "media_type"),
            pushed_at=parse_timestamp(when),
            actor=text(body, "sender", "login"),
            event_id=identity("ghcr", host, repository, tag, digest, str(when)),
        )
    ]


def _name(package: Mapping[str, Any], version: Mapping[str, Any]) -> List[str]:
    """Registry and repository from the address that people pull, or else from owner and name."""
    name, _, _ = split_reference(text(version, "package_url").rstrip(":"))
    host, _, repository = name.partition("/")
    if repository:
        return [host, repository.lower()]
    owner = text(package, "namespace") or text(package, "owner", "login", required=True)
    return [HOST, f"{owner}/{unquote(text(package, 'name', required=True))}".lower()]
