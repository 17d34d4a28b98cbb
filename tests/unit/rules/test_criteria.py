"""Criteria: StackStorm's answer on the same payload."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stormcell.content.models import Rule, RuleAction, RuleTrigger
from stormcell.expressions.lookups import StaticLookups
from stormcell.rules import RuleIndex, explain

NOW = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)
LOOKUPS = StaticLookups(system={"env": "prod", "limit": "5", "dotted.key": "deep"})
PAYLOAD: dict[str, Any] = {
    "name": "Web-1",
    "count": 3,
    "text": "3",
    "none": None,
    "zero": 0,
    "tags": ["a", "b"],
    "when": "2030-01-01T11:59:00",
    "k-v": "dash",
    "a.b": "dot",
    "deep": {"x": {"y": 1}, "list": [{"n": "first"}, {"n": "second"}]},
    "env": "prod",
    "label": "n-0",
    "items": [{"f": "Status", "v": "ok"}, {"f": "Size", "v": 5}],
}


def rule(criteria: dict[str, Any], **more: Any) -> Rule:
    fields: dict[str, Any] = {"name": "r", "trigger": RuleTrigger(type="p.t"), **more}
    return Rule(pack="p", action=RuleAction(ref="core.noop"), criteria=criteria, **fields)


def judge(criteria: dict[str, Any], payload: Any = None) -> bool:
    index = RuleIndex([rule(criteria)], clock=lambda: NOW)
    return bool(index.match("p.t", {}, PAYLOAD if payload is None else payload, LOOKUPS).matched)


OPERATORS = [
    ("matchwildcard", "name", "Web-*", True),
    ("matchwildcard", "name", "web-*", False),
    ("matchregex", "name", "Web", True),
    ("matchregex", "name", "eb", False),
    ("regex", "name", "eb", True),
    ("iregex", "name", "WEB", True),
    ("eq", "count", 3, True),
    ("eq", "text", 3, False),
    ("eq", "count", "3", False),
    ("equals", "none", None, False),
    ("EQUALS", "count", 3, True),
    ("neq", "none", None, False),
    ("neq", "missing", "x", True),
    ("nequals", "count", 3, False),
    ("ieq", "name", "wEB-1", True),
    ("iequals", "name", "other", False),
    ("contains", "name", "eb", True),
    ("contains", "tags", "a", True),
    ("icontains", "name", "EB", True),
    ("ncontains", "tags", "z", True),
    ("incontains", "name", "EB", False),
    ("startswith", "name", "Web", True),
    ("istartswith", "name", "WEB", True),
    ("endswith", "name", "-1", True),
    ("iendswith", "name", "B-1", True),
    ("lt", "count", 4, True),
    ("lessthan", "count", 3, False),
    ("gt", "count", 2, True),
    ("greaterthan", "zero", 0, False),
    ("td_lt", "when", 61, True),
    ("timediff_lt", "when", 60, False),
    ("td_gt", "when", 59, True),
    ("timediff_gt", "when", "59", True),
    ("exists", "zero", None, True),
    ("exists", "none", None, False),
    ("exists", "missing", None, False),
    ("nexists", "missing", None, True),
    ("nexists", "none", None, True),
    ("in", "name", ["Web-1", "Web-2"], True),
    ("inside", "name", "xWeb-1x", True),
    ("nin", "count", [1, 2], True),
    ("ninside", "count", [1, 2, 3], False),
]


@pytest.mark.parametrize("kind,key,pattern,expected", OPERATORS, ids=lambda value: str(value))
def test_operator(kind: str, key: str, pattern: Any, expected: bool) -> None:
    """Each operator, under both of its names, without coercion."""
    assert judge({f"trigger.{key}": {"type": kind, "pattern": pattern}}) is expected


def test_no_pattern_matches_nothing() -> None:
    """Without a pattern only neq, exists and nexists can hold."""
    kinds = [
        "eq",
        "regex",
        "contains",
        "lt",
        "in",
        "nin",
        "ncontains",
        "incontains",
        "td_lt",
        "matchwildcard",
    ]
    assert not any(judge({"trigger.name": {"type": kind}}) for kind in kinds)


KEYS = [
    ("trigger.deep.x.y", 1),
    ("trigger['k-v']", "dash"),
    ("trigger.k-v", "dash"),
    ("trigger['a.b']", "dot"),
    ('trigger["a.b"]', "dot"),
    ("trigger.deep.list[1].n", "second"),
    ("trigger.deep.list[*].n", "first"),
    ("trigger.deep.*.y", 1),
    ("trigger.deep['list'][0].n", "first"),
    ("trigger.name#2", "Web-1"),
    ("trigger", PAYLOAD),
]


@pytest.mark.parametrize("key,value", KEYS, ids=[key for key, _ in KEYS])
def test_key(key: str, value: Any) -> None:
    """A key is a JSON path whose first match is judged; a suffix after # is dropped."""
    assert judge({key: {"type": "eq", "pattern": value}})


