"""Every command's phrases: what is read, with which values, and what is not."""

from __future__ import annotations

import pytest
from kubestorm.chat.commands import BY_NAME, COMMANDS, Command
from kubestorm.chat.phrases import phrase
from kubestorm.chat.reading import Incomplete, Understood, Unknown, Unreadable, clean, read

CART = {"name": "cart"}
PROD = {"name": "cart", "namespace": "prod"}
ORDERS = {"name": "orders"}
SHOP = {"name": "orders", "namespace": "shop"}

# text -> command and values
SAID = [
    ("kubestorm", "help", {}),
    ("help", "help", {}),
    ("kubestorm help databases", "help", {"topic": "databases"}),
    ("help with builds", "help", {"topic": "builds"}),
    ("what can I do?", "help", {}),
    ("who am I", "whoami", {}),
    ("my roles", "whoami", {}),
    ("list databases", "database_list", {}),
    ("show all the databases in shop", "database_list", {"namespace": "shop"}),
    ("dbs", "database_list", {}),
    ("which databases are there in shop?", "database_list", {"namespace": "shop"}),
    ("show database orders in shop", "database_show", SHOP),
    ("describe db shop/orders", "database_show", SHOP),
    ("database orders", "database_show", ORDERS),
    ("how is the database orders doing?", "database_show", ORDERS),
    ("status of db orders in the namespace shop", "database_show", SHOP),
    ("create database orders postgres", "database_create", {**ORDERS, "engine": "postgres"}),
    (
        "create a new database orders with mysql 8.0 size small with 50 GiB in shop",
        "database_create",
        {**SHOP, "engine": "mysql", "version": "8.0", "size": "small", "storage": "50"},
    ),
    ("make db orders in shop pg 16", "database_create", {**SHOP, "engine": "postgres", "version": "16"}),
    (
        "create database orders in shop engine=mariadb size=huge",
        "database_create",
        {**SHOP, "engine": "mariadb", "size": "huge"},
    ),
    ("resize database orders to large", "database_resize", {**ORDERS, "size": "large"}),
    ("resize db orders in shop to 200 GiB", "database_resize", {**SHOP, "storage": "200"}),
    ("grow the disk of database orders to 200 gb in shop", "database_resize", {**SHOP, "storage": "200"}),
    ("resize database orders to large and 200 GiB", "database_resize", {**ORDERS, "size": "large", "storage": "200"}),
    ("rotate database orders in shop", "database_rotate", SHOP),
    ("rotate the password of orders", "database_rotate", ORDERS),
    ("rotate credentials for db orders in shop", "database_rotate", SHOP),
    ("snapshot database orders in shop", "database_snapshot", SHOP),
    ("take a snapshot of orders as before-sale", "database_snapshot", {**ORDERS, "snapshot": "before-sale"}),
    ("delete database orders in shop", "database_delete", SHOP),
    ("drop db orders in shop confirm orders", "database_delete", {**SHOP, "confirm": "orders"}),
    ("list apps", "application_list", {}),
    ("which applications are there in shop?", "application_list", {"namespace": "shop"}),
    ("show app cart in prod", "application_show", PROD),
    ("status of cart", "application_status", CART),
    ("status cart in prod", "application_status", PROD),
    ("how is cart doing in prod?", "application_status", PROD),
    ("deploy cart 1.4.2 to prod", "application_rollout", {**PROD, "image": "1.4.2"}),
    ("Deploy cart 1.4.2", "application_rollout", {**CART, "image": "1.4.2"}),
    ("please deploy prod/cart version 1.4.2 now", "application_rollout", {**PROD, "image": "1.4.2"}),
    ("deploy cart:1.4.2 to prod", "application_rollout", {**PROD, "image": "1.4.2"}),
    ("ship cart to prod at main-ab12cd3", "application_rollout", {**PROD, "image": "main-ab12cd3"}),
    (f"roll out cart sha256:{'ab' * 32}", "application_rollout", {**CART, "image": f"sha256:{'ab' * 32}"}),
    (f"deploy cart@sha256:{'ab' * 32} to prod", "application_rollout", {**PROD, "image": f"sha256:{'ab' * 32}"}),
    ("roll back cart", "application_rollback", CART),
    ("rollback cart in prod to 1.4.1", "application_rollback", {**PROD, "image": "1.4.1"}),
    ("undo cart", "application_rollback", CART),
    ("abort cart in prod", "application_abort", PROD),
    ("stop the rollout of cart", "application_abort", CART),
    ("promote cart in prod", "application_promote", PROD),
    ("go on with the rollout of cart", "application_promote", CART),
    ("freeze cart because sale weekend", "application_freeze", {**CART, "reason": "sale weekend"}),
    ("freeze cart in prod because of the sale", "application_freeze", {**PROD, "reason": "the sale"}),
    ("freeze cart reason='sale weekend'", "application_freeze", {**CART, "reason": "sale weekend"}),
    ("unfreeze cart in prod", "application_unfreeze", PROD),
    ("thaw cart because it is over", "application_unfreeze", {**CART, "reason": "it is over"}),
    ("who froze cart?", "application_freezer", CART),
    ("is cart frozen in prod?", "application_freezer", PROD),
    ("scale cart to 5 in prod", "application_scale", {**PROD, "replicas": "5"}),
    ("scale cart in prod to 5 pods", "application_scale", {**PROD, "replicas": "5"}),
    ("history of cart in prod", "application_history", PROD),
    ("show the history of cart", "application_history", CART),
    ("who deployed cart?", "application_history", CART),
    ("logs cart in prod last 50 lines", "application_logs", {**PROD, "lines": "50"}),
    ("show me the logs of cart", "application_logs", CART),
    ("tail cart", "application_logs", CART),
    ("build cart in shop at main", "image_build_start", {"name": "cart", "namespace": "shop", "ref": "main"}),
    ("start the build of cart", "image_build_start", CART),
    ("rebuild cart branch feature/x", "image_build_start", {**CART, "ref": "feature/x"}),
    ("show build cart", "image_build_show", CART),
    ("how is the build of cart doing", "image_build_show", CART),
    ("cancel build cart", "image_build_cancel", CART),
    ("abort the build of cart", "image_build_cancel", CART),
    ("build logs cart", "image_build_logs", CART),
    ("show the logs of build cart last 20", "image_build_logs", {**CART, "lines": "20"}),
    ("tags team/cart", "registry_tags", {"repository": "team/cart"}),
    ("which versions are there of team/cart?", "registry_tags", {"repository": "team/cart"}),
    ("drift", "drift_check", {}),
    ("is there any drift in shop?", "drift_check", {"namespace": "shop"}),
    ("check drift of database orders in shop", "drift_check", SHOP),
    ("why is cart not ready in prod?", "why", PROD),
    ("why did the build cart fail?", "why", {**CART, "kind": "build"}),
    ("what is wrong with the database orders", "why", {**ORDERS, "kind": "database"}),
]


