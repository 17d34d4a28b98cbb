"""What stands before every call: the size of the body, the Host and Origin of the caller, and the
key.

A page in a browser on the same machine can reach a loopback port: therefore a key is required there
too, and Host (DNS rebinding) and Origin (a foreign page) are checked. Credentials are accepted in
the places StackStorm takes them (st2common/router.py, st2common/middleware). Open are `/healthz`
and the asking for a token alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec
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


class BodyTooLargeError(Exception):
    """The body went over the limit while it was read."""


class Direct(Protocol):
    """An application that says which calls are its own."""

    def takes(self, scope: Scope) -> bool:
        """Whether a call is its own."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it, as an ASGI application."""
        ...


class Gate:
    """ASGI middleware; also takes StackStorm's `/api` prefix and trailing slashes off the path."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        identify: Callable[[str], Caller | None],
        hosts: frozenset[str],
        body_limit_bytes: int = BODY_LIMIT_BYTES,
        direct: Direct | None = None,
    ) -> None:
        """`direct`: an application for the calls it `takes`, asked before `app`."""
        self._app = app
        self._direct = direct
        self._identify = identify
        self._hosts = hosts | LOOPBACK_HOSTS
        self._limit = body_limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = normal_path(scope["path"])
        headers = _headers(scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, message = refusal
            await fault(status, message)(scope, receive, send)
            return
        app = self._direct if self._direct is not None and self._direct.takes(scope) else self._app
        if "content-length" in headers and "transfer-encoding" not in headers:
            await app(scope, receive, send)  # the server reads no more than that
        else:
            await self._limited(app, scope, receive, send)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        host = _host_name(headers.get("host", ""))
        if _UNCOUNTED not in self._hosts and host not in self._hosts:
            return (
                403,
                f'The Host "{host}" is not served here. Start stormcell with --allow-host {host} to allow it.',
            )
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
        if caller.is_pack_code and _is_for_people(scope):
            return 403, "The token of an action or a sensor may not do this."
        scope.setdefault("state", {})["caller"] = caller
        return None

    def _too_large(self) -> str:
        return f"The body is larger than {self._limit} bytes. Send less, or start stormcell with a larger --body-limit."

    def _authenticate(self, scope: Scope, headers: Mapping[str, str]) -> Caller | None:
        for credential, location in _credentials(scope, headers):
            caller = self._identify(credential)
            if caller is not None:
                return msgspec.structs.replace(caller, location=location)
        return None

    async def _limited(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is read, for bodies that come in chunks and state no length."""
        seen = 0
        started = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._limit:
                    raise BodyTooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, counted, watched)
        except BodyTooLargeError:
            if not started:
                await fault(413, self._too_large())(scope, receive, send)


def _is_for_people(scope: Scope) -> bool:
    """Keys, and what an operator alone decides: not for code of packs."""
    path: str = scope["path"]
    return path.startswith("/v1/apikeys") or (
        scope["method"] != "GET" and path.startswith(("/v1/configs", "/v1/prune"))
    )


def normal_path(path: str) -> str:
    """`/api/v1/x/` and `/v1/x/` are `/v1/x`; StackStorm's other services, `/auth` and `/stream`,
    are here too.
    """
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


def _credentials(scope: Scope, headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each credential with the place it stood in, in StackStorm's words."""
    found = [(headers[name], "header") for name in _HEADERS if name in headers]
    authorization = headers.get("authorization", "")
    if authorization.lower().startswith("bearer "):
        found.append((authorization[7:].strip(), "header"))
    if scope.get("query_string"):
        query = parse_qs(scope["query_string"].decode("latin-1"))
        found += [(value, "query") for name in _HEADERS for value in query.get(name, [])]
    if "cookie" in headers:
        found += [(text, "cookie") for text in _cookie_tokens(headers["cookie"])]
    return found


def _cookie_tokens(text: str) -> list[str]:
    try:
        cookies = SimpleCookie(text)
    except CookieError:
        return []
    return [cookies["auth-token"].value] if "auth-token" in cookies else []


def _headers(scope: Scope) -> dict[str, str]:
    """Name in lower case -> value; the first where a name comes twice."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in reversed(scope["headers"])
    }


@lru_cache(maxsize=256)
def _host_name(host: str) -> str:
    """The name without its port; an IPv6 address keeps its brackets off."""
    return (urlsplit(f"//{host}").hostname or "") if host else ""
