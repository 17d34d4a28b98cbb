"""The reasons of Applications and Rollouts, and what the sensors take them for."""

import json

import pytest
from kubestorm.core.conditions import UNDER_WAY, WAITS_FOR_PEOPLE, WATCHED
from kubestorm.kinds.application.rollout.status import Reason as RolloutReason
from kubestorm.kinds.application.status import Reason

OF_TRUE = {"Valid", "NoHost", "Claimed", "Applied", "RolledOut", "Passed", "NotAsked", "Ready"}
OF_EVENTS = {"RolloutCreated", "Unfrozen"}
RETRIED = {"ForeignObject"}


@pytest.mark.parametrize("reason", [*Reason, *RolloutReason], ids=repr)
def test_the_sensors_know_what_ends_every_reason(reason):
    """A change that is watched, or a person; one that neither ends is retried as a failure."""
    known = WATCHED | WAITS_FOR_PEOPLE | UNDER_WAY
    assert (reason in known) is (reason not in OF_TRUE | OF_EVENTS | RETRIED)


@pytest.mark.parametrize("reason", [*Reason, *RolloutReason], ids=repr)
def test_a_reason_is_its_word_wherever_it_is_written(reason):
    """In a message, in a status and compared with what was read."""
    assert f"{reason}" == str(reason) == json.loads(json.dumps(reason)) == reason.value
