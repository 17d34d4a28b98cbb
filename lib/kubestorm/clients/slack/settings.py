"""The `slack` section of the pack's configuration: where credentials are found, never what they
are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import read_section, setting

OFF, HTTP, SOCKET = "off", "http", "socket"
MODES = (OFF, HTTP, SOCKET)


@dataclass(frozen=True)
class SlackSettings:
    """Slack without a bot between. Credentials are in files or in Vault, never here."""

    mode: str = setting(OFF, one_of=MODES)
    """`http`: Slack calls the listener; `socket`: Socket Mode, where it cannot; `off`: nobody
    listens.
    """
    bot_token_file: str = ""
    """File with the token that begins with xoxb-."""
    bot_token_vault: str = ""
    """The same in Vault, as PATH#KEY below the configured mount."""
    app_token_file: str = ""
    """For Socket Mode: file with the token that begins with xapp-."""
    app_token_vault: str = ""
    """The same in Vault, as PATH#KEY."""
    signing_secret_file: str = ""
    """For http: file with the app's signing secret."""
    signing_secret_vault: str = ""
    """The same in Vault, as PATH#KEY."""
    host: str = "127.0.0.1"
    """Where the listener listens; something that ends TLS stands before it."""
    port: int = 8085
    """For http, the port."""
    base_url: str = "https://slack.com/api/"
    """Slack's Web API; a stand-in or a proxy elsewhere."""
    ca_file: str = ""
    """Path of a file with the certificate authorities to trust for it."""
    timeout_seconds: float = 10.0
    """Seconds to wait for its answer."""
    teams: Tuple[str, ...] = ()
    """Ids of the workspaces that may ask; empty is any that holds the signing secret."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SlackSettings:
        """Raises DefinitionError naming the key that is wrong. No file is read."""
        return read_section(cls, config.get("slack"), "slack")

    def validate(self, where: str) -> None:
        for mode, key, what in (
            (self.mode, "bot_token", "the token xoxb-…"),
            (HTTP, "signing_secret", "what Slack calls Signing Secret"),
            (SOCKET, "app_token", "the app-level token xapp-…"),
        ):
            given = getattr(self, f"{key}_file") or getattr(self, f"{key}_vault")
            if self.mode == mode != OFF and not given:
                raise DefinitionError(
                    f"{where}.{key}_file is needed with mode {mode}: the file with {what}.",
                    field=f"{where}.{key}_file",
                )
