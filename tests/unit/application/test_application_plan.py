"""Which rollout comes next: wishes, history, storms, freezes, and going back."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubestorm.core import status_requests
from kubestorm.kinds.application.plan import Plan, excess_rollouts, find_target, plan_rollout
from kubestorm.kinds.application.rollout.settings import RolloutSettings
from kubestorm.kinds.application.rollout.values import (
    DesiredImage,
    Freeze,
    NewRollout,
    PastRollout,
    RollbackRequest,
)

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone.utc)
SETTINGS = RolloutSettings()
A, B, C = ("sha256:" + letter * 64 for letter in "abc")
LONG_AGO = NOW - dt.timedelta(hours=1)


def past(number: int, digest: str, phase: str = "Complete", **more: object) -> PastRollout:
    values = {
        "name": f"cart-{number}",
        "created_at": LONG_AGO,
        "desired_id": f"w{number}",
        "tag": f"1.{number}",
        **more,
    }
    return PastRollout(number=number, digest=digest, phase=phase, **values)  # type: ignore[arg-type]


def image(digest: str, ident: str = "new", **more: object) -> DesiredImage:
    values = {"tag": "2.0", "recorded_at": NOW - dt.timedelta(seconds=60), "by": "ann", **more}
    return DesiredImage(digest, id=ident, **values)  # type: ignore[arg-type]


def planned(*pasts: PastRollout, desired: DesiredImage | None = None, **more: object) -> Plan:
    values: dict = {"rollback": None, "retry": "", "freeze": None, **more}
    running = values.pop("running", "")
    return plan_rollout(
        desired,
        values["rollback"],
        values["retry"],
        values["freeze"],
        pasts,
        SETTINGS,
        NOW,
        running=running,
    )


GOOD = past(1, A)
FAILED = past(2, B, "Failed", message="It cannot be pulled.")
ABORTED = past(2, B, "Aborted", message="bob aborted it.")


def test_a_wish_becomes_the_next_rollout():
    """With what to return to, and who asked."""
    expected = NewRollout(
        number=2,
        digest=B,
        tag="2.0",
        previous=A,
        previous_tag="1.1",
        cause="push",
        requested_by="ann",
        desired_id="new",
    )
    assert planned(GOOD, desired=image(B)).new == expected


def test_the_first_one_returns_to_what_runs():
    """An Application whose history is gone still has a good image: the one on its pods."""
    made = planned(desired=image(B), running=A).new
    assert made is not None
    assert made.previous == A
    nothing = planned(desired=image(B)).new
    assert nothing is not None
    assert nothing.previous == ""


@pytest.mark.parametrize(
    "pasts, desired, more, reason",
    [
        pytest.param((GOOD,), None, {}, "", id="nothing is desired"),
        pytest.param((GOOD,), image(A), {}, "", id="it runs already"),
        pytest.param((GOOD, past(2, B, "Progressing")), image(B), {}, "", id="it is under way"),
        pytest.param(
            (past(1, A), past(2, B, desired_id="new"), past(3, A)),
            image(B),
            {},
            "",
            id="answered, then gone back",
        ),
        pytest.param((GOOD, FAILED), image(B), {}, "DigestRefused", id="it failed"),
        pytest.param((GOOD, ABORTED), image(B), {}, "DigestRefused", id="it was aborted"),
        pytest.param(
            (GOOD,), image(B), {"freeze": Freeze("carol", "audit")}, "Frozen", id="frozen"
        ),
        pytest.param(
            (GOOD, FAILED),
            image(B),
            {"retry": B, "freeze": Freeze("carol", "audit")},
            "Frozen",
            id="retried in a freeze",
        ),
    ],
)
def test_what_leads_to_no_rollout(pasts, desired, more, reason):
    """And what is said of it."""
    found = planned(*pasts, desired=desired, **more)
    assert found.new is None
    assert found.reason == reason


@pytest.mark.parametrize(
    "pasts, desired, more",
    [
        pytest.param((GOOD, FAILED), image(B), {"retry": B}, id="retried on demand"),
        pytest.param((GOOD, FAILED), image(B, cause="person"), {}, id="a person chose it"),
        pytest.param(
            (past(1, A), past(2, B), past(3, A)), image(B), {}, id="pushed anew after going back"
        ),
        pytest.param(
            (GOOD, past(2, B, "Superseded", desired_id="new")),
            image(B),
            {},
            id="superseded before it ended",
        ),
        pytest.param(
            (GOOD, past(2, B, "Progressing")), image(A), {}, id="back while another is under way"
        ),
    ],
)
def test_what_leads_to_one(pasts, desired, more):
    """The same digest may be right the second time."""
    made = planned(*pasts, desired=desired, **more).new
    assert made is not None
    assert made.digest == desired.digest


@pytest.mark.parametrize(
    "target, digest",
    [
        pytest.param("previous", A, id="previous"),
        pytest.param("1.1", A, id="tag"),
        pytest.param("cart-1", A, id="name"),
        pytest.param(A, A, id="digest"),
        pytest.param("aaaaaaaa", A, id="short digest"),
        pytest.param("9.9", None, id="unknown"),
        pytest.param("ccccccc", None, id="one that was never good"),
    ],
)
def test_where_a_rollback_leads(target, digest):
    """Only what was good can be returned to."""
    history = (past(1, A), past(2, B), past(3, C, "Failed"))
    found = find_target(target, history)
    assert (found.digest if found else None) == digest


def test_a_rollback_is_a_rollout_that_answers_the_wish():
    """So that the push it undoes does not come again."""
    found = planned(
        past(1, A), past(2, B), desired=image(B, "w2"), rollback=RollbackRequest("previous", "bob")
    )
    assert found.new is not None
    assert (found.new.digest, found.new.cause, found.new.requested_by, found.new.desired_id) == (
        A,
        "rollback",
        "bob",
        "w2",
    )
    assert status_requests.ROLLBACK_TO in found.consume
    after = planned(past(1, A), past(2, B), past(3, A, desired_id="w2"), desired=image(B, "w2"))
    assert after.new is None


@pytest.mark.parametrize("target", ["previous", A])
def test_a_rollback_is_answered_once(target):
    """Also where the run that made its rollout died before it took the request away."""
    again = RollbackRequest(target, "bob", "r-1")
    for phase in ("Pending", "Complete"):
        made = past(3, A, phase, request="r-1")
        found = planned(past(1, A), past(2, B), made, desired=image(B, "w2"), rollback=again)
        assert (found.new, found.consume) == (None, (status_requests.ROLLBACK_TO,))
    other = planned(
        past(1, A), past(2, B), past(3, A, request="r-1"), rollback=RollbackRequest(B, "bob", "r-2")
    )
    assert other.new is not None
    assert (other.new.digest, other.new.request) == (B, "r-2")


def test_a_rollback_during_a_rollout_returns_to_the_good_one():
    """It supersedes what is under way."""
    found = planned(
        past(1, A), past(2, B, "Progressing"), rollback=RollbackRequest("previous", "bob")
    )
    assert found.new is not None
    assert (found.new.number, found.new.digest) == (3, A)


def test_the_last_ten_are_kept_and_the_good_one_always():
    """Also where it is older than ten failures."""
    history = [past(1, A), *(past(number, B, "Failed") for number in range(2, 15))]
    gone = excess_rollouts(history, 10)
    assert "cart-1" not in gone
    assert gone == ("cart-4", "cart-3", "cart-2")
    assert excess_rollouts([past(1, A), past(2, B, "Progressing")], 0) == ()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    slowest=st.floats(0.01, 1.0),
    seconds=st.integers(1, 300),
    bad=st.booleans(),
)
def test_a_storm_of_500_pushes_makes_at_most_three_rollouts_and_the_last_one_wins(
    seed, slowest, seconds, bad
):
    """However long a rollout takes; looked at every second, as a sensor would at the latest."""
    gaps = random.Random(seed)
    times = list(itertools.accumulate(gaps.uniform(0, slowest) for _ in range(500)))
    history: list[PastRollout] = []
    ends: dict[int, float] = {}
    clock, seen = 0.0, 0
    while True:
        seen = sum(time <= clock for time in times)
        for number, end in ends.items():
            if end <= clock and history[number - 1].phase == "Progressing":
                phase = "Failed" if bad and number < len(history) else "Complete"
                history[number - 1] = replace(history[number - 1], phase=phase)
        if seen:
            last = times[seen - 1]
            digest = f"sha256:{seen:064x}"
            desired = DesiredImage(
                digest, f"1.{seen}", f"e{seen}", NOW + dt.timedelta(seconds=last), follows=seen > 1
            )
            found = plan_rollout(
                desired, None, "", None, history, SETTINGS, NOW + dt.timedelta(seconds=clock)
            )
            if found.new is not None:
                if history and history[-1].phase == "Progressing":
                    history[-1] = replace(history[-1], phase="Superseded")
                made = found.new
                history.append(
                    PastRollout(
                        f"cart-{made.number}",
                        made.number,
                        made.digest,
                        made.tag,
                        "Progressing",
                        desired_id=made.desired_id,
                        created_at=NOW + dt.timedelta(seconds=clock),
                    )
                )
                ends[made.number] = clock + seconds
        done = seen == 500 and history[-1].phase == "Complete" and clock > times[-1] + 60
        if done or clock > 5000:
            break
        clock += 1.0
    assert len(history) <= 3, [one.created_at for one in history]
    assert history[-1].desired_id == "e500"
    assert history[-1].phase == "Complete"
