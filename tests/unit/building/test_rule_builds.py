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
    "base_image_pushed",
    "base_images_timer",
    "build_requested_run",
    "descriptor_source_pushed",
    "image_pushed_route",
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
    "change, looks",
    [
        ("created", True),
        ("updated", True),
        ("deleting", True),
        ("resync", True),
        ("deleted", False),
        ("status", False),
    ],
)
def test_an_image_build_is_looked_at_while_it_is_there(change: str, looks: bool) -> None:
    """Also while it is being deleted, for its cleanup; nothing is left to do for one that is gone."""
    payload = {**IDENTITY, "change": change, "object": {"metadata": {"name": "cart"}}}
    expected = {"imagebuild_event_reconcile": "kubestorm.imagebuild_reconcile"} if looks else {}
    assert reached("kubestorm.resource_event", payload, KIND) == expected


@pytest.mark.parametrize("name", ["imagebuild_event_reconcile", "build_requested_run"])
def test_a_run_is_given_the_identity_only(name: str) -> None:
    """It reads the object as it is then."""
    assert given(name, {**IDENTITY, "change": "updated", "object": {"spec": {}}}) == IDENTITY


def test_a_build_that_is_asked_for_is_carried_out() -> None:
    """By the workflow that holds the build's logs."""
    assert reached("kubestorm.build_requested", IDENTITY) == {
        "build_requested_run": "kubestorm.imagebuild_build"
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
        "descriptor_source_pushed": "kubestorm.descriptor_refresh",
        "source_pushed_route": "kubestorm.source_route",
    }
    assert given("source_pushed_route", push) == push
    assert given("descriptor_source_pushed", push) == {"urls": push["urls"], "branch": "main"}


def test_a_push_of_an_image_is_for_applications_and_for_what_stands_on_it() -> None:
    """A base image's descendants are looked for whatever the repository; the look knows which."""
    push = {"registry": "r:5000", "repository": "base/os", "tag": "12", "digest": "sha256:ab"}
    assert reached("kubestorm.image_pushed", push) == {
        "base_image_pushed": "kubestorm.base_images_look",
        "image_pushed_route": "kubestorm.image_route",
    }
    assert given("base_image_pushed", push) == {}


def test_a_timer_looks_for_pushes_that_nobody_told_of() -> None:
    """Every ten minutes."""
    every = {"unit": "minutes", "delta": 10}
    found = reached("core.st2.IntervalTimer", {"executed_at": "2026-01-01"}, every)
    assert found == {"base_images_timer": "kubestorm.base_images_look"}


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
