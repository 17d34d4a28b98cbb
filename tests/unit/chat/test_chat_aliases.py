"""The aliases, matched as StackStorm matches, and what the pack then reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, StrictUndefined
from kubestorm.people.chat.commands import COMMANDS, say
from kubestorm.people.chat.reading import Incomplete, Understood, read
from stormcell.api.alias_formats import displays, matching, parameters_of
from stormcell.content.models import ActionAlias
from stormcell.errors import InvalidInputError

from tests.unit.chat.said import INCOMPLETE, NEARLY, SAID

ROOT = Path(__file__).resolve().parents[3]
FILES = {
    path.name: yaml.safe_load(path.read_text())
    for path in sorted((ROOT / "aliases").glob("*.yaml"))
}


def loaded() -> list[ActionAlias]:
    return [
        ActionAlias(
            pack="kubestorm",
            name=document["name"],
            description=document["description"],
            action_ref=document["action_ref"],
            formats=document["formats"],
            immutable_parameters=document.get("immutable_parameters", {}),
        )
        for document in FILES.values()
    ]


ALIASES = loaded()


def heard(text: str) -> tuple[str, Any]:
    """(the alias that takes a text, what the pack reads of what the alias gives it)."""
    found = matching(text, ALIASES)
    (given,) = parameters_of(found.text, text, match_multiple=found.match_multiple)
    command = found.alias.immutable_parameters.get("command")
    said, options = say(command, given) if command else (given.pop("text"), given)
    return found.alias.name.removeprefix("kubestorm_"), read(said, options)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_an_alias_shows_its_command(command: Any) -> None:
    """By its file: name, the command it gives, how it is said, and the action behind it."""
    document = FILES[f"{command.name}.yaml"]
    assert document["name"] == f"kubestorm_{command.name}"
    assert document["immutable_parameters"] == {"command": command.name}
    shown = [each["display"] for each in document["formats"]]
    assert shown == [f"{command.usage} (for instance: {command.example})"]
    first = (ROOT / "aliases" / f"{command.name}.yaml").read_text().splitlines()[1]
    assert command.action is None or f"kubestorm.{command.action}," in first


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_an_example_is_taken_by_its_own_alias(command: Any) -> None:
    """And is read as the same text typed without an alias."""
    assert heard(command.example) == (command.name, read(command.example))


def test_formats_are_short() -> None:
    """An operator reads and edits them."""
    for alias in FILES.values():
        assert all(len(each) < 180 for form in alias["formats"] for each in form["representation"])


@pytest.mark.parametrize(
    "text, name", [(text, name) for text, name, _values in SAID], ids=[item[0] for item in SAID]
)
def test_what_people_say_is_understood_through_an_alias(text: str, name: str) -> None:
    """At most one format fits (StackStorm refuses two), and whichever takes it, what the pack
    reads is what it reads of the whole text.
    """
    alias, reading = heard(text)
    assert reading == read(text)
    assert isinstance(reading, Understood)
    assert reading.command.name == name
    assert alias in (name, "anything") or text.startswith(("abort the build", "status of db"))


@pytest.mark.parametrize(
    "text",
    [
        *(text for text, _name, _corrected in NEARLY),
        "lunch?",
        "show me the money",
    ],
)
def test_what_is_no_command_is_left_to_the_catch_all(text: str) -> None:
    """Talk and slips match no command's alias; the one for everything else takes them, where nobody
    else does.
    """
    assert matching(text, ALIASES).alias.name == "kubestorm_anything"
    with pytest.raises(InvalidInputError, match="matched no patterns"):
        matching(text, [alias for alias in ALIASES if alias.name != "kubestorm_anything"])


@pytest.mark.parametrize(
    "text",
    [
        "deploy is broken again, who did that?",
        "build it and they will come",
        "history repeats itself, they say",
        "why oh why",
        "scale the mountain to the top",
    ],
)
def test_talk_that_begins_like_a_command_is_no_command(text: str) -> None:
    """An alias may take it; the pack then understands nothing."""
    assert not isinstance(heard(text)[1], Understood)


@pytest.mark.parametrize(
    "text",
    [
        "deploy cart to prod image=1.4.2",
        "deploy cart in prod image=1.4.2",
        "create database orders in shop engine=mysql",
        "create database orders postgres in shop version=16",
        "scale cart in prod replicas=5",
        "freeze cart in prod reason=sale",
    ],
)
def test_a_pair_never_takes_the_place_of_the_namespace(text: str) -> None:
    """StackStorm lets a pair win over what the format matched; a namespace that was said is never
    lost that way.
    """
    reading = heard(text)[1]
    assert reading == read(text)
    if isinstance(reading, Understood):
        assert reading.values["namespace"] == ("shop" if "shop" in text else "prod")
    else:
        assert isinstance(reading, Incomplete)


@pytest.mark.parametrize("text", [text for text, _name, _problem in INCOMPLETE])
def test_what_is_incomplete_still_reaches_the_pack(text: str) -> None:
    """It matches a command's alias or the catch-all; the pack then says what is missing."""
    assert matching(text, ALIASES).alias.action_ref.startswith("kubestorm.chat_")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_only_what_takes_long_is_a_workflow(command: Any) -> None:
    """All else is one execution."""
    ref = FILES[f"{command.name}.yaml"]["action_ref"]
    assert ref == ("kubestorm.chat_follow" if command.follow else "kubestorm.chat_run")


