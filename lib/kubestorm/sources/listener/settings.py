"""Where a listener listens and what it bears. Each sensor that listens has such a section of its
own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import read_section, setting

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class ListenerSettings:
    """One address. The schema's block is the same for all (`registries.listener` in
    config.schema.yaml).
    """

    host: str = "127.0.0.1"
    """Loopback unless the operator says otherwise: what listens to all should be behind TLS."""
    port: int = setting(0, most=65535)
    """0 lets the system choose, for tests; the log names it."""
    certificate_file: Optional[str] = None
    """PEM, with the chain. Given together with key_file, the listener speaks TLS; both are read
    again when changed.
    """
    key_file: Optional[str] = None
    """PEM file with the certificate's key."""
    max_body_bytes: int = setting(MEBIBYTE, least=1)
    """Larger bodies are refused (413); a push event has a few KB."""
    max_header_bytes: int = setting(32 * 1024, least=1)
    """Longer headers are refused."""
    max_connections: int = setting(512, least=1)
    """Above this, the connection that has been idle the longest is closed."""
    request_seconds: float = setting(15.0, least=1)
    """A request has to be here as a whole within this time after its first byte (408)."""
    idle_seconds: float = setting(75.0, least=1)
    """How long a connection may stay open between requests."""
    health_path: str = "/healthz"
    """GET here shows what was received and refused, as counts."""

    @classmethod
    def from_config(cls, section: Optional[Mapping[str, Any]], *, field: str) -> ListenerSettings:
        """Read a section; `field` is its path for errors. Raises DefinitionError naming the key
        that is wrong.
        """
        return read_section(cls, section, field)

    def validate(self, where: str) -> None:
        if bool(self.certificate_file) != bool(self.key_file):
            raise DefinitionError(
                f"{where} needs both certificate_file and key_file to speak TLS.",
                field=f"{where}.certificate_file",
            )
        if not self.health_path.startswith("/"):
            raise DefinitionError(
                f"{where}.health_path begins with a slash.", field=f"{where}.health_path"
            )
