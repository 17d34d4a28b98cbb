"""What a person typed, and what the formats of aliases make of it (the behaviour of StackStorm's
own parser).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stormcell.api.alias_formats import (
    LONGEST_COMMAND_CHARACTERS,
    displays,
    matching,
    parameters_of,
)
from stormcell.content.models import ActionAlias
from stormcell.errors import InvalidInputError

PARSED = {
    "pairs-alone": ("", "a=one", {"a": "one"}),
    "pair-in-double-quotes": ("go", 'go a="one two three"', {"a": "one two three"}),
    "pair-in-single-quotes": ("go", "go a='one two'", {"a": "one two"}),
    "pair-of-json": ("go", 'go a={"x": "y z"}', {"a": '{"x": "y z"}'}),
    "pairs-mixed": (
        "",
        'a=1 b="2 3" c=\'4 5\' d={"e": 6}',
        {"a": "1", "b": "2 3", "c": "4 5", "d": '{"e": 6}'},
    ),
    "pair-empty": ("go", 'go a=""', {"a": ""}),
    "pair-after-a-parameter": (
        "{{ who }} is here",
        'Mal Reynolds is here ship="the Serenity"',
        {"who": "Mal Reynolds", "ship": "the Serenity"},
    ),
    "words-between": (
        "take {{a}} then {{b}} and stop.",
        "take one then two and stop.",
        {"a": "one", "b": "two"},
    ),
    "last-is-greedy": ("say {{ text }}", "say all of this here", {"text": "all of this here"}),
    "quotes-hold-together": (
        "acl {{a}} {{b}} {{c=1}}",
        'acl "x y" "z"',
        {"a": "x y", "b": "z", "c": "1"},
    ),
    "default-taken": ("acl {{a=test}}", "acl", {"a": "test"}),
    "default-replaced": ("acl {{ a = test }} now", "acl other now", {"a": "other"}),
    "default-quoted": ("acl {{ a = 'x y' }}", "acl", {"a": "x y"}),
    "default-of-json": ("acl {{ a={'x':'y'} }}", "acl", {"a": "{'x':'y'}"}),
    "default-is-a-template": (
        "hands of {{ c = {{ colors.first }} }}",
        "hands of",
        {"c": "{{ colors.first }}"},
    ),
    "json-parameter": (
        "skip {{a}} more.",
        'skip {"a": "b", "c": "d"} more.',
        {"a": '{"a": "b", "c": "d"}'},
    ),
    "spaces-around": ("show it", "   show it  ", {}),
    "own-beginning": (r"^\s*fix (?P<key>[A-Z]+-\d+)", "fix ABC-12", {"key": "ABC-12"}),
    "own-end": (r"fix (?P<key>[A-Z]+-\d+)\s*$", "fix ABC-12", {"key": "ABC-12"}),
    "optional-first": (
        "{{ p='http' }} g {{ q=z }} a {{ url }}",
        "g a x://y k='v'",
        {"p": "http", "q": "z", "url": "x://y", "k": "v"},
    ),
}


@pytest.mark.parametrize("text, command, expected", PARSED.values(), ids=PARSED.keys())
def test_a_command_is_read(text: str, command: str, expected: dict[str, str]) -> None:
    """Parameters, defaults and pairs come out as StackStorm's parser gives them."""
    assert parameters_of(text, command) == [expected]


@pytest.mark.parametrize(
    "text, command",
    [
        ("go home", "go away"),
        ("say {{ text }}", "please say it"),
        ("say {{ text }} now", "say it now or never"),
        (r"^\s*fix (?P<key>[A-Z]+-\d+)", "do fix ABC-12"),
        ("one {{ a }}", "one"),
    ],
    ids=["other-word", "begins-elsewhere", "ends-elsewhere", "own-beginning", "value-missing"],
)
def test_a_format_is_anchored(text: str, command: str) -> None:
    """A format fits the whole command or not at all."""
    with pytest.raises(InvalidInputError, match="doesn't match format string"):
        parameters_of(text, command)


def test_a_format_may_match_several_times() -> None:
    """With match_multiple each occurrence gives its own parameters."""
    found = parameters_of(
        r"\b(?P<key>[A-Z]+-\d+)\b$|(?P<other>[A-Z]+-\d+)", "see AB-1 and CD-2", match_multiple=True
    )
    assert [next(value for value in item.values()) for item in found] == ["AB-1", "CD-2"]


def _alias(name: str, *formats: object, enabled: bool = True) -> ActionAlias:
    return ActionAlias(
        pack="p", name=name, action_ref="core.echo", formats=list(formats), enabled=enabled
    )


SAY = _alias(
    "say",
    "say {{ text }}",
    {"display": "shout it", "representation": ["shout {{ text }}", "cry {{ text }}"]},
)
MANY = _alias("many", {"display": "many", "representation": "say {{ x }}", "match_multiple": True})


def test_one_alias_is_found() -> None:
    """By any representation; one for several matches only where no other fits; a disabled one
    never.
    """
    assert matching("cry me a river", [SAY, MANY]).text == "cry {{ text }}"
    assert matching("say it", [MANY, SAY]).alias is SAY
    assert matching("say it", [MANY]).match_multiple is True
    with pytest.raises(InvalidInputError, match="matched no patterns"):
        matching("say it", [_alias("off", "say {{ text }}", enabled=False)])


def test_two_aliases_are_one_too_many() -> None:
    """StackStorm refuses to guess."""
    with pytest.raises(InvalidInputError, match="matched more than 1 pattern"):
        matching("say it", [SAY, _alias("again", "say {{ anything }}")])


def test_help_shows_what_is_displayed() -> None:
    """A format without a display has no line of help, a string is its own."""
    assert displays(_alias("x", "a {{ b }}", {"display": "c"}, {"representation": ["hidden"]})) == [
        "a {{ b }}",
        "c",
    ]


def test_a_broken_format_spoils_no_other() -> None:
    """A format that is no regular expression is named when used, and passed over when looking."""
    assert matching("say it", [_alias("broken", "say ({{ text }}"), SAY]).alias is SAY
    with pytest.raises(InvalidInputError, match="not a regular expression"):
        parameters_of("say ({{ text }}", "say it")


def test_a_very_long_command_is_refused() -> None:
    """The cost of an expression is bounded by the length of what it is held against."""
    with pytest.raises(InvalidInputError, match="longer than"):
        parameters_of("say {{ text }}", "say " + "x" * LONGEST_COMMAND_CHARACTERS)


@given(st.text(alphabet="ab=\"'{} \n", max_size=200))
def test_any_command_is_answered(command: str) -> None:
    """Whatever is typed gives parameters or a sentence."""
    try:
        found = parameters_of("a {{ x=1 }} {{ y }}", command)
    except InvalidInputError:
        return
    assert all({"x", "y"} <= values.keys() for values in found)
