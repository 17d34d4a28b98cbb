"""When objects are looked at again, and how long failures wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.errors import NotFoundError, PermanentError, TemporaryError
from kubestorm.kube_errors import ExpiredError, ForbiddenError, Request
from kubestorm.watching.failures import Verdict, judge_failure
from kubestorm.watching.schedule import ResyncSchedule
from kubestorm.watching.settings import LoopSettings, ResyncSettings

EXACT = ResyncSettings(jitter=0.0)


def middle() -> float:
    return 0.5


def top() -> float:
    return 1.0


def test_looks_come_after_15_seconds_and_double_to_ten_minutes() -> None:
    """The design's numbers, one object that stays unsettled."""
    schedule = ResyncSchedule(EXACT, middle)
    schedule.observe("a/b", settled=False, changed=True, now=0.0)
    gaps, now = [], 0.0
    for _ in range(8):
        due = schedule.next_due()
        assert due is not None
        gaps.append(due - now)
        now = due
        assert schedule.take_due(now) == ["a/b"]
    assert gaps == [15, 30, 60, 120, 240, 480, 600, 600]


def test_a_new_wish_begins_again_and_progress_does_not() -> None:
    """A changed spec is looked at after 15 seconds, a status that moves keeps its place."""
    schedule = ResyncSchedule(EXACT, middle)
    schedule.observe("a/b", settled=False, changed=True, now=0.0)
    schedule.take_due(15.0)
    schedule.observe("a/b", settled=False, changed=False, now=20.0)
    assert schedule.next_due() == 45.0
    schedule.observe("a/b", settled=False, changed=True, now=20.0)
    assert schedule.next_due() == 35.0
    assert schedule.take_due(45.0) == ["a/b"]


def test_a_look_that_was_of_no_use_comes_again_after_the_same_delay() -> None:
    """Not after twice as long, and nothing happens for what is not on the schedule."""
    schedule = ResyncSchedule(EXACT, middle)
    schedule.observe("a/b", settled=False, changed=True, now=0.0)
    for now in (15.0, 30.0):
        assert schedule.take_due(now) == ["a/b"]
        schedule.postpone("a/b", now)
    assert schedule.next_due() == 45.0
    schedule.forget("a/b")
    schedule.postpone("a/b", 45.0)
    assert schedule.next_due() is None


def test_an_object_may_ask_to_be_looked_at_sooner() -> None:
    """Its own word counts where it is earlier, does not lengthen the schedule, and the schedule is
    what remains.
    """
    schedule = ResyncSchedule(EXACT, middle)
    schedule.observe("a/b", settled=False, changed=True, now=0.0, look_in=1.0)
    assert schedule.next_due() == 1.0
    assert schedule.take_due(1.0) == ["a/b"]
    assert schedule.next_due() == 16.0
    schedule.observe("a/b", settled=False, changed=False, now=2.0, look_in=5.0)
    assert schedule.next_due() == 7.0
    schedule.observe("a/b", settled=False, changed=False, now=3.0, look_in=9.0)
    assert schedule.next_due() == 12.0
    schedule.observe("a/b", settled=False, changed=False, now=4.0)
    assert schedule.next_due() == 19.0
    schedule.observe("a/b", settled=False, changed=False, now=4.0, look_in=100.0)
    assert schedule.next_due() == 19.0


def test_an_object_that_always_wants_a_look_at_once_is_held_back() -> None:
    """A time that has passed is soon, not now."""
    schedule = ResyncSchedule(EXACT, middle)
    schedule.observe("a/b", settled=False, changed=True, now=10.0, look_in=-60.0)
    assert schedule.next_due() == 10.2


def test_a_settled_object_that_changed_is_looked_at_once_more() -> None:
    """The run for it may have found another at work that had read it before; status alone takes
    nothing back.
    """
    schedule = ResyncSchedule(EXACT, middle)
    schedule.observe("a/b", settled=True, changed=True, now=0.0)
    schedule.observe("a/b", settled=True, changed=False, now=1.0)
    assert schedule.take_due(15.0) == ["a/b"]
    schedule.postpone("a/b", 15.0)
    assert schedule.take_due(30.0) == ["a/b"]
    schedule.done("a/b")
    assert (schedule.next_due(), len(schedule)) == (None, 0)


