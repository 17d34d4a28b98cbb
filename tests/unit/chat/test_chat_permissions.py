"""Who may do what, where: the whole matrix of roles and commands, limits of namespaces and
channels, refusals.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from kubestorm.core.errors import DefinitionError
from kubestorm.people.chat.commands import COMMANDS, Command
from kubestorm.people.chat.people import Person, find_person, is_bot, plain_account
from kubestorm.people.chat.permissions import Allowed, Refused, decide
from kubestorm.people.chat.settings import ChatSettings

CONFIG: dict[str, Any] = {
    "people": [
        {"name": "vera", "accounts": ["U-VERA", "@vera"], "roles": ["viewer"]},
        {"name": "dev", "accounts": ["dev"], "roles": ["developer"]},
        {"name": "dora", "accounts": ["dora"], "roles": ["deployer@shop-*", "viewer"]},
        {"name": "bea", "accounts": ["bea"], "roles": ["dba"]},
        {"name": "ada", "accounts": ["ada"], "roles": ["admin"]},
    ],
    "ask": "Olga",
    "roles": {"dba": {"includes": ["viewer"], "ask": "#databases"}},
    "channels": [
        {"channels": ["shop", "#shop-*"], "namespaces": ["shop-*"]},
        {"channels": ["watch"], "commands": ["*_list", "*_show", "help"]},
    ],
    "bots": ["U-BOT"],
}
SETTINGS = ChatSettings.from_config({"chat": CONFIG})
EVERYBODY = {"help", "whoami"}
VIEWING = EVERYBODY | {
    "approval_list",
    "approval_approve",
    "approval_refuse",
    "database_list",
    "database_show",
    "application_list",
    "application_show",
    "application_status",
    "application_freezer",
    "application_history",
    "image_build_show",
    "registry_tags",
    "drift_check",
    "why",
}
BUILDING = {"image_build_start", "image_build_cancel", "image_build_logs", "delivery_start"}
DEVELOPING = VIEWING | BUILDING | {"application_logs"}
DEPLOYING = DEVELOPING | {
    "application_rollout",
    "application_rollback",
    "application_abort",
    "application_promote",
    "application_freeze",
    "application_unfreeze",
    "application_scale",
}
KEEPING = VIEWING | {"database_create", "database_resize", "database_rotate", "database_snapshot"}
MAY = {
    "stranger": EVERYBODY,
    "vera": VIEWING,
    "dev": DEVELOPING,
    "dora": DEPLOYING,
    "bea": KEEPING,
    "ada": DEPLOYING | KEEPING | {"database_delete"},
}


def asked(
    account: str, command: Command, namespace: str = "shop-prod", channel: str = "general"
) -> object:
    return decide(
        SETTINGS, find_person(SETTINGS, account), channel, command.name, command.role, namespace
    )


@pytest.mark.parametrize("account", MAY)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_matrix(account: str, command: Command) -> None:
    """Each person may do exactly what the roles say, with a namespace and before one is known."""
    expected = command.name in MAY[account]
    assert isinstance(asked(account, command), Allowed) is expected
    assert isinstance(asked(account, command, namespace=""), Allowed) is expected


def test_the_matrix_knows_every_command() -> None:
    """A command that is added has to be thought about here."""
    assert MAY["ada"] == {command.name for command in COMMANDS}


@pytest.mark.parametrize(
    "account, command, channel, namespace, message",
    [
        (
            "vera",
            "application_rollout",
            "general",
            "shop-prod",
            (
                "You are missing the role deployer, which `application_rollout` needs. Ask Olga "
                "for it."
            ),
        ),
        (
            "vera",
            "database_rotate",
            "general",
            "shop-prod",
            "You are missing the role dba, which `database_rotate` needs. Ask #databases for it.",
        ),
        (
            "dora",
            "application_rollout",
            "general",
            "pay-prod",
            (
                "You are missing the role deployer in pay-prod, which `application_rollout` needs. "
                "Ask Olga for it."
            ),
        ),
        (
            "eve",
            "database_list",
            "general",
            "",
            "I do not know eve, and `database_list` needs the role viewer. Ask Olga to list your "
            "account in the pack's "
            "configuration, under chat.people.",
        ),
        (
            "ada",
            "database_show",
            "#shop",
            "pay-prod",
            "#shop is for shop-*; pay-prod is not among them.",
        ),
        (
            "ada",
            "application_rollout",
            "watch",
            "",
            "`application_rollout` is not done from #watch. Ask in a channel that is meant for it.",
        ),
    ],
    ids=[
        "role",
        "whom to ask by role",
        "role in a namespace",
        "stranger",
        "namespace of a channel",
        "channel",
    ],
)
def test_a_refusal_says_what_is_missing_and_whom_to_ask(
    account: str, command: str, channel: str, namespace: str, message: str
) -> None:
    """The sentence names the role, the namespace or the channel, and who can help."""
    wanted = next(item for item in COMMANDS if item.name == command)
    refused = asked(account, wanted, namespace, channel)
    assert isinstance(refused, Refused)
    assert refused.message == message


def test_channels_limit_what_roles_allow() -> None:
    """What fits the channel's patterns goes on; a channel without an entry has no limits of its
    own.
    """
    show = next(item for item in COMMANDS if item.name == "database_show")
    assert isinstance(asked("ada", show, "shop-prod", "#shop-team"), Allowed)
    assert isinstance(asked("ada", show, "pay-prod", "shop-team"), Refused)
    assert isinstance(asked("ada", show, "pay-prod", "anything"), Allowed)
    assert isinstance(asked("ada", show, "", "watch"), Allowed)


def test_the_configuration_may_choose_another_role() -> None:
    """Logs for viewers, deployments for admins alone: `chat.commands`; help stays everybody's."""
    commands = {"application_logs": "viewer", "application_rollout": "admin", "help": "admin"}
    settings = ChatSettings.from_config({"chat": {**CONFIG, "commands": commands}})
    vera, dora = find_person(settings, "vera"), find_person(settings, "dora")
    assert isinstance(decide(settings, vera, "", "application_logs", "developer"), Allowed)
    assert isinstance(decide(settings, dora, "", "application_rollout", "deployer"), Refused)
    assert isinstance(decide(settings, vera, "", "help", ""), Allowed)


