"""The conversation: nothing is run unless it was understood, is allowed, and meant for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from kubestorm.people.chat.answering import Answer, Asked, Conversation, as_result
from kubestorm.people.chat.formatting import Outcome, plain
from kubestorm.people.chat.people import Person
from kubestorm.people.chat.settings import ChatSettings
from kubestorm.people.chat.targets import Target

EXISTING = {
    "applications": [
        Target("shop-prod", "cart"),
        Target("shop-stage", "cart"),
        Target("pay-prod", "ledger"),
    ],
    "databases": [Target("shop-prod", "orders"), Target("pay-prod", "books")],
    "imagebuilds": [Target("shop-prod", "cart-image")],
}
CONFIG: dict[str, Any] = {
    "people": [
        {"name": "ada", "accounts": ["ada"], "roles": ["admin"]},
        {"name": "dora", "accounts": ["dora"], "roles": ["deployer@shop-*"]},
    ],
    "short_names": {"prod": "shop-prod"},
    "bots": ["robot"],
    "links": {"applications": "https://grafana.example.com/{cluster}/{namespace}/{name}"},
}


class Recorder:
    """Takes what would be run, and answers as an action would."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, dict[str, Any]]] = []
        self.result: tuple[bool, Any] = (True, {"message": "Done so."})

    def run(self, action: str, parameters: Mapping[str, Any], person: Person) -> tuple[bool, Any]:
        self.runs.append((action, dict(parameters)))
        return self.result


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def say(
    recorder: Recorder, text: str, account: str = "ada", channel: str = "general", **more: Any
) -> Answer:
    config = {**CONFIG, **more.pop("config", {})}
    settings = ChatSettings.from_config({"chat": config})
    conversation = Conversation(settings, recorder, lambda plural: EXISTING[plural], cluster="test")
    return conversation.answer(Asked(text, account, channel, **more))


RUN = [
    (
        "deploy cart 1.4.2 to prod",
        "application_rollout",
        {"namespace": "shop-prod", "name": "cart", "image": "1.4.2", "requested_by": "ada"},
    ),
    (
        "roll back ledger",
        "application_rollback",
        {"namespace": "pay-prod", "name": "ledger", "requested_by": "ada"},
    ),
    (
        "roll back ledger to 1.4.1",
        "application_rollback",
        {"namespace": "pay-prod", "name": "ledger", "to": "1.4.1", "requested_by": "ada"},
    ),
    (
        "promote ledger fully",
        "application_promote",
        {"namespace": "pay-prod", "name": "ledger", "full": True, "requested_by": "ada"},
    ),
    (
        "scale shop-stage/cart to 5",
        "application_scale",
        {"namespace": "shop-stage", "name": "cart", "replicas": 5, "requested_by": "ada"},
    ),
    (
        "freeze cart in prod because sale",
        "application_freeze",
        {"namespace": "shop-prod", "name": "cart", "reason": "sale", "owner": "ada"},
    ),
    ("show db orders", "database_show", {"namespace": "shop-prod", "name": "orders"}),
    ("list databases", "database_list", {}),
    (
        "create database new in prod engine=pg storage=50",
        "database_create",
        {
            "namespace": "shop-prod",
            "name": "new",
            "engine": "postgres",
            "storage_gib": 50,
            "requested_by": "ada",
        },
    ),
    ("drift in prod", "drift_check", {"kind": "Database", "namespace": "shop-prod"}),
    (
        "why is books broken",
        "resource_why",
        {"namespace": "pay-prod", "name": "books", "kind": "databases"},
    ),
]


@pytest.mark.parametrize("text, action, parameters", RUN, ids=[item[0] for item in RUN])
def test_a_whole_command_is_run_once(
    recorder: Recorder, text: str, action: str, parameters: dict[str, Any]
) -> None:
    """The action gets values by its own names, numbers as numbers, and who asks."""
    answer = say(recorder, text)
    assert recorder.runs == [(action, parameters)]
    assert (answer.person, answer.parameters) == ("ada", parameters)


