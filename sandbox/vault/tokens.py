"""Vault's tokens: the store, and the token auth method at auth/token.

Follows the API page "Token auth method". Token roles, batch tokens and tidying are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from sandbox.clock import Clock
from sandbox.vault.messages import (
    LIST,
    NOTHING,
    READ,
    WRITE,
    Engine,
    Handler,
    Reply,
    Request,
    VaultError,
    bad_request,
    denied,
    random_id,
    route,
    seconds,
    string_list,
    timestamp,
)

if TYPE_CHECKING:
    from sandbox.vault.core import Core

MAX_TTL_SECONDS = 32 * 24 * 3600
DEFAULT_TTL_SECONDS = MAX_TTL_SECONDS
ROOT_POLICY, DEFAULT_POLICY_NAME = "root", "default"


@dataclass
class Token:
    """A token that has been given out; times in seconds since 1970, `ttl` 0 for one without end."""

    id: str = field(repr=False)
    accessor: str
    policies: list[str]
    created: float
    path: str
    ttl: float = 0
    expires: float | None = None
    display_name: str = "token"
    meta: dict[str, str] | None = None
    parent: str = field(default="", repr=False)
    num_uses: int = 0
    period: float = 0
    explicit_max_ttl: float = 0
    renewable: bool = True
    last_renewal: float | None = None

    @property
    def is_root(self) -> bool:
        return ROOT_POLICY in self.policies


class TokenStore:
    """Every live token, found by id or accessor; a token's children end with it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_id: dict[str, Token] = {}
        self._by_accessor: dict[str, Token] = {}

    def create(
        self,
        *,
        policies: Iterable[str],
        path: str,
        token_id: str = "",
        ttl: float = 0,
        parent: Token | None = None,
        **rest: Any,
    ) -> Token:
        """Make a token; a `ttl` or `period` of 0 means the default, but for root tokens no end."""
        named = sorted(set(policies))
        period, explicit = rest.get("period", 0), rest.get("explicit_max_ttl", 0)
        lifetime = period or ttl or (0 if ROOT_POLICY in named else DEFAULT_TTL_SECONDS)
        if not period:
            lifetime = min(lifetime, MAX_TTL_SECONDS)
        if explicit:
            lifetime = min(lifetime or explicit, explicit)
        now = self._clock()
        token = Token(
            id=token_id or f"hvs.{random_id(24)}",
            accessor=random_id(24),
            policies=named,
            created=now,
            path=path,
            ttl=lifetime,
            expires=now + lifetime if lifetime else None,
            parent=parent.id if parent else "",
            **rest,
        )
        if not lifetime:
            token.renewable = False
        if token.id in self._by_id:
            raise bad_request("cannot create a token with a duplicate ID")
        self._by_id[token.id] = self._by_accessor[token.accessor] = token
        return token

    def find(self, token_id: str) -> Token | None:
        """The live token of that id; one that has expired is revoked on the way."""
        return self._live(self._by_id.get(token_id))

    def find_accessor(self, accessor: str) -> Token | None:
        return self._live(self._by_accessor.get(accessor))

    def _live(self, token: Token | None) -> Token | None:
        if token and token.expires is not None and token.expires <= self._clock():
            self.revoke(token)
            return None
        return token

    def accessors(self) -> list[str]:
        return [accessor for accessor in list(self._by_accessor) if self.find_accessor(accessor)]

    def revoke(self, token: Token, *, orphan_children: bool = False) -> None:
        """End a token and what descends from it, or let its children live on as orphans."""
        self._by_id.pop(token.id, None)
        self._by_accessor.pop(token.accessor, None)
        for child in [child for child in self._by_id.values() if child.parent == token.id]:
            if orphan_children:
                child.parent = ""
            else:
                self.revoke(child)

    def revoke_path(self, prefix: str) -> None:
        """End every token that was made below an auth mount."""
        for token in [token for token in self._by_id.values() if token.path.startswith(prefix)]:
            self.revoke(token)

    def renew(self, token: Token, increment: float) -> None:
        """Extend a token from now on, within its limits. Raises VaultError if it is not renewable."""
        if not token.renewable:
            raise bad_request("lease is not renewable")
        now = self._clock()
        limit = token.created + (token.explicit_max_ttl or MAX_TTL_SECONDS)
        extended = now + (token.period or increment or token.ttl)
        if not token.period or token.explicit_max_ttl:
            extended = min(extended, limit)
        token.expires, token.ttl, token.last_renewal = extended, extended - now, now

    def remaining(self, token: Token) -> int:
        return int(token.expires - self._clock()) if token.expires is not None else 0


