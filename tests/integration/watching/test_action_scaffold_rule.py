"""The scaffold as an action: from a definition in the cluster to the texts of a rule and its
description.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stormcell
import yaml

from tests.integration.watching.conftest import Widgets
from tests.kube_fixtures import Kube

ACTION = Path(__file__).parents[3] / "actions" / "scaffold_rule.py"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, kube: Kube) -> Callable[..., Any]:
    """The action's `run`, with the pack's configuration naming this API server."""
    monkeypatch.syspath_prepend(str(Path(stormcell.__file__).parent / "shims" / "st2"))
    spec = importlib.util.spec_from_file_location("scaffold_rule_action", ACTION)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in [name for name in sys.modules if name.split(".")[0] == "st2common"]:
        monkeypatch.delitem(sys.modules, name)
    config = {"cluster": "dev", "kubernetes": {"kubeconfig": str(kube.kubeconfig)}}
    found: Callable[..., Any] = module.ScaffoldRule(config=config).run
    return found


def test_a_definition_in_the_cluster_becomes_a_rule(
    run: Callable[..., Any], widgets: Widgets
) -> None:
    """Name in, rule and description out."""
    succeeded, result = run(crd=f"widgets.{widgets.resource.group}", rule_pack="mine")
    assert succeeded
    rule = yaml.safe_load(result["rule"])
    assert (rule["name"], rule["pack"]) == ("widget_event", "mine")
    assert rule["trigger"] == {
        "type": "kubestorm.resource_event",
        "parameters": widgets.resource._asdict(),
    }
    assert "`object.spec`" in result["description"]


def test_a_definition_that_is_not_there_fails_with_a_sentence(run: Callable[..., Any]) -> None:
    """The result of the failed action says which."""
    succeeded, result = run(crd="nothing.example.org")
    assert not succeeded
    assert "nothing.example.org: not found" in result["message"]
