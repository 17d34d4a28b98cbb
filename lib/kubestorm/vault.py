"""Vault's KV version 2 through hvac: credentials made and kept there, and handed on by path and
version only.

A secret is written with check-and-set and only when it has to change, so that two runs at once, or
a run that died after the write, end with one password.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple

from kubestorm.errors import (
    ConflictError,
    DefinitionError,
    NotFoundError,
    PermanentError,
    TemporaryError,
)
from kubestorm.naming import pending_vault_path
from kubestorm.secrets import Secret, make_password
from kubestorm.settings import VaultSettings

SERVICE = "Vault"
CAS_MISMATCH = "check-and-set"


class CredentialsRef(NamedTuple):
    """Where credentials are. `path` is with the mount; `created` says that this call made them."""

    path: str
    version: int
    created: bool


class SecretValues(NamedTuple):
    """One version of a secret, whatever it holds."""

    values: Mapping[str, Secret]
    version: int


@dataclass(frozen=True)
class Credentials:
    """What is kept at a path."""

    username: str
    password: Secret
    version: int


@dataclass(frozen=True)
class PendingCredentials:
    """A rotation's new credentials, kept beside the current ones until they are promoted."""

    username: str
    password: Secret
    request: str
    """The word with which somebody asked for the rotation."""
    replaces: int
    """The version of the current secret that they are to follow; 0 where there was none."""
    token: str
    """Tells this rotation from any other; no secret."""


