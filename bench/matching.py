"""Matching: events judged per CPU second, and what a thousand rules on one trigger cost beside ten.

The bar (design.md, section 8): with 1,000 rules at least 0.8 of the rate with 10. Each rule asks
for a kind, a namespace and a name; one event in ten rules' reach matches one rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from stormcell.content.models import Rule, RuleAction, RuleTrigger
from stormcell.expressions.lookups import StaticLookups
from stormcell.rules import RuleIndex

from bench.harness import Figure, at_least, cpu_seconds, interleaved, say

EVENTS = 20_000
RATIO_BAR = 0.8
TRIGGER = "kubestorm.resource_event"
PARAMETERS = {"group": "kubestorm.io", "version": "v1alpha1", "plural": "databases"}


def _rule(number: int) -> Rule:
    return Rule(
        pack="bench",
        name=f"rule_{number}",
        trigger=RuleTrigger(type=TRIGGER, parameters=PARAMETERS),
        action=RuleAction(ref="core.noop"),
        criteria={
            "trigger.kind": {"type": "equals", "pattern": "Database"},
            "trigger.namespace": {"type": "equals", "pattern": f"team-{number}"},
            "trigger.name": {"type": "regex", "pattern": "^orders-"},
        },
    )


def _events() -> list[dict[str, Any]]:
    return [
        {
            "change": "updated",
            "kind": "Database",
            "namespace": f"team-{number % 10}",
            "name": f"orders-{number}",
        }
        for number in range(EVENTS)
    ]


def _work(rules: int, events: list[dict[str, Any]]) -> Callable[[], None]:
    index = RuleIndex([_rule(number) for number in range(rules)])
    lookups = StaticLookups()

    def work() -> None:
        matched = sum(
            len(index.match(TRIGGER, PARAMETERS, event, lookups).matched) for event in events
        )
        if matched != len(events):
            raise AssertionError(
                f"{matched} matches for {len(events)} events: the measurement is wrong"
            )

    return work


def _bare(events: list[dict[str, Any]]) -> Callable[[], None]:
    """The same three tests for one rule, written by hand, tried by namespace."""
    names = {f"team-{number}": re.compile("^orders-") for number in range(1000)}

    def work() -> None:
        for event in events:
            pattern = names.get(event["namespace"])
            if event["kind"] == "Database" and pattern is not None and pattern.match(event["name"]):
                continue

    return work


def measure() -> list[Figure]:
    events = _events()
    works = {"ten": _work(10, events), "thousand": _work(1000, events), "bare": _bare(events)}
    spent = interleaved(works)
    rate = {name: len(events) / seconds for name, seconds in spent.items()}
    compiling = cpu_seconds(lambda: RuleIndex([_rule(number) for number in range(1000)]))
    return [
        Figure("10 rules", rate["ten"], "events per CPU second"),
        Figure("1,000 rules", rate["thousand"], "events per CPU second"),
        at_least("ratio of 1,000 rules to 10", rate["thousand"] / rate["ten"], "", RATIO_BAR),
        Figure("ratio to the same tests written by hand", rate["thousand"] / rate["bare"], ""),
        Figure("compile 1,000 rules", compiling * 1000, "ms CPU"),
    ]


if __name__ == "__main__":
    say(measure)
