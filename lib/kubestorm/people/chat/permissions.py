"""Whether a person may do a thing, here and there. Pure: from who, where, what and in which
namespace to a decision.

A role is needed for the command; the channel may allow fewer commands and namespaces than the
person's roles do. It is asked twice: before anything is looked up (no namespace yet), and again
with the namespace that turned out to be meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Optional, Sequence, Union

from kubestorm.people.chat.people import Person
from kubestorm.people.chat.settings import ChannelEntry, ChatSettings

EVERYBODY = ""
"""The role of what needs none: help, and who one is."""


@dataclass(frozen=True)
class Allowed:
    """It may be done; `role` is why."""

    role: str


@dataclass(frozen=True)
class Refused:
    """It may not. `message` says what is missing and whom to ask; `role` is the missing one, empty
    for a channel.
    """

    message: str
    role: str = ""
    ask: str = ""


Decision = Union[Allowed, Refused]


def role_for(settings: ChatSettings, command: str, role: str) -> str:
    """The role that a command needs: the configuration's choice, or else the pack's (`role`)."""
    return settings.commands.get(command, role) if role != EVERYBODY else EVERYBODY


def channel_entry(settings: ChatSettings, channel: str) -> Optional[ChannelEntry]:
    """The entry whose limits a channel has."""
    bare = channel.lstrip("#")
    for entry in settings.channels:
        if any(fnmatchcase(bare, pattern.lstrip("#")) for pattern in entry.channels):
            return entry
    return None


def decide(
    settings: ChatSettings,
    person: Person,
    channel: str,
    command: str,
    role: str,
    namespace: str = "",
) -> Decision:
    """Decide. `role` is the pack's choice for the command; without `namespace`, whether it may be
    anywhere.
    """
    needed = role_for(settings, command, role)
    if needed == EVERYBODY:
        return Allowed(EVERYBODY)
    if not person.has(needed):
        return _missing(settings, person, command, needed, "")
    entry = channel_entry(settings, channel)
    if entry is not None and entry.commands and not _fits(command, entry.commands):
        return Refused(
            f"`{command}` is not done from {_place(channel)}. Ask in a channel that is meant for "
            "it."
        )
    if not namespace:
        return Allowed(needed)
    if entry is not None and entry.namespaces and not _fits(namespace, entry.namespaces):
        offered = ", ".join(entry.namespaces)
        return Refused(
            f"{_place(channel).capitalize()} is for {offered}; {namespace} is not among them."
        )
    if not person.has(needed, namespace):
        return _missing(settings, person, command, needed, namespace)
    return Allowed(needed)


def _missing(
    settings: ChatSettings, person: Person, command: str, role: str, namespace: str
) -> Refused:
    ask = (settings.roles[role].ask if role in settings.roles else "") or settings.ask
    where = f" in {namespace}" if namespace else ""
    if person.known:
        message = (
            f"You are missing the role {role}{where}, which `{command}` needs. Ask {ask} for it."
        )
    else:
        message = (
            f"I do not know {person.account or 'you'}, and `{command}` needs the role "
            f"{role}{where}. "
            f"Ask {ask} to list your account in the pack's configuration, under chat.people."
        )
    return Refused(message, role, ask)


def _fits(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _place(channel: str) -> str:
    bare = channel.lstrip("#")
    return f"#{bare}" if bare else "here"
