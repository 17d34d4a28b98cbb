"""The rules of people: which events reach which of them, and what they hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from kubestorm.people.notifications.outbox import Message
from kubestorm.people.notifications.posting import payloads
from stormcell.content.models import Rule, RuleAction, RuleTrigger
from stormcell.expressions.lookups import StaticLookups
from stormcell.rules import RuleIndex, render_action_parameters

ROOT = Path(__file__).resolve().parents[3]
LOOKUPS = StaticLookups()
RULES = sorted(
    file
    for pattern in ("news_*", "approval_*", "slack_*")
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


def test_an_object_that_waits_for_people_is_asked_about_by_one_rule() -> None:
    """Whatever its kind; the action gets its identity."""
    payload = {**IDENTITY, "plural": "rollouts", "reason": "asked"}
    (rule,) = reached("kubestorm.approval_wanted", {}, payload)
    assert (rule.name, rule.action.ref) == ("approval_ask", "kubestorm.approval_ask")
    assert rendered(rule, payload) == {**IDENTITY, "plural": "rollouts"}


MESSAGE = Message(
    "#shop",
    'It\'s "fine": {{ st2kv.system.key }} ✔',
    facts=(("digest", "sha256:1"),),
    lines=("None", "[1, 2]"),
    subject="rollouts/shop/cart/u",
    state="Complete",
)


def test_news_for_slack_is_posted_by_one_action() -> None:
    """The messages arrive as they were decided; what others wrote is not rendered."""
    (payload,) = payloads([MESSAGE, MESSAGE], "slack", "")
    (rule,) = reached("kubestorm.news", {}, payload)
    assert rule.action.ref == "kubestorm.announcement_tell"
    given = rendered(rule, payload)
    assert [Message.from_payload(one) for one in given["messages"]] == [MESSAGE, MESSAGE]


def test_news_for_a_bot_is_one_execution_of_the_announcement_runner() -> None:
    """Without braces that whoever posts it might render."""
    (payload,) = payloads([MESSAGE], "chatops", "errbot")
    (rule,) = reached("kubestorm.news", {}, payload)
    assert rule.action.ref == "kubestorm.announcement_post"
    given = rendered(rule, payload)
    assert (given["route"], given["channel"]) == ("errbot", "#shop")
    assert given["message"].startswith('▸ It\'s "fine"')
    assert "{{" not in given["message"]


@pytest.mark.parametrize("name", ["news", "approval_wanted"])
def test_what_is_dispatched_fits_its_trigger_type(name: str) -> None:
    """StackStorm drops a payload that does not."""
    schema = yaml.safe_load((ROOT / "triggers" / f"{name}.yaml").read_text())["payload_schema"]
    found = {
        "news": [
            *payloads([MESSAGE], "slack", ""),
            *payloads([MESSAGE], "chatops", "chatops"),
        ],
        "approval_wanted": [{**IDENTITY, "plural": "rollouts", "reason": "due"}],
    }
    for payload in found[name]:
        assert set(payload) <= set(schema["properties"])
        required = {key for key, one in schema["properties"].items() if one.get("required")}
        assert required <= set(payload)
    if name == "news":
        assert set(MESSAGE.to_payload()) == set(
            schema["properties"]["messages"]["items"]["properties"]
        )


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
