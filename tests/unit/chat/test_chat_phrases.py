"""Every command's phrases: what is read, with which values, and what is not."""

from __future__ import annotations

import pytest
from kubestorm.people.chat.commands import BY_NAME, COMMANDS, Command
from kubestorm.people.chat.phrases import phrase
from kubestorm.people.chat.reading import Incomplete, Understood, Unknown, Unreadable, clean, read

from tests.unit.chat.said import INCOMPLETE, NEARLY, SAID, SHOP


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
    fitting = {
        command.name
        for command in COMMANDS
        for each in command.phrases
        if each.read(said) is not None
    }
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


@pytest.mark.parametrize("text, name, problem", INCOMPLETE, ids=lambda item: str(item)[:60])
def test_what_is_missing_is_said(text: str, name: str, problem: str) -> None:
    """Where the command is clear but the rest is not, the answer names the command and what is
    wrong.
    """
    found = read(text)
    assert isinstance(found, Incomplete), found
    assert found.command.name == name
    assert problem in found.problem


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
    [
        ("", "Say what you want"),
        ("  \n\t ", "Say what you want"),
        ("deploy " * 15_000, "105,000 characters"),
    ],
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


REASONS = {
    "a query": "see https://wiki.test/x?id=5",
    "a query of its own": "see the wiki, ?id=5",
    "a word and a number": "ticket id=5",
    "only a pair": "id=5",
    "pairs": "page=2 id=5",
    "another command's option": "it has replicas=0",
    "an option among them": "namespace=prod id=5",
    "quotes": "title='the sale' id=\"5\"",
    "an address that looks like markup": "R&D audit <2h> &amp; more",
    "somebody's account": "x user=admin",
}


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
@pytest.mark.parametrize("options", ["", " namespace=shop"], ids=["alone", "with an option"])
def test_a_reason_keeps_its_text(reason: str, options: str) -> None:
    """What is no option of the command is text, wherever its signs of equality are."""
    found = read(f"freeze cart because {reason}{options}")
    assert isinstance(found, Understood)
    namespace = {"namespace": "shop"} if options else {}
    assert dict(found.values) == {"name": "cart", "reason": reason, **namespace}


def test_an_option_that_a_front_end_parted_off_is_text_where_it_is_none() -> None:
    """An engine takes each `key=value` at the end for a parameter of the action."""
    options = {"snapshot": "before the sale", "replicas": "0", "namespace": "shop"}
    found = read("freeze cart because it has", options)
    assert isinstance(found, Understood)
    reason = 'it has snapshot="before the sale" replicas=0'
    assert dict(found.values) == {"name": "cart", "reason": reason, "namespace": "shop"}
    found = read("roll back cart", {"image": "1.4.1", "namespace": "shop"})
    assert isinstance(found, Understood)
    assert dict(found.values) == {"name": "cart", "image": "1.4.1", "namespace": "shop"}


def test_pairs_without_end_are_read_in_no_time() -> None:
    """Text is read twice at most."""
    found = read("freeze cart because " + "a=1 " * 240)
    assert isinstance(found, (Incomplete, Unknown))


def test_phrases_that_cannot_be_are_refused() -> None:
    """A value without a shape, and an unclosed bracket, are found when the list is made."""
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
