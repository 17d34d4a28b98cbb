"""The `descriptor` section of the pack's configuration: what operations decide for each type of application."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, Mapping, Optional, Tuple

from kubestorm.errors import DefinitionError

DEFAULT_HEALTH: Mapping[str, Any] = {"http": {"path": "/healthz"}}
DEFAULT_RESOURCES: Mapping[str, Any] = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
}


@dataclass(frozen=True)
class TypeSettings:
    """The standard of one type: what it is built with, what it stands on, and how it is known to be well."""

    base_image: str = ""
    """What the image stands on, for instance registry.example.com/base/java:17."""
    build_image: Optional[str] = None
    """Where the build steps run; None is the base image itself."""
    port: int = 8080
    health: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_HEALTH))
    """As `spec.health` of an Application."""
    resources: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_RESOURCES))
    """As `spec.resources` of an Application."""
    command: Tuple[str, ...] = ()
    """What runs, where the base image does not say; `{name}` is the service's."""


@dataclass(frozen=True)
class DescriptorSettings:
    types: Mapping[str, TypeSettings] = field(default_factory=dict)
    """Name of a type, as `application.type` says it."""
    shell: Tuple[str, ...] = ("/bin/sh", "-ec")
    """What runs a build step that is one line."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DescriptorSettings:
        """Raises DefinitionError naming the key that is wrong."""
        section = config.get("descriptor") or {}
        unknown = sorted(set(section) - {item.name for item in fields(cls)})
        if unknown:
            raise DefinitionError(f"descriptor has no setting {unknown[0]}.", field=f"descriptor.{unknown[0]}")
        types = {name: _type(name, raw) for name, raw in (section.get("types") or {}).items()}
        return cls(types=types, shell=tuple(section.get("shell") or cls.shell))


def _type(name: str, raw: Optional[Mapping[str, Any]]) -> TypeSettings:
    where = f"descriptor.types.{name}"
    values: Dict[str, Any] = {key: value for key, value in (raw or {}).items() if value not in (None, {}, [], "")}
    known = [item.name for item in fields(TypeSettings)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        message = f"{where} has no setting {unknown[0]}; there are {', '.join(known)}."
        raise DefinitionError(message, field=f"{where}.{unknown[0]}")
    if not values.get("base_image"):
        raise DefinitionError(f"{where} needs base_image: what its images stand on.", field=f"{where}.base_image")
    return TypeSettings(**{**values, "command": tuple(values.get("command") or ())})
