"""The `slack` section of the pack's configuration: where credentials are found, never what they
are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import invalid_setting, read_section

OFF, HTTP, SOCKET = "off", "http", "socket"
MODES = (OFF, HTTP, SOCKET)


@dataclass(frozen=True)
class SlackSettings:
    mode: str = OFF
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
    signing_secret_file: str = ""
    """For http: file with the app's signing secret."""
    signing_secret_vault: str = ""
    host: str = "127.0.0.1"
    """Where the listener listens; something that ends TLS stands before it."""
    port: int = 8085
    base_url: str = "https://slack.com/api/"
    """Slack's Web API; a stand-in or a proxy elsewhere."""
    ca_file: str = ""
    timeout_seconds: float = 10.0
    teams: Tuple[str, ...] = ()
    """Ids of the workspaces that may ask; empty is any that holds the signing secret."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SlackSettings:
        """Raises DefinitionError naming the key that is wrong. No file is read."""
        settings = read_section(cls, config.get("slack"), "slack")
        if settings.mode not in MODES:
            raise invalid_setting("slack.mode", f"one of {', '.join(MODES)}", settings.mode)
        settings.check()
        return settings

    def check(self) -> None:
        """Whether a mode has the credentials that it needs."""
        if self.mode != OFF and not (self.bot_token_file or self.bot_token_vault):
            raise _wrong(
                "bot_token_file", f"is needed with mode {self.mode}: the file with the token xoxb-…"
            )
        if self.mode == HTTP and not (self.signing_secret_file or self.signing_secret_vault):
            raise _wrong(
                "signing_secret_file", "is needed with mode http: what Slack calls Signing Secret"
            )
        if self.mode == SOCKET and not (self.app_token_file or self.app_token_vault):
            raise _wrong("app_token_file", "is needed with mode socket: the app-level token xapp-…")


def _wrong(key: str, what: str) -> DefinitionError:
    return DefinitionError(f"slack.{key} of the pack configuration {what}.", field=f"slack.{key}")
