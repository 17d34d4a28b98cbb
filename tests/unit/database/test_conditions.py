"""How conditions are kept and how Ready follows from them."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.conditions import Condition, roll_up, set_condition

EARLY = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
LATE = EARLY + dt.timedelta(hours=1)
ORDER = {"SpecValid": "Waiting for the spec.", "InstanceAvailable": "Waiting for RDS."}


def test_the_time_moves_only_with_the_status():
    """A new message for the same status keeps the time of the transition."""
    first = set_condition([], Condition("Ready", "False", "Creating", "a"), generation=1, now=EARLY)
    second = set_condition(
        first, Condition("Ready", "False", "Modifying", "b"), generation=2, now=LATE
    )
    assert second == [
        {
            "type": "Ready",
            "status": "False",
            "reason": "Modifying",
            "message": "b",
            "observedGeneration": 2,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
    ]
    third = set_condition(second, Condition("Ready", "True", "Ready", "c"), generation=2, now=LATE)
    assert third[0]["lastTransitionTime"] == "2026-01-02T04:04:05Z"


def test_ready_takes_the_words_of_the_first_that_is_not_true():
    """`kubectl get` shows why in one word."""
    conditions = set_condition(
        [], Condition("SpecValid", "True", "Valid", ""), generation=1, now=EARLY
    )
    conditions = set_condition(
        conditions,
        Condition("InstanceAvailable", "False", "Creating", "RDS says creating"),
        generation=1,
        now=EARLY,
    )
    assert roll_up(conditions, ORDER, generation=1) == Condition(
        "Ready", "False", "Creating", "RDS says creating"
    )


def test_an_answer_for_an_older_spec_is_not_ready():
    """Between the edit and the call that carries it out nobody may take it for done."""
    conditions = []
    for kind in ORDER:
        conditions = set_condition(
            conditions, Condition(kind, "True", "Ok", ""), generation=1, now=EARLY
        )
    assert roll_up(conditions, ORDER, generation=1).status == "True"
    assert roll_up(conditions, ORDER, generation=2).reason == "Reconciling"


@given(statuses=st.lists(st.sampled_from(["True", "False", "Unknown"]), min_size=2, max_size=2))
def test_ready_is_true_only_when_all_are(statuses):
    """Whatever the others say."""
    conditions = []
    for kind, status in zip(ORDER, statuses):
        conditions = set_condition(
            conditions, Condition(kind, status, "R", ""), generation=1, now=EARLY
        )
    assert (roll_up(conditions, ORDER, generation=1).status == "True") == (
        statuses == ["True", "True"]
    )
