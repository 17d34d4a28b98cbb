"""Slack's tokens and signing secret, from the files or Vault paths that the configuration names."""

from __future__ import annotations

from typing import Callable, Tuple

from kubestorm.clients.secret_sources import FileSecrets, SecretSource, VaultSecrets
from kubestorm.clients.slack.settings import SlackSettings
from kubestorm.clients.vault import VaultStore
from kubestorm.core.errors import DefinitionError
from kubestorm.core.secrets import Secret
from kubestorm.core.settings import Settings


class Credentials:
    """What was replaced is used from then on: files are read again when they change, Vault is asked
    once a minute.
    """

    def __init__(self, settings: SlackSettings, vault: Callable[[], VaultStore]) -> None:
        self._vault = vault
        self._bot = self._source("bot_token", settings.bot_token_file, settings.bot_token_vault)
        self._app = self._source("app_token", settings.app_token_file, settings.app_token_vault)
        self._signing = self._source(
            "signing_secret", settings.signing_secret_file, settings.signing_secret_vault
        )

    @classmethod
    def of(cls, settings: Settings) -> Credentials:
        """By the pack's configuration."""
        return cls(SlackSettings.from_config(settings.raw), lambda: VaultStore(settings.vault))

    def bot_token(self) -> Secret:
        """The token of the bot user (xoxb-...)."""
        return self._bot.secrets()[0]

    def app_token(self) -> Secret:
        """The app-level token for Socket Mode (xapp-...)."""
        return self._app.secrets()[0]

    def signing_secrets(self) -> Tuple[Secret, ...]:
        """What Slack may sign its requests with; several while one is being replaced."""
        return self._signing.secrets()

    def _source(self, what: str, file: str, vault: str) -> SecretSource:
        if file:
            return FileSecrets(file, field=f"slack.{what}_file")
        if vault:
            path, _, key = vault.partition("#")
            return VaultSecrets(lambda name: self._vault().read_values(name), path, key or what)
        return _Missing(f"slack.{what}_file")


class _Missing:
    def __init__(self, field: str) -> None:
        self._field = field

    def secrets(self) -> Tuple[Secret, ...]:
        raise DefinitionError(
            f"{self._field} of the pack configuration is not set.", field=self._field
        )
