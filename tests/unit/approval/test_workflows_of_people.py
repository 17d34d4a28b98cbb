"""The workflows that people wait for are workflows, by the engine's own inspection."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from stormcell.orquesta.definition import load_definition
from stormcell.orquesta.inspecting import inspect_workflow
from stormcell.orquesta.spec import parse_workflow

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["approval_inquiry", "chat_follow", "slack_outcome"])
def test_nothing_is_wrong_with_the_workflow(name: str) -> None:
    """It has a beginning, every variable is known where it is used, and inputs are those of the
    action.
    """
    definition = load_definition((ROOT / "workflows" / f"{name}.yaml").read_text())
    assert inspect_workflow(definition, parse_workflow(definition)) == []
    parameters = yaml.safe_load((ROOT / "actions" / f"{name}.yaml").read_text())["parameters"]
    assert set(definition["input"]) == set(parameters)