NOT_RUN = [
    ("deploy cart 1.4.2", "ada", "There are 2 applications called cart. Which one?"),
    ("deploy card 1.4.2 to prod", "ada", "There is no application card in shop-prod."),
    (
        "roll back cart",
        "eve",
        "I do not know eve, and `application_rollback` needs the role deployer.",
    ),
    ("roll back ledger in pay-prod", "dora", "You are missing the role deployer in pay-prod"),
    ("roll back ledger", "dora", "There is no application ledger that you may see."),
    ("delete database orders", "dora", "You are missing the role admin"),
    ("create database new postgres", "ada", "Which namespace?"),
    ("list apps", "dora", "You may not see every namespace from here. Which one?"),
    ("depoly cart 1.4.2", "ada", "I didn't understand that."),
    ("freeze cart", "ada", "I need the reason."),
    ("", "ada", "Say what you want"),
    ("deploy cart 1.4.2 to prod\nroll back ledger", "ada", "That command is incomplete"),
    ("deploy cart 1.4.2 to prod && roll back ledger", "ada", "That command is incomplete"),
    ("x" * 100_000, "ada", "That message has 100,000 characters"),
]


@pytest.mark.parametrize(
    "text, account, sentence", NOT_RUN, ids=[item[0][:40] or "empty" for item in NOT_RUN]
)
def test_anything_else_runs_nothing(
    recorder: Recorder, text: str, account: str, sentence: str
) -> None:
    """Unclear, unknown, not allowed, far too long: a sentence, and no effect."""
    answer = say(recorder, text, account)
    assert recorder.runs == []
    assert answer.message.sentence.startswith(sentence)


def test_what_somebody_may_not_see_is_not_told(recorder: Recorder) -> None:
    """Candidates and near misses come from the asker's own namespaces only."""
    assert "ledger" not in plain(say(recorder, "show app ledgr", "dora").message)
    assert "shop-prod/cart" in plain(say(recorder, "show app crt", "dora").message)


def test_a_bot_is_not_answered(recorder: Recorder) -> None:
    """Neither this bot's own words nor another's start anything, or are replied to."""
    answer = say(recorder, "roll back ledger", "robot")
    assert (answer.silent, recorder.runs) == (True, [])
    assert as_result(answer, 5)["silent"] is True


def test_only_speakers_speak_for_others(recorder: Recorder) -> None:
    """A user of StackStorm who is no bot is taken for himself, whatever name he gives."""
    config = {"speakers": ["hubot"]}
    refused = say(recorder, "roll back ledger", "ada", speaker="mallory", config=config)
    assert refused.message.outcome is Outcome.REFUSED
    assert recorder.runs == []
    say(recorder, "roll back ledger", "ada", speaker="hubot", config=config)
    assert len(recorder.runs) == 1


@pytest.mark.parametrize(
    "account,speaker,speakers,name",
    [
        pytest.param("ada", "hubot", [], "ada", id="a bot names an account"),
        pytest.param("ada", "hubot", ["hubot"], "ada", id="a listed bot names an account"),
        pytest.param("", "ada", [], "ada", id="whoever is logged in, without a bot"),
        pytest.param("", "ada", ["hubot"], "ada", id="the same where bots are listed"),
        pytest.param("ada", "mallory", ["hubot"], "mallory", id="no bot names an account"),
        pytest.param("", "hubot", ["hubot"], "somebody", id="a bot that names nobody"),
        pytest.param("ada", "", ["hubot"], "ada", id="the pack's own listener"),
    ],
)
def test_who_asks(
    recorder: Recorder, account: str, speaker: str, speakers: list[str], name: str
) -> None:
    """The account that a bot names, else the user of StackStorm who runs it."""
    answer = say(recorder, "who am i", account, speaker=speaker, config={"speakers": speakers})
    assert answer.person == name


