"""Puts the calls together into one ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from stormcell.api import (
    aliases,
    auth,
    changes,
    configs,
    content,
    events,
    executions,
    inquiries,
    keys,
    permissions,
    rbac,
    streaming,
    system,
    traces,
)
from stormcell.api.access import BODY_LIMIT_BYTES, Gate
from stormcell.api.answers import fault, fault_of
from stormcell.api.events import WebhookCalls
from stormcell.api.identity import Identity
from stormcell.contents import Contents
from stormcell.engine import Engine
from stormcell.errors import Error


def make_app(
    engine: Engine,
    contents: Contents,
    *,
    hosts: frozenset[str] = frozenset(),
    body_limit_bytes: int = BODY_LIMIT_BYTES,
) -> Starlette:
    """Return the application. `hosts` are names under which it may be called beside loopback's; `*`
    is any.
    """
    routes = [
        part
        for module in (
            executions,
            inquiries,
            events,
            traces,
            aliases,
            content,
            keys,
            rbac,
            streaming,
            system,
        )
        for part in module.routes(engine)
    ]
    identity = Identity(engine.store, running=engine.trees.leaves.active)
    routes = [
        *auth.routes(engine, identity),
        *changes.routes(engine, contents),
        *configs.routes(engine, contents),
        *routes,
    ]
    routes = permissions.routed(engine, routes)
    gate = Middleware(
        Gate,
        identify=identity.of,
        hosts=hosts,
        body_limit_bytes=body_limit_bytes,
        direct=WebhookCalls(engine),
    )
    handlers = {HTTPException: _http_fault, Error: _fault, Exception: _fault}
    app = Starlette(routes=routes, middleware=[gate], exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


async def _fault(request: Request, error: Exception) -> Response:
    return fault_of(error)


async def _http_fault(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return fault(404, "The resource could not be found.")
    if status == 405:
        return fault(405, f"{request.method} is not offered on {request.url.path}.")
    return fault(status, str(error))
