"""Vault's HTTP face: from an ASGI request to the core and back, with Vault's envelope, headers and
error bodies.

A body is never logged, neither way.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from sandbox.vault import open_paths
from sandbox.vault.core import Core
from sandbox.vault.messages import (
    DELETE,
    LIST,
    PATCH,
    READ,
    WRITE,
    Reply,
    Request,
    VaultError,
    bad_request,
    seconds,
    timestamp,
)

OPERATIONS = {
    "GET": READ,
    "HEAD": READ,
    "LIST": LIST,
    "POST": WRITE,
    "PUT": WRITE,
    "DELETE": DELETE,
    "PATCH": PATCH,
}
MAX_BODY_BYTES = 32 * 1024 * 1024
HEADERS = {
    "Cache-Control": "no-store",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}


class VaultApp:
    """The ASGI application around one core."""

    def __init__(self, core: Core) -> None:
        self.core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        http = HttpRequest(scope, receive)
        body = await http.body()
        # Off the event loop, since a login may ask a Kubernetes API for a token review.
        response = await asyncio.to_thread(
            self._respond, http.method, http.url.path, http.headers, http.query_params, body
        )
        await response(scope, receive, send)

    def _respond(
        self, method: str, path: str, headers: Headers, query: QueryParams, body: bytes
    ) -> Response:
        try:
            request = self._read(method, path, headers, query, body)
            if request.path in open_paths.PATHS:
                reply = open_paths.handle(self.core, request)
            else:
                reply = self.core.handle(request)
            return self._answer(request, reply, headers.get("x-vault-wrap-ttl"))
        except VaultError as error:
            refusal = error.body if error.body is not None else {"errors": error.errors}
            if "request_id" in refusal:
                refusal = {**refusal, "request_id": str(uuid.uuid4())}
            return JSONResponse(refusal, error.status, HEADERS)

    @staticmethod
    def _read(method: str, path: str, headers: Headers, query: QueryParams, body: bytes) -> Request:
        operation = OPERATIONS.get(method)
        if not path.startswith("/v1/"):
            raise VaultError(404)
        if operation is None:
            raise VaultError(405)
        if operation == READ and query.get("list", "false").lower() in ("true", "1", "t"):
            operation = LIST
        if len(body) > MAX_BODY_BYTES:
            raise VaultError(413, "http: request body too large")
        inner = path[len("/v1/") :]
        data: dict[str, Any] = {}
        if operation in (WRITE, PATCH) and body:
            data = _parse(body)
        if (
            operation == PATCH
            and headers.get("content-type", "").split(";")[0] != "application/merge-patch+json"
        ):
            raise VaultError(
                415, "PATCH requires Content-Type of application/merge-patch+json, provided another"
            )
        return Request(operation, inner, data, query, _token(headers))

    def _answer(self, request: Request, reply: Reply, wrap_ttl: str | None) -> Response:
        if reply.raw is not None:
            return JSONResponse(reply.raw, reply.status, HEADERS)
        if reply.data is None and reply.auth is None:
            return Response(status_code=204, headers=HEADERS)
        content = {
            "request_id": str(uuid.uuid4()),
            "lease_id": "",
            "renewable": False,
            "lease_duration": reply.lease_seconds,
            "data": reply.data,
            "wrap_info": None,
            "warnings": reply.warnings,
            "auth": reply.auth,
        }
        if reply.flat and reply.data is not None:
            content = {**reply.data, **content}
        if wrap_ttl:
            content = self._wrapped(request, content, wrap_ttl)
        return JSONResponse(content, reply.status, HEADERS)

    def _wrapped(self, request: Request, content: dict[str, Any], wrap_ttl: str) -> dict[str, Any]:
        with self.core.lock:
            ttl = seconds(wrap_ttl)
            if ttl <= 0:
                raise bad_request("the wrapping time must be positive")
            token = self.core.wrap(content, ttl, request.path)
        info = {
            "token": token.id,
            "accessor": token.accessor,
            "ttl": int(ttl),
            "creation_time": timestamp(token.created),
            "creation_path": request.path,
        }
        if content["auth"]:
            info["wrapped_accessor"] = content["auth"]["accessor"]
        empty = {
            "request_id": content["request_id"],
            "lease_id": "",
            "renewable": False,
            "lease_duration": 0,
        }
        return {**empty, "data": None, "wrap_info": info, "warnings": None, "auth": None}


def _parse(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        raise bad_request("failed to parse JSON input: the body is not valid JSON") from None
    if not isinstance(data, dict):
        raise bad_request("failed to parse JSON input: the body must be an object")
    return data


def _token(headers: Headers) -> str:
    token = headers.get("x-vault-token")
    if token:
        return token
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