@pytest.mark.parametrize("text, name, values", SAID, ids=lambda item: str(item)[:60])
def test_phrases_are_read(text: str, name: str, values: dict[str, str]) -> None:
    """What a person would type is the command and the values that are meant."""
    found = read(text)
    assert isinstance(found, Understood), found
    assert (found.command.name, dict(found.values)) == (name, values)


@pytest.mark.parametrize("text", [item[0] for item in SAID], ids=lambda item: str(item)[:60])
def test_a_text_is_one_command_only(text: str) -> None:
    """No text fits the phrases of two commands, so the order of the list decides nothing."""
    said = clean(text).rstrip("?")
    fitting = {command.name for command in COMMANDS for each in command.phrases if each.read(said) is not None}
    assert len(fitting) <= 1


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_understood_as_its_help_says(command: Command) -> None:
    """The example that help shows is read as the command, and all it needs is in it."""
    found = read(command.example)
    assert isinstance(found, Understood)
    assert found.command is command


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_phrases_in_the_table(command: Command) -> None:
    """No command is left out of the table above."""
    assert any(name == command.name for _text, name, _values in SAID)


INCOMPLETE = [
    ("deploy cart", "application_rollout", "not all it takes"),
    ("deploy cart to prod", "application_rollout", "not all it takes"),
    ("deploy", "application_rollout", "not all it takes"),
    ("freeze cart", "application_freeze", "I need the reason"),
    ("create database orders", "database_create", "I need the engine"),
    ("scale cart to many", "application_scale", "not all it takes"),
    ("roll back cart color=red", "application_rollback", "has no option `color`"),
    ("roll back cart user=admin", "application_rollback", "has no option `user`"),
    ("freeze cart reason='{{ st2kv.system.token }}'", "application_freeze", "cannot be what you gave"),
    ("show database {{ st2kv.system.token }}", "database_show", "not all it takes"),
    ("show database orders; rm -rf /", "database_show", "not all it takes"),
    ("show database orders' or 1=1", "database_show", "not all it takes"),
    ("show database ../../secrets", "database_show", "not all it takes"),
    ("scale cart to 9999999", "application_scale", "not all it takes"),
]


