"""Readers of what registries send: from headers and parsed body to the images that were pushed.
Pure.

Each reader passes over what is no push of a manifest (blobs, mounts, deletions, pings) and raises
DefinitionError for what cannot be an event of its registry at all.
"""

from __future__ import annotations

from typing import Any, Callable, List, Mapping, NamedTuple, Tuple

from kubestorm.sources.registry.pushed import PushedImage
from kubestorm.sources.registry.readers import (
    azure,
    distribution,
    dockerhub,
    ecr,
    github,
    google,
    harbor,
    quay,
)

Reader = Callable[[Mapping[str, str], Any], List[PushedImage]]
JSON = ("application/json",)


class SourceType(NamedTuple):
    """How events of one kind of registry are read, and as what they come."""

    read: Reader
    content_types: Tuple[str, ...] = JSON
    methods: Tuple[str, ...] = ("POST",)


TYPES: Mapping[str, SourceType] = {
    "distribution": SourceType(distribution.read, (*distribution.CONTENT_TYPES, *JSON)),
    "gitlab": SourceType(distribution.read, (*distribution.CONTENT_TYPES, *JSON)),
    "harbor": SourceType(harbor.read, (*JSON, "application/cloudevents+json")),
    "dockerhub": SourceType(dockerhub.read),
    "quay": SourceType(quay.read),
    "ghcr": SourceType(github.read),
    "acr": SourceType(azure.read, (*JSON, *azure.CLOUD_EVENTS), azure.METHODS),
    "ecr": SourceType(ecr.read),
    "artifact_registry": SourceType(google.read),
}
