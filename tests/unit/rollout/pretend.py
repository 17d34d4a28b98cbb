"""A cluster of values that does what effects say and moves its pods one step at a time, in any
order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from kubestorm.core.pod_failures import PodFailure
from kubestorm.kinds.application.rollout.plan import decide
from kubestorm.kinds.application.rollout.values import (
    PASSED,
    Activate,
    ApplyTrack,
    Approval,
    Autoscale,
    AutoscalerView,
    ClearRequest,
    Decision,
    ObservedState,
    RemoveTrack,
    RolloutRequests,
    RolloutSpec,
    RunTest,
    Select,
    Status,
    TestView,
    TrackView,
)

OLD, NEW, NEWER = ("sha256:" + letter * 64 for letter in "abc")
BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)


@dataclass
class Pod:
    """One pod of a track: its image, and whether it is available."""

    digest: str
    available: bool = False


@dataclass
class Cluster:
    """The application's part of a cluster, an autoscaler if it has one, and images that never
    become available.
    """

    tracks: dict[str, tuple[str, int, list[Pod]]] = field(default_factory=dict)
    active: str = "stable"
    selected: tuple[str, ...] = ("stable",)
    autoscaler: AutoscalerView | None = None
    bad: frozenset[str] = frozenset()
    test: TestView | None = None
    fails_test: bool = False
    consumed: list[str] = field(default_factory=list)
    served: list[int] = field(default_factory=list)
    scaled_by: list[str] = field(default_factory=list)

    @classmethod
    def running(cls, digest: str, replicas: int, **more: object) -> Cluster:
        """An application that runs well on its stable track."""
        pods = [Pod(digest, True) for _ in range(replicas)]
        return cls(tracks={"stable": (digest, replicas, pods)}, **more)  # type: ignore[arg-type]

    def world(self) -> ObservedState:
        return ObservedState(
            tracks={name: self._view(*track) for name, track in self.tracks.items()},
            active=self.active,
            selected=self.selected,
            autoscaler=self.autoscaler,
            test=self.test,
        )

    def _view(self, digest: str, wanted: int, pods: list[Pod]) -> TrackView:
        updated = [pod for pod in pods if pod.digest == digest]
        stuck = digest in self.bad and any(not pod.available for pod in updated)
        return TrackView(
            digest=digest,
            wanted=wanted,
            total=len(pods),
            updated=len(updated),
            available=sum(pod.available for pod in pods),
            failure=PodFailure("CrashLoop", "It crashes.", final=True) if stuck else None,
        )

    def do(self, effects: Iterable[object]) -> None:
        for effect in effects:
            if isinstance(effect, ApplyTrack):
                _, wanted, pods = self.tracks.get(effect.track, ("", 1, []))
                self.tracks[effect.track] = (
                    effect.digest,
                    wanted if effect.replicas is None else effect.replicas,
                    pods,
                )
            elif isinstance(effect, RemoveTrack):
                self.tracks.pop(effect.track, None)
            elif isinstance(effect, Select):
                self.selected = effect.tracks
            elif isinstance(effect, Activate):
                self.active = effect.track
            elif isinstance(effect, Autoscale):
                self.autoscaler = AutoscalerView(effect.track, effect.held)
            elif isinstance(effect, RunTest):
                state = "Failed" if self.fails_test else PASSED
                self.test = TestView(effect.key, state, "asked")
            elif isinstance(effect, ClearRequest):
                self.consumed.append(effect.request)
            self.served.append(self.serving())

    def move(self, name: str) -> None:
        """One step of a Deployment's controller: an old pod out when a new one serves, a new one
        in, or ready.
        """
        if name not in self.tracks:
            return
        digest, wanted, pods = self.tracks[name]
        fresh = [pod for pod in pods if pod.digest == digest]
        waiting = [pod for pod in fresh if not pod.available]
        stale = [pod for pod in pods if pod.digest != digest]
        if waiting and digest not in self.bad:
            waiting[0].available = True
        elif stale and len([pod for pod in fresh if pod.available]) + len(stale) > wanted:
            pods.remove(stale[0])
        elif len(fresh) < wanted and not waiting:
            pods.append(Pod(digest))
        elif len(fresh) > wanted:
            pods.remove(fresh[-1])
        elif stale and not waiting:
            pods.remove(stale[0])
        self.served.append(self.serving())

    def settle(self) -> None:
        for _ in range(200):
            for name in list(self.tracks):
                self.move(name)

    def serving(self) -> int:
        """Available pods that the Service sends requests to."""
        chosen = self.selected or tuple(self.tracks)
        return sum(
            pod.available for name in chosen if name in self.tracks for pod in self.tracks[name][2]
        )

    def digests(self) -> dict[str, int]:
        """Pods of each image behind the Service."""
        found: dict[str, int] = {}
        for name in self.selected or tuple(self.tracks):
            for pod in self.tracks[name][2] if name in self.tracks else []:
                found[pod.digest] = found.get(pod.digest, 0) + 1
        return found


@dataclass
class Run:
    """One rollout led through a cluster, with time that passes as the decisions ask for it.

    It is looked at as the sensor does: at once where the decision says so or the cluster has moved,
    else at the moment that the decision names.
    """

    request: RolloutSpec
    cluster: Cluster
    status: Status = field(default_factory=Status)
    intents: RolloutRequests = field(default_factory=RolloutRequests)
    approval: Approval = field(default_factory=Approval)
    now: dt.datetime = BEGIN
    seen: list[Status] = field(default_factory=list)

    def decide(self) -> Decision:
        return decide(
            self.request, self.status, self.cluster.world(), self.intents, self.approval, self.now
        )

    def look(self, *, crash: bool = False) -> Decision:
        """Decide, carry out, remember; with `crash` the status is lost after the effects."""
        decision = self.decide()
        self.cluster.do(decision.effects)
        if not crash:
            self.status = decision.status
            self.seen.append(self.status)
            for effect in decision.effects:
                if isinstance(effect, ClearRequest):
                    self.intents = replace(
                        self.intents,
                        **{"abort": ""} if effect.request == "abort" else {"promote": None},
                    )
        return decision

    def until_over(self, looks: int = 300) -> Status:
        """Look, let the pods move and time pass, until nothing is to be done any more."""
        for _ in range(looks):
            decision = self.look()
            if self.status.finished_at is not None:
                return self.status
            self.wait(decision)
        raise AssertionError(f"never over: {self.status} {self.cluster.world()}")

    def wait(self, decision: Decision) -> None:
        """Let the pods move; where they do not, time passes until the decision wants a look."""
        before = self.cluster.world()
        self.cluster.settle()
        tests = any(isinstance(effect, RunTest) for effect in decision.effects)
        if decision.again or tests or self.cluster.world() != before:
            return
        if decision.requeue_at is None:
            raise AssertionError(f"nothing would wake it: {self.status} {self.cluster.world()}")
        self.now = max(self.now, decision.requeue_at)

    def until(self, phase: str, looks: int = 100) -> None:
        """The same until it is in this phase."""
        for _ in range(looks):
            decision = self.look()
            if self.status.phase == phase:
                return
            self.wait(decision)
        raise AssertionError(f"never {phase}: {self.status}")
