"""The endpoints acl/bootstrap, acl/policy and acl/token."""

from __future__ import annotations

from typing import Any

from sandbox.consul.acl import ANONYMOUS_ACCESSOR, MANAGEMENT_POLICY_ID, Policy, Token
from sandbox.consul.app import Answer, Call, Handler
from sandbox.consul.catalog import lowered
from sandbox.consul.errors import ConsulError


def _require(call: Call, access: str) -> None:
    if not call.acl.enabled:
        raise ConsulError(401, "ACL support disabled")
    call.require("acl", "", access)


async def bootstrap(call: Call) -> Answer:
    if not call.acl.enabled:
        raise ConsulError(401, "ACL support disabled")
    body = await call.fields()
    return call.acl.describe_token(call.acl.bootstrap(str(body.get("bootstrapsecret") or "")))


# -- policies


def _policy(call: Call) -> Policy:
    policy = call.acl.policies.get(call.path["id"])
    if not policy:
        raise ConsulError(404, f"Requested policy does not exist: ACL not found: {call.path['id']}")
    return policy


async def list_policies(call: Call) -> Answer:
    _require(call, "read")
    return [
        {k: v for k, v in policy.describe().items() if k != "Rules"}
        for policy in call.acl.policies.values()
    ]


async def create_policy(call: Call) -> Answer:
    _require(call, "write")
    body = await call.fields()
    policy = call.acl.add_policy(
        str(body.get("name") or ""),
        str(body.get("rules") or ""),
        str(body.get("description") or ""),
    )
    policy.index = call.store.change("acl", policy.id)
    return policy.describe()


async def read_policy(call: Call) -> Answer:
    _require(call, "read")
    return _policy(call).describe()


async def read_policy_by_name(call: Call) -> Answer:
    _require(call, "read")
    policy = call.acl.policy_named(call.path["name"])
    if not policy:
        raise ConsulError(
            404, f"Requested policy does not exist: ACL not found: {call.path['name']}"
        )
    return policy.describe()


async def update_policy(call: Call) -> Answer:
    _require(call, "write")
    old, body = _policy(call), await call.fields()
    if old.id == MANAGEMENT_POLICY_ID:
        raise ConsulError(
            400, "Changing the Rules for the builtin global-management policy is not permitted"
        )
    policy = call.acl.add_policy(
        str(body.get("name") or old.name),
        str(body.get("rules", old.rules_text)),
        str(body.get("description", old.description)),
        old.id,
    )
    policy.index = call.store.change("acl", policy.id)
    return policy.describe()


async def delete_policy(call: Call) -> Answer:
    _require(call, "write")
    if call.path["id"] == MANAGEMENT_POLICY_ID:
        raise ConsulError(
            400, "Delete operation not permitted on the builtin global-management policy"
        )
    call.acl.policies.pop(call.path["id"], None)
    call.store.change("acl", call.path["id"])
    return True


# -- tokens


def _token(call: Call) -> Token:
    token = call.acl.tokens.get(call.path["accessor"])
    if not token:
        raise ConsulError(404, "Requested token does not exist: ACL not found")
    return token


def _linked(call: Call, links: list[Any]) -> list[str]:
    """The ids of the policies that a token's body links by ID or Name. Raises ConsulError."""
    ids = []
    for link in links:
        fields = lowered(link)
        named = call.acl.policy_named(str(fields.get("name") or ""))
        policy = call.acl.policies.get(str(fields.get("id") or "")) or named
        if not policy:
            raise ConsulError(500, f"No such ACL policy: {fields.get('name') or fields.get('id')}")
        ids.append(policy.id)
    return ids


async def own_token(call: Call) -> Answer:
    if not call.acl.enabled:
        raise ConsulError(401, "ACL support disabled")
    if call.token.accessor == ANONYMOUS_ACCESSOR:
        raise ConsulError(403, "ACL not found")
    return call.acl.describe_token(call.token)


async def list_tokens(call: Call) -> Answer:
    _require(call, "read")
    described = [call.acl.describe_token(token) for token in call.acl.tokens.values()]
    return [
        {key: value for key, value in entry.items() if key != "SecretID"} for entry in described
    ]


async def create_token(call: Call) -> Answer:
    _require(call, "write")
    body = await call.fields()
    token = call.acl.add_token(
        _linked(call, body.get("policies") or []),
        secret=str(body.get("secretid") or ""),
        accessor=str(body.get("accessorid") or ""),
        description=str(body.get("description") or ""),
    )
    token.index = call.store.change("acl", token.accessor)
    return call.acl.describe_token(token)


async def read_token(call: Call) -> Answer:
    _require(call, "read")
    return call.acl.describe_token(_token(call))


async def update_token(call: Call) -> Answer:
    _require(call, "write")
    token, body = _token(call), await call.fields()
    if "policies" in body:
        token.policies = _linked(call, body["policies"] or [])
    token.description = str(body.get("description", token.description))
    token.index = call.store.change("acl", token.accessor)
    return call.acl.describe_token(token)


async def delete_token(call: Call) -> Answer:
    _require(call, "write")
    if call.path["accessor"] == ANONYMOUS_ACCESSOR:
        raise ConsulError(400, "Delete operation not permitted on the anonymous token")
    call.acl.tokens.pop(call.path["accessor"], None)
    call.store.change("acl", call.path["accessor"])
    return True


ROUTES: list[tuple[str, str, Handler]] = [
    ("PUT", "acl/bootstrap", bootstrap),
    ("GET", "acl/policies", list_policies),
    ("PUT", "acl/policy", create_policy),
    ("GET", "acl/policy/name/{name}", read_policy_by_name),
    ("GET", "acl/policy/{id}", read_policy),
    ("PUT", "acl/policy/{id}", update_policy),
    ("DELETE", "acl/policy/{id}", delete_policy),
    ("GET", "acl/tokens", list_tokens),
    ("PUT", "acl/token", create_token),
    ("GET", "acl/token/self", own_token),
    ("GET", "acl/token/{accessor}", read_token),
    ("PUT", "acl/token/{accessor}", update_token),
    ("DELETE", "acl/token/{accessor}", delete_token),
]
