"""What stands before every call: the size of the body, the Host and Origin of the caller, and the key.

A page in a browser on the same machine can reach a loopback port: therefore a key is required there too, and Host
(DNS rebinding) and Origin (a foreign page) are checked. Credentials are accepted in the places StackStorm takes them
(st2common/router.py, st2common/middleware). Open are `/healthz` and the asking for a token alone.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stormcell.api.answers import fault
from stormcell.api.identity import Caller

BODY_LIMIT_BYTES = 1024 * 1024
OPEN_PATHS = frozenset({"/healthz", "/v1/tokens"})
"""Whether it lives, and where a password gets a token."""
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
_HEADERS = ("st2-api-key", "x-auth-token")
_SERVICES = ("/api/", "/auth/", "/stream/")
_UNCOUNTED = "*"


class _TooLarge(Exception):
    """The body went over the limit while it was read."""


class Gate:
    """ASGI middleware; also takes StackStorm's `/api` prefix and trailing slashes off the path."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        identify: Callable[[str], Caller | None],
        hosts: frozenset[str],
        body_limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> None:
        self._app = app
        self._identify = identify
        self._hosts = hosts | LOOPBACK_HOSTS
        self._limit = body_limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = normal_path(scope["path"])
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, message = refusal
            await fault(status, message)(scope, receive, send)
            return
        await self._limited(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = _host_name(headers.get("host", ""))
        if _UNCOUNTED not in self._hosts and host not in self._hosts:
            return 403, f'The Host "{host}" is not served here. Start stormcell with --allow-host {host} to allow it.'
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return 403, f'Calls from pages of "{origin}" are not allowed.'
        length = headers.get("content-length", "0")
        if not length.isdigit():
            return 400, "Content-Length must be a number of bytes."
        if int(length) > self._limit:
            return 413, self._too_large()
        if scope["path"] in OPEN_PATHS:
            return None
        caller = self._authenticate(scope, headers)
        if caller is None:
            return 401, "Unauthorized - One of Token or API key required."
        scope.setdefault("state", {})["caller"] = caller
        return None

    def _too_large(self) -> str:
        return f"The body is larger than {self._limit} bytes. Send less, or start stormcell with a larger --body-limit."

    def _authenticate(self, scope: Scope, headers: Headers) -> Caller | None:
        for credential, location in _credentials(scope, headers):
            caller = self._identify(credential)
            if caller is not None:
                return msgspec.structs.replace(caller, location=location)
        return None

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is read, for bodies that come in chunks and state no length."""
        seen = 0
        started = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._limit:
                    raise _TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except _TooLarge:
            if not started:
                await fault(413, self._too_large())(scope, receive, send)


def normal_path(path: str) -> str:
    """`/api/v1/x/` and `/v1/x/` are `/v1/x`; StackStorm's other services, `/auth` and `/stream`, are here too."""
    for prefix in _SERVICES:
        if path.startswith(prefix):
            path = path[len(prefix) - 1 :]
            break
    if path.startswith("/tokens"):
        path = f"/v1{path}"
    return path.rstrip("/") or "/"


def caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def user_of(request: Request) -> str:
    return caller_of(request).user


def _credentials(scope: Scope, headers: Headers) -> list[tuple[str, str]]:
    """Each credential with the place it stood in, in StackStorm's words."""
    found = [(headers[name], "header") for name in _HEADERS if name in headers]
    authorization = headers.get("authorization", "")
    if authorization.lower().startswith("bearer "):
        found.append((authorization[7:].strip(), "header"))
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    found += [(value, "query") for name in _HEADERS for value in query.get(name, [])]
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        cookies = SimpleCookie()
    found += [(cookies["auth-token"].value, "cookie")] if "auth-token" in cookies else []
    return found


def _host_name(host: str) -> str:
    """The name without its port; an IPv6 address keeps its brackets off."""
    return (urlsplit(f"//{host}").hostname or "") if host else ""
