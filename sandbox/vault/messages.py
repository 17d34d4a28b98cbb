"""What passes between Vault's HTTP face and its engines.

A request, a reply, an error, and the small formats they share.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

READ, LIST, WRITE, DELETE, PATCH = "read", "list", "update", "delete", "patch"

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_ALPHABET = string.ascii_letters + string.digits


class VaultError(Exception):
    """An answer with errors: an HTTP status, and Vault's sentences (none for a plain 404)."""

    def __init__(self, status: int, *errors: str, body: dict[str, Any] | None = None) -> None:
        super().__init__("; ".join(errors) or f"status {status}")
        self.status = status
        self.errors = list(errors)
        self.body = body


def denied(reason: str = "permission denied") -> VaultError:
    return VaultError(403, reason)


def not_found() -> VaultError:
    return VaultError(404)


def bad_request(reason: str) -> VaultError:
    return VaultError(400, reason)


@dataclass
class Request:
    """One call: an operation at a path (without `/v1/`), with whoever asks."""

    operation: str
    path: str
    data: dict[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    token_id: str = field(default="", repr=False)
    # The path within the mount that the request was routed to, and the token it was found to carry.
    inner: str = ""
    token: Any = None


@dataclass
class Reply:
    """What to answer: `data` or `auth` in Vault's envelope, `raw` as it is, or nothing (204)."""

    data: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    raw: dict[str, Any] | None = None
    status: int = 200
    warnings: list[str] | None = None
    lease_seconds: int = 0
    # Some sys/ paths repeat their data beside the envelope's own fields, for clients of old.
    flat: bool = False


NOTHING = Reply(status=204)

Handler = Callable[[Any, Request, "re.Match[str]"], Reply]


class Engine:
    """A secrets engine or auth method: a table of paths, and methods that answer at them."""

    routes: ClassVar[list[tuple[re.Pattern[str], dict[str, Handler]]]] = []

    def handle(self, request: Request) -> Reply:
        """Find the route and run it. Raises VaultError: 404 for no such path, 405 for no such
        operation there.
        """
        for pattern, operations in self.routes:
            match = pattern.fullmatch(request.inner)
            if match:
                handler = operations.get(request.operation)
                if not handler:
                    raise VaultError(405, "unsupported operation")
                return handler(self, request, match)
        raise VaultError(404, f'no handler for route "{request.path}". route entry not found.')

    def exists(self, _inner: str) -> bool:
        """Whether a write at the path is an update; engines without this check treat every write as
        one.
        """
        return True

    def is_login(self, _inner: str) -> bool:
        """Whether the path is open to callers without a token."""
        return False

    def needs_sudo(self, _inner: str, _operation: str) -> bool:
        """Whether the path asks for the sudo capability as well."""
        return False


def route(pattern: str) -> re.Pattern[str]:
    """A path pattern in which `{name}` is one segment and `{name*}` is the rest, with slashes."""
    rest = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", pattern)
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", rest), re.DOTALL)


def seconds(value: Any, default: float = 0) -> float:
    """Seconds from Vault's durations: a number, "90", "90s", "1h30m". Raises VaultError."""
    if value in (None, ""):
        return default
    if isinstance(value, int | float):
        return value
    text = str(value)
    if re.fullmatch(r"\d+", text):
        return int(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise bad_request(
            f"error converting input {text!r} to a duration: use a number of seconds or a form such as 1h30m"
        )
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def go_duration(value: float) -> str:
    """Seconds as Go prints a duration: 0s, 90 as 1m30s, 3600 as 1h0m0s."""
    whole = int(value)
    hours, minutes = whole // 3600, whole % 3600 // 60
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{text}{whole % 60}s"


def timestamp(moment: float) -> str:
    """RFC 3339 in UTC with nanoseconds, as Vault prints times."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def random_id(length: int = 24) -> str:
    """Letters and digits, for tokens and accessors."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def string_list(value: Any) -> list[str]:
    """A list of strings from a list or a comma-separated string, without blanks."""
    entries = value.split(",") if isinstance(value, str) else value or []
    return [str(entry).strip() for entry in entries if str(entry).strip()]


def list_keys(names: list[str], prefix: str) -> Reply:
    """LIST below a prefix.

    Names at this level, folders with a slash, sorted. Raises VaultError 404 if there is none.
    """
    prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    level = set()
    for name in names:
        if name.startswith(prefix):
            head, slash, _ = name[len(prefix) :].partition("/")
            level.add(head + slash)
    if not level:
        raise not_found()
    return Reply({"keys": sorted(level)})
