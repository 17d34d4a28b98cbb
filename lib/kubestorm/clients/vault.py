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
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from kubestorm.clients import retrying
from kubestorm.core.errors import (
    ConflictError,
    DefinitionError,
    NotFoundError,
    PermanentError,
    TemporaryError,
)
from kubestorm.core.naming import pending_vault_path
from kubestorm.core.secrets import Secret, make_password
from kubestorm.core.settings import VaultSettings

SERVICE = "Vault"
CAS_MISMATCH = "check-and-set"
NO_ENGINE = "no handler for route"
# What an engine of version 1 answers to a write without a body; version 2 says "no data provided".
EMPTY_FOR_VERSION_1 = "missing data fields"


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
    """The KV engine at the configured mount. Logs in with the first call, and refuses an engine of
    another version than 2 before anything is read or written. Raises the pack's errors only.

    `before_write` is called before each request that is no read; what it raises keeps it from being
    sent.
    """

    def __init__(
        self, settings: VaultSettings, before_write: Callable[[], None] = lambda: None
    ) -> None:
        self._settings, self._before_write = settings, before_write
        self._client: Any = None
        self._version_known = False

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
            username=_text_of(values.get("username")),
            password=Secret(_text_of(values["password"])),
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
        """As find_values, without the version."""
        found = self.find_values(path)
        return found.values if found is not None else None

    def find_values(self, path: str) -> Optional[SecretValues]:
        """All values of any secret, hidden, and their version; None where there is none. A value
        that is JSON's null counts as absent.
        """
        found = self._values(path)
        if found is None:
            return None
        values, version = found
        return SecretValues(
            {
                str(key): Secret(_text_of(value))
                for key, value in values.items()
                if value is not None
            },
            version,
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

    def capabilities(self, paths: Sequence[str]) -> Dict[str, List[str]]:
        """What the pack's token may do at whole paths (with the mount and `data/`), after logging
        in and looking at the mount's version. Source: sys/capabilities-self of Vault's API.
        """
        with self._translated("ask for its capabilities at", ""):
            self._kv()
            body = {"paths": list(paths)}
            answer = self._client.adapter.post("/v1/sys/capabilities-self", json=body)
        found = answer if isinstance(answer, dict) else answer.json()
        held = found.get("data") or found
        return {path: list(held.get(path) or held.get("capabilities") or ()) for path in paths}

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
            _text_of(values.get("username")), Secret(_text_of(values.get("password"))), version
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
        if "metadata" not in data:
            raise self._other_version()  # Vault did not say so before, and this is no answer of it
        return data.get("data") or {}, int(data["metadata"]["version"])

    def _write(self, path: str, values: Mapping[str, Any], *, cas: int) -> int:
        with self._translated("write", path):
            kv = self._kv()
            if not self._version_known:
                self._try_version(path)
            answer = kv.create_or_update_secret(
                path=path, secret=dict(values), cas=cas, mount_point=self._settings.mount
            )
        return int(answer["data"]["version"])

    def _kv(self) -> Any:
        if self._client is None:
            client = self._login()
            self._check_version(client)
            self._client = client
        return self._client.secrets.kv.v2

    def _check_version(self, client: Any) -> None:
        """Refuse a mount that Vault says is something else. Every token with a right below a mount
        may ask; where nobody answers (a proxy that keeps sys/ to itself), the first write finds
        out.
        """
        import hvac.exceptions as vault

        mount = self._settings.mount
        # 405 is UnexpectedError in some versions of hvac.
        unanswered = (vault.UnsupportedOperation, vault.UnexpectedError)
        try:
            answer = client.read(f"sys/internal/ui/mounts/{mount}")
        except (vault.Forbidden, vault.InvalidRequest, *unanswered):
            return
        engine = (answer or {}).get("data") or {}
        kind, version = engine.get("type"), (engine.get("options") or {}).get("version")
        if kind is None:
            return
        if kind not in ("kv", "generic"):
            raise PermanentError(
                f"{mount} is an engine of type {kind}; KV version 2 is needed (vault.mount).",
                service=SERVICE,
            )
        if str(version) != "2":
            raise self._other_version()
        self._version_known = True

    def _try_version(self, path: str) -> None:
        """Tell the versions apart by a write without a body, which neither of them carries out."""
        import hvac.exceptions as vault

        try:
            self._client.adapter.post(f"/v1/{self._settings.mount}/data/{path}", json={})
        except vault.InvalidRequest as error:
            if EMPTY_FOR_VERSION_1 in _said(error):
                raise self._other_version() from error
        self._version_known = True

    def _other_version(self) -> PermanentError:
        return PermanentError(
            f"{self._settings.mount} is KV version 1; version 2 is needed (vault.mount).",
            service=SERVICE,
        )

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
        retrying.mount(client.session, self._before_write)
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
            if NO_ENGINE in _said(error):
                message = f"Vault has no secrets engine at {self._settings.mount} (vault.mount)."
                raise PermanentError(message, service=SERVICE) from error
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
    -format=json` would. Nothing is the empty text.
    """
    if value is None:
        return ""
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
