"""What a rollout decides: every strategy's good and bad way, and what people may do to it on the
way.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from kubestorm.core.pod_failures import PodFailure
from kubestorm.kinds.application.rollout import strategies
from kubestorm.kinds.application.rollout.plan import decide
from kubestorm.kinds.application.rollout.values import (
    ASKED,
    EXPIRED,
    GRANTED,
    REFUSED,
    Answer,
    Approval,
    AutoscalerView,
    ClearRequest,
    Freeze,
    Promotion,
    RemoveTrack,
    RolloutRequests,
    RolloutSpec,
    Status,
)
from kubestorm.kinds.application.values import CanaryStep, Strategy

from tests.unit.rollout.pretend import BEGIN, NEW, OLD, Cluster, Run

CANARY = Strategy(
    "Canary", steps=(CanaryStep(25, pause_seconds=60), CanaryStep(50, until_promoted=True))
)
STRATEGIES = {
    "rolling": Strategy("RollingUpdate"),
    "recreate": Strategy("Recreate"),
    "blue-green": Strategy("BlueGreen", keep_seconds=100),
    "blue-green-promoted": Strategy("BlueGreen", keep_seconds=100, until_promoted=True),
    "canary": Strategy(
        "Canary", steps=(CanaryStep(25, pause_seconds=60), CanaryStep(50), CanaryStep(100))
    ),
    "canary-promoted": CANARY,
}
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())
scaled = pytest.mark.parametrize("max_replicas", [0, 12], ids=["fixed", "autoscaled"])


def run_of(strategy: Strategy, *, max_replicas: int = 0, **more: object) -> Run:
    request = RolloutSpec(NEW, OLD, strategy, replicas=4, max_replicas=max_replicas, tested=True)
    scaler = AutoscalerView("stable") if max_replicas else None
    cluster = Cluster.running(OLD, 4, autoscaler=scaler, **more)
    # Whoever has to promote does so whenever asked.
    return Run(request, cluster, intents=RolloutRequests(promote=Promotion("ann", full=True)))


@every_strategy
@scaled
def test_a_good_image_comes_to_all_pods(strategy, max_replicas):
    """All pods behind the Service run it, and the autoscaler decides again, for the track that
    serves.
    """
    run = run_of(strategy, max_replicas=max_replicas)
    run.until_over()
    assert run.status.phase == "Complete"
    assert run.cluster.digests() == {NEW: 4}
    if max_replicas:
        assert run.cluster.autoscaler == AutoscalerView(run.cluster.active, None)
    assert run.status.weight == 100


@every_strategy
@scaled
def test_a_bad_image_goes_back(strategy, max_replicas):
    """All is as it was, and the reason stays."""
    run = run_of(strategy, max_replicas=max_replicas, bad=frozenset({NEW}))
    run.until_over()
    assert (run.status.phase, run.status.reason) == ("Failed", "CrashLoop")
    assert_stable(run.cluster)


@every_strategy
def test_a_failed_test_goes_back(strategy):
    """The test decides, wherever it stands in the strategy."""
    run = run_of(strategy, fails_test=True)
    run.until_over()
    assert (run.status.phase, run.status.reason) == ("Failed", "TestFailed")
    assert_stable(run.cluster)


def assert_stable(cluster: Cluster) -> None:
    """100 % stable: four pods of the old image, the Service on them, nothing beside."""
    assert cluster.digests() == {OLD: 4}
    assert list(cluster.tracks) == ["stable"]
    assert (cluster.active, cluster.selected) == ("stable", ("stable",))
    assert cluster.autoscaler in (None, AutoscalerView("stable", None))


@every_strategy
@scaled
def test_an_abort_at_every_look_ends_at_stable(strategy, max_replicas):
    """Wherever it was, and it consumes the wish."""
    looks = 0
    while True:
        run = run_of(strategy, max_replicas=max_replicas)
        for _ in range(looks):
            decision = run.look()
            if run.status.finished_at is not None:
                break
            run.wait(decision)
        if run.status.phase == "Complete":
            break
        run.intents = replace(run.intents, abort="bob")
        run.until_over()
        assert run.status.phase == "Aborted"
        assert "bob" in run.status.message
        assert "abort" in run.cluster.consumed
        assert_stable(run.cluster)
        looks += 1
    assert looks >= 2


@every_strategy
def test_there_are_always_pods_that_serve(strategy):
    """Exchanging a good image for a good one never leaves the Service without pods."""
    if strategy.type == "Recreate":
        pytest.skip("Recreate stops the old pods first, which is what it is for")
    run = run_of(strategy)
    run.until_over()
    assert min(run.cluster.served) >= 3


def test_blue_green_keeps_the_old_pods_for_an_instant_return():
    """They stay until their time is over, and a rollback within it needs no new pod."""
    run = run_of(STRATEGIES["blue-green"])
    run.until_over()
    assert set(run.cluster.tracks) == {"stable", "green"}
    assert run.cluster.active == "green"
    back = Run(
        replace(run.request, digest=OLD, previous=NEW, cause="rollback", tested=False), run.cluster
    )
    back.now = run.now
    for _ in range(4):
        back.look()
    assert back.status.phase == "Complete"
    assert run.cluster.digests() == {OLD: 4}


def test_blue_green_lets_the_old_pods_go_in_time():
    """Not before, and never those of a newer rollout."""
    run = run_of(STRATEGIES["blue-green"])
    run.until_over()
    assert run.look().effects == ()
    run.now += dt.timedelta(seconds=101)
    assert run.look().effects == (RemoveTrack("stable"),)
    assert run.look().status.keep_until is None
    assert run.status.phase == "Complete"


def test_blue_green_leaves_the_pods_of_a_newer_rollout_alone():
    """Their end is the newer one's business."""
    run = run_of(STRATEGIES["blue-green"])
    run.until_over()
    run.now += dt.timedelta(seconds=101)
    run.intents = RolloutRequests(latest=False)
    assert run.look().effects == ()
    assert run.status.keep_until is None


