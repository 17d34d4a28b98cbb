"""The rule that looks at Applications: which changes it takes, and what it passes on."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
RULE = yaml.safe_load((ROOT / "rules" / "application_event_reconcile.yaml").read_text())


def test_it_passes_identity_only():
    """The run reads the object as it is then."""
    identity = {"cluster", "group", "version", "plural", "namespace", "name", "uid"}
    action = yaml.safe_load((ROOT / "actions" / "application_reconcile.yaml").read_text())
    assert RULE["action"]["ref"] == "kubestorm.application_reconcile"
    assert set(RULE["action"]["parameters"]) == identity == set(action["parameters"])


def test_it_looks_at_what_lives():
    """What is deleted has no finalizer: the garbage collector takes what it owned."""
    assert RULE["criteria"]["trigger.change"]["pattern"] == ["created", "updated", "resync"]
    assert RULE["trigger"]["parameters"]["plural"] == "applications"
