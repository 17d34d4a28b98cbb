"""The rules of people: which events reach which of them, and what they hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from stormcell.content.models import Rule, RuleAction, RuleTrigger
from stormcell.expressions.lookups import StaticLookups
from stormcell.rules import RuleIndex, render_action_parameters

ROOT = Path(__file__).resolve().parents[3]
LOOKUPS = StaticLookups()
RULES = sorted(
    file
    for pattern in ("announce_*", "approval_*", "slack_*")
    for file in (ROOT / "rules").glob(f"{pattern}.yaml")
)


def rendered(rule: Rule, payload: dict[str, Any]) -> dict[str, Any]:
    """What the action is given."""
    file = ROOT / "actions" / f"{rule.action.ref.partition('.')[2]}.yaml"
    schemas = yaml.safe_load(file.read_text())["parameters"]
    context = {"pack": "kubestorm", "user": "stanley"}
    found: dict[str, Any] = render_action_parameters(
        rule, payload, schemas=schemas, action_context=context, lookups=LOOKUPS
    )
    return found


IDENTITY = {
    "cluster": "c",
    "group": "kubestorm.io",
    "version": "v1alpha1",
    "namespace": "shop",
    "name": "n",
    "uid": "u",
}


def load(file: Path) -> Rule:
    document = yaml.safe_load(file.read_text())
    trigger, action = document["trigger"], document["action"]
    return Rule(
        name=document["name"],
        pack=document["pack"],
        enabled=document["enabled"],
        criteria=document["criteria"],
        trigger=RuleTrigger(type=trigger["type"], parameters=trigger.get("parameters") or {}),
        action=RuleAction(ref=action["ref"], parameters=action.get("parameters") or {}),
    )


INDEX = RuleIndex([load(file) for file in RULES])


def reached(trigger: str, parameters: dict[str, Any], payload: dict[str, Any]) -> list[Rule]:
    return list(INDEX.match(trigger, parameters, payload, LOOKUPS).matched)


def event(plural: str, change: str, status: Any, *, outcomes: bool) -> list[str]:
    parameters: dict[str, Any] = {"group": "kubestorm.io", "version": "v1alpha1", "plural": plural}
    if outcomes:
        parameters["status"] = True
    obj = {"metadata": {"name": "n"}, **({"status": status} if status is not None else {})}
    payload = {**IDENTITY, "plural": plural, "change": change, "object": obj}
    return [rule.name for rule in reached("kubestorm.resource_event", parameters, payload)]


WAITING = {"conditions": [{"type": "Ready", "reason": "AwaitingApproval"}]}


@pytest.mark.parametrize(
    "plural,change,status,outcomes,rules",
    [
        ("rollouts", "status", {"phase": "Complete"}, True, ["announce_rollout"]),
        ("rollouts", "created", None, True, []),
        ("rollouts", "deleted", {"phase": "Complete"}, True, []),
        (
            "rollouts",
            "status",
            {"phase": "AwaitingApproval"},
            True,
            ["announce_rollout", "approval_ask_rollout"],
        ),
        ("rollouts", "resync", {"phase": "AwaitingApproval"}, False, ["approval_look_rollout"]),
        ("rollouts", "resync", {"phase": "Progressing"}, False, []),
        ("databases", "status", {"conditions": []}, True, ["announce_database"]),
        ("databases", "status", WAITING, True, ["announce_database", "approval_ask_database"]),
        ("databases", "resync", WAITING, False, ["approval_look_database"]),
        (
            "databases",
            "resync",
            {"conditions": [{"type": "Ready", "reason": "Creating"}]},
            False,
            [],
        ),
        ("databases", "resync", None, False, []),
        ("imagebuilds", "status", {"conditions": []}, True, ["announce_build"]),
        ("environments", "status", {"conditions": []}, True, ["announce_environment"]),
        ("applications", "updated", {"conditions": []}, True, ["announce_application"]),
    ],
)
def test_what_an_event_leads_to(
    plural: str, change: str, status: Any, outcomes: bool, rules: list[str]
) -> None:
    """Outcomes are told; what waits for people is asked; nothing else runs."""
    assert sorted(event(plural, change, status, outcomes=outcomes)) == rules


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_a_rule_is_on_and_hands_on_what_its_action_takes(file: Path) -> None:
    """Identity or what was said, never the object; parameters that the action has."""
    rule = load(file)
    assert rule.enabled
    pack, _, action = rule.action.ref.partition(".")
    known = yaml.safe_load((ROOT / "actions" / f"{action}.yaml").read_text())["parameters"]
    assert pack == "kubestorm"
    assert set(rule.action.parameters) <= set(known)
    required = {name for name, schema in known.items() if schema.get("required")}
    assert required <= set(rule.action.parameters)
    assert not any("object" in str(text) for text in rule.action.parameters.values())


SAID = {
    "id": "1",
    "at": "1700000000",
    "kind": "command",
    "team": "T",
    "user": "U1",
    "user_name": "",
    "channel": "C1",
    "channel_name": "shop",
    "text": "list databases",
    "thread": "",
    "message": "",
    "action": "",
    "value": "",
    "inputs": {},
    "reply": "",
    "proof": "p",
}


@pytest.mark.parametrize(
    "change,rules",
    [
        pytest.param({}, ["slack_command_run"], id="a command"),
        pytest.param({"kind": "mention"}, ["slack_command_run"], id="a mention"),
        pytest.param(
            {"kind": "action", "action": "approval_approve"},
            ["slack_click_approval"],
            id="our button",
        ),
        pytest.param({"kind": "action", "action": "other"}, [], id="another's button"),
    ],
)
def test_what_people_do_in_slack_reaches_one_rule(change: dict[str, str], rules: list[str]) -> None:
    """Each kind its own; the values arrive as they were said, so that the proof fits."""
    payload = {**SAID, **change, "inputs": {"approval_comment": 'it\'s "fine", ✔'}}
    found = reached("kubestorm.slack_command", {}, payload)
    assert [rule.name for rule in found] == rules
    for rule in found:
        given, said = rendered(rule, payload), ("user", "text", "at", "proof", "inputs")
        assert {key: given[key] for key in said if key in given} == {
            key: payload[key] for key in said if key in given
        }


def test_drift_is_told_without_braces() -> None:
    """What others wrote is rendered no second time."""
    payload = {"namespace": "shop", "name": "orders", "message": "It has {{ st2kv.system.key }}."}
    (rule,) = reached("kubestorm.drift_detected", {}, payload)
    assert rule.name == "announce_drift"
    given = rendered(rule, payload)
    assert given["sentence"] == "It has (( st2kv.system.key ))."
    assert given["subject"] == "drift/shop/orders"


def test_what_was_held_back_is_told_when_it_is_due() -> None:
    """The sensor says when."""
    (rule,) = reached(
        "kubestorm.announcements_due", {}, {"waiting": 3, "since": "2026-01-01T00:00:00Z"}
    )
    assert (rule.name, rule.action.ref) == ("announce_waiting", "kubestorm.announce")