def test_a_canary_has_the_share_of_pods_that_its_step_says():
    """One of four, then two; the autoscaler is held at the stable pods meanwhile."""
    run = run_of(CANARY, max_replicas=12)
    run.intents = RolloutRequests()
    run.until("Paused")
    assert {name: wanted for name, (_, wanted, _) in run.cluster.tracks.items()} == {
        "stable": 3,
        "canary": 1,
    }
    assert run.cluster.selected == ()
    assert run.cluster.autoscaler == AutoscalerView("stable", 3)
    assert run.status.weight == 25
    run.now += dt.timedelta(seconds=61)
    for _ in range(8):
        run.look()
        run.cluster.settle()
    assert run.status.reason == "AwaitingPromotion"
    assert {name: wanted for name, (_, wanted, _) in run.cluster.tracks.items()} == {
        "stable": 2,
        "canary": 2,
    }
    assert run.cluster.autoscaler == AutoscalerView("stable", 2)


def test_a_pause_ends_by_promotion():
    """The wish is consumed; one that was about another stage is dropped."""
    run = run_of(CANARY)
    run.intents = RolloutRequests()
    run.until("Paused")
    run.intents = RolloutRequests(promote=Promotion("ann", stage=run.status.stage - 1))
    assert ClearRequest("promote") in run.look().effects
    assert run.status.phase == "Paused"
    run.intents = RolloutRequests(promote=Promotion("ann", stage=run.status.stage))
    assert ClearRequest("promote") in run.look().effects
    assert run.status.weight == 50


def test_pods_that_break_during_a_pause_end_it():
    """A pause is there to look."""
    run = run_of(CANARY)
    run.intents = RolloutRequests()
    run.until("Paused")
    run.cluster.bad = frozenset({NEW})
    run.cluster.tracks["canary"][2][0].available = False
    run.until_over()
    assert run.status.phase == "Failed"
    assert_stable(run.cluster)


def test_a_long_pause_forgives_a_pod_that_restarts():
    """The deadline counts from when the pods were last all there."""
    run = run_of(
        Strategy("Canary", steps=(CanaryStep(25, until_promoted=True),), deadline_seconds=30)
    )
    run.intents = RolloutRequests()
    run.until("Paused")
    run.now += dt.timedelta(hours=2)
    run.cluster.tracks["canary"][2][0].available = False
    assert run.look().status.phase == "Paused"
    run.cluster.settle()
    run.now += dt.timedelta(seconds=10)
    assert run.look().status.reason == "AwaitingPromotion"


def test_a_stage_that_takes_too_long_fails():
    """With the sentence of what was missing."""
    run = run_of(Strategy("RollingUpdate", deadline_seconds=30))
    run.look()
    run.look()
    run.now += dt.timedelta(seconds=31)
    run.look()
    assert (run.status.phase, run.status.reason) == ("Returning", "DeadlineExceeded")
    assert "30 s" in run.status.message


