"""Slack's tokens and signing secret, from the files or Vault paths that the configuration names. Read when needed."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from kubestorm.errors import DefinitionError
from kubestorm.secrets import Secret
from kubestorm.settings import Settings
from kubestorm.slack.settings import SlackSettings
from kubestorm.vault import VaultStore

Read = Callable[[], Secret]


class Credentials:
    """Each is read anew for each use, so that a token that was replaced is used from then on."""

    def __init__(self, settings: SlackSettings, vault: Callable[[], VaultStore]) -> None:
        self._settings, self._vault = settings, vault

    @classmethod
    def of(cls, settings: Settings) -> Credentials:
        """By the pack's configuration."""
        return cls(SlackSettings.from_config(settings.raw), lambda: VaultStore(settings.vault))

    def bot_token(self) -> Secret:
        """The token of the bot user (xoxb-…)."""
        return self._read("bot_token", self._settings.bot_token_file, self._settings.bot_token_vault)

    def app_token(self) -> Secret:
        """The app-level token for Socket Mode (xapp-…)."""
        return self._read("app_token", self._settings.app_token_file, self._settings.app_token_vault)

    def signing_secret(self) -> Secret:
        """What Slack signs its requests with."""
        return self._read("signing_secret", self._settings.signing_secret_file, self._settings.signing_secret_vault)

    def _read(self, what: str, file: str, vault: str) -> Secret:
        if file:
            try:
                text = Path(file).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is no text"
                raise DefinitionError(
                    f"slack.{what}_file {file} cannot be read: {why}.", field=f"slack.{what}_file"
                ) from error
            if not text:
                raise DefinitionError(f"slack.{what}_file {file} is empty.", field=f"slack.{what}_file")
            return Secret(text)
        if vault:
            path, _, key = vault.partition("#")
            return self._vault().read_value(path, key or what)
        raise DefinitionError(f"slack.{what}_file of the pack configuration is not set.", field=f"slack.{what}_file")
