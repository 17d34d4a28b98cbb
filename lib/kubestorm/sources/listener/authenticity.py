"""Who sent a request: a signature over the raw body, a token, or a name and password, each compared
in constant time.

A check passes or raises RefusedError: 401 where a credential is missing, 403 where it is there and
wrong (401 for basic authentication, where clients expect it).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Callable, Iterable, List, Mapping, Optional, Protocol, Tuple
from urllib.parse import parse_qs

from kubestorm.clients.secret_sources import SecretSource
from kubestorm.core.errors import Error
from kubestorm.sources.listener.messages import Request

ALGORITHMS = {"sha256": hashlib.sha256, "sha1": hashlib.sha1, "sha512": hashlib.sha512}
ENCODINGS = ("hex", "base64")
MAX_FIELDS = 20
"""Of a query; one with more has no token."""


class RefusedError(Error):
    """The sender did not show that it is who it should be. `status_code` is 401 or 403."""

    def __init__(self, message: str, *, status_code: int, challenge: str = "") -> None:
        super().__init__(message, status_code=status_code)
        self.challenge = challenge
        """For the WWW-Authenticate header."""


class Check(Protocol):
    """Raises RefusedError for a request of somebody else, another of the pack's errors where it
    cannot be told.
    """

    def __call__(self, request: Request) -> None:
        """Return for a request that may be believed."""
        ...


@dataclass(frozen=True)
class Unsigned:
    """Nothing is checked: the operator says that only the registry reaches this path."""

    def __call__(self, request: Request) -> None:
        return None


def raw_body(request: Request) -> bytes:
    """What most senders sign."""
    return request.body


@dataclass(frozen=True)
class HmacCheck:
    """A keyed hash in a header, for instance GitHub's `X-Hub-Signature-256: sha256=4f2a...`."""

    secrets: SecretSource
    header: str
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    """What stands before the hash."""
    message: Callable[[Request], bytes] = raw_body
    """What was signed."""

    def __call__(self, request: Request) -> None:
        sent = request.headers.get(self.header.lower())
        if not sent:
            raise RefusedError(
                f"The signature is missing: send it in {self.header}.", status_code=401
            )
        message, digest = self.message(request), self._digest(sent)
        made = (
            hmac.new(secret.reveal().encode(), message, ALGORITHMS[self.algorithm]).digest()
            for secret in self.secrets.secrets()
        )
        if digest is None or not _any_same(digest, made):
            raise RefusedError("The signature does not fit the body.", status_code=403)

    def _digest(self, sent: str) -> Optional[bytes]:
        if not sent.startswith(self.prefix):
            return None
        text = sent[len(self.prefix) :].strip()
        try:
            return (
                binascii.unhexlify(text)
                if self.encoding == "hex"
                else base64.b64decode(text, validate=True)
            )
        except (binascii.Error, ValueError):
            return None


@dataclass(frozen=True)
class TokenCheck:
    """A token in a header: `Authorization: Bearer TOKEN`, or a header of the sender's own with the
    token alone.
    """

    secrets: SecretSource
    header: str = "Authorization"
    scheme: str = "Bearer"
    """Word before the token; empty where the header holds the token alone."""

    def __call__(self, request: Request) -> None:
        sent = request.headers.get(self.header.lower(), "").strip()
        challenge = self.scheme if self.header.lower() == "authorization" else ""
        if not sent:
            raise RefusedError(
                f"The token is missing: send it in {self.header}.",
                status_code=401,
                challenge=challenge,
            )
        token = sent
        if self.scheme:
            scheme, _, token = sent.partition(" ")
            if scheme.lower() != self.scheme.lower():
                token = ""
        if not _any_same(
            token.strip().encode(), (secret.reveal().encode() for secret in self.secrets.secrets())
        ):
            raise RefusedError(
                "The token is not the one that is expected.", status_code=403, challenge=challenge
            )


@dataclass(frozen=True)
class QueryCheck:
    """A token in the address, for senders that can send nothing else. It is never logged here."""

    secrets: SecretSource
    parameter: str = "token"

    def __call__(self, request: Request) -> None:
        sent = _fields(request.query).get(self.parameter)
        if not sent:
            raise RefusedError(
                f"The token is missing: send it in the parameter {self.parameter}.", status_code=401
            )
        if not _any_same(
            sent[-1].encode(), (secret.reveal().encode() for secret in self.secrets.secrets())
        ):
            raise RefusedError("The token is not the one that is expected.", status_code=403)


@dataclass(frozen=True)
class BasicCheck:
    """A name and a password (RFC 7617)."""

    secrets: SecretSource
    username: str

    def __call__(self, request: Request) -> None:
        name, password = _basic(request.headers.get("authorization", ""))
        passwords = (secret.reveal().encode() for secret in self.secrets.secrets())
        # Both are always compared, so that the time does not tell a right name.
        right = _any_same(password, passwords) & hmac.compare_digest(name, self.username.encode())
        if not right:
            raise RefusedError(
                "Name and password are missing or wrong.",
                status_code=401,
                challenge='Basic realm="kubestorm", charset="UTF-8"',
            )


def _fields(query: str) -> Mapping[str, List[str]]:
    try:
        return parse_qs(query, max_num_fields=MAX_FIELDS)
    except ValueError:
        return {}


def _basic(header: str) -> Tuple[bytes, bytes]:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return b"", b""
    try:
        name, _, password = base64.b64decode(text.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b"", b""
    return name, password


def _any_same(sent: bytes, expected: Iterable[bytes]) -> bool:
    """Whether one is the same; all are compared, each in constant time."""
    found = False
    for each in expected:
        found |= hmac.compare_digest(sent, each)
    return found