def auth_block(token: Token) -> dict[str, Any]:
    """The `auth` part of an answer that hands out a token."""
    return {
        "client_token": token.id,
        "accessor": token.accessor,
        "policies": token.policies,
        "token_policies": token.policies,
        "metadata": token.meta,
        "lease_duration": int(token.ttl),
        "renewable": token.renewable,
        "entity_id": "",
        "token_type": "service",
        "orphan": not token.parent,
        "mfa_requirement": None,
        "num_uses": token.num_uses,
    }


class TokenAuth(Engine):
    """The method mounted at auth/token/."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def _tokens(self) -> TokenStore:
        return self._core.tokens

    def needs_sudo(self, inner: str, _operation: str) -> bool:
        return inner in ("create-orphan", "revoke-orphan") or inner.startswith("accessors")

    # -- creation

    def create(self, request: Request, _match: re.Match[str]) -> Reply:
        data, parent = request.data, request.token
        may_do_all = self._core.acl(parent).allows(request.path, "update", sudo=True)
        orphan = bool(data.get("no_parent")) or request.inner == "create-orphan"
        if not may_do_all:
            for name, wanted in (
                ("id", data.get("id")),
                ("period", data.get("period")),
                ("no_parent", data.get("no_parent")),
            ):
                if wanted:
                    raise bad_request(
                        f"root or sudo privileges required to specify {name} of a token"
                    )
        policies = self._policies(data, parent, may_do_all)
        token = self._tokens.create(
            policies=policies,
            path="auth/token/create",
            token_id=str(data.get("id") or ""),
            ttl=seconds(data.get("ttl") or data.get("lease")),
            parent=None if orphan else parent,
            display_name="-".join(filter(None, ("token", data.get("display_name")))),
            meta=data.get("meta"),
            num_uses=int(data.get("num_uses", 0)),
            period=seconds(data.get("period")),
            explicit_max_ttl=seconds(data.get("explicit_max_ttl")),
            renewable=bool(data.get("renewable", True)),
        )
        unknown = [
            name
            for name in token.policies
            if name != ROOT_POLICY and name not in self._core.policies
        ]
        warnings = [f'Policy "{name}" does not exist' for name in unknown]
        return Reply(auth=auth_block(token), warnings=warnings or None)

    @staticmethod
    def _policies(data: dict[str, Any], parent: Token, may_do_all: bool) -> list[str]:
        policies = [name.lower() for name in string_list(data.get("policies"))] or list(
            parent.policies
        )
        if ROOT_POLICY in policies:
            if not parent.is_root:
                raise bad_request("root tokens may not be created without parent token being root")
            return [ROOT_POLICY]
        if not data.get("no_default_policy"):
            policies.append(DEFAULT_POLICY_NAME)
        if not may_do_all and not set(policies) <= {*parent.policies, DEFAULT_POLICY_NAME}:
            raise bad_request("child policies must be subset of parent")
        return policies

    # -- looking up

    def lookup_self(self, request: Request, _match: re.Match[str]) -> Reply:
        return Reply(self._describe(request.token))

    def lookup(self, request: Request, _match: re.Match[str]) -> Reply:
        token_id = request.data.get("token") or request.query.get("token") or request.token.id
        return Reply(self._describe(self._found(self._tokens.find(str(token_id)), "bad token")))

    def lookup_accessor(self, request: Request, _match: re.Match[str]) -> Reply:
        return Reply({**self._describe(self._by_accessor(request)), "id": ""})

    def list_accessors(self, _request: Request, _match: re.Match[str]) -> Reply:
        return Reply({"keys": self._tokens.accessors()})

    def _describe(self, token: Token) -> dict[str, Any]:
        described: dict[str, Any] = {
            "accessor": token.accessor,
            "creation_time": int(token.created),
            "creation_ttl": int(token.ttl),
            "display_name": token.display_name,
            "entity_id": "",
            "expire_time": timestamp(token.expires) if token.expires is not None else None,
            "explicit_max_ttl": int(token.explicit_max_ttl),
            "id": token.id,
            "issue_time": timestamp(token.created),
            "meta": token.meta,
            "num_uses": token.num_uses,
            "orphan": not token.parent,
            "path": token.path,
            "policies": token.policies,
            "renewable": token.renewable,
            "ttl": self._tokens.remaining(token),
            "type": "service",
        }
        if token.period:
            described["period"] = int(token.period)
        if token.last_renewal is not None:
            described["last_renewal_time"] = int(token.last_renewal)
        return described

    # -- renewal and end

    def renew_self(self, request: Request, _match: re.Match[str]) -> Reply:
        return self._renew(request.token, request)

    def renew(self, request: Request, _match: re.Match[str]) -> Reply:
        return self._renew(
            self._found(self._tokens.find(str(request.data.get("token", ""))), "bad token"), request
        )

    def renew_accessor(self, request: Request, _match: re.Match[str]) -> Reply:
        reply = self._renew(self._by_accessor(request), request)
        return Reply(auth={**(reply.auth or {}), "client_token": ""})

    def _renew(self, token: Token, request: Request) -> Reply:
        self._tokens.renew(token, seconds(request.data.get("increment")))
        return Reply(auth=auth_block(token))

    def revoke_self(self, request: Request, _match: re.Match[str]) -> Reply:
        self._core.revoke(request.token)
        return NOTHING

    def revoke(self, request: Request, _match: re.Match[str]) -> Reply:
        token = self._tokens.find(str(request.data.get("token", "")))
        if not request.data.get("token"):
            raise bad_request("missing token ID")
        if token:
            self._core.revoke(token)
        return NOTHING

    def revoke_accessor(self, request: Request, _match: re.Match[str]) -> Reply:
        self._core.revoke(self._by_accessor(request))
        return NOTHING

    def revoke_orphan(self, request: Request, _match: re.Match[str]) -> Reply:
        token = self._tokens.find(str(request.data.get("token", "")))
        if not token:
            raise bad_request("token to revoke not found")
        self._tokens.revoke(token, orphan_children=True)
        return NOTHING

    def _by_accessor(self, request: Request) -> Token:
        return self._found(
            self._tokens.find_accessor(str(request.data.get("accessor", ""))), "invalid accessor"
        )

    @staticmethod
    def _found(token: Token | None, reason: str) -> Token:
        if not token:
            raise denied(reason)
        return token

    routes: ClassVar[list[tuple[re.Pattern[str], dict[str, Handler]]]] = [
        (route("create"), {WRITE: create}),
        (route("create-orphan"), {WRITE: create}),
        (route("lookup-self"), {READ: lookup_self, WRITE: lookup_self}),
        (route("lookup"), {READ: lookup, WRITE: lookup}),
        (route("lookup-accessor"), {WRITE: lookup_accessor}),
        (route("accessors/?"), {LIST: list_accessors}),
        (route("renew-self"), {WRITE: renew_self}),
        (route("renew"), {WRITE: renew}),
        (route("renew-accessor"), {WRITE: renew_accessor}),
        (route("revoke-self"), {WRITE: revoke_self}),
        (route("revoke"), {WRITE: revoke}),
        (route("revoke-accessor"), {WRITE: revoke_accessor}),
        (route("revoke-orphan"), {WRITE: revoke_orphan}),
    ]


def login_token_settings(
    data: dict[str, Any], before: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The `token_*` fields that every auth method's roles share, with defaults.

    `policies` and others are older names.
    """
    old = before or {}
    policies = data.get("token_policies", data.get("policies"))
    return {
        "token_policies": string_list(policies)
        if policies is not None
        else old.get("token_policies", []),
        "token_ttl": int(seconds(data.get("token_ttl", data.get("ttl")), old.get("token_ttl", 0))),
        "token_max_ttl": int(
            seconds(data.get("token_max_ttl", data.get("max_ttl")), old.get("token_max_ttl", 0))
        ),
        "token_explicit_max_ttl": int(
            seconds(data.get("token_explicit_max_ttl"), old.get("token_explicit_max_ttl", 0))
        ),
        "token_period": int(
            seconds(data.get("token_period", data.get("period")), old.get("token_period", 0))
        ),
        "token_num_uses": int(
            data.get("token_num_uses", data.get("num_uses", old.get("token_num_uses", 0)))
        ),
        "token_no_default_policy": bool(
            data.get("token_no_default_policy", old.get("token_no_default_policy", False))
        ),
        "token_type": data.get("token_type", old.get("token_type", "default")),
        "token_bound_cidrs": string_list(
            data.get("token_bound_cidrs", old.get("token_bound_cidrs", []))
        ),
    }


def login(
    core: Core, role: dict[str, Any], path: str, display_name: str, meta: dict[str, str]
) -> Reply:
    """Hand out a token as a role of an auth method says. Raises VaultError."""
    if role["token_bound_cidrs"]:
        raise VaultError(
            501, "the sandbox does not bind tokens to address ranges: leave token_bound_cidrs empty"
        )
    policies = list(role["token_policies"])
    if not role["token_no_default_policy"]:
        policies.append(DEFAULT_POLICY_NAME)
    token = core.tokens.create(
        policies=policies,
        path=path,
        ttl=min(filter(None, (role["token_ttl"], role["token_max_ttl"])), default=0),
        display_name=display_name,
        meta=meta,
        num_uses=role["token_num_uses"],
        period=role["token_period"],
        explicit_max_ttl=role["token_explicit_max_ttl"] or role["token_max_ttl"],
    )
    return Reply(auth=auth_block(token))
