"""Consul's access control in the size the pack meets: policies of rules, tokens with policies, a
default.

After the pages "ACL policies" and "ACL rules". Roles, auth methods, service and node identities,
templated policies, tokens that expire and sentinel code are left out.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sandbox import hcl
from sandbox.consul.errors import ConsulError

ANONYMOUS_ACCESSOR = "00000000-0000-0000-0000-000000000002"
MANAGEMENT_POLICY_ID = "00000000-0000-0000-0000-000000000001"
MANAGEMENT_POLICY = "global-management"

RESOURCES = ("key", "service", "session", "node", "agent", "event", "query")
WHOLE = ("operator", "acl", "keyring", "mesh", "peering")
# What each level includes. Deny includes nothing, and beats the others where rules meet.
_GRANTS = {
    "deny": set(),
    "read": {"read"},
    "list": {"read", "list"},
    "write": {"read", "list", "write"},
}


@dataclass(frozen=True)
class Rule:
    """One rule: a level for a resource's exact name or for all names with a prefix."""

    resource: str
    name: str
    level: str
    exact: bool


def parse_rules(text: str) -> list[Rule]:
    """Read a policy's rules in HCL or JSON. Raises ConsulError (400)."""
    try:
        document = hcl.parse(text)
    except hcl.HclError as error:
        raise ConsulError(400, f"Failed to parse ACL rules: {error}") from None
    rules = []
    for block in document.blocks:
        resource = block.kind.removesuffix("_prefix")
        if resource not in RESOURCES or len(block.labels) != 1:
            raise ConsulError(
                400,
                f"Invalid rule {block.kind!r}: use one of {', '.join(RESOURCES)}, with a name in quotes",
            )
        level = _level(str(block.attributes.get("policy", "")), resource)
        rules.append(Rule(resource, block.labels[0], level, exact=resource == block.kind))
    for name, level in document.attributes.items():
        if name not in WHOLE:
            raise ConsulError(400, f"Invalid rule {name!r}: use one of {', '.join(WHOLE)}")
        rules.append(Rule(name, "", _level(str(level), name), exact=False))
    return rules


def _level(level: str, resource: str) -> str:
    if level not in _GRANTS or (level == "list" and resource != "key"):
        raise ConsulError(400, f'Invalid {resource} policy: "{level}"')
    return level


@dataclass
class Policy:
    id: str
    name: str
    rules_text: str
    rules: list[Rule]
    description: str = ""
    index: int = 0

    def describe(self) -> dict[str, Any]:
        return {
            "ID": self.id,
            "Name": self.name,
            "Description": self.description,
            "Rules": self.rules_text,
            "Datacenters": None,
            "CreateIndex": self.index,
            "ModifyIndex": self.index,
        }


@dataclass
class Token:
    accessor: str
    secret: str = field(repr=False)
    policies: list[str] = field(default_factory=list)
    description: str = ""
    local: bool = False
    created: str = "2024-01-01T00:00:00Z"
    index: int = 0


