"""What `stormcell check --configs` says of the rules for approvals."""

from __future__ import annotations

from typing import Any

import pytest
from kubestorm.people.approval.config_warnings import config_warnings

PEOPLE = [
    {"name": "grace", "accounts": ["U1"], "roles": ["approver"]},
    {"name": "linus", "accounts": ["U2"], "roles": ["approver@*-prod"]},
    {"name": "ada", "accounts": ["U3"], "roles": ["deployer"]},
]


@pytest.mark.parametrize(
    "rule, served, said",
    [
        pytest.param({"namespaces": ["*-prod"]}, ["shop-prod"], [], id="well"),
        pytest.param({"namespaces": ["*-prod"], "quorum": 2}, ["shop-prod"], [], id="two can"),
        pytest.param({"approvers": ["grace", "ada"], "quorum": 2}, [], [], id="by name"),
        pytest.param(
            {"approvers": ["nobody"]},
            [],
            ["nobody in chat.people is called nobody", "needs 1 to approve"],
            id="an unknown person",
        ),
        pytest.param(
            {"approvers": ["role:aprover"]},
            [],
            ["no role aprover", "needs 1 to approve"],
            id="an unknown role",
        ),
        pytest.param(
            {"namespaces": ["*-prdo"]}, ["shop-prod"], ["fits none of"], id="no such namespace"
        ),
        pytest.param(
            {"namespaces": ["*"], "quorum": 2},
            ["shop-dev", "shop-prod"],
            ["needs 2 to approve in shop-dev, and chat.people has 1"],
            id="not enough in one of them",
        ),
        pytest.param({"quorum": 5}, [], ["needs 5 to approve, and"], id="not enough anywhere"),
    ],
)
def test_a_rule_that_cannot_work_is_told(rule: Any, served: list[str], said: list[str]) -> None:
    """With its place; before a question waits for ever."""
    config = {
        "cluster": "test",
        "kubernetes": {"namespaces": served},
        "chat": {"people": PEOPLE},
        "approvals": {"rules": [rule]},
    }
    found = config_warnings(config)
    assert len(found) == len(said)
    assert all(word in sentence for word, sentence in zip(said, found, strict=True))
