"""`/v1/keys`: the datastore. Source: st2api/controllers/v1/keyvalue.py of StackStorm 3.9."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.access import user_of
from stormcell.api.answers import answer, flag, listing, page_of, read_body
from stormcell.api.documents import key_document
from stormcell.api.permissions import is_admin, require
from stormcell.engine import Engine
from stormcell.errors import ForbiddenError, InvalidInputError, NotFoundError
from stormcell.store import KeyValue
from stormcell.store.datastore import SYSTEM, USER, Datastore, normal_scope

_ALL = "all"


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
        scope = _scope(request)
        if flag(request, "decrypt") and scope != USER and not is_admin(self._engine, request):
            raise ForbiddenError("Decrypt option requires administrator access.")
        self._engine.store.writer.flush()
        found = [
            entry
            for entry in self._datastore.list(
                scope=None if scope == _ALL else scope,
                user=self._owner(request, request.query_params.get("user")),
                prefix=request.query_params.get("prefix", ""),
            )
            if self._may(request, "view", entry.scope, entry.name)
        ]
        part = found[page.offset : None if page.limit < 0 else page.offset + page.limit]
        return listing([self._document(request, entry) for entry in part], len(found), page)

    async def get(self, request: Request) -> Response:
        self._engine.store.writer.flush()
        name, scope = request.path_params["name"], _scope_of_one(request)
        owner = self._owner(request, request.query_params.get("user"))
        self._require(request, "view", scope, name)
        if flag(request, "decrypt"):
            # Observers see which keys there are; a secret takes a grant on that key.
            self._require(request, "decrypt", scope, name)
        entry = self._datastore.get(name, scope=scope, user=owner)
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
        scope = normal_scope(str(body.get("scope") or request.query_params.get("scope") or SYSTEM))
        owner = self._owner(request, body.get("user"))
        self._require(request, "set", scope, name)
        entry = await self._datastore.set(
            name,
            value,
            scope=scope,
            user=owner,
            ttl_seconds=ttl,
            secret=bool(body.get("secret") or body.get("encrypted")),
        )
        return answer(self._document(request, entry))

    async def delete(self, request: Request) -> Response:
        name, scope = request.path_params["name"], _scope_of_one(request)
        owner = self._owner(request, request.query_params.get("user"))
        self._require(request, "delete", scope, name)
        if not await self._datastore.delete(name, scope=scope, user=owner):
            raise NotFoundError(f'Key with name "{name}" not found in scope "{scope}".')
        return Response(status_code=204)

    def _document(self, request: Request, entry: KeyValue) -> dict[str, Any]:
        decrypt = flag(request, "decrypt")
        return key_document(entry, self._datastore.value(entry, decrypt=decrypt), decrypted=decrypt)

    def _owner(self, request: Request, named: Any) -> str:
        """Whose values of the scope user are meant. ForbiddenError for another's, but for
        administrators.
        """
        owner = str(named or user_of(request))
        if owner != user_of(request) and not is_admin(self._engine, request):
            raise ForbiddenError('"user" attribute can only be provided by admins')
        return owner

    def _may(self, request: Request, name: str, scope: str, key: str) -> bool:
        try:
            self._require(request, name, scope, key)
        except ForbiddenError:
            return False
        return True

    def _require(self, request: Request, name: str, scope: str, key: str) -> None:
        """One's own values are one's own; those of the system take a permission."""
        if scope != USER:
            uid = f"key_value_pair:st2kv.{scope}:{key}"
            grant = "key_value_pair_view" if name == "decrypt" else ""
            require(self._engine, request, f"key_value_pair_{name}", uid, granted_by=grant)


def _scope(request: Request) -> str:
    """A user that is named implies the scope user, as in StackStorm."""
    query = request.query_params
    if query.get("user"):
        return USER
    scope = query.get("scope") or SYSTEM
    return scope if scope == _ALL else normal_scope(scope)


def _scope_of_one(request: Request) -> str:
    scope = _scope(request)
    return SYSTEM if scope == _ALL else scope