class VaultStore:
    """The KV engine at the configured mount. Logs in with the first call. Raises the pack's errors
    only.
    """

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        self._client: Any = None

    def full_path(self, path: str) -> str:
        """The path as a person types it: `<mount>/<path>`."""
        return f"{self._settings.mount}/{path}"

    def ensure_credentials(self, path: str, username: str) -> CredentialsRef:
        """Make username and password if they are not there; what is there stays as it is. Safe to
        repeat.
        """
        found = self._current(path)
        if found is None or not found.password.reveal():
            try:
                return self.write(path, username, make_password(), replaces=self.version(path))
            except ConflictError:
                found = self.read(path)  # another run was first: its password counts
        return CredentialsRef(self.full_path(path), found.version, False)

    def rename_user(self, path: str, username: str) -> CredentialsRef:
        """Keep the password under another username (a restored instance has its snapshot's). Safe
        to repeat.
        """
        found = self.read(path)
        if found.username == username:
            return CredentialsRef(self.full_path(path), found.version, False)
        return self.write(path, username, found.password, replaces=found.version)

    def find(self, path: str) -> Optional[Credentials]:
        """The current version, None when there is none."""
        return self._current(path)

    def version(self, path: str) -> int:
        """The version that check-and-set has to name: 0 where nothing was ever, also that of a
        deleted one.
        """
        found = self.describe(path)
        return int(found["version"]) if found else 0

    def write(self, path: str, username: str, password: Secret, *, replaces: int) -> CredentialsRef:
        """Store credentials as the version after `replaces`; ConflictError when that is not the
        current one.
        """
        version = self._write(
            path, {"username": username, "password": password.reveal()}, cas=replaces
        )
        return CredentialsRef(self.full_path(path), version, True)

    def find_pending(self, path: str) -> Optional[PendingCredentials]:
        """The rotation under way for the credentials at `path`, None when there is none."""
        found = self._values(pending_vault_path(path))
        if found is None or not found[0].get("password"):
            return None
        values = found[0]
        return PendingCredentials(
            username=str(values.get("username", "")),
            password=Secret(str(values["password"])),
            request=str(values.get("request", "")),
            replaces=int(values.get("replaces", 0)),
            token=str(values.get("token", "")),
        )

    def store_pending(self, path: str, username: str, *, request: str, replaces: int) -> None:
        """Make a new password and keep it beside the current one. ConflictError when another run
        was first.
        """
        where = pending_vault_path(path)
        values = {
            "username": username,
            "password": make_password().reveal(),
            "request": request,
            "replaces": replaces,
            "token": uuid.uuid4().hex,
        }
        self._write(where, values, cas=self.version(where))

    def delete_pending(self, path: str) -> None:
        """Forget the rotation's own copy, all versions of it. Safe to repeat."""
        self.delete(pending_vault_path(path))

    def read(self, path: str) -> Credentials:
        """The current version. NotFoundError when there is none."""
        found = self._current(path)
        if found is None:
            raise NotFoundError(
                f"Vault has no credentials at {self.full_path(path)}.", service=SERVICE
            )
        return found

    def read_values(self, path: str) -> Optional[Mapping[str, Secret]]:
        """The fields of the current version of any secret, each hidden; None when there is none."""
        found = self._values(path)
        if found is None:
            return None
        return {
            str(key): Secret(str(value)) for key, value in found[0].items() if value is not None
        }

    def find_values(self, path: str) -> Optional[SecretValues]:
        """All values of any secret, hidden, and their version; None where there is none."""
        found = self._values(path)
        if found is None:
            return None
        values, version = found
        return SecretValues(
            {str(key): Secret(_text_of(value)) for key, value in values.items()}, version
        )

    def describe(self, path: str) -> Optional[Mapping[str, Any]]:
        """Path, current version and times of a secret, without its contents; or None."""
        try:
            with self._translated("read the metadata", path):
                answer = self._kv().read_secret_metadata(
                    path=path, mount_point=self._settings.mount
                )
        except NotFoundError:
            return None
        data = answer["data"]
        return {
            "path": self.full_path(path),
            "version": data["current_version"],
            "created": data["created_time"],
            "updated": data["updated_time"],
        }

    def list_paths(self, folder: str) -> Iterator[str]:
        """The paths of all secrets below a folder, relative to the mount; none where there is no
        such folder.
        """
        folder = folder.rstrip("/")
        try:
            with self._translated("list", f"{folder}/"):
                answer = self._kv().list_secrets(path=folder, mount_point=self._settings.mount)
        except NotFoundError:
            return
        for key in answer["data"]["keys"]:
            if key.endswith("/"):
                yield from self.list_paths(f"{folder}/{key}")
            else:
                yield f"{folder}/{key}"

    def delete(self, path: str) -> None:
        """Destroy every version and the metadata. Safe to repeat."""
        with contextlib.suppress(NotFoundError), self._translated("delete", path):
            self._kv().delete_metadata_and_all_versions(path=path, mount_point=self._settings.mount)

    def _current(self, path: str) -> Optional[Credentials]:
        found = self._values(path)
        if found is None:
            return None
        values, version = found
        return Credentials(
            str(values.get("username", "")), Secret(str(values.get("password", ""))), version
        )

    def _values(self, path: str) -> Optional[Tuple[Mapping[str, Any], int]]:
        try:
            with self._translated("read", path):
                answer = self._kv().read_secret_version(
                    path=path, mount_point=self._settings.mount, raise_on_deleted_version=True
                )
        except NotFoundError:
            return None
        data = answer["data"]
        return data.get("data") or {}, int(data["metadata"]["version"])

    def _write(self, path: str, values: Mapping[str, Any], *, cas: int) -> int:
        with self._translated("write", path):
            answer = self._kv().create_or_update_secret(
                path=path, secret=dict(values), cas=cas, mount_point=self._settings.mount
            )
        return int(answer["data"]["version"])

    def _kv(self) -> Any:
        if self._client is None:
            self._client = self._login()
        return self._client.secrets.kv.v2

    def _login(self) -> Any:
        import hvac

        settings, auth = self._settings, self._settings.auth
        # An empty token, not None: hvac would take None as leave to read VAULT_TOKEN and
        # ~/.vault-token.
        client = hvac.Client(
            url=settings.url,
            token="",
            namespace=settings.namespace,
            verify=settings.ca_file or True if settings.verify_tls else False,
            timeout=settings.timeout_seconds,
        )
        if auth.method == "token":
            client.token = _read_file(auth.token_file, "vault.auth.token_file")
        elif auth.method == "approle":
            client.auth.approle.login(
                role_id=_required(auth.role_id, "vault.auth.role_id"),
                secret_id=_read_file(auth.secret_id_file, "vault.auth.secret_id_file"),
                mount_point=auth.mount or "approle",
            )
        else:
            client.auth.kubernetes.login(
                role=_required(auth.role, "vault.auth.role"),
                jwt=_read_file(auth.jwt_file, "vault.auth.jwt_file"),
                mount_point=auth.mount or "kubernetes",
            )
        return client

    @contextlib.contextmanager
    def _translated(self, verb: str, path: str) -> Iterator[None]:
        """Turn hvac's and requests' exceptions into ours. Only Vault's own short error texts are
        passed on.
        """
        import hvac.exceptions as vault
        import requests

        what = f"{verb} {self.full_path(path)}"
        try:
            yield
        except (vault.Forbidden, vault.Unauthorized) as error:
            message = (
                f"Vault does not let the pack {what} ({_said(error)}). The policy needed is in "
                "deploy/vault-policy.hcl."
            )
            raise PermanentError(message, service=SERVICE, status_code=403) from error
        except vault.InvalidPath as error:
            raise NotFoundError(
                f"Vault has nothing at {self.full_path(path)}.", service=SERVICE
            ) from error
        except vault.InvalidRequest as error:
            if CAS_MISMATCH in _said(error):
                raise ConflictError(
                    f"Somebody else wrote {self.full_path(path)} first.", service=SERVICE
                ) from error
            raise PermanentError(
                f"Vault refused to {what}: {_said(error)}", service=SERVICE
            ) from error
        except vault.VaultDown as error:
            raise TemporaryError(
                "Vault is sealed or in standby; unseal it.", service=SERVICE, status_code=503
            ) from error
        except vault.VaultError as error:
            raise TemporaryError(
                f"Vault could not {what}: {_said(error)}", service=SERVICE
            ) from error
        except requests.RequestException as error:
            reason = type(error).__name__
            message = f"Vault cannot be reached at {self._settings.url} ({reason})."
            raise TemporaryError(message, service=SERVICE) from error


def _said(error: Any) -> str:
    """Vault's error list; never the exception's text, which may hold a whole response."""
    return (
        "; ".join(str(item).strip() for item in getattr(error, "errors", None) or ())
        or type(error).__name__
    )


def _text_of(value: Any) -> str:
    """A value as a program reads it; what is no text is written as JSON, as `vault kv get
    -format=json` would.
    """
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _required(value: Optional[str], setting: str) -> str:
    if not value:
        raise DefinitionError(
            f"The pack's configuration needs {setting} for this way to log in.", field=setting
        )
    return value


def _read_file(path: Optional[str], setting: str) -> str:
    name = Path(_required(path, setting)).expanduser()
    try:
        return name.read_text(encoding="utf-8").strip()
    except OSError as error:
        message = f"{setting} names {name}, which cannot be read: {error.strerror}."
        raise DefinitionError(message, field=setting) from error


def as_result(ref: CredentialsRef) -> Dict[str, Any]:
    """The reference as an execution's result."""
    return dict(ref._asdict())
