"""Where a listener listens and what it bears. Each sensor that listens has such a section of its
own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Mapping, Optional

from kubestorm.core.errors import DefinitionError

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class ListenerSettings:
    """One address. The schema's block is the same for all (`registries.listener` in
    config.schema.yaml).
    """

    host: str = "127.0.0.1"
    """Loopback unless the operator says otherwise: what listens to all should be behind TLS."""
    port: int = 0
    """0 lets the system choose, for tests; the log names it."""
    certificate_file: Optional[str] = None
    """PEM, with the chain. Given together with key_file, the listener speaks TLS; both are read
    again when changed.
    """
    key_file: Optional[str] = None
    max_body_bytes: int = MEBIBYTE
    """Larger bodies are refused (413); a push event has a few KB."""
    max_header_bytes: int = 32 * 1024
    max_connections: int = 512
    """When there are more, the one that has kept silent the longest is closed."""
    request_seconds: float = 15.0
    """A request has to be here as a whole within this time after its first byte (408)."""
    idle_seconds: float = 75.0
    """How long a connection may stay open between requests."""
    health_path: str = "/healthz"
    """GET here shows what was received and refused, as counts."""

    @classmethod
    def from_config(cls, section: Optional[Mapping[str, Any]], *, field: str) -> ListenerSettings:
        """Read a section; `field` is its path for errors. Raises DefinitionError naming the key
        that is wrong.
        """
        known = {item.name: item for item in fields(cls)}
        values = {
            key: value for key, value in (section or {}).items() if value not in (None, {}, [], "")
        }
        for key, value in values.items():
            if key not in known:
                raise DefinitionError(
                    f"{field} has no setting {key}; there are {', '.join(known)}.",
                    field=f"{field}.{key}",
                )
            _check(value, cls.__dict__.get(key), f"{field}.{key}")
        settings = cls(**values)
        if bool(settings.certificate_file) != bool(settings.key_file):
            raise DefinitionError(
                f"{field} needs both certificate_file and key_file to speak TLS.",
                field=f"{field}.certificate_file",
            )
        if not settings.health_path.startswith("/"):
            raise DefinitionError(
                f"{field}.health_path begins with a slash.", field=f"{field}.health_path"
            )
        return settings


def _check(value: Any, default: Any, field: str) -> None:
    if isinstance(default, (int, float)):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        least = 0 if field.endswith(".port") else 1
        if not is_number or value < least or (isinstance(default, int) and value != int(value)):
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise DefinitionError(
                f"{field} is {kind} of {least} or more (found: {value!r}).", field=field
            )
        if field.endswith(".port") and value > 65535:
            raise DefinitionError(f"{field} is at most 65535 (found: {value!r}).", field=field)
    elif not isinstance(value, str):
        raise DefinitionError(f"{field} is a text (found: {value!r}).", field=field)
