"""From an account of a chat to a person of the configuration. Pure.

Who an account belongs to is the configuration's word alone: a front end says which account spoke,
and what a display name claims counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Dict, FrozenSet, Mapping, Set, Tuple

from kubestorm.people.chat.settings import ChatSettings, Role, split_role


@dataclass(frozen=True)
class Person:
    """Somebody who asks. `known` is False for an account that the configuration does not list."""

    name: str
    account: str
    grants: Tuple[Tuple[str, str], ...] = ()
    """Each role, those it includes, too, with the pattern of the namespaces it is for."""
    known: bool = True

    @property
    def roles(self) -> FrozenSet[str]:
        """Roles in at least one namespace."""
        return frozenset(role for role, _pattern in self.grants)

    def has(self, role: str, namespace: str = "") -> bool:
        """Whether the role is this person's, in the namespace if one is given."""
        return any(
            role == own and (not namespace or fnmatchcase(namespace, pattern))
            for own, pattern in self.grants
        )


def plain_account(text: str) -> str:
    """An account as front ends write it, bare: without `<@...>`, a leading `@`, and Errbot's
    resource.
    """
    text = text.strip()
    if text.startswith("<@") and text.endswith(">"):
        text = text[2:-1].partition("|")[0]
    return text[1:] if text.startswith("@") else text


def find_person(settings: ChatSettings, account: str) -> Person:
    """The person an account belongs to; somebody unknown with the default roles where it is
    nobody's.
    """
    bare = plain_account(account)
    for entry in settings.people:
        if bare and bare in {plain_account(item) for item in entry.accounts}:
            return Person(
                entry.name, bare, _grants(settings, (*entry.roles, *settings.default_roles))
            )
    return Person(bare or "somebody", bare, _grants(settings, settings.default_roles), known=False)


def is_bot(settings: ChatSettings, account: str) -> bool:
    """Whether the account is one that is never answered."""
    return plain_account(account) in {plain_account(item) for item in settings.bots}


def _grants(settings: ChatSettings, given: Tuple[str, ...]) -> Tuple[Tuple[str, str], ...]:
    found: Dict[Tuple[str, str], None] = {}
    for text in given:
        role, pattern = split_role(text)
        for each in _with_included(settings.roles, role):
            found[(each, pattern)] = None
    return tuple(found)


def _with_included(roles: Mapping[str, Role], role: str) -> Tuple[str, ...]:
    seen: Set[str] = set()
    waiting = [role]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting.extend(roles[each].includes if each in roles else ())
    return tuple(sorted(seen))
