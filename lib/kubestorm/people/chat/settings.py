"""The `chat` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import read_section

VIEWER, DEVELOPER, DEPLOYER, DBA, ADMIN, APPROVER = (
    "viewer",
    "developer",
    "deployer",
    "dba",
    "admin",
    "approver",
)


@dataclass(frozen=True)
class Role:
    """A word for what somebody may do."""

    includes: Tuple[str, ...] = ()
    """Roles that whoever has this one has, too."""
    ask: str = ""
    """Whom to ask for it, as chat shows it; empty is `chat.ask`."""


DEFAULT_ROLES: Mapping[str, Role] = {
    VIEWER: Role(),
    DEVELOPER: Role((VIEWER,)),
    DEPLOYER: Role((DEVELOPER,)),
    DBA: Role((VIEWER,)),
    APPROVER: Role((VIEWER,)),
    ADMIN: Role((DEPLOYER, DBA, APPROVER)),
}


@dataclass(frozen=True)
class PersonEntry:
    name: str
    """What the person is called in records: requestedBy, Events."""
    accounts: Tuple[str, ...] = ()
    """Ids that front ends give: a Slack user id, a name in Hubot, an address in Errbot, a user of
    StackStorm.
    """
    roles: Tuple[str, ...] = ()
    """`deployer`, or `deployer@shop-*` for some namespaces only (shell pattern)."""


@dataclass(frozen=True)
class ChannelEntry:
    channels: Tuple[str, ...] = ("*",)
    """Shell patterns on ids or names, a leading # aside; the first entry of the list that fits
    counts.
    """
    namespaces: Tuple[str, ...] = ()
    """Shell patterns: what may be looked at and changed from here. Empty is all."""
    commands: Tuple[str, ...] = ()
    """Shell patterns on names of commands (`database_*`). Empty is all."""
    default_namespace: str = ""
    """Meant where nobody names one."""
    short_names: Mapping[str, str] = field(default_factory=dict)
    """Short name -> namespace, before those of `chat.short_names`."""


@dataclass(frozen=True)
class ChatSettings:
    """Who may say what, where, and what they mean by short names."""

    people: Tuple[PersonEntry, ...] = ()
    """Who is who. An account that is nobody's has the default roles alone."""
    roles: Mapping[str, Role] = field(default_factory=lambda: dict(DEFAULT_ROLES))
    """Beside the pack's own; one of the same name replaces it."""
    default_roles: Tuple[str, ...] = ()
    """What everybody in the chat has, known or not. Empty: whoever is not in `people` may only ask
    for help.
    """
    commands: Mapping[str, str] = field(default_factory=dict)
    """Command -> the role it needs, where that is not the pack's own choice."""
    channels: Tuple[ChannelEntry, ...] = ()
    """A channel that fits no entry has no limits of its own."""
    short_names: Mapping[str, str] = field(default_factory=dict)
    """Short name -> namespace: prod: shop-prod."""
    ask: str = "an operator of this installation"
    """Whom a refusal names."""
    speakers: Tuple[str, ...] = ()
    """Users of StackStorm (the bots') who may name the chat account they speak for. Empty is all of
    them. Any other user speaks for themselves.
    """
    bots: Tuple[str, ...] = ()
    """Accounts that are never answered: this bot's own and others', so that no two talk for ever.
    """
    check_seconds: float = 5.0
    """Before the first look at long work, for its outcome in the thread; each later pause is twice
    the one before, up to 24 times this."""
    watch_seconds: float = 1800.0
    """After that long the thread is told where to look, and no longer waited with."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Command or kind -> address with {cluster}, {namespace} and {name}, shown below answers."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ChatSettings:
        """Raises DefinitionError naming the key that is wrong. Empty objects and lists count as not
        given.
        """
        settings = read_section(cls, config.get("chat"), "chat")
        settings = replace(settings, roles={**DEFAULT_ROLES, **settings.roles})
        _check_roles(settings)
        _check_accounts(settings)
        return settings


def split_role(text: str) -> Tuple[str, str]:
    """`deployer@shop-*` -> role and pattern of namespaces; every namespace where none is said."""
    role, _, pattern = text.partition("@")
    return role, pattern or "*"


def _check_roles(settings: ChatSettings) -> None:
    said: List[Tuple[str, str]] = [("chat.default_roles", item) for item in settings.default_roles]
    said += [
        (f"chat.people ({person.name})", item)
        for person in settings.people
        for item in person.roles
    ]
    said += [(f"chat.commands.{name}", role) for name, role in settings.commands.items()]
    said += [
        (f"chat.roles.{name}.includes", item)
        for name, role in settings.roles.items()
        for item in role.includes
    ]
    for where, text in said:
        role = split_role(text)[0]
        if role not in settings.roles:
            offered = ", ".join(sorted(settings.roles))
            raise DefinitionError(
                f"{where} names the role {role!r}; there are {offered}.", field=where
            )


def _check_accounts(settings: ChatSettings) -> None:
    owners: Dict[str, str] = {}
    for person in settings.people:
        for account in person.accounts:
            other = owners.setdefault(account, person.name)
            if other != person.name:
                raise DefinitionError(
                    f"chat.people: the account {account!r} is {other}'s and {person.name}'s; "
                    "it can be only one's.",
                    field="chat.people",
                )
