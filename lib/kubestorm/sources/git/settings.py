"""Where push webhooks are received: `build.webhooks` of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import read_section, section_values

SECTION = "build.webhooks"
KINDS = ("github", "gitea", "gitlab")


@dataclass(frozen=True)
class HookSettings:
    """One door for push webhooks of a git server."""

    name: str = ""
    """The last part of its path: /git/NAME."""
    kind: str = "github"
    """`github`, `gitea` or `gitlab`."""
    secret_file: Optional[str] = None
    """File with the shared secret (GitHub, Gitea) or the token (GitLab)."""
    vault_path: Optional[str] = None
    """Or where in Vault its field `secret` is."""


@dataclass(frozen=True)
class WebhooksSettings:
    """Where push webhooks are received. Without `hooks` nothing listens."""

    listener: Mapping[str, Any] = field(default_factory=dict)
    """As it came: the listener's own settings are read where it is made, since actions need no
    listener.
    """
    hooks: Tuple[HookSettings, ...] = ()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> WebhooksSettings:
        """Raises DefinitionError naming the key that is wrong."""
        section = section_values(
            section_values(config.get("build"), "build").get("webhooks"), SECTION
        )
        section["hooks"] = tuple(
            _hook(item, f"{SECTION}.hooks[{index}]")
            for index, item in enumerate(section.get("hooks") or ())
        )
        return read_section(cls, section, SECTION)


def _hook(raw: Any, where: str) -> HookSettings:
    hook = read_section(HookSettings, raw, where)
    if hook.kind not in KINDS:
        raise DefinitionError(
            f"{where}.kind must be one of {', '.join(KINDS)}, not {hook.kind!r}.",
            field=f"{where}.kind",
        )
    if not hook.name or bool(hook.secret_file) == bool(hook.vault_path):
        raise DefinitionError(
            f"{where} needs a name, and either secret_file or vault_path.", field=where
        )
    return hook
