"""The `descriptor` section of the pack's configuration: the standard of each type of
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
    """The standard of one type: its images, port, health check and resources."""

    base_image: str
    """The base image, for instance registry.example.com/base/java:17."""
    build_image: Optional[str] = None
    """Where the build steps run; not set: the base image itself."""
    port: int = 8080
    """The port that its services listen on."""
    health: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_HEALTH))
    """As `spec.health` of an Application."""
    resources: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_RESOURCES))
    """As `spec.resources` of an Application."""
    command: Tuple[str, ...] = ()
    """The container's command; `{name}` is replaced with the service's name. Empty: the image's
    own.
    """


@dataclass(frozen=True)
class DescriptorSettings:
    """What operations decide for each type of application that a default.json may name."""

    types: Mapping[str, TypeSettings] = field(default_factory=dict)
    """By the values of `application.type`."""
    shell: Tuple[str, ...] = ("/bin/sh", "-ec")
    """Runs a build step that is a command line."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DescriptorSettings:
        """Raises DefinitionError naming the key that is wrong."""
        return read_section(cls, config.get("descriptor"), "descriptor")
