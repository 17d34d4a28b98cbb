"""Consul's HTTP face: routes, tokens, blocking queries and headers in one place; what is asked for
is in the other modules.

A value is never logged.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.consul.acl import Acl, Token
from sandbox.consul.catalog import Catalog, lowered
from sandbox.consul.errors import ConsulError, no_leader
from sandbox.consul.store import Store
from sandbox.consul.watching import Topic, wait_seconds

VERSION = "1.20.1"
# What the agent answers by itself, without a leader.
LOCAL_PREFIXES = ("/v1/agent/", "/v1/status/")

Answer = Any
Handler = Callable[["Call"], Awaitable[Answer]]


class Call:
    """One request, with who asks and what the server has."""

    def __init__(self, request: Request, world: World) -> None:
        self.request = request
        self.world = world
        self.store, self.catalog, self.acl = world.store, world.catalog, world.acl
        self.query: Mapping[str, str] = request.query_params
        self.token: Token = self.acl.resolve(_secret(request))
        self.index: int | None = None

    @property
    def path(self) -> Mapping[str, str]:
        return self.request.path_params

    def has(self, name: str) -> bool:
        """Whether a parameter that is a flag is set, with a value or without."""
        return name in self.query

    def number(self, name: str) -> int | None:
        text = self.query.get(name)
        if text is None:
            return None
        if not text.isdigit() or int(text) >= 2**64:
            raise ConsulError(400, f"Invalid {name}: {text!r} is not an unsigned 64-bit number")
        return int(text)

    async def json(self) -> Any:
        """The body as JSON; an empty one reads as no object. Raises ConsulError."""
        body = await self.request.body()
        if not body.strip():
            return {}
        try:
            return json.loads(body)
        except ValueError:
            raise ConsulError(400, "Request decode failed: the body is not valid JSON") from None

    async def fields(self) -> dict[str, Any]:
        return lowered(await self.json())

    def may(self, resource: str, name: str, access: str) -> bool:
        return self.acl.allows(self.token, resource, name, access)

    def require(self, resource: str, name: str, access: str) -> None:
        self.acl.require(self.token, resource, name, access)

    async def watched(self, topic: Topic, query: Callable[[], tuple[int, Answer]]) -> Answer:
        """The answer of a query, once its index has passed the caller's `index` or the wait is
        over.
        """
        index = self.number("index")
        if index is not None:
            waited = wait_seconds(self.query.get("wait"))
            self.index, answer = await self.store.watchers.until_changed(
                topic, index, waited, query
            )
        else:
            self.index, answer = query()
        return answer


class World:
    """What one Consul server is made of, and whether its cluster has a leader."""

    def __init__(self, store: Store, catalog: Catalog, acl: Acl) -> None:
        self.store, self.catalog, self.acl = store, catalog, acl
        self.has_leader = True
        self.events: list[dict[str, Any]] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def look_at_the_time(self) -> None:
        """Carry out what is due, and come back by itself when the next session ends, for those who
        wait.
        """
        self.store.expire()
        self.catalog.expire()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due = self.store.next_expiry()
        if due is not None and self.loop:
            self._timer = self.loop.call_later(
                max(due - self.store.clock(), 0.05), self.look_at_the_time
            )


def endpoint(world: World, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A Starlette endpoint around a handler: leader, time and token before it, headers and errors
    after it.
    """

    async def serve(request: Request) -> Response:
        world.loop = asyncio.get_running_loop()
        world.look_at_the_time()
        call = None
        try:
            local = request.url.path.startswith(LOCAL_PREFIXES)
            stale = request.method == "GET" and "stale" in request.query_params
            if not world.has_leader and not local and not stale:
                raise no_leader()
            if request.query_params.get("dc", world.catalog.datacenter) != world.catalog.datacenter:
                raise ConsulError(500, "No path to datacenter")
            if request.query_params.get("filter"):
                raise ConsulError(501, "the sandbox does not evaluate filter expressions")
            call = Call(request, world)
            answer = await handler(call)
            world.look_at_the_time()
            return _response(world, call, answer)
        except ConsulError as error:
            return PlainTextResponse(error.text, error.status, _headers(world, call))
        except ValueError:
            return PlainTextResponse(
                "Request decode failed: a field has the wrong type", 400, _headers(world, call)
            )

    return serve


def _response(world: World, call: Call, answer: Answer) -> Response:
    headers = _headers(world, call)
    if isinstance(answer, Response):
        answer.headers.update(headers)
        return answer
    if answer is None:
        return Response(status_code=200, headers=headers)
    return JSONResponse(answer, headers=headers)


def _headers(world: World, call: Call | None) -> dict[str, str]:
    headers = {"X-Consul-Default-Acl-Policy": world.acl.default, "Vary": "Accept-Encoding"}
    if call and call.index is not None:
        headers |= {
            # An index of 0 would make a client's next query return at once, for ever.
            "X-Consul-Index": str(max(call.index, 1)),
            "X-Consul-Knownleader": "true" if world.has_leader else "false",
            "X-Consul-Lastcontact": "0",
            "X-Consul-Effective-Consistency": "stale" if call.has("stale") else "leader",
        }
    return headers


def _secret(request: Request) -> str:
    header = request.headers.get("x-consul-token")
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    return (
        header
        or (bearer.strip() if scheme.lower() == "bearer" else "")
        or request.query_params.get("token", "")
    )


def make_app(world: World) -> Starlette:
    """The ASGI application of one Consul server."""
    from sandbox.consul import acl_http, agent_http, catalog_http, kv_http

    tables = (kv_http.ROUTES, catalog_http.ROUTES, agent_http.ROUTES, acl_http.ROUTES)
    routes = [
        Route(f"/v1/{path}", endpoint(world, handler), methods=[method])
        for table in tables
        for method, path, handler in table
    ]

    async def unknown(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse("Invalid URL path: not a recognized HTTP API endpoint", 404)

    async def wrong_method(request: Request, _error: Exception) -> Response:
        return PlainTextResponse(f"method {request.method} not allowed", 405)

    handlers: dict[Any, Any] = {404: unknown, 405: wrong_method}
    return Starlette(routes=routes, exception_handlers=handlers)
