"""Logins of registries, from Vault into a `config.json` in a file of mode 0600 or a Secret, never
onto a command line. Nothing here is logged.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

from kubestorm.clients.vault import VaultStore
from kubestorm.core.errors import NotFoundError
from kubestorm.core.secrets import Secret
from kubestorm.kinds.build.logins import Grant


@dataclass(frozen=True)
class RegistryLogin:
    """User and password of one registry, or of a part of it."""

    key: str
    """In config.json: `host`, `host/folder` or `host/repository`."""
    username: str
    password: Secret


Logins = Mapping[str, Sequence[RegistryLogin]]
"""By the names of an ImageBuild's images."""


def registry_logins(vault: VaultStore, grants: Iterable[Grant]) -> List[RegistryLogin]:
    """Read the chosen logins, each path once. NotFoundError where Vault has none."""
    read: Dict[str, Mapping[str, Secret]] = {}
    found: List[RegistryLogin] = []
    for grant in grants:
        path = grant.vault_path
        values = read[path] if path in read else vault.read_values(path)
        if values is None or "username" not in values or "password" not in values:
            message = (
                f"Vault has no username and password at {vault.full_path(path)} for registry "
                f"{grant.key}."
            )
            raise NotFoundError(message, service="Vault")
        read[path] = values
        found.append(RegistryLogin(grant.key, values["username"].reveal(), values["password"]))
    return found


def docker_config(logins: Iterable[RegistryLogin]) -> Secret:
    """The text of a `config.json`; see containers-auth.json(5) and
    kubernetes.io/dockerconfigjson.
    """
    auths: Dict[str, Any] = {}
    for login in logins:
        pair = f"{login.username}:{login.password.reveal()}".encode()
        auths[login.key] = {"auth": base64.b64encode(pair).decode()}
    return Secret(json.dumps({"auths": auths}, sort_keys=True))


def hidden_texts(logins: Iterable[RegistryLogin]) -> List[str]:
    """The texts that must not appear in any output."""
    found: List[str] = []
    for login in logins:
        password = login.password.reveal()
        found += [password, base64.b64encode(f"{login.username}:{password}".encode()).decode()]
    return found


def secret_manifest(
    name: str, namespace: str, config: Secret, *, labels: Optional[Mapping[str, str]] = None
) -> Dict[str, Any]:
    """A Secret of type kubernetes.io/dockerconfigjson."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(config.reveal().encode()).decode()},
    }
