"""Where Slack's tokens and its signing secret are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from kubestorm.clients.slack.credentials import Credentials
from kubestorm.clients.slack.settings import SlackSettings
from kubestorm.core.errors import DefinitionError
from kubestorm.core.settings import load_settings

from sandbox.vault.server import VaultServer


def test_credentials_may_be_in_vault(tmp_path: Path) -> None:
    """By path and key; what is missing there is named, and no value is shown."""
    with VaultServer(dev=True) as vault:
        import hvac

        client = hvac.Client(url=vault.url, token=vault.root_token)
        client.secrets.kv.v2.create_or_update_secret(
            "kubestorm/slack/app", secret={"bot_token": "xoxb-from-vault"}
        )
        token = tmp_path / "token"
        token.write_text(vault.root_token)
        section = {
            "bot_token_vault": "kubestorm/slack/app#bot_token",
            "signing_secret_vault": "kubestorm/slack/app",
        }
        settings = load_settings(
            {
                "cluster": "c",
                "slack": section,
                "vault": {"url": vault.url, "auth": {"method": "token", "token_file": str(token)}},
            }
        )
        credentials = Credentials.of(settings)
        assert credentials.bot_token().reveal() == "xoxb-from-vault"
        with pytest.raises(Exception, match="signing_secret"):
            credentials.signing_secrets()
        with pytest.raises(DefinitionError, match="app_token_file"):
            credentials.app_token()
        assert SlackSettings.from_config(settings.raw).bot_token_vault
