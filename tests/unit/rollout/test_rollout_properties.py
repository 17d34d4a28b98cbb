"""What holds of every rollout, whatever happens in whatever order: hypothesis chooses strategies
and accidents.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from kubestorm.kinds.application.rollout import weights
from kubestorm.kinds.application.rollout.plan import __file__
from kubestorm.kinds.application.rollout.values import (
    TERMINAL,
    AutoscalerView,
    Freeze,
    Promotion,
    RolloutRequests,
    RolloutSpec,
)
from kubestorm.kinds.application.values import CanaryStep, Strategy

from tests.unit.rollout.pretend import NEW, OLD, Cluster, Run

REPLICAS = 4
LOOKS = 400

steps = st.builds(
    CanaryStep,
    weight=st.sampled_from((25, 50, 75, 100)),
    pause_seconds=st.sampled_from((0.0, 5.0)),
    test=st.booleans(),
)
plans = st.one_of(
    st.sampled_from(
        (Strategy("RollingUpdate"), Strategy("Recreate"), Strategy("BlueGreen", keep_seconds=20))
    ),
    st.builds(Strategy, st.just("Canary"), st.lists(steps, min_size=1, max_size=4).map(tuple)),
)
# What happens next: the rollout looks, loses its status after its effects, or some track's pods
# move.
happenings = st.lists(
    st.sampled_from(("look", "look", "crash", "stable", "green", "canary", "wait")), max_size=60
)


def begin(
    plan: Strategy, *, bad: bool, autoscaled: bool, tested: bool, fails_test: bool = False
) -> Run:
    request = RolloutSpec(
        NEW, OLD, plan, replicas=REPLICAS, max_replicas=12 if autoscaled else 0, tested=tested
    )
    cluster = Cluster.running(
        OLD,
        REPLICAS,
        autoscaler=AutoscalerView("stable") if autoscaled else None,
        bad=frozenset({NEW}) if bad else frozenset(),
        fails_test=fails_test,
    )
    return Run(request, cluster)


def happen(run: Run, what: str) -> None:
    if what in ("look", "crash"):
        run.look(crash=what == "crash")
    elif what == "wait":
        run.now += dt.timedelta(seconds=3)
    else:
        run.cluster.move(what)


@given(
    plan=plans, events=happenings, bad=st.booleans(), autoscaled=st.booleans(), tested=st.booleans()
)
def test_the_end_is_the_same_in_whatever_order_things_happen(plan, events, bad, autoscaled, tested):
    """A good image is everywhere, a bad one nowhere."""
    run = begin(plan, bad=bad, autoscaled=autoscaled, tested=tested)
    for event in events:
        happen(run, event)
    if run.status.finished_at is None:
        run.until_over(LOOKS)
    run.cluster.settle()
    assert run.status.phase == ("Failed" if bad else "Complete")
    assert run.cluster.digests() == {OLD if bad else NEW: REPLICAS}


@given(
    plan=plans,
    events=happenings,
    bad=st.booleans(),
    autoscaled=st.booleans(),
    fails_test=st.booleans(),
)
def test_an_abort_converges_to_stable_from_every_state(plan, events, bad, autoscaled, fails_test):
    """Unless it had come to its end before."""
    run = begin(plan, bad=bad, autoscaled=autoscaled, tested=True, fails_test=fails_test)
    for event in events:
        happen(run, event)
    over = run.status.finished_at is not None
    run.intents = RolloutRequests(abort="bob")
    if not over:
        run.until_over(LOOKS)
    run.cluster.settle()
    if run.status.phase != "Complete":
        assert run.cluster.digests() == {OLD: REPLICAS}
        assert list(run.cluster.tracks) == ["stable"]
        assert (run.cluster.active, run.cluster.selected) == ("stable", ("stable",))
        assert run.cluster.autoscaler in (None, AutoscalerView("stable", None))
    else:
        assert over


@given(
    plan=plans, events=happenings, bad=st.booleans(), wishes=st.lists(st.integers(0, 4), max_size=5)
)
def test_a_decision_repeated_is_the_same_and_weights_are_percentages(plan, events, bad, wishes):
    """Also with wishes that make no sense at that moment; what is terminal stays so."""
    run = begin(plan, bad=bad, autoscaled=False, tested=True)
    choices = (
        RolloutRequests(),
        RolloutRequests(abort="bob"),
        RolloutRequests(promote=Promotion("ann", stage=2)),
        RolloutRequests(promote=Promotion("ann", full=True)),
        RolloutRequests(freeze=Freeze("carol", "audit")),
    )
    ended = None
    for number, event in enumerate(events):
        if number < len(wishes):
            run.intents = choices[wishes[number]]
        assert run.decide() == run.decide()
        happen(run, event)
        assert 0 <= run.status.weight <= 100
        if ended is not None:
            assert replace(run.status, keep_until=None) == ended
        elif run.status.phase in TERMINAL:
            ended = replace(run.status, keep_until=None)


@given(plan=plans, events=happenings, autoscaled=st.booleans())
def test_effects_that_were_carried_out_are_not_asked_for_again(plan, events, autoscaled):
    """Looking twice without anything having moved changes nothing the second time."""
    run = begin(plan, bad=False, autoscaled=autoscaled, tested=False)
    for event in events:
        happen(run, event)
    before = run.decide()
    if before.status.stage != run.status.stage or before.status.phase != run.status.phase:
        run.look()
        before = run.decide()
    run.cluster.do(before.effects)
    again = run.decide()
    assert again.effects == () or again.status.stage != before.status.stage


@given(st.lists(st.integers(1, 99), min_size=1, max_size=5), st.integers(1, 60))
def test_what_is_expressible_is_a_whole_number_of_pods(listed, total):
    """And a refusal names a number of replicas that would do."""
    said = weights.problem(listed, total)
    if said is None:
        assert all(0 <= weights.pods_for(weight, total) <= total for weight in listed)
    else:
        assert weights.problem(listed, weights.granule(listed)) is None
        assert f"set replicas to {weights.granule(listed)} " in said


@given(
    st.lists(st.sampled_from((10, 20, 25, 50)), min_size=1, max_size=3),
    st.integers(1, 50),
    st.integers(1, 50),
)
def test_an_autoscaled_total_expresses_the_weights(listed, present, most):
    """Whatever the autoscaler had made of it."""
    total = weights.total_for(listed, present, 1, most)
    assert weights.problem(listed, total) is None
    assert total <= most or total == weights.granule(listed)


def test_the_machine_knows_no_clock():
    """Time is an argument."""
    text = Path(__file__).read_text()
    assert "now()" not in text
    assert "import time" not in text
