"""Vault's ACL policies: read them, and decide what a token may do at a path.

Decisions only. Which rule wins follows Vault's "Policies" page (priority matching): an exact path
first; then the path whose first wildcard comes latest, without a glob before with one, with fewer
`+`, longer, and last the greater in lexicographic order. Rules of several policies for the same
path add up, and `deny` beats all. Templates and parameter rules with list values are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox import hcl

CAPABILITIES = (
    "create",
    "read",
    "update",
    "delete",
    "list",
    "sudo",
    "deny",
    "patch",
    "recover",
    "subscribe",
)
# The order in which Vault lists capabilities in its answers is alphabetical.
ROOT = "root"

# The old short form (policy = "write") and what it stands for.
_SHORT_FORMS = {
    "deny": {"deny"},
    "read": {"read", "list"},
    "write": {"create", "read", "update", "delete", "list"},
    "sudo": {"create", "read", "update", "delete", "list", "sudo"},
}


class PolicyError(ValueError):
    """A policy's text is wrong; the message says where."""


@dataclass(frozen=True)
class Rule:
    """What one policy grants at one path pattern."""

    path: str
    capabilities: frozenset[str]
    allowed_parameters: Mapping[str, Any] = field(default_factory=dict)
    denied_parameters: Mapping[str, Any] = field(default_factory=dict)
    required_parameters: frozenset[str] = frozenset()

    @property
    def is_pattern(self) -> bool:
        return self.path.endswith("*") or "+" in self.path.split("/") or self.path.endswith("+*")

    def matches(self, path: str) -> bool:
        """Whether the rule speaks about this path; `+` stands for one segment, a last `*` for any
        rest.
        """
        return _expression(self.path).fullmatch(path) is not None

    def priority(self) -> tuple[Any, ...]:
        """Greater wins among the patterns that match."""
        wildcard = re.search(r"\+|\*$", self.path)
        first = wildcard.start() if wildcard else len(self.path)
        segments = self.path.split("/")
        return (first, not self.path.endswith("*"), -segments.count("+"), len(self.path), self.path)


def _expression(pattern: str) -> re.Pattern[str]:
    glob = pattern.endswith("*")
    segments = (pattern[:-1] if glob else pattern).split("/")
    text = "/".join("[^/]+" if segment == "+" else re.escape(segment) for segment in segments)
    return re.compile(text + (".*" if glob else ""), re.DOTALL)


def parse_policy(text: str) -> list[Rule]:
    """Read a policy in HCL or JSON. Raises PolicyError."""
    try:
        document = hcl.parse(text)
    except hcl.HclError as error:
        raise PolicyError(f"failed to parse policy: {error}") from error
    unknown = {block.kind for block in document.blocks} | set(document.attributes)
    unknown -= {"path", "name"}
    if unknown:
        raise PolicyError(f"failed to parse policy: invalid key {sorted(unknown)[0]!r}")
    return [_rule(block) for block in document.blocks]


def _rule(block: hcl.Block) -> Rule:
    if len(block.labels) != 1:
        raise PolicyError("failed to parse policy: path must be given one name in quotes")
    path = block.labels[0].removeprefix("/")
    body = {**block.attributes, **{inner.kind: inner.attributes for inner in block.blocks}}
    if "+*" in path:
        raise PolicyError(f"path \"{path}\": invalid use of wildcards ('+*' is forbidden)")
    capabilities = set(body.get("capabilities", ()))
    if "policy" in body:
        capabilities |= _SHORT_FORMS.get(body["policy"], {f"policy {body['policy']}"})
    for capability in sorted(capabilities):
        if capability not in CAPABILITIES:
            raise PolicyError(f'path "{path}": invalid capability "{capability}"')
    return Rule(
        path=path,
        capabilities=frozenset({"deny"} if "deny" in capabilities else capabilities),
        allowed_parameters=body.get("allowed_parameters", {}),
        denied_parameters=body.get("denied_parameters", {}),
        required_parameters=frozenset(body.get("required_parameters", ())),
    )


class Acl:
    """The rules of all of a token's policies together."""

    def __init__(self, rules: Iterable[Rule], *, root: bool = False) -> None:
        self.root = root
        self._by_path: dict[str, list[Rule]] = {}
        for rule in rules:
            self._by_path.setdefault(rule.path, []).append(rule)

    def rules_for(self, path: str, *, listing: bool = False) -> list[Rule]:
        """The rules that decide about a path: those of the one pattern that wins."""
        candidates = [path, path.rstrip("/")] if listing else [path]
        for candidate in candidates:
            exact = self._by_path.get(candidate)
            if exact and not exact[0].is_pattern:
                return exact
        matching = [rules for rules in self._by_path.values() if rules[0].is_pattern]
        for candidate in candidates:
            found = [rules for rules in matching if rules[0].matches(candidate)]
            if found:
                return max(found, key=lambda rules: rules[0].priority())
        return []

    def capabilities(self, path: str, *, listing: bool = False) -> set[str]:
        """What may be done at a path, as Vault's sys/capabilities answers: {"deny"} for nothing,
        {"root"} for all.
        """
        if self.root:
            return {ROOT}
        granted = set().union(
            *(rule.capabilities for rule in self.rules_for(path, listing=listing))
        )
        return {"deny"} if "deny" in granted or not granted else granted

    def allows(
        self,
        path: str,
        capability: str,
        data: Mapping[str, Any] | None = None,
        *,
        sudo: bool = False,
    ) -> bool:
        """Whether one operation at a path, with these parameters, is allowed."""
        if self.root:
            return True
        listing = capability == "list"
        granted = self.capabilities(path, listing=listing)
        if capability not in granted or (sudo and "sudo" not in granted):
            return False
        if capability not in ("create", "update", "patch"):
            return True
        return any(
            _parameters_allowed(rule, data or {})
            for rule in self.rules_for(path)
            if rule.capabilities
        )

    def reaches(self, prefix: str) -> bool:
        """Whether any rule grants anything at or below a path, which is how Vault decides who may
        see a mount.
        """
        if self.root:
            return True
        for path, rules in self._by_path.items():
            granted = set().union(*(rule.capabilities for rule in rules))
            literal = re.split(r"\+|\*$", path, maxsplit=1)[0]
            if (
                granted
                and "deny" not in granted
                and (literal.startswith(prefix) or prefix.startswith(literal))
            ):
                return True
        return False


def _parameters_allowed(rule: Rule, data: Mapping[str, Any]) -> bool:
    if not rule.required_parameters <= set(data):
        return False
    for name, value in data.items():
        if any(_listed(rule.denied_parameters, key, value) for key in (name, "*")):
            return False
    if not rule.allowed_parameters:
        return True
    return all(
        any(_listed(rule.allowed_parameters, key, value) for key in (name, "*"))
        for name, value in data.items()
    )


def _listed(parameters: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether a parameter and value are named; an empty list of values means any of them."""
    if name not in parameters:
        return False
    values = parameters[name]
    return not values or value in values


DEFAULT_POLICY = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }
path "sys/renew" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
path "sys/tools/hash" { capabilities = ["update"] }
"""
