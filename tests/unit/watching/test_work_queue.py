"""When objects are looked at again, and how long failures wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.kube_errors import ExpiredError, ForbiddenError, Request
from kubestorm.core.errors import NotFoundError, PermanentError, TemporaryError
from kubestorm.sources.watching.backoff import RetryDecision, decide_retry
from kubestorm.sources.watching.settings import LoopSettings, ResyncSettings
from kubestorm.sources.watching.wait_state import (
    FAILED,
    IN_PROGRESS,
    SETTLED,
    UNANSWERED,
    USER_ACTION,
)
from kubestorm.sources.watching.work_queue import DelayingQueue, Due

EXACT = ResyncSettings(jitter=0.0)


def middle() -> float:
    return 0.5


def top() -> float:
    return 1.0


def gaps(schedule: DelayingQueue, count: int, now: float = 0.0) -> list[float]:
    """The pauses between so many looks at the one object of a schedule."""
    found = []
    for _ in range(count):
        due = schedule.next_due()
        assert due is not None
        found.append(due - now)
        now = due
        assert [one.key for one in schedule.pop_due(now)] == ["a/b"]
    return found


@pytest.mark.parametrize(
    "kind, expected",
    [
        pytest.param(FAILED, [15, 30, 60, 120, 240, 480, 600, 600], id="a failure, with back-off"),
        pytest.param(UNANSWERED, [120, 240, 480, 600, 600], id="an event that nobody answers"),
        pytest.param(
            IN_PROGRESS, [600, 600, 600], id="what is watched, in case the watch missed it"
        ),
    ],
)
def test_what_an_object_waits_for_decides_when_it_is_looked_at(
    kind: str, expected: list[float]
) -> None:
    """The design's numbers, for one object that stays as it is."""
    schedule = DelayingQueue(EXACT, middle)
    schedule.add("a/b", kind, now=0.0)
    assert gaps(schedule, len(expected)) == expected


@pytest.mark.parametrize("kind", [SETTLED, USER_ACTION])
def test_what_is_done_or_waits_for_people_is_not_looked_at(kind: str) -> None:
    """However it came there, and it takes no room."""
    schedule = DelayingQueue(EXACT, middle)
    schedule.add("a/b", FAILED, now=0.0)
    schedule.add("a/b", kind, now=1.0)
    assert (schedule.next_due(), schedule.pop_due(10_000.0), len(schedule)) == (None, [], 0)


def test_what_is_gone_is_not_looked_at() -> None:
    """Nothing is due for it, and it takes no room."""
    schedule = DelayingQueue(EXACT, middle)
    schedule.add("a/b", UNANSWERED, now=0.0)
    schedule.forget("a/b")
    assert (schedule.next_due(), len(schedule)) == (None, 0)


def test_a_change_begins_again_and_the_failure_of_a_retry_does_not() -> None:
    """A changed spec is looked at after 15 seconds; a retry that fails keeps its place."""
    schedule = DelayingQueue(EXACT, middle)
    schedule.add("a/b", FAILED, now=0.0)
    schedule.pop_due(15.0)
    schedule.add("a/b", FAILED, now=20.0)
    assert schedule.next_due() == 45.0
    schedule.add("a/b", FAILED, now=20.0, spec_changed=True)
    assert schedule.next_due() == 35.0


def test_a_sign_of_life_puts_off_the_look_at_what_was_not_heard_of() -> None:
    """A step that has written its condition is followed by the next one; they may take a while."""
    schedule = DelayingQueue(EXACT, middle)
    schedule.add("a/b", UNANSWERED, now=0.0)
    schedule.add("a/b", UNANSWERED, now=100.0)
    assert schedule.next_due() == 220.0


def test_in_a_storm_an_answer_is_waited_for_longer() -> None:
    """Sixty objects made at once queue for their runs: asking again would make it worse."""
    schedule = DelayingQueue(EXACT, middle)
    for number in range(61):
        schedule.add(f"a/{number}", UNANSWERED, now=0.0)
    assert schedule.pop_due(4 * EXACT.unheard_seconds - 1) == []
    assert len(schedule.pop_due(4 * EXACT.unheard_seconds)) == 61
    for number in range(61):
        schedule.add(f"a/{number}", SETTLED, now=500.0)
    assert schedule.answer_timeout_seconds == EXACT.unheard_seconds


@pytest.mark.parametrize("kind", [SETTLED, USER_ACTION, IN_PROGRESS, FAILED])
def test_an_object_may_ask_to_be_looked_at(kind: str) -> None:
    """Its own word counts where it is earlier, and the event says why it comes."""
    schedule = DelayingQueue(EXACT, middle)
    schedule.add("a/b", kind, now=0.0, at_seconds=5.0)
    assert schedule.pop_due(4.9) == []
    assert schedule.pop_due(5.0) == [Due("a/b", "requeue")]


