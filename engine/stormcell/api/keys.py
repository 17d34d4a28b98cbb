"""`/v1/keys`: the datastore. Source: st2api/controllers/v1/keyvalue.py of StackStorm 3.9."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.access import user_of
from stormcell.api.answers import answer, flag, listing, page_of, read_body
from stormcell.api.documents import key_document
from stormcell.engine import Engine
from stormcell.errors import InvalidInputError, NotFoundError
from stormcell.store import KeyValue
from stormcell.store.datastore import SYSTEM, Datastore


def routes(engine: Engine) -> list[Route]:
    api = _Keys(engine.store.datastore, engine)
    return [
        Route("/v1/keys", api.list, methods=["GET"]),
        Route("/v1/keys/{name:path}", api.get, methods=["GET"]),
        Route("/v1/keys/{name:path}", api.set, methods=["PUT"]),
        Route("/v1/keys/{name:path}", api.delete, methods=["DELETE"]),
    ]


class _Keys:
    def __init__(self, datastore: Datastore, engine: Engine) -> None:
        self._datastore = datastore
        self._engine = engine

    async def list(self, request: Request) -> Response:
        page = page_of(request)
        scope = request.query_params.get("scope") or SYSTEM
        self._engine.store.writer.flush()
        found = self._datastore.list(
            scope=None if scope == "all" else scope,
            user=_owner(request),
            prefix=request.query_params.get("prefix", ""),
        )
        part = found[page.offset : None if page.limit < 0 else page.offset + page.limit]
        return listing([self._document(request, entry) for entry in part], len(found), page)

    async def get(self, request: Request) -> Response:
        self._engine.store.writer.flush()
        name, scope = request.path_params["name"], request.query_params.get("scope") or SYSTEM
        entry = self._datastore.get(name, scope=scope, user=_owner(request))
        if entry is None:
            raise NotFoundError(f'Key with name "{name}" not found in scope "{scope}".')
        return answer(self._document(request, entry))

    async def set(self, request: Request) -> Response:
        body = await read_body(request)
        name, value = request.path_params["name"], body.get("value")
        if not isinstance(value, str):
            raise InvalidInputError(
                'The body must have "value", a text; write other values as JSON text.'
            )
        ttl: Any = body.get("ttl")
        if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int | float)):
            raise InvalidInputError("ttl must be a number of seconds.")
        entry = await self._datastore.set(
            name,
            value,
            scope=str(body.get("scope") or request.query_params.get("scope") or SYSTEM),
            user=str(body.get("user") or user_of(request)),
            ttl_seconds=ttl,
            secret=bool(body.get("secret") or body.get("encrypted")),
        )
        return answer(self._document(request, entry))

    async def delete(self, request: Request) -> Response:
        name, scope = request.path_params["name"], request.query_params.get("scope") or SYSTEM
        if not await self._datastore.delete(name, scope=scope, user=_owner(request)):
            raise NotFoundError(f'Key with name "{name}" not found in scope "{scope}".')
        return Response(status_code=204)

    def _document(self, request: Request, entry: KeyValue) -> dict[str, Any]:
        decrypt = flag(request, "decrypt")
        return key_document(entry, self._datastore.value(entry, decrypt=decrypt), decrypted=decrypt)


def _owner(request: Request) -> str:
    return request.query_params.get("user") or user_of(request)
