"""Jinja as StackStorm's authors know it."""

from __future__ import annotations

from typing import Any

import pytest
from stormcell.expressions.datastore import datastore_context
from stormcell.expressions.errors import ExpressionError
from stormcell.expressions.jinja import is_expression, render, render_values
from stormcell.expressions.lookups import StaticLookups

LOOKUPS = StaticLookups(
    system={"plain": "text", "dotted.name": "deep", "token": "c1ph3r", "number": 5},
    users={"ann": {"city": "Ulm"}},
    secrets={"token": "s3cret"},
)

FILTERS = {
    "to_json_string": ("{{ {'a': [1, 2]} | to_json_string }}", '{"a": [1,2]}'),
    "from_json_string": ("{{ ('{\"a\": 7}' | from_json_string).a }}", "7"),
    "to_yaml_string": ("{{ {'a': 1} | to_yaml_string }}", "a: 1\n"),
    "from_yaml_string": ("{{ ('a: [1, 2]' | from_yaml_string).a[1] }}", "2"),
    "json_escape": ("{{ 'say \"hi\"' | json_escape }}", 'say \\"hi\\"'),
    "jsonpath_query": ("{{ {'a': [{'b': 1}, {'b': 2}]} | jsonpath_query('a[*].b') }}", "[1, 2]"),
    "jsonpath_query finds nothing": ("{{ {'a': 1} | jsonpath_query('b') }}", "None"),
    "to_complex": ("{{ {'a': none} | to_complex }}", '{"a": null}'),
    "use_none": ("{{ none | use_none }}", "%*****__%NONE%__*****%"),
    "use_none keeps the rest": ("{{ 0 | use_none }}", "0"),
    "regex_match anchors at the start": ("{{ 'xabc' | regex_match('abc') }}", "False"),
    "regex_search": ("{{ 'xabc' | regex_search('abc') }}", "True"),
    "regex_search ignorecase": ("{{ 'xABC' | regex_search('abc', true) }}", "True"),
    "regex_replace": ("{{ 'a-b-c' | regex_replace('-', '.') }}", "a.b.c"),
    "regex_substring": ("{{ 'v10 v20' | regex_substring('[0-9]+', 1) }}", "20"),
    "to_human_time seconds": ("{{ 12 | to_human_time_from_seconds }}", "12s"),
    "to_human_time hours": ("{{ 3661 | to_human_time_from_seconds }}", "1h1m1s"),
    "to_human_time days": ("{{ 86400 | to_human_time_from_seconds }}", "1d0h0m0s"),
    "version_compare": ("{{ '1.2.3' | version_compare('1.2.4') }}", "-1"),
    "version_more_than": ("{{ '1.2.3' | version_more_than('1.2.2') }}", "True"),
    "version_less_than": ("{{ '1.2.3' | version_less_than('1.2.2') }}", "False"),
    "version_equal": ("{{ '1.2.3' | version_equal('1.2.3') }}", "True"),
    "version_match": ("{{ '1.2.3' | version_match('>=1.0.0') }}", "True"),
    "version_bump_major": ("{{ '1.2.3' | version_bump_major }}", "2.0.0"),
    "version_bump_minor": ("{{ '1.2.3' | version_bump_minor }}", "1.3.0"),
    "version_bump_patch": ("{{ '1.2.3' | version_bump_patch }}", "1.2.4"),
    "version_strip_patch": ("{{ '1.2.3' | version_strip_patch }}", "1.2"),
    "basename": ("{{ '/a/b.txt' | basename }}", "b.txt"),
    "dirname": ("{{ '/a/b.txt' | dirname }}", "/a"),
    "test in": ("{{ 1 is in [1, 2] }}", "True"),
}


@pytest.mark.parametrize("template,expected", FILTERS.values(), ids=FILTERS.keys())
def test_filter(template: str, expected: str) -> None:
    """Each of StackStorm's filters answers as its documentation says."""
    assert render(template, {}) == expected


def test_datastore_is_read_by_name() -> None:
    """A dotted key is one key, an absent one is empty text, and a user's scope is the user's."""
    context = {"st2kv": datastore_context(LOOKUPS, "ann")}
    template = (
        "{{ st2kv.system.plain }} {{ st2kv.system.dotted.name }} [{{ st2kv.system.none }}] {{ "
        "st2kv.user.city }}"
    )
    assert render(template, context) == "text deep [] Ulm"


