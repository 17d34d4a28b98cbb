"""The `descriptor` section of the pack's configuration: what operations decide for each type of
application.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple

from kubestorm.core.sections import read_section

DEFAULT_HEALTH: Mapping[str, Any] = {"http": {"path": "/healthz"}}
DEFAULT_RESOURCES: Mapping[str, Any] = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
}


@dataclass(frozen=True)
class TypeSettings:
    """The standard of one type: what it is built with, what it stands on, and how it is known to be
    well.
    """

    base_image: str
    """What the image stands on, for instance registry.example.com/base/java:17."""
    build_image: Optional[str] = None
    """Where the build steps run; not set: the base image itself."""
    port: int = 8080
    """The port that its services listen on."""
    health: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_HEALTH))
    """As `spec.health` of an Application."""
    resources: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_RESOURCES))
    """As `spec.resources` of an Application."""
    command: Tuple[str, ...] = ()
    """What runs, where the base image does not say; `{name}` is the service's."""


@dataclass(frozen=True)
class DescriptorSettings:
    """What operations decide for each type of application that a default.json may name."""

    types: Mapping[str, TypeSettings] = field(default_factory=dict)
    """Name of a type, as `application.type` says it."""
    shell: Tuple[str, ...] = ("/bin/sh", "-ec")
    """What runs a build step that is one line."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DescriptorSettings:
        """Raises DefinitionError naming the key that is wrong."""
        return read_section(cls, config.get("descriptor"), "descriptor")
