"""Which rules a trigger instance reaches."""

from __future__ import annotations

from typing import Any

from stormcell.content.models import Rule, RuleAction, RuleTrigger
from stormcell.expressions.lookups import StaticLookups
from stormcell.rules import RuleIndex, criterion_problems, render_action_parameters

LOOKUPS = StaticLookups(system={"room": "ops"}, configs={"chat": {"token_file": "t"}})


def rule(name: str, criteria: dict[str, Any] | None = None, **more: Any) -> Rule:
    fields: dict[str, Any] = {
        "pack": "p",
        "trigger": RuleTrigger(type="p.t"),
        "action": RuleAction(ref="core.noop"),
        **more,
    }
    return Rule(name=name, criteria=criteria or {}, **fields)


def matched(
    rules: list[Rule], payload: Any, trigger: str = "p.t", parameters: dict[str, Any] | None = None
) -> list[str]:
    return [
        one.name
        for one in RuleIndex(rules).match(trigger, parameters or {}, payload, LOOKUPS).matched
    ]


def equal(key: str, value: Any) -> dict[str, Any]:
    return {key: {"type": "eq", "pattern": value}}


def test_only_rules_of_the_trigger_with_its_parameters_match() -> None:
    """A trigger is a type with parameters, in whatever order they are written."""
    hook = RuleTrigger(type="core.st2.webhook", parameters={"url": "a", "x": 1})
    rules = [rule("plain"), rule("hook", trigger=hook)]
    assert matched(rules, {"a": 1}) == ["plain"]
    assert matched(rules, {}, "core.st2.webhook", {"x": 1, "url": "a"}) == ["hook"]
    assert matched(rules, {}, "core.st2.webhook", {"url": "b"}) == []
    assert matched(rules, {}, "core.st2.webhook") == []


def test_disabled_rules_never_match() -> None:
    """And the explanation says that they are disabled."""
    result = RuleIndex([rule("off", enabled=False)]).match("p.t", {}, {"a": 1}, LOOKUPS)
    assert not result.matched
    assert [attempt.reason for attempt in result.attempts()] == ["The rule is disabled."]


def test_backstop_rules_match_only_where_no_standard_rule_did() -> None:
    """Their criteria count as well."""
    rules = [
        rule("catch", type="backstop"),
        rule("picky", equal("trigger.a", 9), type="backstop"),
        rule("one", equal("trigger.a", 1)),
    ]
    assert matched(rules, {"a": 1}) == ["one"]
    assert matched(rules, {"a": 2}) == ["catch"]
    assert matched(rules, {"a": 9}) == ["catch", "picky"]


def test_an_empty_payload_meets_no_criteria() -> None:
    """A rule without criteria matches an empty payload, one with criteria does not."""
    rules = [rule("any"), rule("absent", {"trigger.a": {"type": "nexists", "pattern": None}})]
    assert matched(rules, {}) == ["any"]
    assert matched(rules, {"b": 1}) == ["any", "absent"]


def test_order_is_kept_and_equal_numbers_are_equal() -> None:
    """Rules match in the order given, and 1, 1.0 and true are equal as Python has it."""
    rules = [
        rule(str(number), equal("trigger.a", value))
        for number, value in enumerate([1, "1", 1.0, True, 2])
    ]
    rules.insert(2, rule("all"))
    assert matched(rules, {"a": 1}) == ["0", "all", "2", "3"]
    assert matched(rules, {"a": [1]}) == ["all"]


def test_an_error_before_the_equality_is_still_recorded() -> None:
    """An index must not hide what StackStorm records: the criteria before an equality are judged
    first.
    """
    criteria = {"trigger.a": {"type": "gt", "pattern": 1}, **equal("trigger.b", "x")}
    result = RuleIndex([rule("r", criteria)]).match("p.t", {}, {"a": "text", "b": "y"}, LOOKUPS)
    assert [failure.rule.name for failure in result.failures] == ["r"]


def test_parameters_of_the_action_are_rendered() -> None:
    """With the payload as `trigger`, the datastore and the pack's configuration, cast by the
    action's schemas.
    """
    one = rule(
        "r",
        action=RuleAction(
            ref="chat.post",
            parameters={
                "count": "{{ trigger.n }}",
                "room": "{{ st2kv.system.room }}",
                "body": "{{ trigger.body }}",
                "extra": {"kept": "{{trigger}}", "file": "{{ config_context.token_file }}"},
            },
        ),
    )
    schemas = {
        "count": {"type": "integer"},
        "body": {"type": "object"},
        "extra": {"type": "object"},
    }
    payload = {"n": 3, "body": {"a": [None, True]}}
    got = render_action_parameters(
        one,
        payload,
        schemas=schemas,
        action_context={"pack": "chat", "user": "ann"},
        lookups=LOOKUPS,
    )
    assert got == {
        "count": 3,
        "room": "ops",
        "body": payload["body"],
        "extra": {"kept": payload, "file": "t"},
    }


def test_a_good_rule_has_no_problems() -> None:
    """Nothing is said about what is right."""
    criteria = {
        "trigger.a#1": {"type": "regex", "pattern": "^a+$"},
        "trigger.b[*].c": {
            "type": "search",
            "condition": "any",
            "pattern": {"item.x": {"type": "eq", "pattern": 1}},
        },
        "trigger['k-v']": {"type": "eq", "pattern": "{{ st2kv.system.x }}"},
    }
    assert [list(criterion_problems(key, spec)) for key, spec in criteria.items()] == [[], [], []]
