"""What a Database's status says of its instance."""

from __future__ import annotations

import json

import pytest
from kubestorm.core.conditions import WAITS_FOR_PEOPLE, WATCHED
from kubestorm.kinds.database.status import ORDER, Reason, available, is_progressing


@pytest.mark.parametrize(
    "changes, status, reason, message",
    [
        ({}, "True", "Available", "Available at orders.example.com:5432."),
        (
            {"status": "backing-up", "host": None, "port": None},
            "False",
            "BackingUp",
            "RDS instance ks-test-default-orders is backing-up; its endpoint is not known yet.",
        ),
        (
            {"status": "creating", "host": None, "port": None},
            "False",
            "Creating",
            "Creating RDS instance ks-test-default-orders; this usually takes 5 to 10 minutes.",
        ),
        (
            {"status": "modifying"},
            "False",
            "Modifying",
            "RDS instance ks-test-default-orders is modifying; waiting for `available`.",
        ),
    ],
    ids=["available", "without an endpoint", "being created", "being changed"],
)
def test_an_instance_is_available_where_clients_can_connect(
    observed, changes, status, reason, message
):
    """An instance in its first backup serves, but nobody knows where: it is waited for."""
    condition = available(observed(**changes))
    assert (condition.status, condition.reason, condition.message) == (status, reason, message)
    assert status == "True" or reason in WATCHED


def test_reasons_are_stored_as_plain_words():
    """In JSON and in text they are what `kubectl` shows."""
    assert json.dumps({"reason": Reason.CREATING}) == '{"reason": "Creating"}'
    assert f"{Reason.CREATING}" == str(Reason.CREATING) == "Creating"
    assert Reason.AWAITING_APPROVAL in WAITS_FOR_PEOPLE


@pytest.mark.parametrize(
    "status, reason, progressing",
    [
        ("True", "Ready", False),
        ("False", "Creating", True),
        ("False", "AwaitingApproval", True),
        ("False", "InstanceBroken", False),
    ],
)
def test_progress_is_told_from_trouble_by_the_reason(status, reason, progressing):
    """Whatever the message says."""
    ready = {"type": "Ready", "status": status, "reason": reason, "message": "Creating it failed"}
    assert is_progressing({"status": {"conditions": [ready]}}) is progressing


def test_each_condition_says_what_ready_waits_for():
    """`kubectl get` shows it while the condition is not written yet."""
    assert ORDER["InstanceAvailable"] == "Waiting for RDS."
    assert all(message.startswith("Waiting for ") for message in ORDER.values())
