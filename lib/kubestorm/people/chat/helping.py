"""What is said about commands themselves: help for whoever asks, usage, near misses, who one is.
Pure.
"""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

from kubestorm.people.chat.commands import COMMANDS, Command
from kubestorm.people.chat.formatting import Message, Outcome
from kubestorm.people.chat.people import Person
from kubestorm.people.chat.permissions import Allowed, decide
from kubestorm.people.chat.reading import Incomplete, Unknown
from kubestorm.people.chat.settings import ChatSettings
from kubestorm.people.chat.targets import Absent, Ambiguous

HELP_HINT = "`kubestorm help` lists what you may ask for."


def allowed_commands(settings: ChatSettings, person: Person, channel: str) -> List[Command]:
    """The commands that a person may use in a channel, in at least one namespace."""
    return [
        command
        for command in COMMANDS
        if isinstance(decide(settings, person, channel, command.name, command.role), Allowed)
    ]


def help_message(settings: ChatSettings, person: Person, channel: str, topic: str = "") -> Message:
    """One line for each command that the asker may use: an example, and what it does."""
    allowed = allowed_commands(settings, person, channel)
    topics = sorted({command.topic for command in allowed if command.topic != "help"})
    wanted = topic.lower().strip().rstrip("s")
    if wanted:
        chosen = [
            item
            for item in allowed
            if item.topic.rstrip("s") == wanted or wanted in item.name.replace("_", " ")
        ]
        if not chosen:
            return Message(
                f"You may ask for nothing about {topic}.",
                next_step=f"There is: {', '.join(topics)}.",
            )
        lines = [
            line
            for command in chosen
            for line in (f"{command.usage}", f"    e.g. {command.example}")
        ]
        return Message(f"About {topic}:", lines=tuple(lines))
    grouped: Dict[str, List[Command]] = {}
    for command in allowed:
        grouped.setdefault(command.topic, []).append(command)
    lines = [
        f"{item.example}  -  {item.summary}" for commands in grouped.values() for item in commands
    ]
    known = f", {person.name}" if person.known else ""
    if not topics:
        ask = (
            f"Ask {settings.ask} to list your account in the pack's configuration, under "
            "chat.people."
        )
        return Message(
            f"Only `help` is available to you{known}.", lines=tuple(lines), next_step=ask
        )
    step = f"`kubestorm help TOPIC` says more; topics: {', '.join(topics)}."
    return Message(f"What you may ask for{known}:", lines=tuple(lines), next_step=step)


def whoami_message(settings: ChatSettings, person: Person, channel: str) -> Message:
    """Who the asker is to us."""
    if not person.known and not person.grants:
        return Message(
            f"I do not know you: your account is {person.account or 'empty'}.",
            next_step=(
                f"Ask {settings.ask} to list it in the pack's configuration, under chat.people."
            ),
        )
    grants: Dict[str, List[str]] = {}
    for role, pattern in person.grants:
        grants.setdefault(role, []).append(pattern)
    roles = ", ".join(
        role if "*" in patterns else f"{role} in {', '.join(sorted(patterns))}"
        for role, patterns in sorted(grants.items())
    )
    name = person.name if person.known else f"somebody I do not know ({person.account})"
    return Message(
        f"You are {name}.", fields=(("Roles", roles or "none"), ("Account", person.account))
    )


def incomplete_message(reading: Incomplete) -> Message:
    """What is missing, and how it is said."""
    command = reading.command
    step = f"Say `{command.usage}`, for instance `{command.example}`."
    return Message(reading.problem, Outcome.WARNING, next_step=step)


def unknown_message(reading: Unknown, allowed: Sequence[Command]) -> Message:
    """The closest that could have been meant; it is said, never done."""
    closest = [command for command in reading.closest if command in allowed]
    if reading.corrected and closest and closest[0] is reading.closest[0]:
        return Message(
            "I didn't understand that.",
            Outcome.WARNING,
            next_step=f"Did you mean `{reading.corrected}`?",
        )
    if closest:
        offered = " or ".join(f"`{command.usage}`" for command in closest)
        return Message(
            "I didn't understand that.", Outcome.WARNING, next_step=f"Closest is {offered}."
        )
    return Message("I didn't understand that.", Outcome.WARNING, next_step=HELP_HINT)


def ambiguous_message(command: Command, word: str, name: str, found: Ambiguous) -> Message:
    """Several are called that: which?"""
    lines = tuple(str(target) for target in found.candidates)
    step = f"Say which, for instance `{_with_target(command, str(found.candidates[0]))}`."
    return Message(
        f"There are {len(lines)} {word}s called {name}. Which one?",
        Outcome.WARNING,
        lines=lines,
        next_step=step,
    )


def absent_message(word: str, name: str, namespace: str, found: Absent) -> Message:
    """None is called that, or none that the asker may see."""
    where = f" in {namespace}" if namespace else " that you may see"
    sentence = f"There is no {word} {name}{where}."
    if not found.closest:
        step = f"`list {word}s` shows what there is." if word in ("application", "database") else ""
        return Message(sentence, Outcome.WARNING, next_step=step)
    closest = tuple(str(target) for target in found.closest)
    return Message(
        sentence, Outcome.WARNING, lines=closest, next_step=f"Did you mean {closest[0]}?"
    )


def namespace_message(command: Command) -> Message:
    """No namespace was said, and none is meant here by itself."""
    step = f"Say `{command.usage}`, for instance `{command.example}`."
    return Message("Which namespace?", Outcome.WARNING, next_step=step)


def _with_target(command: Command, target: str) -> str:
    """The command's usage with one object in it, up to the first part that may be left out."""
    words: Tuple[str, ...] = tuple(command.usage.replace("NAME", target, 1).split())
    kept = [word for word in words if not word.startswith("[") and not word.endswith("]")]
    return " ".join(word for word in kept if "NAMESPACE" not in word)
