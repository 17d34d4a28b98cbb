"""The settings of rollouts: the section `rollout` of the pack's configuration, and
`approvals.rules`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Mapping, Tuple
from urllib.parse import urlsplit

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import invalid_setting, read_section, setting

ROLLOUT, DELETE, PROMOTE = "rollout", "delete", "promote"
APPROVABLE = (ROLLOUT, DELETE, PROMOTE)


@dataclass(frozen=True)
class RolloutSettings:
    """How images are rolled out, unless an Application's strategy says otherwise."""

    patience_seconds: float = 30.0
    """How long pods of a new image may fail before the rollout does; unschedulable pods and
    failing probes have until the strategy's deadline."""
    settle_seconds: float = 10.0
    """Pushes nearer to each other than this are a storm: its last one counts, once there was none
    for so long. A push that stands alone is rolled out at once unless a rollout is under way."""
    settle_max_seconds: float = 600.0
    """After so long the newest push is rolled out even if they never cease."""
    history: int = setting(10, least=1)
    """Rollouts kept for each Application; the one that is running now always is."""
    test_timeout_seconds: float = setting(5.0, least=0.1)
    """For one request of a post-deploy test where the Application says nothing."""
    ingress_address: str = ""
    """Where ingress hosts are reached from here (`https://10.0.0.5`); empty leaves it to DNS."""
    verify_ingress_tls: bool = True
    """Check the certificates of ingress hosts in post-deploy tests."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RolloutSettings:
        """Read the section `rollout`; raises DefinitionError naming the key that is wrong."""
        return read_section(cls, config.get("rollout"), "rollout")

    def validate(self, where: str) -> None:
        if self.ingress_address and not _is_address(self.ingress_address):
            right = "http:// or https:// and a host, without a path"
            raise invalid_setting(f"{where}.ingress_address", right, self.ingress_address)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and (parts.path, parts.query, parts.fragment, parts.username) in _BARE
    )


_BARE = (("", "", "", None), ("/", "", "", None))


@dataclass(frozen=True)
class ApprovalRule:
    """In these namespaces (shell patterns), these things need approval."""

    namespaces: Tuple[str, ...] = ("*",)
    what: Tuple[str, ...] = (ROLLOUT,)

    def fits(self, namespace: str, what: str) -> bool:
        return what in self.what and any(
            fnmatchcase(namespace, pattern) for pattern in self.namespaces
        )


def approval_rules(config: Mapping[str, Any]) -> Tuple[ApprovalRule, ...]:
    """Read `approvals.rules`; who is asked, and where, is read by those who ask."""
    rules = (config.get("approvals") or {}).get("rules") or ()
    found = []
    for index, rule in enumerate(rules):
        where = f"approvals.rules[{index}]"
        what = tuple(rule.get("what") or (ROLLOUT,))
        for word in what:
            if word not in APPROVABLE:
                raise DefinitionError(
                    f"{where}.what must be one of {', '.join(APPROVABLE)}, not {word!r}.",
                    field=f"{where}.what",
                )
        found.append(ApprovalRule(tuple(rule.get("namespaces") or ("*",)), what))
    return tuple(found)


def needs_approval(config: Mapping[str, Any], namespace: str, what: str) -> bool:
    """Whether it needs approval."""
    return any(rule.fits(namespace, what) for rule in approval_rules(config))
