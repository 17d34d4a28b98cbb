"""What can go wrong in the engine, as the few branches a caller would treat differently.

Error
├── DefinitionError      a pack, rule, action or workflow is wrong; its author can fix it
├── NotFoundError        the API's 404
├── ConflictError        someone changed or made it first (the API's 409)
├── InvalidInputError    parameters or a body that do not fit (the API's 400)
├── ForbiddenError       who asks may not do this (the API's 403)
├── TemporaryError       worth retrying; carries `retry_after_seconds`
└── PermanentError       retrying will not help
"""

from __future__ import annotations

from pathlib import Path


class Error(Exception):
    """Root of everything the engine raises on purpose. `str(error)` is a sentence for a person."""


class DefinitionError(Error):
    """A file of a pack is wrong. `str()` names the file, the path inside it, what is wrong and what
    would be right.
    """

    def __init__(
        self, message: str, *, file: Path | str | None = None, path: str = "", remedy: str = ""
    ) -> None:
        self.message = message
        self.file = file
        self.path = path
        self.remedy = remedy
        place = ": ".join(str(part) for part in (file, path) if part)
        text = f"{place}: {message}" if place else message
        super().__init__(f"{text} {remedy}".rstrip())


class NotFoundError(Error):
    """The named thing does not exist."""


class ConflictError(Error):
    """Someone changed or made it first: read again, apply again."""


class InvalidInputError(Error):
    """Parameters, a payload or a body that do not fit; the message names the field and what would
    be right.
    """


class CastError(InvalidInputError):
    """A value that cannot be read as the type of its parameter."""


class ForbiddenError(Error):
    """Who asks may not do this; the message says who may."""


class TemporaryError(Error):
    """Worth retrying."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class PermanentError(Error):
    """Retrying will not help."""