def test_what_is_known_from_before_is_looked_at_once_within_the_longest_delay() -> None:
    """Whatever was in the mind of the process that ended; what is on the schedule already stays
    there.
    """
    schedule = ResyncSchedule(EXACT, middle)
    schedule.remind("a/b", 0.0)
    schedule.observe("a/c", settled=False, changed=False, now=0.0)
    schedule.remind("a/c", 0.0)
    assert schedule.take_due(15.0) == ["a/c"]
    schedule.forget("a/c")
    assert schedule.next_due() == EXACT.max_seconds / 2
    assert schedule.take_due(EXACT.max_seconds / 2) == ["a/b"]
    schedule.done("a/b")
    assert len(schedule) == 0


def test_a_change_during_the_last_look_is_looked_at_too() -> None:
    """And what becomes unsettled in between stays on the schedule as usual."""
    schedule = ResyncSchedule(EXACT, middle)
    schedule.observe("a/b", settled=True, changed=True, now=0.0)
    assert schedule.take_due(15.0) == ["a/b"]
    schedule.observe("a/b", settled=True, changed=True, now=15.0)
    schedule.done("a/b")
    assert schedule.next_due() == 30.0
    schedule.observe("a/b", settled=False, changed=False, now=16.0)
    schedule.done("a/b")
    assert schedule.next_due() == 31.0


@pytest.mark.parametrize("end", ["settled", "forgotten"])
def test_what_is_settled_or_gone_is_looked_at_no_more(end: str) -> None:
    """Nothing is due for it, and it takes no room."""
    schedule = ResyncSchedule(EXACT, middle)
    schedule.observe("a/b", settled=False, changed=True, now=0.0)
    if end == "settled":
        schedule.observe("a/b", settled=True, changed=False, now=1.0)
    else:
        schedule.forget("a/b")
    assert (schedule.next_due(), schedule.take_due(1000.0), len(schedule)) == (None, [], 0)


@given(st.floats(0, 1), st.integers(0, 40))
def test_jitter_stays_within_its_share(chance: float, looks: int) -> None:
    """No delay is shorter than 90 % of its value or longer than 110 %."""
    schedule = ResyncSchedule(ResyncSettings(jitter=0.1), lambda: chance)
    schedule.observe("a/b", settled=False, changed=True, now=0.0)
    now, nominal = 0.0, 15.0
    for _ in range(looks):
        due = schedule.next_due()
        assert due is not None
        assert 0.9 * nominal - 1e-6 <= due - now <= 1.1 * nominal + 1e-6
        now, nominal = due, min(nominal * 2, 600.0)
        schedule.take_due(now)


FORBIDDEN = ForbiddenError("no", request=Request("list", "kubestorm.io", "databases", "", ""))


@pytest.mark.parametrize(
    "error,attempt,verdict",
    [
        pytest.param(
            ExpiredError("x"),
            1,
            Verdict("expired", 0.0, relist=True, loud=False),
            id="410 lists at once",
        ),
        pytest.param(
            ExpiredError("x"), 2, Verdict("expired", 1.0, relist=True), id="410 again waits"
        ),
        pytest.param(
            TemporaryError("x"),
            1,
            Verdict("unavailable", 1.0, loud=False),
            id="one failure is no news",
        ),
        pytest.param(TemporaryError("x"), 3, Verdict("unavailable", 4.0), id="failures double"),
        pytest.param(TemporaryError("x"), 30, Verdict("unavailable", 60.0), id="up to a minute"),
        pytest.param(
            TemporaryError("x", retry_after_seconds=17),
            2,
            Verdict("unavailable", 17.0),
            id="Retry-After is kept",
        ),
        pytest.param(
            TemporaryError("x", retry_after_seconds=1),
            5,
            Verdict("unavailable", 16.0),
            id="Retry-After is a minimum",
        ),
        pytest.param(FORBIDDEN, 1, Verdict("forbidden", 60.0), id="forbidden is tried each minute"),
        pytest.param(
            NotFoundError("x"),
            4,
            Verdict("absent", 15.0, relist=True),
            id="a missing CRD each 15 s",
        ),
        pytest.param(PermanentError("x"), 2, Verdict("failed", 2.0), id="refused"),
        pytest.param(ValueError("x"), 1, Verdict("failed", 1.0), id="a fault of our own"),
    ],
)
def test_each_failure_has_its_wait(error: Exception, attempt: int, verdict: Verdict) -> None:
    """With the random half at its largest."""
    assert judge_failure(error, attempt, LoopSettings(), top) == verdict
