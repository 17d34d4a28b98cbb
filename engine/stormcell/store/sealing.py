"""Secrets at rest: AES-GCM under the key file beside the database, and the marker that tells a
sealed text.

A sealed value is a string `$sealed:v1:<base64 of nonce and ciphertext>` that stands where the
secret stood, so a record can be masked or opened without its schema (which may have changed since).
A backup of the database without the key file holds no secret.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stormcell.errors import PermanentError
from stormcell.secrecy import part_of, says_of_parts

MASK = "********"
PREFIX = "$sealed:v1:"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_SHORTEST_KNOWN = (
    4  # characters; a shorter secret would blot out innocent text wherever it is looked for
)


class Sealer:
    """Seals and opens values. `repr` shows nothing of the key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def encrypt(self, clear: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, clear, None)

    def decrypt(self, sealed: bytes) -> bytes:
        """PermanentError where the key file is not the one that sealed it."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError) as error:
            raise PermanentError(
                "A secret could not be opened: the file datastore-key is not the one it was sealed with. "
                "Put the key file of the same backup beside the database."
            ) from error

    def seal(self, value: Any) -> str:
        """Seal any JSON value. One that is sealed already stays as it is."""
        if is_sealed(value):
            return str(value)
        return PREFIX + base64.b64encode(self.encrypt(msgspec.json.encode(value))).decode("ascii")

    def open(self, value: Any) -> Any:
        """Return `value` with every sealed part in clear. Text that only looks sealed is left
        alone.
        """
        if isinstance(value, str):
            return self._open_text(value) if value.startswith(PREFIX) else value
        if isinstance(value, dict):
            return {key: self.open(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.open(item) for item in value]
        return value

    def _open_text(self, text: str) -> Any:
        try:
            return msgspec.json.decode(
                self.decrypt(base64.b64decode(text[len(PREFIX) :], validate=True))
            )
        except (binascii.Error, PermanentError, msgspec.DecodeError):
            return text

    def seal_by_schema(self, schemas: dict[str, Any], values: Any) -> Any:
        """Seal what the schemas (name -> JSON schema) mark `secret: true`, at any depth."""
        if not isinstance(values, dict):
            return values
        return {
            name: self.seal_by(schemas[name], value) if name in schemas else value
            for name, value in values.items()
        }

    def seal_by(self, schema: Any, value: Any) -> Any:
        """Seal what one schema marks `secret: true`: the value itself, or parts of it."""
        if not isinstance(schema, dict) or value is None:
            return value
        if schema.get("secret") is True:
            return self.seal(value)
        if not isinstance(value, dict | list) or not says_of_parts(schema):
            return value
        if isinstance(value, dict):
            return {name: self.seal_by(part_of(schema, name), item) for name, item in value.items()}
        return [self.seal_by(part_of(schema, index), item) for index, item in enumerate(value)]

    def seal_known(self, value: Any, secrets: Collection[str]) -> Any:
        """Seal every text that contains one of these secrets: where a value has wandered, its seal
        goes along.
        """
        if not secrets:
            return value
        if isinstance(value, str):
            return self.seal(value) if any(secret in value for secret in secrets) else value
        if isinstance(value, dict):
            return {key: self.seal_known(item, secrets) for key, item in value.items()}
        if isinstance(value, list):
            return [self.seal_known(item, secrets) for item in value]
        return value

    def secrets_in(self, value: Any) -> set[str]:
        """Return the texts that are sealed in `value`, in clear, long enough to be looked for
        elsewhere.
        """
        found: set[str] = set()
        for text in _sealed_texts(value):
            found.update(item for item in _texts(self.open(text)) if len(item) >= _SHORTEST_KNOWN)
        return found


def is_sealed(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(PREFIX)


def mask(value: Any) -> Any:
    """Return `value` with every sealed part as `********`: what answers and logs show."""
    if isinstance(value, str):
        return MASK if value.startswith(PREFIX) else value
    if isinstance(value, dict):
        return {key: mask(item) for key, item in value.items()}
    if isinstance(value, list):
        return [mask(item) for item in value]
    return value


def load_key(path: Path) -> bytes:
    """Read the key file, or make it (0600) at the first start."""
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        key = os.urandom(_KEY_BYTES)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(base64.b64encode(key).decode("ascii") + "\n")
            file.flush()
            os.fsync(file.fileno())
        return key
    key = base64.b64decode(text.strip())
    if len(key) != _KEY_BYTES:
        raise PermanentError(
            f"{path} does not hold a key of {_KEY_BYTES} bytes in base64. Restore it from a backup."
        )
    return key


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _sealed_texts(value: Any) -> list[str]:
    found: list[str] = []
    _collect_sealed(value, found)
    return found


def _collect_sealed(value: Any, found: list[str]) -> None:
    """A generator would be shorter, and this looks at all that goes in and out of a task."""
    if isinstance(value, str):
        if value.startswith(PREFIX):
            found.append(value)
    elif isinstance(value, dict):
        for item in value.values():
            if isinstance(item, str | dict | list):
                _collect_sealed(item, found)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, str | dict | list):
                _collect_sealed(item, found)