@pytest.mark.parametrize(
    "result,told",
    [
        ({"result": {"text": "Hello."}, "stdout": ""}, "Hello."),
        ({"output": {"text": "Hello.", "silent": False}}, "Hello."),
        ({"result": {"text": "", "silent": True}}, ""),
        ({"output": {"text": "", "silent": True}}, ""),
        ({"result": "None", "stderr": "trace"}, "That went wrong"),
        ({"output": {"text": "", "silent": False}, "errors": ["e"]}, "That went wrong"),
        ({"output": None, "errors": ["e"]}, "That went wrong"),
        ({}, "That went wrong"),
        (None, "That went wrong"),
    ],
)
def test_the_answer_is_read_from_either_action(result: Any, told: str) -> None:
    """Of an action and of a workflow, silent or crashed; the color, which StackStorm renders
    strictly, is always one.
    """
    context = {"execution": {"result": result, "id": "e1"}}
    workflow = isinstance(result, dict) and "output" in result
    alias = FILES["application_rollout.yaml" if workflow else "whoami.yaml"]["result"]
    text = Environment().from_string(alias["format"]).render(context)
    assert text.startswith(told)
    assert bool(text) is bool(told)
    strict = Environment(undefined=StrictUndefined)
    for each in (alias["extra"]["color"], alias["extra"]["slack"]["color"]):
        assert strict.from_string(each).render(context).startswith("#")


@pytest.mark.parametrize(
    "text, options",
    [
        ("freeze cart because see https://x.test/y?id=5 .", {}),
        ("freeze cart because see the wiki ?id=5 .", {}),
        ("freeze cart because it has replicas=0", {"replicas": "0"}),
        (
            "freeze cart reason='see https://x.test/y?id=5'",
            {"reason": "see https://x.test/y?id=5"},
        ),
    ],
    ids=["a link", "a query", "another command's option", "the reason as a pair"],
)
def test_a_reason_is_whole_when_it_came_through_an_alias(
    text: str, options: dict[str, str]
) -> None:
    """What the engine parts off as a parameter is put back where it is none of the command's."""
    found = heard(text)[1]
    assert isinstance(found, Understood)
    reason = options.get("reason") or text.partition("because ")[2].rstrip(" .")
    assert dict(found.values) == {"name": "cart", "reason": reason}


def test_who_asks_and_where_cannot_be_typed() -> None:
    """The action takes them from the alias's execution alone; both engines refuse to override what
    is immutable.
    """
    parameters = yaml.safe_load((ROOT / "actions" / "chat_run.yaml").read_text())["parameters"]
    assert {name for name, schema in parameters.items() if schema.get("immutable")} == {
        "user",
        "speaker",
        "channel",
    }


def test_every_value_of_a_phrase_can_be_given_as_a_pair() -> None:
    """The action and its workflow take each value there is, and hand it on."""
    names = {
        name
        for command in COMMANDS
        for each in command.phrases
        for name in each.expression.groupindex
    }
    parameters = yaml.safe_load((ROOT / "actions" / "chat_run.yaml").read_text())["parameters"]
    follow = yaml.safe_load((ROOT / "actions" / "chat_follow.yaml").read_text())["parameters"]
    workflow = yaml.safe_load((ROOT / "workflows" / "chat_follow.yaml").read_text())
    assert set(parameters) == names | {"text", "command", "user", "speaker", "channel"}
    given = workflow["tasks"]["answer"]["input"]
    assert set(workflow["input"]) == set(follow) == set(given) == names | {"text", "command"}
    assert all('.replace("{", "(")' in text for text in given.values())


def test_help_lists_a_line_with_an_example_for_each() -> None:
    """What StackStorm's own help shows."""
    lines = [line for alias in ALIASES for line in displays(alias)]
    assert len(lines) == len(COMMANDS)
    assert (
        "deploy NAME TAG|DIGEST [to NAMESPACE] (for instance: deploy cart 1.4.2 to prod)" in lines
    )


def test_only_what_changes_something_says_at_once_that_it_was_heard() -> None:
    """Reading is answered fast enough without."""
    acknowledged = {document["name"] for document in FILES.values() if document["ack"]["enabled"]}
    assert acknowledged == {f"kubestorm_{command.name}" for command in COMMANDS if command.changes}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_page_for_users_lists_every_command(command: Any) -> None:
    """With how it is said and the role it needs."""
    page = (ROOT / "docs" / "chatops.md").read_text()
    usage = command.usage.replace("|", "\\|")
    assert f"| `{usage}` | {command.summary} | {command.role or 'everybody'} |" in page


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_fits_its_action(command: Any) -> None:
    """The action exists, takes each value of the phrases by name, and gets all that it requires."""
    if command.action is None:
        return
    metadata = yaml.safe_load((ROOT / "actions" / f"{command.action}.yaml").read_text())
    parameters: dict[str, Any] = metadata.get("parameters") or {}
    assert metadata["runner_type"] == "python-script"
    said = {name for each in command.phrases for name in each.expression.groupindex}
    given = {command.renames.get(name, name) for name in said} | set(command.fixed)
    given |= {command.asker} if command.asker else set()
    assert given <= set(parameters)
    assert not [name for name in given if parameters[name].get("immutable")]
    always = (
        {command.renames.get(name, name) for name in command.required}
        | set(command.fixed)
        | {command.asker}
    )
    always |= {"namespace"} if command.needs_namespace else set()
    assert {name for name, schema in parameters.items() if schema.get("required")} <= always


def test_every_action_that_a_person_would_call_has_a_command() -> None:
    """An action with a person's verb is in the list."""
    verbs = (
        "list show status create resize rotate snapshot delete rollout rollback abort promote "
        "freeze unfreeze scale"
    )
    wanted = {
        path.stem
        for path in (ROOT / "actions").glob("*.py")
        for noun in ("database", "application", "image_build")
        if path.stem.removeprefix(f"{noun}_")
        in [*verbs.split(), "history", "logs", "start", "cancel"]
    }
    assert wanted <= {command.action for command in COMMANDS}
    assert len(wanted) >= 23
