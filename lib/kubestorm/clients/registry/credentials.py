"""Name and password for a registry from where the operator keeps them: a file, Vault, or the
cloud's own service.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import urlsplit

from kubestorm.clients import aws as aws_clients
from kubestorm.clients.registry.settings import ECR, GOOGLE, ConnectionSettings
from kubestorm.core.errors import DefinitionError, NotFoundError, PermanentError, TemporaryError
from kubestorm.core.secrets import Secret
from kubestorm.core.settings import AwsSettings

METADATA_URL = (
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
)
METADATA_SECONDS = 3.0
GOOGLE_USER = "oauth2accesstoken"


class Login(NamedTuple):
    """What basic authentication takes."""

    username: str
    password: Secret


def read_login(
    connection: ConnectionSettings, vault: Callable[[], Any], aws: AwsSettings
) -> Optional[Login]:
    """The login of a registry, None where there is none. Raises the pack's errors where it cannot
    be had.
    """
    credentials = connection.reader
    if credentials.vault_path:
        return _from_vault(credentials.vault_path, vault())
    if credentials.cloud == ECR:
        return _from_ecr(connection.host, aws)
    if credentials.cloud == GOOGLE:
        return Login(GOOGLE_USER, google_token(None))
    if credentials.username and credentials.password_file:
        return Login(
            credentials.username, read_file(credentials.password_file, "credentials.password_file")
        )
    return None


def read_file(path: str, setting: str) -> Secret:
    """The text of a file without the white space around it."""
    try:
        return Secret(Path(path).expanduser().read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise DefinitionError(
            f"{setting} names {path}, which cannot be read: {why}.", field=setting
        ) from error


def google_token(token_file: Optional[str]) -> Secret:
    """An access token for Google's services, from a file or from the metadata server of the
    machine.
    """
    if token_file:
        return read_file(token_file, "pubsub.token_file")
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False  # the metadata server is never behind a proxy
            answer = session.get(
                METADATA_URL,
                headers={"Metadata-Flavor": "Google"},
                timeout=METADATA_SECONDS,
                allow_redirects=False,
            )
        answer.raise_for_status()
        return Secret(str(answer.json()["access_token"]))
    except (requests.RequestException, ValueError, KeyError) as error:
        raise TemporaryError(
            "Google's metadata server gave no access token; outside of Google's machines name "
            "a token_file.",
            service="Google",
        ) from error


def _from_vault(path: str, vault: Any) -> Login:
    values = vault.read_values(path)
    if not values or "username" not in values or "password" not in values:
        raise NotFoundError(
            f"Vault's {vault.full_path(path)} has no username and password.", service="Vault"
        )
    return Login(values["username"].reveal(), values["password"])


def _from_ecr(host: str, aws: AwsSettings) -> Login:
    """Source: GetAuthorizationToken of the ECR API reference: name and password in base64, for 12
    hours.
    """
    from botocore import exceptions

    try:
        client = aws_clients.open_client(aws, "ecr", region=ecr_region(host))
        answer = client.get_authorization_token()
        text = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
    except exceptions.ClientError as error:
        code = str((error.response.get("Error") or {}).get("Code", ""))
        raise PermanentError(
            f"AWS refused a password for {host} ({code}): allow ecr:GetAuthorizationToken.",
            service="AWS ECR",
        ) from error
    except exceptions.BotoCoreError as error:
        raise TemporaryError(
            f"AWS ECR cannot be reached for a password: {error}", service="AWS ECR"
        ) from error
    except (KeyError, IndexError, binascii.Error, UnicodeDecodeError) as error:
        raise TemporaryError("AWS ECR's answer holds no password.", service="AWS ECR") from error
    username, _, password = text.partition(":")
    return Login(username, Secret(password))


def ecr_region(host: str) -> Optional[str]:
    """The region of ACCOUNT.dkr.ecr.REGION.amazonaws.com, None for another host."""
    parts = (urlsplit(f"//{host}").hostname or "").split(".")
    return (
        parts[3] if len(parts) > 4 and parts[1:3] in (["dkr", "ecr"], ["dkr", "ecr-fips"]) else None
    )