def test_a_failure_says_the_reason_and_the_next_step(recorder: Recorder) -> None:
    """Temporary: when to try again. A fault: whom to tell. Never a trace."""
    recorder.result = (
        False,
        {"message": "Vault is sealed.", "retryable": True, "retry_after_seconds": 30},
    )
    answer = say(recorder, "show db orders")
    assert plain(answer.message) == "Vault is sealed.\nTry again in 30 seconds."
    recorder.result = (
        False,
        {"reason": "Fault", "message": "database_show has a fault (KeyError)."},
    )
    answer = say(recorder, "show db orders")
    assert "Tell an operator" in answer.message.next_step
    recorder.result = (False, None)
    assert (
        say(recorder, "show db orders").message.sentence
        == "`database_show` failed without an error message."
    )


def test_links_of_the_configuration_are_below_the_answer(recorder: Recorder) -> None:
    """With the object's facts in them."""
    answer = say(recorder, "status cart in prod")
    assert answer.message.links == (("More", "https://grafana.example.com/test/shop-prod/cart"),)


def test_long_work_is_followed(recorder: Recorder) -> None:
    """A rollout and a new database are waited for; what is done at once is not."""
    recorder.result = (True, {"message": "Started.", "rollout": "cart-ab12-1"})
    result = as_result(say(recorder, "deploy cart 1.4.2 to prod"), 5)
    assert result["outcome"] == "working"
    assert (result["follow"]["rollout"], result["follow"]["delay_seconds"]) == ("cart-ab12-1", 5)
    assert as_result(say(recorder, "unfreeze cart in prod"), 5)["follow"] is None


def test_rollouts_from_before_are_not_the_awaited_one(recorder: Recorder) -> None:
    """They are noted before the action runs, so that the one it causes can be told from them."""
    recorder.result = (True, {"message": "1.4.2 will be rolled out.", "digest": "sha256:ab12"})
    settings = ChatSettings.from_config({"chat": CONFIG})
    conversation = Conversation(
        settings,
        recorder,
        lambda plural: EXISTING[plural],
        list_rollouts=lambda place: [f"{place.name}-ab12-1"],
    )
    follow = conversation.answer(Asked("deploy cart 1.4.2 to prod", "ada")).follow
    assert follow is not None
    assert (follow.digest, follow.known, follow.rollout) == ("sha256:ab12", ("cart-ab12-1",), "")


def test_help_shows_what_the_asker_may_run(recorder: Recorder) -> None:
    """A deployer sees deploying and no deletion of databases; a stranger sees whom to ask."""
    lines = "\n".join(say(recorder, "help", "dora").message.lines)
    assert "deploy cart 1.4.2 to prod" in lines
    assert "delete database" not in lines
    stranger = say(recorder, "help", "eve").message
    assert "chat.people" in stranger.next_step
    assert "deploy" not in "\n".join(stranger.lines)
    assert "delete database" in "\n".join(say(recorder, "help databases", "ada").message.lines)
    assert (
        say(recorder, "help lunch", "ada").message.sentence
        == "You may ask for nothing about lunch."
    )


def test_who_one_is(recorder: Recorder) -> None:
    """Name, roles and where; a stranger learns the account to have listed."""
    assert "deployer in shop-*" in plain(say(recorder, "who am i", "dora").message)
    assert (
        say(recorder, "who am i", "eve").message.sentence
        == "I do not know you: your account is eve."
    )


def test_the_second_key_of_a_deletion_travels(recorder: Recorder) -> None:
    """As it was said; the action decides whether it is the right one."""
    say(recorder, "delete database orders in prod confirm orders")
    expected = {
        "namespace": "shop-prod",
        "name": "orders",
        "confirm": "orders",
        "requested_by": "ada",
    }
    assert recorder.runs == [("database_delete", expected)]
