"""Who a bearer token belongs to: the tokens given at the start, and those of service accounts
(signed, with an end).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any, NamedTuple

from sandbox.kubernetes.store import Store

Json = dict[str, Any]

ISSUER = "https://kubernetes.default.svc.cluster.local"
DEFAULT_TOKEN_SECONDS = 3600
_AUTHENTICATED = "system:authenticated"


class User(NamedTuple):
    """A name and the groups it is in."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Authenticator:
    """Tokens to users. Service-account tokens are JWTs signed with a key of this process and hold
    while their account does.
    """

    def __init__(self, store: Store, tokens: dict[str, User]) -> None:
        self._store = store
        self._tokens = {token: _member(user) for token, user in tokens.items()}
        self._key = secrets.token_bytes(32)

    def add(self, token: str, user: User) -> None:
        """Let a further token in."""
        self._tokens[token] = _member(user)

    def user(self, authorization: str) -> User | None:
        """The user of an `Authorization` header: anonymous without one, None when the token is not
        known.
        """
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        return self.of_token(token.strip()) if scheme.lower() == "bearer" else None

    def of_token(self, token: str) -> User | None:
        return self._tokens.get(token) or self._of_account(token)

    def issue(
        self, namespace: str, name: str, uid: str, seconds: int | None = DEFAULT_TOKEN_SECONDS
    ) -> tuple[str, int]:
        """A token for a service account, and when it ends (seconds since 1970; far away when
        `seconds` is None).
        """
        now = int(time.time())
        end = now + (10 * 365 * 86400 if seconds is None else seconds)
        account = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        claims = {"iss": ISSUER, "aud": [ISSUER], "iat": now, "nbf": now, "exp": end, "kubernetes.io": account,
                  "sub": f"system:serviceaccount:{namespace}:{name}"}  # fmt: skip
        body = f"{_base64({'alg': 'HS256', 'typ': 'JWT'})}.{_base64(claims)}"
        return f"{body}.{self._signature(body)}", end

    def _signature(self, body: str) -> str:
        return _plain_base64(hmac.new(self._key, body.encode(), hashlib.sha256).digest())

    def _of_account(self, token: str) -> User | None:
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return None
        text = body.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        account = claims["kubernetes.io"]
        namespace, name, uid = (
            account["namespace"],
            account["serviceaccount"]["name"],
            account["serviceaccount"]["uid"],
        )
        found = self._store.get(("", "serviceaccounts"), f"{namespace}/{name}")
        if claims["exp"] < time.time() or found is None or found.obj["metadata"]["uid"] != uid:
            return None
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", _AUTHENTICATED)
        return User(f"system:serviceaccount:{namespace}:{name}", groups, uid)


def _member(user: User) -> User:
    groups = user.groups if _AUTHENTICATED in user.groups else (*user.groups, _AUTHENTICATED)
    return user._replace(groups=groups)


def _base64(value: Json) -> str:
    return _plain_base64(json.dumps(value, separators=(",", ":")).encode())


def _plain_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
