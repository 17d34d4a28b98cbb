"""Where the listener finds the secrets it compares with, and how it hears that they changed.

Several secrets may hold at once, one a line, so that one can be replaced without a gap: add the new
one, change the sender, remove the old one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, Mapping, Optional, Protocol, Tuple

from kubestorm.core.errors import DefinitionError, NotFoundError
from kubestorm.core.secrets import Secret

VAULT_SECONDS = 60.0
"""How long what Vault said is used before it is asked again."""


class SecretSource(Protocol):
    """Gives the secrets that hold now. Raises the pack's errors where they cannot be read."""

    def secrets(self) -> Tuple[Secret, ...]:
        """The present ones; during a rotation there are two."""
        ...


class FileSecrets:
    """A file with one secret a line, read again when it was written or replaced."""

    def __init__(self, path: str, *, field: str) -> None:
        """`field` is the setting that names the file, for errors."""
        self._path = Path(path).expanduser()
        self._field = field
        self._seen: Tuple[object, ...] = ()
        self._secrets: Tuple[Secret, ...] = ()

    def secrets(self) -> Tuple[Secret, ...]:
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_ino, found.st_size, found.st_dev)
            if seen != self._seen:
                self._secrets = lines(self._path.read_text(encoding="utf-8"))
                self._seen = seen
        except (OSError, UnicodeDecodeError) as error:
            self._seen = ()
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            raise DefinitionError(
                f"{self._field} names {self._path}, which cannot be read: {why}.", field=self._field
            ) from error
        if not self._secrets:
            raise DefinitionError(
                f"{self._field} names {self._path}, which is empty.", field=self._field
            )
        return self._secrets


class VaultSecrets:
    """One key of a secret in Vault (KV version 2), asked again once a minute."""

    def __init__(
        self,
        read: Callable[[str], Optional[Mapping[str, Secret]]],
        path: str,
        key: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` takes a path below the mount and gives its values, like VaultStore.read_values."""
        self._read, self._path, self._key, self._clock = read, path, key, clock
        self._until: Optional[float] = None
        self._secrets: Tuple[Secret, ...] = ()

    def secrets(self) -> Tuple[Secret, ...]:
        if self._until is None or self._clock() >= self._until:
            found = (self._read(self._path) or {}).get(self._key)
            self._secrets = lines(found.reveal()) if found else ()
            self._until = self._clock() + VAULT_SECONDS
        if not self._secrets:
            self._until = None
            raise NotFoundError(
                f"Vault's {self._path} has nothing under {self._key}.", service="Vault"
            )
        return self._secrets


def lines(text: str) -> Tuple[Secret, ...]:
    """The lines that hold something, without the white space around them."""
    return tuple(Secret(line.strip()) for line in text.splitlines() if line.strip())
