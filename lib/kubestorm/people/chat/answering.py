"""The conversation: a text and who said it where, to an answer. Reads, asks who and whether, finds,
runs, tells.

The one place that all front ends come through (aliases, Slack), so that none of them can be a way
around.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from kubestorm.clients.kube import ForbiddenError, Resource
from kubestorm.core import naming
from kubestorm.core.errors import Error, NotFoundError
from kubestorm.people.chat import helping, replies
from kubestorm.people.chat.commands import APPLICATION, BUILD, DATABASE, KIND_WORDS, Command
from kubestorm.people.chat.formatting import (
    COLOURS,
    Message,
    Outcome,
    plain,
    slack_attachments,
    slack_blocks,
    slack_text,
    with_links,
)
from kubestorm.people.chat.people import Person, find_person, is_bot
from kubestorm.people.chat.permissions import Refused, decide
from kubestorm.people.chat.progress import Follow, follow_of, next_check
from kubestorm.people.chat.reading import Incomplete, Understood, Unknown, Unreadable, read
from kubestorm.people.chat.running import Runner
from kubestorm.people.chat.settings import ChatSettings
from kubestorm.people.chat.targets import Absent, Ambiguous, Target, find, namespace_meant

_KIND_PLURALS = {
    "database": DATABASE,
    "db": DATABASE,
    "application": APPLICATION,
    "app": APPLICATION,
    "build": BUILD,
}
_WORDS = {**KIND_WORDS, "rollouts": "rollout"}
_NUMBERS = frozenset(("replicas", "storage", "lines"))

ListTargets = Callable[[str], List[Target]]
ListRollouts = Callable[[Target], Sequence[str]]


@dataclass(frozen=True)
class Asked:
    """What a front end says: the text, whose account said it, and in which channel."""

    text: str
    account: str
    channel: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    speaker: str = ""
    """The user of StackStorm who passed it on; empty where nobody did (the pack's own listener)."""


@dataclass(frozen=True)
class Answer:
    """The answer, and what an execution records of it."""

    message: Message
    person: str = ""
    command: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    follow: Optional[Follow] = None
    """What is still under way, for an outcome later."""
    silent: bool = False
    """Whether nothing is to be said at all: a bot spoke."""


class Conversation:
    """Answers texts. `list_targets` gives the objects of a plural kind, `run` runs an action of the
    pack.
    """

    def __init__(
        self,
        settings: ChatSettings,
        runner: Runner,
        list_targets: ListTargets,
        *,
        cluster: str = "",
        list_rollouts: ListRollouts = lambda place: (),
    ) -> None:
        self._settings = settings
        self._runner = runner
        self._list_targets = list_targets
        self._cluster = cluster
        self._list_rollouts = list_rollouts

    def answer(self, asked: Asked) -> Answer:
        """Answer. Nothing is changed unless a whole command was understood and may be done."""
        settings, account = self._settings, account_of(self._settings, asked)
        if is_bot(settings, account):
            return Answer(Message("Bots are not answered."), silent=True)
        person = find_person(settings, account)
        reading = read(asked.text, asked.options)
        if isinstance(reading, Unreadable):
            return Answer(
                Message(reading.problem, Outcome.WARNING, next_step=helping.HELP_HINT), person.name
            )
        if isinstance(reading, Unknown):
            allowed = helping.allowed_commands(settings, person, asked.channel)
            return Answer(helping.unknown_message(reading, allowed), person.name)
        refused = self._refusal(person, asked.channel, reading.command)
        if refused is not None:
            return Answer(refused, person.name, reading.command.name)
        if isinstance(reading, Incomplete):
            return Answer(helping.incomplete_message(reading), person.name, reading.command.name)
        return self._carry_out(reading, person, asked.channel)

    def _carry_out(self, understood: Understood, person: Person, channel: str) -> Answer:
        command = understood.command
        if command.action is None:
            return Answer(self._about(understood, person, channel), person.name, command.name)
        placed = self._placed(understood, person, channel)
        if isinstance(placed, Message):
            return Answer(placed, person.name, command.name)
        refused = self._refusal(person, channel, command, placed.get("namespace", ""))
        if refused is not None:
            return Answer(refused, person.name, command.name)
        parameters = parameters_of(command, placed, person)
        # Before the action: whatever Rollout of its digest is there afterwards is the one it asked
        # for.
        known = (
            self._list_rollouts(Target(placed["namespace"], placed["name"]))
            if command.follow == "rollout"
            else ()
        )
        well, result = self._runner.run(command.action, parameters, person)
        if not well:
            return Answer(
                replies.failed(command, result, placed), person.name, command.name, parameters
            )
        message = self._linked(replies.told(command, result, placed), command, placed)
        follow = follow_of(command, placed, result, known)
        if follow is not None:
            message = replace(message, outcome=Outcome.WORKING)
        return Answer(message, person.name, command.name, parameters, follow)

    def _about(self, understood: Understood, person: Person, channel: str) -> Message:
        if understood.command.name == "whoami":
            return helping.whoami_message(self._settings, person, channel)
        return helping.help_message(
            self._settings, person, channel, understood.values.get("topic", "")
        )

    def _refusal(
        self, person: Person, channel: str, command: Command, namespace: str = ""
    ) -> Optional[Message]:
        decision = decide(self._settings, person, channel, command.name, command.role, namespace)
        return Message(decision.message, Outcome.REFUSED) if isinstance(decision, Refused) else None

    def _placed(
        self, understood: Understood, person: Person, channel: str
    ) -> Union[Message, Dict[str, str]]:
        """The values with the namespace and the object that are meant, or what has to be said
        first.
        """
        command, values = understood.command, dict(understood.values)
        namespace = namespace_meant(self._settings, channel, values.get("namespace"))
        if "confirm" in values and command.makes is False:
            values["confirm"] = values["confirm"].partition("/")[2] or values["confirm"]
        name = values.get("name", "")
        kinds = self._kinds(command, values)
        if not name or command.makes or not kinds:
            if not namespace and command.needs_namespace:
                return helping.namespace_message(command)
            return self._limited({**values, "namespace": namespace}, command, person, channel)
        seen: List[Tuple[str, Target]] = []
        for plural in kinds:
            seen += [(plural, item) for item in self._list_targets(plural)]
        visible = [
            (plural, item) for plural, item in seen if self._may_see(person, channel, command, item)
        ]
        word = _WORDS.get(kinds[0], "object") if len(kinds) == 1 else "object"
        found = find(name, namespace, {item for _plural, item in visible})
        if namespace and not isinstance(found, Target):
            # Said in so many words: whether it may be seen at all comes before whether it is there.
            refused = self._refusal(person, channel, command, namespace)
            if refused is not None:
                return refused
        if isinstance(found, Ambiguous):
            return helping.ambiguous_message(command, word, name, found)
        if isinstance(found, Absent):
            return helping.absent_message(word, name, namespace, found)
        which = next(plural for plural, item in visible if item == found)
        return {
            **values,
            "namespace": found.namespace,
            "name": found.name,
            **self._kind_value(command, values, which),
        }

    def _kinds(self, command: Command, values: Mapping[str, str]) -> Tuple[str, ...]:
        if command.plural:
            return (command.plural,)
        if command.name != "why":
            return ()
        said = values.get("kind", "")
        return (_KIND_PLURALS[said],) if said in _KIND_PLURALS else (APPLICATION, DATABASE, BUILD)

    @staticmethod
    def _kind_value(command: Command, values: Mapping[str, str], plural: str) -> Dict[str, str]:
        return {"kind": plural} if command.name == "why" else {}

    def _may_see(self, person: Person, channel: str, command: Command, target: Target) -> bool:
        return self._refusal(person, channel, command, target.namespace) is None

    def _limited(
        self, values: Dict[str, str], command: Command, person: Person, channel: str
    ) -> Union[Message, Dict[str, str]]:
        """A list of everything is for whoever may see everything; others have to say where."""
        if values["namespace"] or not command.phrases or "namespace" not in _value_names(command):
            return values
        if self._refusal(person, channel, command, "\x00any") is None:
            return values
        step = f"Say `{command.usage}`, for instance `{command.example}`."
        return Message(
            "You may not see every namespace from here. Which one?", Outcome.WARNING, next_step=step
        )

    def _linked(self, message: Message, command: Command, values: Mapping[str, str]) -> Message:
        links = []
        facts = {
            "cluster": self._cluster,
            "namespace": values.get("namespace", ""),
            "name": values.get("name", ""),
        }
        for key, label in ((command.name, "More"), (command.plural, "More")):
            template = self._settings.links.get(key) if key else None
            if template:
                for name, value in facts.items():
                    template = template.replace("{" + name + "}", value)
                links.append((label, template))
        return with_links(message, links)


def account_of(settings: ChatSettings, asked: Asked) -> str:
    """Whose words these are: the chat account that a bot names, else the user of StackStorm who
    runs it (`st2 action-alias execute`).

    Where `speakers` lists the bots, they alone may name an account, and they never speak for
    themselves.
    """
    if not asked.speaker or not settings.speakers:
        return asked.account or asked.speaker
    return asked.account if asked.speaker in settings.speakers else asked.speaker


def parameters_of(command: Command, values: Mapping[str, str], person: Person) -> Dict[str, Any]:
    """What the action is given: values by its own names, numbers as numbers, who asks."""
    known = _value_names(command)
    parameters: Dict[str, Any] = dict(command.fixed)
    for name, value in values.items():
        if name in known and value != "":
            parameters[command.renames.get(name, name)] = _typed(name, value)
    if command.asker:
        parameters[command.asker] = person.name
    return parameters


def _typed(name: str, value: str) -> Any:
    if name in _NUMBERS:
        return int(value)
    return True if name == "full" else value


def _value_names(command: Command) -> Tuple[str, ...]:
    return tuple({name for phrase in command.phrases for name in phrase.expression.groupindex})


def targets_by_kube(kube: Any) -> ListTargets:
    """Lists objects of our own group by their names; a kind that is not installed, or that the
    account may not list, has none.
    """

    def listed(plural: str) -> List[Target]:
        resource = Resource(naming.GROUP, naming.VERSION, plural)
        try:
            found = [item["metadata"] for item in kube.list_all(resource)]
        except (NotFoundError, ForbiddenError):
            return []
        return [Target(item.get("namespace", ""), item["name"]) for item in found]

    return listed


def message_result(message: Message) -> Dict[str, Any]:
    """A message as part of a result: text for any chat, blocks for Slack, the colour of its
    outcome.
    """
    return {
        "text": plain(message),
        "outcome": message.outcome.value,
        "colour": COLOURS[message.outcome],
        "slack": {
            "text": slack_text(message),
            "blocks": slack_blocks(message),
            "attachments": slack_attachments(message),
        },
    }


def as_result(answer: Answer, check_seconds: float) -> Dict[str, Any]:
    """The answer as an action's result: the message, who asked for what, and what is still under
    way.
    """
    follow = (
        next_check(answer.follow, check_seconds).as_dict() if answer.follow is not None else None
    )
    return {
        **message_result(answer.message),
        **({"text": ""} if answer.silent else {}),
        "silent": answer.silent,
        "person": answer.person,
        "command": answer.command,
        "parameters": dict(answer.parameters),
        "follow": follow,
    }


def error_answer(error: Error) -> Answer:
    """Where the conversation itself cannot be held: a wrong configuration, a cluster that does not
    answer.
    """
    retry = (
        "Try again in a moment."
        if type(error).__name__ == "TemporaryError"
        else "Tell an operator."
    )
    return Answer(Message(str(error), Outcome.FAILED, next_step=retry))
