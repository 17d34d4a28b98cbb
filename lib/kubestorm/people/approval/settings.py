"""The `approvals` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Mapping, Optional, Tuple

from kubestorm.core.sections import invalid_setting, read_section, setting

ROLLOUT, PROMOTE, DELETE = "rollout", "promote", "delete"
WHAT = (ROLLOUT, PROMOTE, DELETE)
ROLE_PREFIX = "role:"


@dataclass(frozen=True)
class Rule:
    """In these namespaces, these things need these people's word."""

    namespaces: Tuple[str, ...] = ("*",)
    """Shell patterns."""
    what: Tuple[str, ...] = setting((ROLLOUT,), one_of=WHAT)
    """rollout (before it begins), promote (before all pods get it), delete (a Database with
    its data).
    """
    approvers: Tuple[str, ...] = ("role:approver",)
    """Names of chat.people, or `role:NAME` for whoever has that role in the namespace."""
    quorum: int = setting(1, least=1)
    """How many of them have to say yes. One no is enough to refuse."""
    expiry_minutes: float = setting(1440.0, least=1)
    """After that long nobody has answered in time."""
    reminder_minutes: float = 60.0
    """They are asked again this often; 0 asks once."""
    channel: str = ""
    """Where it is asked; empty is where announcements of the namespace go."""

    def validate(self, where: str) -> None:
        named = [one for one in self.approvers if not one.startswith(ROLE_PREFIX)]
        people = len(set(named))
        if len(named) == len(self.approvers) and people < self.quorum:
            right = f"at most {people}, as that many people are named"
            raise invalid_setting(f"{where}.quorum", right, self.quorum)

    def fits(self, namespace: str, what: str) -> bool:
        """Whether this rule is about it."""
        return what in self.what and any(
            fnmatchcase(namespace, pattern) for pattern in self.namespaces
        )


@dataclass(frozen=True)
class ApprovalSettings:
    """What has to be approved before it is done, and by whom."""

    rules: Tuple[Rule, ...] = ()
    """The first entry that is about the namespace and the thing counts; what no entry is
    about needs nobody.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ApprovalSettings:
        """Raises DefinitionError naming the key that is wrong."""
        return read_section(cls, config.get("approvals"), "approvals")

    def rule_for(self, namespace: str, what: str) -> Optional[Rule]:
        """The first rule that is about it; None where nobody has to be asked."""
        return next((rule for rule in self.rules if rule.fits(namespace, what)), None)