NUMBERS = {
    "int": ("{{ st2kv.system.hunt_count | int }}", "7"),
    "int of a dotted key": ("{{ st2kv.system.hunt.count | int }}", "8"),
    "int cuts off": ("{{ st2kv.system.share | int }}", "2"),
    "float": ("{{ st2kv.system.hunt_count | float }}", "7.0"),
    "float with a fraction": ("{{ st2kv.system.share | float + 1 }}", "3.75"),
    "int goes by float": ("{{ st2kv.system.big | int }}", "9007199254740992"),
    "no number": ("{{ st2kv.system.word | int }} {{ st2kv.system.word | float(9) }}", "0 9"),
    "an absent key": ("{{ st2kv.system.absent | int(3) }}", "3"),
    "a user's key": ("{{ st2kv.user.count | int }} {{ st2kv.user.count | float }}", "0 0.0"),
    "a user's key as text": ("{{ st2kv.user.count | string | int }}", "5"),
}


@pytest.mark.parametrize("template, expected", NUMBERS.values(), ids=NUMBERS)
def test_a_key_of_the_system_can_be_a_number(template: str, expected: str) -> None:
    """As StackStorm's lookups are read by Jinja's filters: those of users have no number."""
    numbers = {"hunt_count": "7", "hunt.count": "8", "share": "2.75", "word": "x"}
    lookups = StaticLookups(
        system={**numbers, "big": "9007199254740993"}, users={"ann": {"count": "5"}}
    )
    assert render(template, {"st2kv": datastore_context(lookups, "ann")}) == expected


def test_names_of_methods_are_keys_too() -> None:
    """A key may be called like something Python objects have."""
    lookups = StaticLookups(system={"items": "a", "_private": "b", "__class__": "c"})
    template = "{{ st2kv.system.items }}{{ st2kv.system._private }}{{ st2kv.system.__class__ }}"
    assert render(template, {"st2kv": datastore_context(lookups)}) == "abc"


def test_decrypt_kv_reads_the_plain_text() -> None:
    """The filter names a key and gets what was encrypted."""
    context = {"st2kv": datastore_context(LOOKUPS)}
    assert render("{{ st2kv.system.token | decrypt_kv }}", context) == "s3cret"
    with pytest.raises(ExpressionError, match=r"st2kv\.system\.absent"):
        render("{{ st2kv.system.absent | decrypt_kv }}", context)
    with pytest.raises(ExpressionError, match="needs a datastore key"):
        render("{{ 'abc' | decrypt_kv }}", context)


@pytest.mark.parametrize(
    "template,kind",
    [
        ("{{ nothing }}", "UndefinedError"),
        ("{{ 1 + }}", "TemplateSyntaxError"),
        ("{{ ''.__class__.mro() }}", "SecurityError"),
    ],
    ids=["undefined", "syntax", "sandbox"],
)
def test_errors_name_the_expression(template: str, kind: str) -> None:
    """Undefined names, bad syntax and ways out of the sandbox are one error that quotes the
    expression.
    """
    with pytest.raises(ExpressionError) as caught:
        render(template, {})
    assert (caught.value.kind, caught.value.expression) == (kind, template)
    assert template in str(caught.value)


VALUES: dict[str, tuple[Any, Any]] = {
    "number stays": (3, 3),
    "boolean stays": (True, True),
    "none stays": (None, None),
    "plain text stays, with its last newline": ("line\n", "line\n"),
    "an expression becomes text": ("{{ n }}", "5"),
    "a list is rendered inside": (["{{ n }}", 2], ["5", 2]),
    "an object is rendered inside": ({"k": {"{{ s }}": "{{ s }}"}}, {"k": {"x": "x"}}),
    "a plain object stays": ({"a": [1, None]}, {"a": [1, None]}),
    "the whole context": ("{{ __context.n }}", "5"),
}


@pytest.mark.parametrize("value,expected", VALUES.values(), ids=VALUES.keys())
def test_render_values(value: Any, expected: Any) -> None:
    """A value without expressions keeps its type; one with becomes text."""
    assert render_values({"p": value}, {"n": 5, "s": "x"}) == {"p": expected}


def test_render_values_says_which_key_failed() -> None:
    """The error names the key, and how to write text with quotes inside an object."""
    with pytest.raises(ExpressionError, match=r'"here".*json_escape'):
        render_values({"here": ["{{ s }}"]}, {"s": 'a "quote"'})
    assert render_values({"here": ["{{ s | json_escape }}"]}, {"s": 'a "quote"'}) == {
        "here": ['a "quote"']
    }


def test_without_a_context_nothing_is_rendered() -> None:
    """As in StackStorm, an empty context leaves a mapping as it is."""
    assert render_values({"a": "{{ b }}"}, {}) == {"a": "{{ b }}"}


@pytest.mark.parametrize(
    "value,expected",
    [("{{ a }}", True), ("{% if a %}", True), ("a", False), (5, False), ("", False)],
)
def test_is_expression(value: Any, expected: bool) -> None:
    """A marker makes text an expression."""
    assert is_expression(value) is expected
