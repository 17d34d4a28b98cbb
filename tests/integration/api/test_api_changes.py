"""Content that is changed through the API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.engine.serving import Served

RULE = {
    "name": "by_hand",
    "pack": "engine_demo",
    "enabled": True,
    "trigger": {"type": "engine_demo.happened"},
    "criteria": {"trigger.name": {"type": "eq", "pattern": "Hand"}},
    "action": {"ref": "core.noop", "parameters": {}},
}


def _led_to(served: Served, name: str) -> list[str]:
    body = {"trigger": "engine_demo.happened", "payload": {"name": name, "number": 1}}
    instance_id = served.http.post("/v1/webhooks/st2", json=body).headers["X-Trigger-Instance-Id"]
    return [
        item["rule"]["ref"]
        for item in served.get("/v1/ruleenforcements", trigger_instance=instance_id)
    ]


def test_a_rule_made_by_hand_matches_until_it_is_deleted(served: Served) -> None:
    """POST makes it, a second POST is 409, PUT changes it, DELETE removes it."""
    assert _led_to(served, "Hand") == []
    made = served.http.post("/v1/rules", json=RULE)
    assert made.status_code == 201, made.text
    assert served.http.post("/v1/rules", json=RULE).status_code == 409
    assert _led_to(served, "Hand") == ["engine_demo.by_hand"]
    changed = {**made.json(), "criteria": {"trigger.name": {"type": "eq", "pattern": "Foot"}}}
    assert served.http.put(f"/v1/rules/{made.json()['id']}", json=changed).status_code == 200
    assert (_led_to(served, "Hand"), _led_to(served, "Foot")) == ([], ["engine_demo.by_hand"])
    assert served.http.delete("/v1/rules/engine_demo.by_hand").status_code == 204
    assert _led_to(served, "Foot") == []


def test_a_wrong_rule_is_refused_with_its_field(served: Served) -> None:
    """400, and the field in the sentence."""
    wrong = {**RULE, "criteria": {"trigger.name": {"type": "equalz", "pattern": "x"}}}
    response = served.http.post("/v1/rules", json=wrong)
    assert response.status_code == 400
    assert "equalz" in response.json()["faultstring"]


@pytest.mark.parametrize(
    "trigger, said",
    [
        ({"type": "engine_demo.hapened"}, "engine_demo.happened"),
        ({"type": "core.st2.webhook"}, "url"),
        ({"type": "core.st2.CronTimer"}, 'missing required "parameters" attribute.'),
        (
            {"type": "core.st2.IntervalTimer", "parameters": {"unit": "fortnights", "delta": 1}},
            "unit",
        ),
        ({"type": "core.st2.CronTimer", "parameters": {"hour": "99"}}, "cannot be scheduled"),
    ],
    ids=["unknown type", "missing parameter", "no parameters", "wrong parameter", "no such hour"],
)
def test_a_rule_for_what_cannot_happen_is_refused(
    served: Served, trigger: dict[str, Any], said: str
) -> None:
    """400 that names what is wrong, and there is no such rule afterwards."""
    refused = served.http.post("/v1/rules", json={**RULE, "trigger": trigger})
    assert (refused.status_code, said in refused.json()["faultstring"]) == (400, True), refused.text
    assert served.http.get("/v1/rules/engine_demo.by_hand").status_code == 404


def test_timers_are_listed_while_rules_ask_for_them(served: Served) -> None:
    """By type, with their parameters; a type that is none is a 400."""
    parameters = {"unit": "hours", "delta": 2}
    timer = {
        **RULE,
        "name": "hourly",
        "trigger": {"type": "core.st2.IntervalTimer", "parameters": parameters},
    }
    made = served.http.post("/v1/rules", json=timer)
    assert made.status_code == 201, made.text
    (shown,) = served.get("/v1/timers", timer_type="core.st2.IntervalTimer")
    assert (shown["type"], shown["parameters"]) == ("core.st2.IntervalTimer", parameters)
    assert served.get(f"/v1/timers/{shown['ref']}") == shown
    assert served.get("/v1/timers", timer_type="core.st2.CronTimer") == []
    assert served.http.get("/v1/timers", params={"timer_type": "core.noop"}).status_code == 400
    assert served.http.delete("/v1/rules/engine_demo.hourly").status_code == 204
    assert served.get("/v1/timers") == []


def test_a_packs_rule_is_switched_off_and_on_but_not_deleted(served: Served) -> None:
    """enabled is kept over a reload; DELETE says that the pack has it."""
    rule = served.get("/v1/rules/engine_demo.happened_greet")
    served.http.put(f"/v1/rules/{rule['id']}", json={**rule, "enabled": False})
    assert _led_to(served, "Wim") == []
    assert (
        served.http.post("/v1/packs/register", json={"packs": ["engine_demo"]}).status_code == 200
    )
    assert served.get("/v1/rules/engine_demo.happened_greet")["enabled"] is False
    served.http.put(f"/v1/rules/{rule['id']}", json={**rule, "enabled": True})
    assert _led_to(served, "Wim") == ["engine_demo.happened_greet"]
    assert served.http.delete(f"/v1/rules/{rule['id']}").status_code == 409


def test_a_disabled_action_is_not_run(served: Served) -> None:
    """Asking for it is a 400 that says so."""
    action = served.get("/v1/actions/core.noop")
    served.http.put("/v1/actions/core.noop", json={**action, "enabled": False})
    response = served.http.post("/v1/executions", json={"action": "core.noop"})
    assert (response.status_code, "is disabled" in response.text) == (400, True)
    served.http.put("/v1/actions/core.noop", json={**action, "enabled": True})
    assert served.run("core.noop")["status"] == "succeeded"
