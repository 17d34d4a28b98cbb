"""`/tokens`, `/v1/apikeys` and `/v1/user`: how one becomes known, and who one is.

Source of behaviour: st2auth/controllers/v1/auth.py and st2api/controllers/v1/{auth,user}.py of
StackStorm 3.9.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.access import caller_of, user_of
from stormcell.api.answers import answer, fault, listing, page_of, read_body, shaped
from stormcell.api.identity import Identity, Token
from stormcell.api.permissions import check_scopes, is_admin
from stormcell.engine import Engine
from stormcell.errors import ForbiddenError, InvalidInputError, NotFoundError
from stormcell.store.access import ApiKey
from stormcell.store.sealing import MASK
from stormcell.times import from_timestamp

_CREATED = 201


def routes(engine: Engine, identity: Identity) -> list[Route]:
    tokens = _Tokens(identity)
    keys = _Keys(engine, identity)
    who = _Who(engine)
    return [
        Route("/v1/tokens", tokens.create, methods=["POST"]),
        Route("/v1/tokens/validate", tokens.validate, methods=["POST"]),
        Route("/v1/user", who.user, methods=["GET"]),
        Route("/v1/apikeys", keys.list, methods=["GET"]),
        Route("/v1/apikeys", keys.create, methods=["POST"]),
        Route("/v1/apikeys/{id}", keys.get, methods=["GET"]),
        Route("/v1/apikeys/{id}", keys.change, methods=["PUT"]),
        Route("/v1/apikeys/{id}", keys.delete, methods=["DELETE"]),
    ]


class _Tokens:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        # One guess at a time: each takes 16 MB, and a flood of them must not take the machine.
        self._guessing = asyncio.Lock()

    async def create(self, request: Request) -> Response:
        """Basic authentication in, a token out; `{"ttl": seconds}` shortens its life."""
        body = await read_body(request)
        ttl = body.get("ttl")
        if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int) or ttl < 1):
            raise InvalidInputError("ttl must be a number of seconds, at least 1.")
        named = _basic(request.headers.get("authorization", ""))
        if named is None:
            return fault(401, "Invalid or missing credentials")
        credential = self._identity.of_key(*named)
        if credential is None:
            async with self._guessing:
                credential = await asyncio.to_thread(self._identity.of_password, *named)
        if credential is None:
            return fault(401, "Invalid or missing credentials")
        return answer(_token_document(self._identity.token(named[0], credential, ttl)), _CREATED)

    async def validate(self, request: Request) -> Response:
        token = (await read_body(request)).get("token")
        if not isinstance(token, str) or not token:
            raise InvalidInputError("Token is not provided.")
        return answer({"valid": self._identity.of(token) is not None})


class _Who:
    def __init__(self, engine: Engine) -> None:
        self._roles = engine.roles

    async def user(self, request: Request) -> Response:
        caller = caller_of(request)
        authentication: dict[str, Any] = {"method": caller.method, "location": caller.location}
        if caller.expires_at is not None:
            authentication["token_expire"] = from_timestamp(caller.expires_at)
        rbac = {
            "enabled": True,
            "roles": sorted(self._roles.of(caller.user)),
            "is_admin": self._roles.is_admin(caller.user),
        }
        return answer({"username": caller.user, "authentication": authentication, "rbac": rbac})


class _Keys:
    """A key is its maker's own; administrators see all, and may switch off and delete them."""

    def __init__(self, engine: Engine, identity: Identity) -> None:
        self._engine = engine
        self._api_keys = engine.store.api_keys
        self._identity = identity

    async def list(self, request: Request) -> Response:
        page = page_of(request)
        user = request.query_params.get("user")
        found = sorted(
            (
                key
                for key in self._api_keys.list()
                if user in (None, key.user) and self._may_see(request, key)
            ),
            key=lambda key: key.user,
        )
        part = found[page.offset : None if page.limit < 0 else page.offset + page.limit]
        return listing([shaped(request, _key_document(key)) for key in part], len(found), page)

    async def get(self, request: Request) -> Response:
        return answer(_key_document(self._find(request)))

    async def create(self, request: Request) -> Response:
        """The key in clear is in this answer and nowhere else."""
        body = await read_body(request)
        user, metadata = body.get("user") or user_of(request), body.get("metadata") or {}
        if not isinstance(user, str) or not isinstance(metadata, dict):
            raise InvalidInputError("user must be a name, metadata an object.")
        check_scopes(metadata)
        account = self._identity.account_for_key(caller_of(request), user)
        if body.get("key_hash"):
            raise InvalidInputError(
                "A key is made here; its hash cannot be brought along. Leave key_hash out."
            )
        clear, key = self._api_keys.create(user, metadata, account=account)
        if body.get("enabled") is False:
            key = self._api_keys.change(key.id, metadata=metadata, enabled=False)
        document = {name: value for name, value in _key_document(key).items() if name != "key_hash"}
        return answer({**document, "key": clear}, _CREATED)

    async def change(self, request: Request) -> Response:
        key = self._find(request)
        body = await read_body(request)
        metadata, enabled = body.get("metadata", key.metadata), body.get("enabled", key.enabled)
        if not isinstance(metadata or {}, dict) or not isinstance(enabled, bool):
            raise InvalidInputError("metadata must be an object, enabled true or false.")
        check_scopes(metadata or {})
        if body.get("user") not in (None, "", key.user):
            raise InvalidInputError("The user of a key cannot be changed. Make another key.")
        if metadata != key.metadata and key.user != user_of(request):
            raise ForbiddenError(f"Only {key.user} may change the metadata of this key.")
        if body.get("key_hash") not in (None, "", MASK, key.key_hash):
            raise InvalidInputError("The hash of a key cannot be changed. Make another key.")
        changed = self._api_keys.change(key.id, metadata=metadata or {}, enabled=enabled)
        return answer(_key_document(changed))

    async def delete(self, request: Request) -> Response:
        self._api_keys.delete(self._find(request).id)
        return Response(status_code=204)

    def _find(self, request: Request) -> ApiKey:
        """By id, or by the key itself, as StackStorm allows."""
        wanted = request.path_params["id"]
        key = self._api_keys.find(wanted)
        if key is None or not self._may_see(request, key):
            raise NotFoundError("ApiKey with this reference or id not found.")
        return key

    def _may_see(self, request: Request, key: ApiKey) -> bool:
        return key.user == user_of(request) or is_admin(self._engine, request)


def _key_document(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "uid": f"api_key:{key.id}",
        "user": key.user,
        "key_hash": MASK,
        "metadata": key.metadata,
        "created_at": key.created_at,
        "enabled": key.enabled,
    }


def _token_document(token: Token) -> dict[str, Any]:
    expiry = from_timestamp(token.expires_at)
    return {
        "id": token.id,
        "user": token.user,
        "token": token.text,
        "expiry": expiry,
        "metadata": {},
    }


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = (
            base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
        )
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon and name else None
