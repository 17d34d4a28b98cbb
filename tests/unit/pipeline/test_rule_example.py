"""The rule that docs/delivery.md shows, for those who want to be told of failed deliveries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from stormcell.content.models import Rule, RuleAction, RuleTrigger
from stormcell.expressions.lookups import StaticLookups
from stormcell.rules import RuleIndex, criterion_problems, render_action_parameters

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"```yaml\n(name: tell_failed_deliveries\n.*?)```", re.DOTALL)
LOOKUPS = StaticLookups()


def shown() -> Rule:
    found = BLOCK.search((ROOT / "docs" / "delivery.md").read_text())
    assert found is not None
    document: dict[str, Any] = yaml.safe_load(found.group(1))
    trigger, action = (
        RuleTrigger(type=document["trigger"]["type"]),
        RuleAction(**document["action"]),
    )
    fields = {key: document[key] for key in ("name", "pack", "enabled", "criteria")}
    return Rule(trigger=trigger, action=action, **fields)


def ended(outcome: str) -> dict[str, Any]:
    """What the trigger says, with each field that it has."""
    trigger = yaml.safe_load((ROOT / "triggers" / "pipeline_stage_ended.yaml").read_text())
    payload = dict.fromkeys(trigger["payload_schema"]["properties"], "")
    told = {
        "namespace": "shop",
        "name": "site",
        "run_id": "r1",
        "stage": "test",
        "message": "It printed {{ user }}.",
    }
    assert set(told) <= set(payload)
    return {**payload, **told, "outcome": outcome}


def test_it_tells_of_what_failed_and_of_nothing_else() -> None:
    """In words that announcement_tell takes; what others wrote is not rendered."""
    rule = shown()
    assert [list(criterion_problems(key, spec)) for key, spec in rule.criteria.items()] == [[]]
    index = RuleIndex([rule])
    trigger = "kubestorm.pipeline_stage_ended"
    assert not index.match(trigger, {}, ended("succeeded"), LOOKUPS).matched
    assert index.match(trigger, {}, ended("failed"), LOOKUPS).matched
    schemas = yaml.safe_load((ROOT / "actions" / "announcement_tell.yaml").read_text())[
        "parameters"
    ]
    assert set(rule.action.parameters) <= set(schemas)
    context = {"pack": "shop", "user": "stanley"}
    given = render_action_parameters(
        rule, ended("failed"), schemas=schemas, action_context=context, lookups=LOOKUPS
    )
    assert given == {
        "namespace": "shop",
        "sentence": "The delivery of site failed at test: It printed {{ user }}.",
        "tone": "bad",
        "subject": "delivery/r1",
    }
