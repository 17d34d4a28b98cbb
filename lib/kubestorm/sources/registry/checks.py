"""From a source's settings to the check of who sends."""

from __future__ import annotations

from typing import Any, Callable

from kubestorm.sources.listener import (
    BasicCheck,
    Check,
    FileSecrets,
    HmacCheck,
    QueryCheck,
    SecretSource,
    TokenCheck,
    Unsigned,
    VaultSecrets,
)
from kubestorm.sources.registry.settings import AuthSettings, SourceSettings

USUAL_SIGNATURE = "X-Hub-Signature-256"
USUAL_TOKEN = "Authorization"  # noqa: S105 (a header's name)


def check_of(source: SourceSettings, vault: Callable[[], Any]) -> Check:
    """The check of one source. Secrets are read when they are needed."""
    auth = source.auth
    if auth is None:
        return Unsigned()
    secrets = _secrets(auth, f"registries.sources ({source.name}) auth.secret_file", vault)
    if auth.method == "hmac":
        header = auth.header or USUAL_SIGNATURE
        usual = f"{auth.algorithm}=" if header.lower().startswith("x-hub-signature") else ""
        prefix = usual if auth.prefix is None else auth.prefix
        return HmacCheck(secrets, header, auth.algorithm, auth.encoding, prefix)
    if auth.method == "basic":
        return BasicCheck(secrets, auth.username or "")
    if auth.query:
        return QueryCheck(secrets, auth.query)
    header = auth.header or USUAL_TOKEN
    usual = "Bearer" if header.lower() == "authorization" else ""
    return TokenCheck(secrets, header, usual if auth.scheme is None else auth.scheme)


def _secrets(auth: AuthSettings, field: str, vault: Callable[[], Any]) -> SecretSource:
    if auth.secret_file:
        return FileSecrets(auth.secret_file, field=field)
    return VaultSecrets(
        lambda path: vault().read_values(path), auth.vault_path or "", auth.vault_key
    )