def test_a_look_that_was_asked_for_and_led_to_nothing_comes_again() -> None:
    """The run for it may have died: it is then as one of which nothing is heard."""
    schedule = DelayingQueue(EXACT, middle)
    schedule.add("a/b", USER_ACTION, now=0.0, at_seconds=5.0)
    schedule.pop_due(5.0)
    assert schedule.next_due() == 5.0 + 2 * EXACT.unheard_seconds


def test_the_own_schedule_counts_where_it_is_earlier() -> None:
    """Whoever asks for a look in an hour is retried in 15 seconds after a failure."""
    schedule = DelayingQueue(EXACT, middle)
    schedule.add("a/b", FAILED, now=0.0, at_seconds=3600.0)
    assert schedule.pop_due(15.0) == [Due("a/b", "retry")]


def test_a_time_far_away_is_still_kept_after_a_backstop() -> None:
    """A pause of 25 minutes is looked at at its end, though ten minutes come before."""
    schedule = DelayingQueue(EXACT, middle)
    schedule.add("a/b", IN_PROGRESS, now=0.0, at_seconds=1500.0)
    assert schedule.pop_due(600.0) == [Due("a/b", "backstop")]
    schedule.add("a/b", IN_PROGRESS, now=1000.0, at_seconds=500.0)
    assert schedule.pop_due(1500.0) == [Due("a/b", "requeue")]


def test_a_time_that_has_passed_is_soon_and_not_now() -> None:
    """An object that always asks for a look at once is held back."""
    schedule = DelayingQueue(EXACT, middle)
    schedule.add("a/b", SETTLED, now=10.0, at_seconds=-60.0)
    assert schedule.next_due() == 10.2


@given(st.floats(0, 1), st.integers(0, 40))
def test_jitter_stays_within_its_share(chance: float, looks: int) -> None:
    """No delay is shorter than 90 % of its value or longer than 110 %."""
    schedule = DelayingQueue(ResyncSettings(jitter=0.1), lambda: chance)
    schedule.add("a/b", FAILED, now=0.0)
    now, nominal = 0.0, 15.0
    for _ in range(looks):
        due = schedule.next_due()
        assert due is not None
        assert 0.9 * nominal - 1e-6 <= due - now <= 1.1 * nominal + 1e-6
        now, nominal = due, min(nominal * 2, 600.0)
        schedule.pop_due(now)


FORBIDDEN = ForbiddenError("no", request=Request("list", "kubestorm.io", "databases", "", ""))


@pytest.mark.parametrize(
    "error,attempt,decision",
    [
        pytest.param(
            ExpiredError("x"),
            1,
            RetryDecision("expired", 0.0, relist=True, is_logged=False),
            id="410 lists at once",
        ),
        pytest.param(
            ExpiredError("x"), 2, RetryDecision("expired", 1.0, relist=True), id="410 again waits"
        ),
        pytest.param(
            TemporaryError("x"),
            1,
            RetryDecision("unavailable", 1.0, is_logged=False),
            id="one failure is no news",
        ),
        pytest.param(
            TemporaryError("x"), 3, RetryDecision("unavailable", 4.0), id="failures double"
        ),
        pytest.param(
            TemporaryError("x"), 30, RetryDecision("unavailable", 60.0), id="up to a minute"
        ),
        pytest.param(
            TemporaryError("x", retry_after_seconds=17),
            2,
            RetryDecision("unavailable", 17.0),
            id="Retry-After is kept",
        ),
        pytest.param(
            TemporaryError("x", retry_after_seconds=1),
            5,
            RetryDecision("unavailable", 16.0),
            id="Retry-After is a minimum",
        ),
        pytest.param(
            FORBIDDEN, 1, RetryDecision("forbidden", 60.0), id="forbidden is tried each minute"
        ),
        pytest.param(
            NotFoundError("x"),
            4,
            RetryDecision("absent", 15.0, relist=True),
            id="a missing CRD each 15 s",
        ),
        pytest.param(PermanentError("x"), 2, RetryDecision("failed", 2.0), id="refused"),
        pytest.param(ValueError("x"), 1, RetryDecision("failed", 1.0), id="a fault of our own"),
    ],
)
def test_each_failure_has_its_wait(error: Exception, attempt: int, decision: RetryDecision) -> None:
    """With the random half at its largest."""
    assert decide_retry(error, attempt, LoopSettings(), top) == decision
