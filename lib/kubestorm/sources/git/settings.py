"""Where push webhooks are received: `build.webhooks` of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import read_section, section_values, setting

SECTION = "build.webhooks"
KINDS = ("github", "gitea", "gitlab")


@dataclass(frozen=True)
class HookSettings:
    """One endpoint for push webhooks of a git server."""

    name: str = ""
    """The last part of its path: /git/NAME."""
    kind: str = setting("github", one_of=KINDS)
    """`github`, `gitea` or `gitlab`."""
    secret_file: Optional[str] = None
    """File with the shared secret (GitHub, Gitea) or the token (GitLab)."""
    vault_path: Optional[str] = None
    """Path in Vault, without the mount, of a secret with the field `secret`."""

    def validate(self, where: str) -> None:
        if not self.name or bool(self.secret_file) == bool(self.vault_path):
            raise DefinitionError(
                f"{where} needs a name, and either secret_file or vault_path.", field=where
            )


@dataclass(frozen=True)
class WebhooksSettings:
    """Where push webhooks are received. Without `hooks` there is no listener."""

    listener: Mapping[str, Any] = field(default_factory=dict)
    """Unparsed: the listener's settings are read where it is created."""
    hooks: Tuple[HookSettings, ...] = ()
    """One for each git server."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> WebhooksSettings:
        """Raises DefinitionError naming the key that is wrong."""
        section = section_values(config.get("build"), "build")
        return read_section(cls, section.get("webhooks"), SECTION)
