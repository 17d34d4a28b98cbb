"""The `approvals` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Dict, Mapping, Optional, Tuple

from kubestorm.core.errors import DefinitionError

ROLLOUT, PROMOTE, DELETE = "rollout", "promote", "delete"
WHAT = (ROLLOUT, PROMOTE, DELETE)
ROLE_PREFIX = "role:"


@dataclass(frozen=True)
class Rule:
    """In these namespaces, these things need these people's word."""

    namespaces: Tuple[str, ...] = ("*",)
    """Shell patterns."""
    what: Tuple[str, ...] = (ROLLOUT,)
    approvers: Tuple[str, ...] = ("role:approver",)
    """Names of chat.people, or `role:NAME` for whoever has that role in the namespace."""
    quorum: int = 1
    """How many of them have to say yes. One no is enough to refuse."""
    expiry_minutes: float = 1440.0
    """After that long nobody has answered in time."""
    reminder_minutes: float = 60.0
    """They are asked again this often; 0 asks once."""
    channel: str = ""
    """Where it is asked; empty is where announcements of the namespace go."""

    def fits(self, namespace: str, what: str) -> bool:
        """Whether this rule is about it."""
        return what in self.what and any(
            fnmatchcase(namespace, pattern) for pattern in self.namespaces
        )


@dataclass(frozen=True)
class ApprovalSettings:
    rules: Tuple[Rule, ...] = ()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ApprovalSettings:
        """Raises DefinitionError naming the key that is wrong."""
        section = {
            key: value
            for key, value in (config.get("approvals") or {}).items()
            if value not in (None, [], {})
        }
        unknown = sorted(set(section) - {"rules"})
        if unknown:
            raise _wrong(unknown[0], "is no setting")
        values: Dict[str, Any] = {}
        if "rules" in section:
            values["rules"] = tuple(
                _rule(item, f"rules[{index}]") for index, item in enumerate(section["rules"])
            )
        return cls(**values)

    def rule_for(self, namespace: str, what: str) -> Optional[Rule]:
        """The first rule that is about it; None where nobody has to be asked."""
        return next((rule for rule in self.rules if rule.fits(namespace, what)), None)


def _rule(item: Any, where: str) -> Rule:
    if not isinstance(item, Mapping):
        raise _wrong(where, "is an object")
    known = {field.name: field.default for field in fields(Rule)}
    values: Dict[str, Any] = {}
    for key, value in item.items():
        if key not in known:
            raise _wrong(f"{where}.{key}", "is no setting")
        if value is None or value == []:
            continue
        values[key] = _value(value, known[key], f"{where}.{key}")
    return _checked(Rule(**values), where)


def _value(value: Any, default: Any, where: str) -> Any:
    if isinstance(default, tuple):
        if isinstance(value, str) or not all(isinstance(one, str) and one for one in value):
            raise _wrong(where, "is a list of words")
        return tuple(value)
    if isinstance(default, str):
        if not isinstance(value, str):
            raise _wrong(where, "is text")
    elif isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise _wrong(where, "is a number of 0 or more")
    return value


def _checked(rule: Rule, where: str) -> Rule:
    for word in rule.what:
        if word not in WHAT:
            raise _wrong(f"{where}.what", f"holds {word!r}; it is one of {', '.join(WHAT)}")
    if rule.quorum < 1 or rule.quorum != int(rule.quorum):
        raise _wrong(f"{where}.quorum", "is a whole number of 1 or more")
    if rule.expiry_minutes < 1:
        raise _wrong(f"{where}.expiry_minutes", "is 1 or more")
    named = [one for one in rule.approvers if not one.startswith(ROLE_PREFIX)]
    if len(named) == len(rule.approvers) and len(set(named)) < rule.quorum:
        raise _wrong(
            f"{where}.quorum", f"is {rule.quorum}, but only {len(set(named))} people are named"
        )
    return rule


def _wrong(key: str, what: str) -> DefinitionError:
    return DefinitionError(
        f"approvals.{key} of the pack configuration {what}.", field=f"approvals.{key}"
    )
