"""Where a listener listens and what it bears. Each sensor that listens has such a section of its
own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Mapping, Optional

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import invalid_setting, read_section

MEBIBYTE = 1024 * 1024
MAX_PORT = 65535


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
        settings = read_section(cls, section, field)
        for item in fields(cls):
            value = getattr(settings, item.name)
            if item.name != "port" and isinstance(value, (int, float)) and value < 1:
                raise invalid_setting(f"{field}.{item.name}", "a number of 1 or more", value)
        if settings.port > MAX_PORT:
            raise invalid_setting(f"{field}.port", f"at most {MAX_PORT}", settings.port)
        if bool(settings.certificate_file) != bool(settings.key_file):
            raise DefinitionError(
                f"{field} needs both certificate_file and key_file to speak TLS.",
                field=f"{field}.certificate_file",
            )
        if not settings.health_path.startswith("/"):
            raise invalid_setting(
                f"{field}.health_path", "a path that begins with a slash", settings.health_path
            )
        return settings
