"""Matching: events judged per CPU second, and what a thousand rules on one trigger cost beside ten.

The bar (design.md, section 8): with 1,000 rules at least 0.8 of the rate with 10. Each rule asks for a kind, a
namespace and a name; one event in ten rules' reach matches one rule. Run: `python -m bench.matching`.
"""

from __future__ import annotations

import os
import time
from typing import Any

from stormcell.content.models import Rule, RuleAction, RuleTrigger
from stormcell.expressions.lookups import StaticLookups
from stormcell.rules import RuleIndex

EVENTS = int(os.environ.get("BENCH_EVENTS", "100000"))
ROUNDS = 3
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
        {"change": "updated", "kind": "Database", "namespace": f"team-{number % 10}", "name": f"orders-{number}"}
        for number in range(EVENTS)
    ]


def _rate(rules: int, events: list[dict[str, Any]]) -> float:
    index = RuleIndex([_rule(number) for number in range(rules)])
    lookups = StaticLookups()
    spent = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        matched = sum(len(index.match(TRIGGER, PARAMETERS, event, lookups).matched) for event in events)
        spent.append(time.process_time() - begin)
        if matched != len(events):
            raise AssertionError(f"{matched} matches for {len(events)} events: the measurement is wrong")
    return len(events) / min(spent)


def measure() -> dict[str, float]:
    """Events per CPU second with 10 and with 1,000 rules, their ratio, and the time to compile 1,000 rules."""
    events = _events()
    few, many = _rate(10, events), _rate(1000, events)
    begin = time.process_time()
    RuleIndex([_rule(number) for number in range(1000)])
    return {
        "matching: 10 rules, events per CPU second": few,
        "matching: 1,000 rules, events per CPU second": many,
        "matching: ratio of 1,000 rules to 10": many / few,
        "matching: compile 1,000 rules, ms": (time.process_time() - begin) * 1000,
    }


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:60} {value:12,.2f}")
    print(f"bar: a ratio of at least {RATIO_BAR}")
