"""The rules of rollouts pass on what their actions take, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]


def read(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / path).read_text())
    return found


def test_a_push_is_passed_on_as_the_trigger_tells_it():
    """Every parameter of the action comes from the payload's field of that name, which the
    trigger's type has.
    """
    rule, action = read("rules/image_pushed_route.yaml"), read("actions/image_route.yaml")
    told = read("triggers/image_pushed.yaml")["payload_schema"]["properties"]
    assert rule["action"]["parameters"] == {
        key: f"{{{{ trigger.{key} }}}}" for key in action["parameters"]
    }
    assert set(action["parameters"]) <= set(told)


def test_an_event_of_a_rollout_is_passed_on_by_identity_only():
    """The run reads the object as it is then."""
    rule = read("rules/rollout_event_reconcile.yaml")
    identity = ("cluster", "group", "version", "plural", "namespace", "name", "uid")
    assert rule["action"]["parameters"] == {key: f"{{{{ trigger.{key} }}}}" for key in identity}
    assert rule["trigger"]["parameters"]["plural"] == "rollouts"
    assert rule["action"]["ref"] == "kubestorm.rollout_advance"
    assert set(read("actions/rollout_advance.yaml")["parameters"]) == set(identity)