@pytest.mark.parametrize("text, name, problem", INCOMPLETE, ids=lambda item: str(item)[:60])
def test_what_is_missing_is_said(text: str, name: str, problem: str) -> None:
    """Where the command is clear but the rest is not, the answer names the command and what is wrong."""
    found = read(text)
    assert isinstance(found, Incomplete), found
    assert found.command.name == name
    assert problem in found.problem


NEARLY = [
    ("depoly cart 1.4.2 to prod", "application_rollout", "deploy cart 1.4.2 to prod"),
    ("list databses", "database_list", "list databases"),
    ("rol back cart", "application_rollback", "roll back cart"),
    ("unfreze cart", "application_unfreeze", "unfreeze cart"),
    ("shwo database orders", "database_show", "show database orders"),
    ("promot cart in prod", "application_promote", "promote cart in prod"),
]


@pytest.mark.parametrize("text, name, corrected", NEARLY, ids=[item[0] for item in NEARLY])
def test_near_misses_name_the_closest(text: str, name: str, corrected: str) -> None:
    """A slip of the finger is answered with what was meant; it is never carried out by itself."""
    found = read(text)
    assert isinstance(found, Unknown)
    assert (found.closest[0].name, found.corrected) == (name, corrected)


@pytest.mark.parametrize("text", ["foo bar", "lunch?", "12345", "🍕🍕🍕"])
def test_what_is_nothing_like_a_command_has_no_closest(text: str) -> None:
    """Talk is not bent into a command."""
    found = read(text)
    assert isinstance(found, Unknown)
    assert (found.corrected, found.closest) == ("", ())


@pytest.mark.parametrize(
    "text, problem",
    [("", "Say what you want"), ("  \n\t ", "Say what you want"), ("deploy " * 15_000, "105,000 characters")],
    ids=["empty", "blank", "100 KB"],
)
def test_what_cannot_be_read_is_said(text: str, problem: str) -> None:
    """Nothing and far too much are answered in a sentence, at once."""
    found = read(text)
    assert isinstance(found, Unreadable)
    assert problem in found.problem


def test_control_characters_and_smart_quotes_are_taken_off() -> None:
    """What keyboards and attackers put between the letters does not reach a value."""
    found = read("freeze\x00 ca\u202ert\x1b[31m because “sale”\u00a0weekend")
    assert isinstance(found, Incomplete)  # the escape sequence's rest is no name
    found = read("freeze\u200b cart\x07 because \u202esale\u00a0weekend")
    assert isinstance(found, Understood)
    assert dict(found.values) == {"name": "cart", "reason": "sale weekend"}


def test_slack_markup_is_read_as_what_it_shows() -> None:
    """A mention of the bot is no part of the command, and a word that Slack took for a link is a word."""
    found = read("<@U0BOT> deploy <http://cart.api|cart.api> 1.4.2")
    assert isinstance(found, Understood)
    assert dict(found.values) == {"name": "cart.api", "image": "1.4.2"}


def test_phrases_that_cannot_be_are_refused() -> None:
    """A value without a shape, and a bracket that does not close, are found when the list is made."""
    with pytest.raises(ValueError, match="no value is called"):
        phrase("deploy {nonsense}")
    with pytest.raises(ValueError, match="does not close"):
        phrase("deploy [the {name}")


def test_names_are_small_letters_and_engines_whole_words() -> None:
    """Kubernetes has names in small letters; `pg` is how people say postgres."""
    found = read("Create Database Orders PG in Shop")
    assert isinstance(found, Understood)
    assert dict(found.values) == {**SHOP, "engine": "postgres"}
    assert BY_NAME[found.command.name] is found.command