def test_trouble_is_forgiven_for_a_while():
    """A registry that hiccups for some seconds is no failure, one that does so for longer is."""
    run = run_of(Strategy("RollingUpdate"))
    run.cluster.bad = frozenset({NEW})
    hiccup = PodFailure("ImagePullFailed", "It cannot be pulled.", final=False)
    run.cluster._view = lambda d, w, p: replace(Cluster._view(run.cluster, d, w, p), failure=hiccup)  # type: ignore[method-assign]
    for _ in range(3):
        run.look()
    assert (run.status.phase, run.status.reason) == ("Progressing", "ImagePullFailed")
    run.now += dt.timedelta(seconds=31)
    run.look()
    assert (run.status.phase, run.status.outcome) == ("Returning", "Failed")


DEADLINE, PATIENCE = dt.timedelta(seconds=600), dt.timedelta(seconds=30)
HICCUP = PodFailure("ImagePullFailed", "It cannot be pulled.")
SLOW = PodFailure("ProbeFailing", "Pod cart-1 is not ready.", slow=True)


@pytest.mark.parametrize(
    "failure, passed, requeue_at",
    [
        pytest.param(None, dt.timedelta(), PATIENCE, id="once, to say what probes answer"),
        pytest.param(None, PATIENCE, DEADLINE, id="then at the deadline"),
        pytest.param(SLOW, PATIENCE, DEADLINE, id="what only the deadline ends"),
        pytest.param(HICCUP, dt.timedelta(), PATIENCE, id="trouble, until the patience is over"),
    ],
)
def test_pods_are_not_asked_for_by_time(failure, passed, requeue_at):
    """Whether they are ready is watched for; a decision repeated names the same moment."""
    run = run_of(Strategy("RollingUpdate"))
    run.look()
    run.look()
    run.now += passed
    run.cluster._view = lambda d, w, p: replace(
        Cluster._view(run.cluster, d, w, p), failure=failure
    )  # type: ignore[method-assign]
    assert run.look().requeue_at == BEGIN + requeue_at
    run.now += dt.timedelta(seconds=7)
    again = run.decide()
    assert (again.requeue_at, again.status, again.again) == (BEGIN + requeue_at, run.status, False)


def test_what_time_ends_is_named_and_what_people_end_is_not():
    """A pause ends after its seconds, or when somebody says so."""
    run = run_of(CANARY)
    run.intents = RolloutRequests()
    run.until("Paused")
    ends_at = run.status.since + dt.timedelta(seconds=60)
    assert run.decide().requeue_at == ends_at
    run.now += dt.timedelta(seconds=59)
    assert run.decide().requeue_at == ends_at
    run.now = ends_at
    while run.status.reason != "AwaitingPromotion":
        run.look()
        run.cluster.settle()
    assert run.decide().requeue_at is None
    asked = replace(run, status=Status(), approval=Approval(rollout=Answer(ASKED)))
    frozen = replace(run, status=Status(), intents=RolloutRequests(freeze=Freeze("carol", "audit")))
    for waiting in (asked, frozen):
        waiting.cluster = Cluster.running(OLD, 4)
        assert waiting.decide().requeue_at is None


def test_a_way_back_that_takes_for_ever_is_looked_at_each_deadline():
    """The moment is never one that is over, so that nobody is woken again and again."""
    run = run_of(Strategy("RollingUpdate", deadline_seconds=100), bad=frozenset({NEW, OLD}))
    for _ in range(20):
        run.look()
        run.cluster.settle()
        if run.status.phase == "Returning":
            run.cluster.tracks["stable"][2].clear()
    for seconds, wanted in ((0, 100), (99, 100), (100, 200), (250, 300)):
        run.now = run.status.since + dt.timedelta(seconds=seconds)
        assert run.decide().requeue_at == run.status.since + dt.timedelta(seconds=wanted)


def test_a_freeze_holds_what_is_new():
    """And says whose it is; a rollback goes through."""
    run = run_of(Strategy("RollingUpdate"))
    run.intents = RolloutRequests(freeze=Freeze("carol", "audit week"))
    run.look()
    assert (run.status.phase, run.status.reason) == ("Pending", "Frozen")
    assert "carol" in run.status.message
    assert "audit week" in run.status.message
    run.request = replace(run.request, cause="rollback")
    run.look()
    assert run.status.phase == "Progressing"


@pytest.mark.parametrize(
    "state, phase, reason",
    [
        pytest.param(ASKED, "AwaitingApproval", "AwaitingApproval", id="waiting"),
        pytest.param(GRANTED, "Progressing", "Update", id="granted"),
        pytest.param(REFUSED, "Returning", "ApprovalRefused", id="refused"),
        pytest.param(EXPIRED, "Returning", "ApprovalExpired", id="expired"),
    ],
)
def test_an_approval_comes_first(state, phase, reason):
    """Nothing is changed before it is granted."""
    run = run_of(Strategy("RollingUpdate"))
    run.approval = Approval(rollout=Answer(state, "dan"))
    decision = run.look()
    assert decision.effects == ()
    assert (run.status.phase, run.status.reason) == (phase, reason)


