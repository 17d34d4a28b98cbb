"""What the chat's actions call: faults become sentences, actions are the pack's own files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from kubestorm.people.chat.running import PackActions
from kubestorm.people.chat.shell import answer_text

CONFIG = {"cluster": "test"}
ACTION = """
class Base:
    def __init__(self, config=None, action_service=None):
        self.config = config

class Act(Base):
    def run(self, kind, **more):
        from kubestorm.core.errors import TemporaryError
        if kind == "pair":
            return False, {"message": "No."}
        if kind == "plain":
            return [self.config["cluster"]]
        if kind == "error":
            raise TemporaryError("Vault is sealed.", service="Vault")
        raise RuntimeError("secret in a trace")
"""


@pytest.fixture
def actions(tmp_path: Path) -> PackActions:
    (tmp_path / "act.py").write_text(ACTION)
    return PackActions(tmp_path, CONFIG)


@pytest.mark.parametrize(
    "kind, result",
    [
        ("pair", (False, {"message": "No."})),
        ("plain", (True, ["test"])),
        (
            "error",
            (
                False,
                {"reason": "TemporaryError", "message": "Vault is sealed.", "service": "Vault"},
            ),
        ),
        ("fault", (False, {"reason": "Fault", "message": "act has a fault (RuntimeError)."})),
    ],
)
def test_an_action_is_run_and_its_result_taken(
    actions: PackActions, kind: str, result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A pair, a bare result, an error of ours, a fault; only the log has the trace of a fault."""
    with caplog.at_level(logging.ERROR):
        assert actions.run("act", {"kind": kind}) == result
    assert bool(caplog.records) is (kind == "fault")


@pytest.mark.parametrize("name", ["absent", "../act", "act.py", "Act", "", "act\n", "os"])
def test_only_files_of_the_folder_are_actions(actions: PackActions, name: str) -> None:
    """A name that is none is a sentence."""
    well, result = actions.run(name, {})
    assert not well
    assert "its installation is not complete" in result["message"]


@pytest.mark.parametrize(
    "config, sentence",
    [
        ({}, "cluster must be a name"),
        (
            {**CONFIG, "chat": {"people": [{"name": "ana", "roles": ["emperor"]}]}},
            "names the role 'emperor'",
        ),
        ({**CONFIG, "kubernetes": {"kubeconfig": "/nonexistent"}}, "cannot use /nonexistent"),
    ],
    ids=["no configuration", "chat", "kubernetes"],
)
def test_a_wrong_configuration_is_told_in_the_chat(
    tmp_path: Path, config: dict[str, Any], sentence: str
) -> None:
    """Nobody gets a trace for an operator's slip; the setting is named, and the run has failed."""
    well, result = answer_text(tmp_path, config, None, "who am i", "ana")
    assert (well, result["outcome"]) == (False, "failed")
    assert sentence in result["text"]