def test_everybody_has_the_default_roles() -> None:
    """With a default role also a stranger may look, and a person's own roles are added to it."""
    settings = ChatSettings.from_config({"chat": {**CONFIG, "default_roles": ["viewer"]}})
    assert isinstance(
        decide(settings, find_person(settings, "eve"), "", "database_list", "viewer"), Allowed
    )
    assert find_person(settings, "ada").roles >= {"admin", "viewer"}


@pytest.mark.parametrize(
    "account, name",
    [
        ("U-VERA", "vera"),
        ("<@U-VERA>", "vera"),
        ("<@U-VERA|vera>", "vera"),
        ("@vera", "vera"),
        ("vera", "vera"),
    ],
)
def test_an_account_is_recognised_as_front_ends_write_it(account: str, name: str) -> None:
    """Slack's mention, a leading @, a bare id."""
    assert find_person(SETTINGS, account) == dataclasses.replace(
        find_person(SETTINGS, name), account=plain_account(account)
    )


@pytest.mark.parametrize("account", ["VERA", "vera ada", "ada\nvera", "", "  ", "admin", "*", "v*"])
def test_what_only_looks_like_an_account_is_nobody(account: str) -> None:
    """Accounts are compared whole; no pattern, no case, no role's name makes somebody of nobody."""
    person = find_person(SETTINGS, account)
    assert (person.known, person.grants) == (False, ())


def test_bots_are_known_as_such() -> None:
    """The accounts of bots are listed, and recognised in a mention."""
    assert (is_bot(SETTINGS, "<@U-BOT>"), is_bot(SETTINGS, "vera")) == (True, False)


def test_roles_may_include_each_other() -> None:
    """A circle of roles ends, and gives all of them."""
    roles = {"a": {"includes": ["b"]}, "b": {"includes": ["a", "viewer"]}}
    people = [{"name": "ann", "accounts": ["ann"], "roles": ["a"]}]
    person = find_person(
        ChatSettings.from_config({"chat": {"roles": roles, "people": people}}), "ann"
    )
    assert person.roles == {"a", "b", "viewer"}


@pytest.mark.parametrize(
    "section, message",
    [
        ({"peeple": [1]}, r"Unknown setting chat\.peeple"),
        ({"people": [{"name": "ann", "role": ["x"]}]}, r"Unknown setting chat.people\[0\]\.role"),
        ({"people": [{"accounts": ["ann"]}]}, r"chat.people\[0\] needs name"),
        (
            {"people": [{"name": "ann", "roles": ["boss"]}]},
            "chat.people .ann. names the role 'boss'",
        ),
        ({"default_roles": ["boss"]}, "chat.default_roles names the role 'boss'; there are admin"),
        ({"commands": {"help": "boss"}}, "chat.commands.help names the role 'boss'"),
        (
            {"people": [{"name": "ann", "accounts": ["x"]}, {"name": "ben", "accounts": ["x"]}]},
            "the account 'x' is ann's and ben's",
        ),
        ("yes", "chat must be a mapping of settings"),
    ],
    ids=[
        "key",
        "person's key",
        "no name",
        "person's role",
        "default role",
        "command's role",
        "shared",
        "no object",
    ],
)
def test_a_wrong_configuration_is_a_sentence(section: Any, message: str) -> None:
    """What is wrong is named, with what would be right."""
    with pytest.raises(DefinitionError, match=message):
        ChatSettings.from_config({"chat": section})


@pytest.mark.parametrize(
    "config", [{}, {"chat": None}, {"chat": {}}, {"chat": {"people": [], "roles": {}, "ask": ""}}]
)
def test_what_is_empty_counts_as_not_said(config: Any) -> None:
    """StackStorm fills what the operator left out with empty objects and lists."""
    assert ChatSettings.from_config(config) == ChatSettings()


def test_a_person_without_grants_has_nothing() -> None:
    """The empty case of the predicate that all else stands on."""
    assert not Person("x", "x").has("viewer")
    assert not Person("x", "x", (("viewer", "shop-*"),)).has("viewer", "pay")
