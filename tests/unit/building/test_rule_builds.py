"""The rules of builds, descriptors and base images: which events reach which of them, and what they
hand on.
"""

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
NAMES = (
    "base_image_changed",
    "base_image_pushed",
    "build_requested_run",
    "delivery_ended",
    "image_pushed_route",
    "imagebuild_deletion_teardown",
    "imagebuild_event_reconcile",
    "source_pushed_route",
)
IDENTITY = {
    "cluster": "c",
    "group": "kubestorm.io",
    "version": "v1alpha1",
    "plural": "imagebuilds",
    "namespace": "shop",
    "name": "cart",
    "uid": "u",
}
KIND = {"group": "kubestorm.io", "version": "v1alpha1", "plural": "imagebuilds"}


def load(name: str) -> Rule:
    document = yaml.safe_load((ROOT / "rules" / f"{name}.yaml").read_text())
    trigger, action = document["trigger"], document["action"]
    return Rule(
        name=document["name"],
        pack=document["pack"],
        enabled=document["enabled"],
        criteria=document.get("criteria") or {},
        trigger=RuleTrigger(type=trigger["type"], parameters=trigger.get("parameters") or {}),
        action=RuleAction(ref=action["ref"], parameters=action.get("parameters") or {}),
    )


RULES = {name: load(name) for name in NAMES}
INDEX = RuleIndex(list(RULES.values()))


def reached(
    trigger: str, payload: dict[str, Any], parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Each rule that an event reaches, with the action that it begins."""
    found = INDEX.match(trigger, parameters or {}, payload, LOOKUPS).matched
    return {rule.name: rule.action.ref for rule in found}


def given(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """What the rule's action is given of a payload."""
    rule = RULES[name]
    file = ROOT / "actions" / f"{rule.action.ref.partition('.')[2]}.yaml"
    schemas = yaml.safe_load(file.read_text()).get("parameters") or {}
    context = {"pack": "kubestorm", "user": "stanley"}
    found: dict[str, Any] = render_action_parameters(
        rule, payload, schemas=schemas, action_context=context, lookups=LOOKUPS
    )
    return found


@pytest.mark.parametrize(
    "change, deleting, begun",
    [
        ("created", False, "reconcile"),
        ("updated", False, "reconcile"),
        ("resync", False, "reconcile"),
        ("created", True, "teardown"),
        ("updated", True, "teardown"),
        ("deleting", True, "teardown"),
        ("resync", True, "teardown"),
        ("deleted", True, ""),
        ("deleted", False, ""),
        ("status", False, ""),
    ],
)
def test_an_image_build_is_looked_at_while_it_is_there(
    change: str, deleting: bool, begun: str
) -> None:
    """By the action itself; nothing is left to do for one that is gone."""
    payload = {**IDENTITY, "change": change, "deleting": deleting}
    found = list(reached("kubestorm.resource_event", payload, KIND).values())
    assert found == ([f"kubestorm.imagebuild_{begun}"] if begun else [])


@pytest.mark.parametrize(
    "name", ["imagebuild_event_reconcile", "imagebuild_deletion_teardown", "build_requested_run"]
)
def test_a_step_is_given_the_identity_only(name: str) -> None:
    """It reads the object as it is then."""
    assert given(name, {**IDENTITY, "change": "updated", "object": {"spec": {}}}) == IDENTITY


def test_a_build_that_is_asked_for_is_carried_out() -> None:
    """By one execution, whose output is the build's log."""
    assert reached("kubestorm.build_requested", IDENTITY) == {
        "build_requested_run": "kubestorm.build_run"
    }


def test_a_push_of_source_is_for_builds_and_descriptors() -> None:
    """With every address that the server has for the repository; a branch is no template."""
    push = {
        "urls": ["https://git.example.com/shop.git", "ssh://git@git.example.com/shop.git"],
        "branch": "main",
        "commit": "ab12",
        "actor": "ada",
        "event_id": "e1",
    }
    assert reached("kubestorm.source_pushed", push) == {
        "source_pushed_route": "kubestorm.source_route",
    }
    assert given("source_pushed_route", push) == push


@pytest.mark.parametrize(
    "stage, outcome, ends",
    [
        ("build", "failed", False),
        ("rollout", "succeeded", False),
        ("post-deploy test", "skipped", True),
        ("post-deploy test", "succeeded", True),
    ],
)
def test_the_last_stage_of_a_delivery_ends_its_workflow(
    stage: str, outcome: str, ends: bool
) -> None:
    """Also where an earlier one has failed: the last one is told then as skipped."""
    told = {"namespace": "shop", "name": "site", "run_id": "r1"}
    payload = {**told, "stage": stage, "outcome": outcome}
    expected = {"delivery_ended": "kubestorm.pipeline_end"} if ends else {}
    assert reached("kubestorm.pipeline_stage_ended", payload) == expected
    assert given("delivery_ended", payload) == told


def test_a_push_of_an_image_is_for_applications_and_for_what_stands_on_it() -> None:
    """The look knows whether anything is built on that repository."""
    push = {"registry": "r:5000", "repository": "base/os", "tag": "12", "digest": "sha256:ab"}
    assert reached("kubestorm.image_pushed", push) == {
        "base_image_pushed": "kubestorm.base_images_check",
        "image_pushed_route": "kubestorm.image_route",
    }
    assert given("base_image_pushed", push) == {"registry": "r:5000", "repository": "base/os"}


def test_what_the_polling_sensor_finds_is_built() -> None:
    """By a look at all images."""
    payload = {"images": ["shop/cart:cart"]}
    assert reached("kubestorm.base_image_changed", payload) == {
        "base_image_changed": "kubestorm.base_images_check"
    }
    assert given("base_image_changed", payload) == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_on_and_names_what_its_action_takes(name: str) -> None:
    """Nothing that the action has not, and all that it needs."""
    rule = RULES[name]
    known = yaml.safe_load(
        (ROOT / "actions" / f"{rule.action.ref.partition('.')[2]}.yaml").read_text()
    )
    parameters: dict[str, Any] = known.get("parameters") or {}
    required = {key for key, schema in parameters.items() if schema.get("required")}
    assert rule.enabled
    assert required <= set(rule.action.parameters) <= set(parameters)
