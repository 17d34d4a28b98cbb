"""What a sensor is told when rules come and go, and when it is started again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stormcell.sensors.backoff import Backoff
from stormcell.sensors.triggers import changes_between, triggers_for

_KNOWN = st.dictionaries(
    st.sampled_from("abcd"), st.integers(0, 1).map(lambda n: {"parameters": {"n": n}})
)


@given(_KNOWN, _KNOWN)
def test_the_changes_lead_to_what_is_wanted(
    known: dict[str, dict], wanted: dict[str, dict]
) -> None:  # type: ignore[type-arg]
    """Applied to what was known they give what is wanted, and nothing is said twice."""
    known = {key: {**value, "id": key} for key, value in known.items()}
    wanted = {key: {**value, "id": key} for key, value in wanted.items()}
    changes = changes_between(known, wanted)
    result = dict(known)
    for trigger in changes.add:
        assert trigger["id"] not in result
        result[trigger["id"]] = trigger
    for trigger in changes.update:
        assert result[trigger["id"]] != trigger
        result[trigger["id"]] = trigger
    for trigger in changes.remove:
        del result[trigger["id"]]
    assert result == wanted
    assert bool(changes) == (known != wanted)


def test_a_sensor_hears_of_its_own_types_only() -> None:
    """Others' triggers are no concern of it; without an id, the ref tells triggers apart."""
    triggers = [
        {"id": "1", "ref": "p.x", "type": "p.a"},
        {"ref": "p.y", "type": "p.a"},
        {"id": "3", "type": "q.b"},
    ]
    assert sorted(triggers_for(["p.a"], triggers)) == ["1", "p.y"]


def test_the_delay_doubles_up_to_a_limit() -> None:
    """Chance only adds to it, and only a part."""
    backoff = Backoff(first_seconds=1, most_seconds=10, jitter=0.5)
    assert [backoff.delay_seconds(n, 0.0) for n in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 10, 10]
    assert backoff.delay_seconds(1, 1.0) == pytest.approx(1.5)


@pytest.mark.parametrize("ran_seconds, expected", [(0.1, 4), (9.9, 4), (10.0, 1)])
def test_a_sensor_that_ran_well_starts_to_count_anew(ran_seconds: float, expected: int) -> None:
    """Ten seconds are enough."""
    assert Backoff().next_attempt(3, ran_seconds) == expected