def test_a_promotion_may_need_an_approval():
    """The canary waits with its last share."""
    run = run_of(Strategy("Canary", steps=(CanaryStep(50),)))
    run.approval = Approval(promote=Answer(ASKED))
    run.until("AwaitingApproval")
    assert run.status.weight == 50
    run.approval = Approval(promote=Answer(REFUSED, "dan"))
    run.until_over()
    assert (run.status.phase, run.status.reason) == ("Aborted", "ApprovalRefused")
    assert_stable(run.cluster)


def test_weights_that_pods_cannot_express_are_refused():
    """Before anything is changed, with what would be possible."""
    run = run_of(Strategy("Canary", steps=(CanaryStep(10),)))
    run.until_over()
    assert (run.status.phase, run.status.reason) == ("Failed", "StrategyRefused")
    assert "25, 50, 75 %" in run.status.message
    assert "set replicas to 10" in run.status.message
    assert_stable(run.cluster)


def test_the_first_rollout_has_nothing_to_protect():
    """It goes straight to the stable track; a bad one leaves nothing behind."""
    for bad, phase in ((frozenset(), "Complete"), (frozenset({NEW}), "Failed")):
        request = RolloutSpec(NEW, "", CANARY, replicas=4)
        run = Run(request, Cluster(bad=bad))
        run.until_over()
        assert run.status.phase == phase
        assert run.cluster.digests() == ({} if bad else {NEW: 4})


@every_strategy
def test_a_newer_rollout_takes_over_wherever_this_one_is(strategy):
    """The older ends as superseded and changes nothing more; the newer comes to all pods."""
    newer = "sha256:" + "c" * 64
    for looks in range(8):
        run = run_of(strategy)
        for _ in range(looks):
            run.look()
            run.cluster.settle()
        if run.status.phase == "Complete":
            break
        run.intents = RolloutRequests(superseded_by="orders-c-2", latest=False)
        assert run.look().effects == ()
        assert run.status.phase == "Superseded"
        next_one = Run(
            replace(run.request, digest=newer),
            run.cluster,
            intents=RolloutRequests(promote=Promotion(full=True)),
        )
        next_one.until_over()
        assert next_one.status.phase == "Complete"
        assert run.cluster.digests() == {newer: 4}


def test_a_rollout_that_waits_puts_right_what_it_took_over():
    """A superseded canary's pods do not stay while the next one is frozen."""
    run = run_of(CANARY)
    run.intents = RolloutRequests()
    run.until("Paused")
    waiting = Run(
        run.request, run.cluster, intents=RolloutRequests(freeze=Freeze("carol", "audit"))
    )
    waiting.look()
    run.cluster.settle()
    assert_stable(run.cluster)


def test_the_old_image_that_is_gone_keeps_it_returning():
    """It is not said to be back until it is, and a newer rollout may take over."""
    run = run_of(Strategy("RollingUpdate"), bad=frozenset({NEW, OLD}))
    for _ in range(20):
        run.look()
        run.cluster.settle()
        if run.status.phase == "Returning":
            run.cluster.tracks["stable"][2].clear()
    assert run.status.phase == "Returning"
    run.intents = RolloutRequests(superseded_by="orders-c-2")
    run.look()
    assert (run.status.phase, run.status.reason) == ("Failed", "CrashLoop")


def test_stages_are_the_same_each_time():
    """They are indexes into the same list for as long as the rollout lasts."""
    for strategy in STRATEGIES.values():
        request = RolloutSpec(NEW, OLD, strategy, replicas=4, tested=True)
        assert strategies.stages(request, "stable", 4) == strategies.stages(request, "stable", 4)


def test_a_status_that_is_terminal_stays():
    """Whatever is wished."""
    for phase in ("Failed", "Aborted", "Superseded", "Complete"):
        ended = Status(phase=phase, finished_at=BEGIN)
        request = RolloutSpec(NEW, OLD, Strategy(), replicas=4)
        world = Cluster.running(OLD, 4).world()
        decision = decide(
            request,
            ended,
            world,
            RolloutRequests(abort="bob", promote=Promotion()),
            Approval(),
            BEGIN,
        )
        assert decision.status == ended
        assert decision.effects == ()
