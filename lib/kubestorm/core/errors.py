"""What can go wrong in the pack, as the few branches a caller would treat differently.

    Error
    ├── DefinitionError      a custom resource or a setting is wrong; its author can fix it
    ├── NotFoundError        it does not exist
    ├── ConflictError        someone changed it first: read again, apply again
    ├── TemporaryError       worth retrying; carries `retry_after_seconds`
    └── PermanentError       retrying will not help (refused, forbidden)

Adapters translate their library's exceptions once, into one of these, with `raise ... from`.
`service` names who answered (or did not) in the words a developer reads in a condition:
"Kubernetes", "AWS RDS", "Vault", "Consul".
"""

from __future__ import annotations

from typing import Optional


class Error(Exception):
    """Root of everything the pack raises on purpose. `str(error)` is a sentence for a person,
    without secrets.
    """

    def __init__(
        self, message: str, *, service: str = "", status_code: Optional[int] = None
    ) -> None:
        super().__init__(message)
        self.service = service
        self.status_code = status_code


class DefinitionError(Error):
    """A resource or a setting is wrong. `field` is its path (`spec.storage.sizeGiB`)."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotFoundError(Error):
    """It does not exist."""


class ConflictError(Error):
    """Someone changed or made it first: read again, apply again."""


class TemporaryError(Error):
    """Worth retrying."""

    def __init__(
        self,
        message: str,
        *,
        service: str = "",
        status_code: Optional[int] = None,
        retry_after_seconds: Optional[float] = None,
    ) -> None:
        super().__init__(message, service=service, status_code=status_code)
        self.retry_after_seconds = retry_after_seconds


class PermanentError(Error):
    """Retrying will not help."""