class Acl:
    """Policies and tokens; when not `enabled` everything is allowed."""

    def __init__(self, *, enabled: bool, default: str, management_token: str = "") -> None:
        if default not in ("allow", "deny"):
            raise ValueError("the default policy must be allow or deny")
        self.enabled = enabled
        self.default = default
        self.policies: dict[str, Policy] = {
            MANAGEMENT_POLICY_ID: Policy(
                MANAGEMENT_POLICY_ID,
                MANAGEMENT_POLICY,
                "",
                [],
                "Builtin Policy that grants unlimited access",
            )
        }
        self.tokens: dict[str, Token] = {
            ANONYMOUS_ACCESSOR: Token(
                ANONYMOUS_ACCESSOR, "anonymous", description="Anonymous Token"
            )
        }
        self.bootstrapped = False
        if management_token:
            self.bootstrap(management_token)

    def bootstrap(self, secret: str = "") -> Token:
        """Make the first token that may do everything. Raises ConsulError if that was done before."""
        if self.bootstrapped:
            raise ConsulError(
                403, "Permission denied: ACL bootstrap no longer allowed (reset index: 1)"
            )
        self.bootstrapped = True
        return self.add_token(
            [MANAGEMENT_POLICY_ID], secret=secret, description="Bootstrap Token (Global Management)"
        )

    def add_token(
        self,
        policies: Iterable[str],
        *,
        secret: str = "",
        accessor: str = "",
        description: str = "",
    ) -> Token:
        token = Token(
            accessor or str(uuid.uuid4()), secret or str(uuid.uuid4()), list(policies), description
        )
        self.tokens[token.accessor] = token
        return token

    def add_policy(
        self, name: str, rules: str, description: str = "", policy_id: str = ""
    ) -> Policy:
        """Store a policy under a new id, or the given one. Raises ConsulError for rules or a name
        that will not do.
        """
        if not name or not all(character.isalnum() or character in "-_/" for character in name):
            raise ConsulError(
                400,
                "Invalid Policy: invalid Name. Only alphanumeric characters, a '-' and '_' are allowed",
            )
        if any(policy.name == name and policy.id != policy_id for policy in self.policies.values()):
            raise ConsulError(500, f'Invalid Policy: A Policy with Name "{name}" already exists')
        policy = Policy(
            policy_id or str(uuid.uuid4()), name, rules, parse_rules(rules), description
        )
        self.policies[policy.id] = policy
        return policy

    def policy_named(self, name: str) -> Policy | None:
        return next((policy for policy in self.policies.values() if policy.name == name), None)

    def resolve(self, secret: str) -> Token:
        """The token of a secret; the anonymous one without a secret. Raises ConsulError (403)."""
        if not secret:
            return self.tokens[ANONYMOUS_ACCESSOR]
        token = next((token for token in self.tokens.values() if token.secret == secret), None)
        if token is None and self.enabled:
            raise ConsulError(403, "ACL not found")
        return token or self.tokens[ANONYMOUS_ACCESSOR]

    def allows(self, token: Token, resource: str, name: str, access: str) -> bool:
        """Whether a token may do this: the exact rule decides, else the longest prefix, else the
        default.
        """
        if not self.enabled or MANAGEMENT_POLICY_ID in token.policies:
            return True
        rules = [
            r
            for i in token.policies
            if i in self.policies
            for r in self.policies[i].rules
            if r.resource == resource
        ]
        deciding = [rule for rule in rules if rule.exact and rule.name == name]
        if not deciding:
            fitting = [rule for rule in rules if not rule.exact and name.startswith(rule.name)]
            longest = max((len(rule.name) for rule in fitting), default=0)
            deciding = [rule for rule in fitting if len(rule.name) == longest]
        if not deciding:
            return self.default == "allow"
        levels = {rule.level for rule in deciding}
        return "deny" not in levels and any(access in _GRANTS[level] for level in levels)

    def allows_tree(self, token: Token, prefix: str) -> bool:
        """Whether a token may write every key below a prefix, those included that a narrower rule
        speaks of.
        """
        if not self.enabled or MANAGEMENT_POLICY_ID in token.policies:
            return True
        rules = [
            r
            for i in token.policies
            if i in self.policies
            for r in self.policies[i].rules
            if r.resource == "key"
        ]
        below = [rule for rule in rules if rule.name.startswith(prefix)]
        return self.allows(token, "key", prefix, "write") and all(
            rule.level == "write" for rule in below
        )

    def require(self, token: Token, resource: str, name: str, access: str) -> None:
        """Raises ConsulError (403) in Consul's words unless the token may do this."""
        if not self.allows(token, resource, name, access):
            raise self.refusal(token, resource, name, access)

    @staticmethod
    def refusal(token: Token, resource: str, name: str, access: str) -> ConsulError:
        what = f"lacks permission '{resource}:{access}'" + (f' on "{name}"' if name else "")
        if token.accessor == ANONYMOUS_ACCESSOR:
            hint = "The anonymous token is used implicitly when a request does not specify a token."
            return ConsulError(403, f"Permission denied: anonymous token {what}. {hint}")
        return ConsulError(
            403, f"Permission denied: token with AccessorID '{token.accessor}' {what}"
        )

    def describe_token(self, token: Token) -> dict[str, Any]:
        links = [
            {"ID": i, "Name": self.policies[i].name} for i in token.policies if i in self.policies
        ]
        return {
            "AccessorID": token.accessor,
            "SecretID": token.secret,
            "Description": token.description,
            "Policies": links,
            "Local": token.local,
            "CreateTime": token.created,
            "Hash": "",
            "CreateIndex": token.index,
            "ModifyIndex": token.index,
        }