def test_the_same_key_twice() -> None:
    """The suffix lets a rule test a range."""
    criteria = {
        "trigger.count#1": {"type": "gt", "pattern": 2},
        "trigger.count#2": {"type": "lt", "pattern": 3},
    }
    assert not judge(criteria)


PATTERNS = [
    ("trigger.env", "eq", "{{ st2kv.system.env }}", True),
    ("trigger.text", "eq", "{{ trigger.count }}", False),
    ("trigger.count", "eq", "{{ trigger.count }}", True),
    ("trigger.label", "eq", "n-{{ trigger.zero }}", True),
    ("trigger.env", "in", "{{ ['prod', 'test'] }}", True),
    ("trigger.env", "startswith", "{% if true %}pro{% endif %}", True),
    ("trigger.name", "eq", "Web-1\n", True),
]


@pytest.mark.parametrize(
    "key,kind,pattern,expected", PATTERNS, ids=[pattern for _, _, pattern, _ in PATTERNS]
)
def test_rendered_pattern(key: str, kind: str, pattern: str, expected: bool) -> None:
    """A pattern may read the datastore and the payload; a single variable keeps its type."""
    assert judge({key: {"type": kind, "pattern": pattern}}) is expected


def search(condition: Any, *criteria: tuple[str, str, Any]) -> dict[str, Any]:
    pattern = {f"item.{key}": {"type": kind, "pattern": wanted} for key, kind, wanted in criteria}
    return {"trigger.items": {"type": "search", "condition": condition, "pattern": pattern}}


SEARCHES = [
    ("any", [("f", "eq", "Status"), ("v", "eq", "ok")], True),
    ("any", [("f", "eq", "Status"), ("v", "eq", 5)], False),
    ("all", [("f", "startswith", "S")], True),
    ("all", [("f", "eq", "Status")], False),
    ("any2any", [("f", "eq", "None"), ("v", "eq", 5)], True),
    ("any2any", [("f", "eq", "None")], False),
    ("all2any", [("f", "eq", "Status"), ("v", "eq", 5)], True),
    ("all2any", [("f", "eq", "Status")], False),
    ("any", [("v", "gt", 4)], True),
    ("any", [("f", "eq", "{{ item.f }}")], True),
]


@pytest.mark.parametrize("condition,criteria,expected", SEARCHES, ids=str)
def test_search(condition: str, criteria: list[tuple[str, str, Any]], expected: bool) -> None:
    """Any or all items, any or all criteria; an item that cannot be judged does not match."""
    assert judge(search(condition, *criteria)) is expected


def test_search_takes_an_object_for_a_list_of_one() -> None:
    """As in StackStorm."""
    assert judge(search("all", ("f", "eq", "x")), {"items": {"f": "x"}})


