"""Credentials for git servers, from Vault into files of mode 0600, never onto a command line.

The files are in a build's workspace and are removed with it. git and ssh find
them through environment variables that name files. Nothing here is logged.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Dict, Optional, Tuple

from kubestorm.clients.git.address import GitAddress
from kubestorm.clients.git.settings import GitSettings
from kubestorm.clients.host.workspace import Workspace
from kubestorm.clients.vault import VaultStore
from kubestorm.core.errors import DefinitionError, NotFoundError
from kubestorm.core.secrets import Secret

FIELD = "spec.source.credentials.vaultPath"
# git's prompts: "Username for 'https://…': " and "Password for 'https://…': ".
ASKPASS = """#!/bin/sh
case "$1" in
  Username*) exec cat "$(dirname "$0")/git-username" ;;
  *) exec cat "$(dirname "$0")/git-password" ;;
esac
"""


@dataclass(frozen=True)
class GitCredentials:
    """Either user and password, or a key, which may have `known_hosts`."""

    username: str = ""
    password: Optional[Secret] = None
    ssh_private_key: Optional[Secret] = None
    known_hosts: str = ""

    @property
    def texts(self) -> Tuple[str, ...]:
        """The texts that must not appear in any output."""
        found = [self.password.reveal()] if self.password else []
        if self.ssh_private_key:
            found += [
                line
                for line in self.ssh_private_key.reveal().splitlines()
                if not line.startswith("-----")
            ]
        return tuple(found)


def git_credentials(vault: VaultStore, path: Optional[str], address: GitAddress) -> GitCredentials:
    """Read a source's credentials. A secret with a field `host` is used for that host only."""
    if path is None:
        return GitCredentials()
    values = vault.read_values(path)
    where = vault.full_path(path)
    if values is None:
        raise NotFoundError(f"Vault has no secret at {where} ({FIELD}).", service="Vault")
    texts = {
        key: values[key].reveal() for key in ("username", "known_hosts", "host") if key in values
    }
    if texts.get("host") and not fnmatchcase(address.host, texts["host"].lower()):
        raise DefinitionError(
            f"{FIELD}: the secret at {where} is not for git server {address.host}", field=FIELD
        )
    key, password = values.get("ssh_private_key"), values.get("password") or values.get("token")
    if address.protocol == "ssh" and key is None:
        raise DefinitionError(
            f"{FIELD}: the secret at {where} has no field ssh_private_key", field=FIELD
        )
    if address.protocol in ("http", "https") and password is None:
        raise DefinitionError(
            f"{FIELD}: the secret at {where} has no field password or token", field=FIELD
        )
    user = texts.get("username") or "git"
    return GitCredentials(user, password, key, texts.get("known_hosts", ""))


def git_environment(
    workspace: Workspace, credentials: GitCredentials, address: GitAddress, settings: GitSettings
) -> Dict[str, str]:
    """The environment in which git uses these credentials, and no configuration of this machine."""
    env = {
        "GIT_ALLOW_PROTOCOL": address.protocol,
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ADVICE": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
    }
    if settings.ca_file:
        env["GIT_SSL_CAINFO"] = str(Path(settings.ca_file).expanduser())
    if address.protocol == "ssh":
        env["GIT_SSH_COMMAND"] = _ssh_command(workspace, credentials, settings)
        env["GIT_SSH_VARIANT"] = "ssh"
    elif credentials.password is not None:
        workspace.write_private("git-username", credentials.username)
        workspace.write_private("git-password", credentials.password.reveal())
        env["GIT_ASKPASS"] = str(workspace.write_private("git-askpass", ASKPASS, mode=0o700))
    return env


def _ssh_command(workspace: Workspace, credentials: GitCredentials, settings: GitSettings) -> str:
    if credentials.ssh_private_key is None:
        raise DefinitionError(
            f"{FIELD}: git over SSH needs a secret with a field ssh_private_key", field=FIELD
        )
    if credentials.known_hosts:
        known = workspace.write_private("known_hosts", credentials.known_hosts.rstrip("\n") + "\n")
    elif settings.known_hosts_file:
        known = Path(settings.known_hosts_file).expanduser()
    else:
        message = (
            f"{FIELD}: git over SSH needs the server's host key: a field known_hosts, or "
            "build.source.known_hosts_file"
        )
        raise DefinitionError(message, field=FIELD)
    key = workspace.write_private(
        "ssh-key", credentials.ssh_private_key.reveal().rstrip("\n") + "\n"
    )
    options = {
        "IdentityFile": key,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "PreferredAuthentications": "publickey",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": known,
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "ProxyCommand": "none",
        "PermitLocalCommand": "no",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": settings.ask_timeout_seconds.__round__(),
        "LogLevel": "ERROR",
    }
    words = ["ssh", "-F", "/dev/null"]
    for name, value in options.items():
        text = (
            str(value).replace("%", "%%")
            if name in ("IdentityFile", "UserKnownHostsFile")
            else str(value)
        )
        words += ["-o", f'{name}="{text}"' if " " in text else f"{name}={text}"]
    return " ".join(shlex.quote(word) for word in words)
