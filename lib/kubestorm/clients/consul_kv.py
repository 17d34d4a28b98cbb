"""Consul's key-value store through py-consul: a small tree made to be, in one transaction, or left
as it is.

Named for what it wraps: a module called `consul` would hide the library's own.
"""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union
from urllib.parse import urlsplit

from kubestorm.clients import retrying
from kubestorm.core.errors import DefinitionError, PermanentError, TemporaryError
from kubestorm.core.settings import ConsulSettings

SERVICE = "Consul"
DENIED = "permission denied"
DEFAULT_PORTS = {"http": 8500, "https": 8501}


Value = Union[str, bytes]
"""What a key holds: text where it is UTF-8, else the bytes."""


class PublishResult(NamedTuple):
    """What a call did: the prefix, and the keys (relative to it) that it wrote."""

    prefix: str
    written: Tuple[str, ...]


class ConsulStore:
    """The key-value store behind one agent. Raises the pack's errors only.

    `before_write` is called before each request that is no read; what it raises keeps it from being
    sent.
    """

    def __init__(
        self, settings: ConsulSettings, before_write: Callable[[], None] = lambda: None
    ) -> None:
        self._settings, self._before_write = settings, before_write
        self._client: Any = None

    def read_tree(self, prefix: str) -> Dict[str, Value]:
        """The keys under a prefix, relative to it, with their values; without folders, which are
        empty keys that end in a slash, as Consul's UI makes them.
        """
        with self._translated("read", prefix):
            _, entries = self._open().kv.get(prefix, recurse=True)
        return {
            entry["Key"][len(prefix) :]: _value(entry["Value"])
            for entry in entries or ()
            if entry["Value"] or not entry["Key"].endswith("/")
        }

    def show_tree(self, prefix: str) -> Dict[str, str]:
        """The same for people: of a value that is no text it says how long it is."""
        return {
            key: value if isinstance(value, str) else f"({len(value)} bytes that are not UTF-8)"
            for key, value in self.read_tree(prefix).items()
        }

    def read_key(self, key: str) -> Optional[Value]:
        """One key's value, None where there is no such key."""
        with self._translated("read", key):
            _, entry = self._open().kv.get(key)
        return None if entry is None else _value(entry["Value"])

    def check_write(self, key: str) -> None:
        """Whether a key may be written: asks to delete it, which must not be there. Raises as a
        write does.
        """
        with self._translated("write", key):
            self._open().kv.delete(key)

    def ensure_tree(self, prefix: str, values: Mapping[str, str]) -> PublishResult:
        """Bring these keys to these values, all or none; nothing is written when nothing differs.
        Others stay.
        """
        present = self.read_tree(prefix)
        differing = sorted(key for key, value in values.items() if present.get(key) != value)
        if differing:
            operations: List[Mapping[str, Any]] = [
                _set(prefix + key, values[key]) for key in differing
            ]
            self._transact(prefix, operations)
        return PublishResult(prefix, tuple(differing))

    def delete_tree(self, prefix: str) -> None:
        """Remove everything under a prefix, which has to end in a slash. Safe to repeat."""
        if not prefix.endswith("/") or prefix.count("/") < 3:
            raise PermanentError(
                f"{prefix!r} is not the prefix of one resource; nothing was deleted.",
                service=SERVICE,
            )
        with self._translated("delete", prefix):
            self._open().kv.delete(prefix, recurse=True)

    def _transact(self, prefix: str, operations: List[Mapping[str, Any]]) -> None:
        with self._translated("write", prefix):
            answer = self._open().txn.put(operations)
        if not answer or answer.get("Errors"):
            raise TemporaryError(
                f"Consul did not carry out the transaction on {prefix}.", service=SERVICE
            )

    def _open(self) -> Any:
        if self._client is not None:
            return self._client
        import consul

        settings = self._settings
        address = urlsplit(settings.url)
        if address.scheme not in DEFAULT_PORTS or not address.hostname:
            message = (
                f"consul.url is {settings.url!r}; it looks like https://consul.example.com:8501."
            )
            raise DefinitionError(message, field="consul.url")
        client = consul.Consul(
            host=address.hostname,
            port=address.port or DEFAULT_PORTS[address.scheme],
            scheme=address.scheme,
            verify=settings.ca_file or True if settings.verify_tls else False,
            connections_timeout=settings.timeout_seconds,
        )
        retrying.mount(client.http.session, self._before_write)
        # py-consul prefers CONSUL_HTTP_TOKEN to its argument and forgets the token on txn.put: the
        # session's header reaches every call, and the configured token is the one that counts.
        client.token = None
        if settings.token_file:
            client.http.session.headers["X-Consul-Token"] = _read_token(settings.token_file)
        if settings.datacenter:
            # One place for every call: txn.put takes no datacenter either.
            client.http.session.params = {"dc": settings.datacenter}
        self._client = client
        return client

    @contextlib.contextmanager
    def _translated(self, verb: str, prefix: str) -> Iterator[None]:
        import requests
        from consul import exceptions as consul

        what = f"{verb} {prefix}"
        try:
            yield
        except (consul.BadRequest, consul.NotFound) as error:
            raise PermanentError(
                f"Consul refused to {what}: {str(error)[:200]}", service=SERVICE
            ) from error
        except consul.ConsulException as error:
            # A transaction tells a missing permission with 409 and words, everything else with 403.
            if (
                isinstance(error, (consul.ACLPermissionDenied, consul.ACLDisabled))
                or DENIED in str(error).lower()
            ):
                message = (
                    f"Consul does not let the pack {what}. The ACL rules needed are in "
                    "deploy/consul-policy.hcl."
                )
                raise PermanentError(message, service=SERVICE, status_code=403) from error
            raise TemporaryError(
                f"Consul could not {what}: {str(error)[:200]}", service=SERVICE
            ) from error
        except requests.RequestException as error:
            message = f"Consul cannot be reached at {self._settings.url} ({type(error).__name__})."
            raise TemporaryError(message, service=SERVICE) from error


def _value(found: Optional[bytes]) -> Value:
    try:
        return (found or b"").decode("utf-8")
    except UnicodeDecodeError:
        return bytes(found or b"")


def _set(key: str, value: str) -> Mapping[str, Any]:
    return {"KV": {"Verb": "set", "Key": key, "Value": base64.b64encode(value.encode()).decode()}}


def _read_token(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        message = f"consul.token_file names {path}, which cannot be read: {error.strerror}."
        raise DefinitionError(message, field="consul.token_file") from error