UNJUDGED = {
    "comparison with text": {"trigger.name": {"type": "gt", "pattern": 3}},
    "comparison with nothing": {"trigger.missing": {"type": "lt", "pattern": 3}},
    "method of a number": {"trigger.count": {"type": "startswith", "pattern": "3"}},
    "bad regex": {"trigger.name": {"type": "regex", "pattern": "("}},
    "unknown operator": {"trigger.name": {"type": "like", "pattern": "x"}},
    "no operator": {"trigger.name": {"pattern": "x"}},
    "bad key": {"trigger.[": {"type": "eq", "pattern": "x"}},
    "undefined variable": {"trigger.name": {"type": "eq", "pattern": "{{ trigger.nobody }}"}},
    "search without condition": search(None, ("f", "eq", "x")),
    "not a date": {"trigger.name": {"type": "td_lt", "pattern": 3}},
    "index of nothing": {"trigger.none[0]": {"type": "eq", "pattern": 3}},
}


@pytest.mark.parametrize("criteria", UNJUDGED.values(), ids=UNJUDGED.keys())
def test_what_cannot_be_judged_is_a_failed_match_with_a_reason(criteria: dict[str, Any]) -> None:
    """The rule does not match, and the reason is there to be recorded."""
    result = RuleIndex([rule(criteria)]).match("p.t", {}, PAYLOAD, LOOKUPS)
    assert not result.matched
    (failure,) = result.failures
    assert 'Failed to match rule "p.r"' in failure.reason
    (attempt,) = result.attempts()
    assert [bool(one.reason) for one in attempt.results] == [True]


def test_what_cannot_be_judged_inside_a_search_is_recorded() -> None:
    """_check_criterion of st2reactor/rules/filter.py: the item does not match, and why is recorded
    unless another item does."""
    spec = search("any", ("f", "gt", 3))
    result = RuleIndex([rule(spec)]).match("p.t", {}, {"items": [{"f": "x"}]}, LOOKUPS)
    (failure,) = result.failures
    assert not result.matched
    assert "There might be a problem with the criterion" in failure.reason
    assert (
        RuleIndex([rule(spec)]).match("p.t", {}, {"items": [{"f": "x"}, {"f": 4}]}, LOOKUPS).matched
    )


def test_explain_shows_pattern_and_value() -> None:
    """`why` prints each criterion with what was compared, also after the first that failed."""
    criteria = {
        "trigger.count": {"type": "eq", "pattern": 4},
        "trigger.env": {"type": "eq", "pattern": "{{ st2kv.system.env }}"},
    }
    shown = [
        (one.key, one.pattern, one.value, one.passed)
        for one in explain(rule(criteria), PAYLOAD, LOOKUPS, now=NOW)
    ]
    assert shown == [("trigger.count", 4, 3, False), ("trigger.env", "prod", "prod", True)]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
)
JSON = (
    SCALARS
    | st.lists(SCALARS, max_size=2)
    | st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=2)
)
CRITERION = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["eq", "neq", "exists", "nexists", "gt", "in", "contains", "iequals"]
        ),
        "pattern": JSON,
    }
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["trigger.a", "trigger.b.c", "trigger.b"]), CRITERION),
        max_size=6,
    ),
    st.dictionaries(st.sampled_from(["a", "b"]), st.dictionaries(st.just("c"), JSON) | JSON),
)
def test_the_index_answers_as_trying_each_rule(
    criteria: list[dict[str, Any]], payload: dict[str, Any]
) -> None:
    """Whatever the rules and the payload: the same rules match, and the same failures are recorded,
    as one by one.
    """
    rules = [rule(each, name=f"r{number}") for number, each in enumerate(criteria)]
    together = RuleIndex(rules).match("p.t", {}, payload, LOOKUPS)
    alone = [RuleIndex([one]).match("p.t", {}, payload, LOOKUPS) for one in rules]
    assert [one.ref for one in together.matched] == [
        found.ref for one in alone for found in one.matched
    ]
    assert {one.rule.ref for one in together.failures} == {
        failed.rule.ref for one in alone for failed in one.failures
    }
    matched = [attempt.rule.ref for attempt in together.attempts() if attempt.matched]
    assert matched == [one.ref for one in together.matched]
