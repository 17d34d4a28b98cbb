"""No expression, regular expression or criterion takes more time or memory than it may."""

from __future__ import annotations

import re
import resource
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stormcell.content.models import Rule, RuleAction, RuleTrigger
from stormcell.content.schemas import CompiledSchema
from stormcell.errors import InvalidInputError
from stormcell.expressions import budget
from stormcell.expressions.errors import ExpressionError
from stormcell.expressions.jinja import render
from stormcell.expressions.lookups import StaticLookups
from stormcell.orquesta.expressions import evaluate
from stormcell.orquesta.scope import Scope, Variables
from stormcell.rules import RuleIndex

BACKTRACKS, TEXT = "^(a+)+$", "a" * 27 + "!"
TIME, MEMORY, SIZE = "of processor time", "memory", "million characters"


@pytest.fixture(autouse=True)
def ticking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a running engine, with a tenth of the time so that the tests are quick."""
    monkeypatch.setattr(budget, "EXPRESSION_SECONDS", 0.2)
    with budget.ticking():
        yield
    assert budget._active == []


def of_workflow(statement: str) -> Callable[[], Any]:
    scope = Scope(Variables([{"long": "x" * 1_000_000}]), StaticLookups())
    return lambda: evaluate(statement, scope)


def of_template(template: str) -> Callable[[], Any]:
    return lambda: render(template, {"text": TEXT})


ENDLESS = {
    "YAQL loop": (of_workflow('<% range(900000).select(str($) + "-").join("") %>'), TIME),
    "YAQL regex": (of_workflow(f'<% "{TEXT}" =~ "{BACKTRACKS}" %>'), TIME),
    "YAQL memory": (of_workflow("<% 'a' * 200000000 %>"), MEMORY),
    "YAQL references": (of_workflow("<% range(100).select(ctx().long) %>"), SIZE),
    "Jinja loop": (
        of_template("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"),
        TIME,
    ),
    "Jinja regex": (of_template("{{ text | regex_match('" + BACKTRACKS + "') }}"), TIME),
    "Jinja power": (of_template("{{ 10 ** 100000000 > 1 }}"), TIME),
    "Jinja memory": (of_template("{{ 'a' * 200000000 }}"), MEMORY),
    "Jinja width": (of_template("{{ 'a'.ljust(2000000000) }}"), MEMORY),
    "Jinja size": (of_template("{{ 'a' * 20000000 }}"), SIZE),
    "workflow's Jinja": (of_workflow("{{ 'a' * 200000000 }}"), MEMORY),
    "workflow's Jinja block": (of_workflow("{% if 'a' * 200000000 %}x{% endif %}"), MEMORY),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_expression_ends_and_is_named(name: str) -> None:
    """The error says what was too much, and of which expression."""
    act, reason = ENDLESS[name]
    with pytest.raises(ExpressionError, match=reason) as caught:
        act()
    assert caught.value.expression[:10] in str(caught.value)


def test_what_is_within_the_budget_is_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops, regular expressions and large texts that people really write."""
    monkeypatch.setattr(budget, "EXPRESSION_SECONDS", 60.0)  # the first YAQL builds its parser
    assert render("{% for a in range(3) %}{{ a }}{% endfor %}", {"x": 1}) == "012"
    assert evaluate("<% range(1000).select($ * 2).sum() %>", Scope(Variables([]), StaticLookups()))
    assert len(render("{{ 'ab' * 1000000 }}", {"x": 1})) == 2_000_000


def _rule(name: str, **criteria: Any) -> Rule:
    return Rule(
        pack="p",
        name=name,
        trigger=RuleTrigger(type="p.t"),
        action=RuleAction(ref="core.noop"),
        criteria={"trigger.text": criteria},
    )


@pytest.mark.parametrize("operator", ["regex", "iregex", "matchregex"])
def test_a_criterion_that_takes_too_long_fails_its_rule_alone(operator: str) -> None:
    """The other rules match as ever, before it and behind it."""
    rules = [
        _rule("before", type="startswith", pattern="a"),
        _rule("slow", type=operator, pattern=BACKTRACKS),
        _rule("behind", type="regex", pattern="a+"),
    ]
    result = RuleIndex(rules).match("p.t", {}, {"text": TEXT}, StaticLookups())
    assert [rule.name for rule in result.matched] == ["before", "behind"]
    assert [failure.rule.name for failure in result.failures] == ["slow"]
    assert f"trigger.text ({operator})" in result.failures[0].reason
    assert TIME in result.failures[0].reason
    assert [attempt.results[0].passed for attempt in result.attempts()] == [True, False, True]


def test_a_pattern_of_a_schema_has_a_budget() -> None:
    """A payload or parameters that it would take ages to judge do not fit."""
    schema = CompiledSchema({"type": "object", "properties": {"a": {"pattern": BACKTRACKS}}})
    assert schema.problems({"a": "aaa"}) == []
    assert TIME in schema.problems({"a": TEXT})[0]


def test_time_of_an_inner_evaluation_counts_for_the_outer_one() -> None:
    """A step of a workflow is bounded although each of its expressions is within its own limit."""

    def step() -> None:
        with budget.Scope(0.1):
            for _ in range(100_000):
                with budget.Scope(5):
                    re.match(BACKTRACKS, "a" * 14 + "!")

    with pytest.raises(budget.OverBudgetError, match=r"more than 0\.1 s"):
        step()


def test_a_scope_that_is_left_by_an_error_is_left() -> None:
    """Nothing is interrupted after it."""
    with pytest.raises(InvalidInputError), budget.Scope(0.1):
        raise InvalidInputError("no")
    assert budget._active == []


def test_a_tick_right_after_the_memory_is_limited_leaves_no_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit would stay for the whole engine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    real, calls = resource.setrlimit, []

    def limited(what: int, limits: tuple[int, int]) -> None:
        real(what, limits)
        calls.append(limits)
        if len(calls) == 1:
            for _ in range(3):
                signal.raise_signal(signal.SIGPROF)

    monkeypatch.setattr(resource, "setrlimit", limited)
    with pytest.raises(budget.OverBudgetError, match=TIME), budget.Scope(0.05):
        render("{{ 'a' * 3 }}", {})
    assert len(calls) == 2
    assert resource.getrlimit(resource.RLIMIT_AS) == before
