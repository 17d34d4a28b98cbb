"""The values that a rollout is decided from and that a decision is made of.

A *track* is one Deployment of the application (`stable`, `green`, `canary`); the *active* track is
the one with the last good image. A *layout* says how the cluster should look during one stage.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from kubestorm.core.image_names import short_digest
from kubestorm.core.pod_failures import PodFailure
from kubestorm.kinds.application.values import Strategy

STABLE, GREEN, CANARY_TRACK = "stable", "green", "canary"

PENDING, AWAITING_APPROVAL, PROGRESSING, PAUSED, TESTING, PROMOTING, RETURNING = (
    "Pending",
    "AwaitingApproval",
    "Progressing",
    "Paused",
    "Testing",
    "Promoting",
    "Returning",
)
COMPLETE, FAILED, ABORTED, SUPERSEDED = "Complete", "Failed", "Aborted", "Superseded"
TERMINAL = frozenset((COMPLETE, FAILED, ABORTED, SUPERSEDED))
WAITING = frozenset((PENDING, AWAITING_APPROVAL))

PUSH, PERSON, ROLLBACK, FOLLOW = "push", "person", "rollback", "follow"


# What is asked for.


@dataclass(frozen=True)
class RolloutSpec:
    """One rollout as its object's spec and the application's say it. Digests are `sha256:...`."""

    digest: str
    previous: str = ""
    """The last good digest; empty for an application that never ran."""
    strategy: Strategy = field(default_factory=Strategy)
    replicas: int = 1
    """Pods wanted, the fewest where an autoscaler decides."""
    max_replicas: int = 0
    """The most that the autoscaler may make; 0 without one."""
    tested: bool = False
    """Whether the application has a post-deploy test."""
    cause: str = PUSH
    patience_seconds: float = 30.0
    """How long pods may fail before the rollout does: a short outage of a registry is tolerated.
    """

    @property
    def autoscaled(self) -> bool:
        return self.max_replicas > 0


# What is observed.


@dataclass(frozen=True)
class TrackView:
    """One Deployment as it is."""

    digest: str
    wanted: int
    """Its spec.replicas."""
    total: int = 0
    updated: int = 0
    available: int = 0
    observed: bool = True
    """Whether the numbers answer for the present spec (observedGeneration)."""
    failure: Optional[PodFailure] = None

    @property
    def updated_available(self) -> int:
        """Pods of the present template that are certainly available: Kubernetes counts available
        ones of all templates together.
        """
        return max(0, self.available - (self.total - self.updated))

    def is_settled(self) -> bool:
        """Every wanted pod is of the present template and available, and no other is left."""
        return self.observed and self.total == self.updated == self.available == self.wanted


@dataclass(frozen=True)
class AutoscalerView:
    """The HorizontalPodAutoscaler: whose pods it counts, and at how many it is held (None: it
    decides).
    """

    track: str
    held: Optional[int] = None


RUNNING, PASSED, NOT_PASSED = "Running", "Passed", "Failed"


@dataclass(frozen=True)
class TestView:
    """What the post-deploy test of one stage (`key`) has found so far."""

    __test__ = False  # no test case, whatever pytest thinks of its name

    key: str
    state: str
    message: str = ""
    again_at: Optional[dt.datetime] = None
    """When to ask again, where it runs."""


@dataclass(frozen=True)
class ObservedState:
    """The application's part of the cluster."""

    tracks: Mapping[str, TrackView] = field(default_factory=dict)
    active: str = STABLE
    selected: Optional[Tuple[str, ...]] = (STABLE,)
    """Whose pods the Service sends requests to; () is every track's, None: there is no Service."""
    autoscaler: Optional[AutoscalerView] = None
    test: Optional[TestView] = None


@dataclass(frozen=True)
class Promotion:
    """A person's promotion: past the pause of stage `stage` (-1: the present one), or
    past every pause.
    """

    by: str = ""
    stage: int = -1
    full: bool = False


@dataclass(frozen=True)
class Freeze:
    """Nothing new is rolled out meanwhile."""

    owner: str
    reason: str


@dataclass(frozen=True)
class RolloutRequests:
    """What people and newer rollouts request of this one."""

    abort: str = ""
    """Who requested the abort; empty where nobody did."""
    promote: Optional[Promotion] = None
    freeze: Optional[Freeze] = None
    superseded_by: str = ""
    """The newer rollout that takes over."""
    latest: bool = True
    """Whether no newer rollout exists."""


NOT_NEEDED, ASKED, GRANTED, REFUSED, EXPIRED = (
    "NotNeeded",
    "Waiting",
    "Granted",
    "Refused",
    "Expired",
)


@dataclass(frozen=True)
class Answer:
    """Where one approval stands."""

    state: str = NOT_NEEDED
    by: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it need not be waited for."""
        return self.state in (NOT_NEEDED, GRANTED)


@dataclass(frozen=True)
class Approval:
    """May it begin, and may it be promoted."""

    rollout: Answer = field(default_factory=Answer)
    promote: Answer = field(default_factory=Answer)


# What is remembered and decided.


@dataclass(frozen=True)
class Status:
    """What one decision hands to the next; the object's status holds it."""

    phase: str = PENDING
    stage: int = 0
    """Index into the stages, from 0."""
    since: Optional[dt.datetime] = None
    """When the stage began."""
    weight: int = 0
    """Percent of the pods that are meant to run the new image."""
    base: str = ""
    """The track that was active when it began; empty before."""
    total: int = 0
    """The pods it began with."""
    outcome: str = ""
    """What it will be when it has returned."""
    reason: str = ""
    message: str = ""
    trouble: str = ""
    """Why pods of the new image fail now; empty while none does."""
    trouble_since: Optional[dt.datetime] = None
    unsettled_since: Optional[dt.datetime] = None
    """Since when the stage's pods are not all available."""
    started_at: Optional[dt.datetime] = None
    finished_at: Optional[dt.datetime] = None
    keep_until: Optional[dt.datetime] = None
    """BlueGreen: when the old pods may go."""
    tested: str = ""
    """What the last test said; empty while there was none."""


@dataclass(frozen=True)
class TrackTarget:
    """What one track should be: which image, how many pods (None: that is the autoscaler's, or left
    as it is).
    """

    digest: str
    replicas: Optional[int]


@dataclass(frozen=True)
class Layout:
    """How the application's part of the cluster should look. Tracks that are neither named nor
    spared are removed.
    """

    tracks: Mapping[str, TrackTarget]
    active: str
    selected: Tuple[str, ...]
    """() selects every track."""
    spared: Tuple[str, ...] = ()
    scaled: str = ""
    """The track whose pods the autoscaler counts."""
    held: Optional[int] = None
    """Where the autoscaler is held; None lets it decide."""


@dataclass(frozen=True)
class Settled:
    """Go on when the layout stands and its pods are available."""


@dataclass(frozen=True)
class Pause:
    """Go on after some time, or (None) when a person promotes."""

    seconds: Optional[float]


@dataclass(frozen=True)
class Test:
    """Go on when the post-deploy test has passed on the pods of a track."""

    __test__ = False

    key: str
    track: str


@dataclass(frozen=True)
class Approve:
    """Go on when the promotion is approved."""


Gate = Union[Settled, Pause, Test, Approve]


@dataclass(frozen=True)
class Stage:
    """One stretch of a rollout: a layout to reach, and what must be true before the next."""

    name: str
    phase: str
    layout: Layout
    weight: int
    gate: Gate = field(default_factory=Settled)


# Effects, in the words of the one who carries them out.


@dataclass(frozen=True)
class ApplyTrack:
    """Have the track's Deployment with this image; `replicas` None leaves their number alone.

    `by_scale`: an autoscaler owns the number, so it is set through the scale subresource and never
    applied.
    """

    track: str
    digest: str
    replicas: Optional[int]
    by_scale: bool = False


@dataclass(frozen=True)
class RemoveTrack:
    track: str


@dataclass(frozen=True)
class Select:
    """Have the Service send requests to these tracks; () is all of them."""

    tracks: Tuple[str, ...]


@dataclass(frozen=True)
class Activate:
    """Write down which track is the active one."""

    track: str


@dataclass(frozen=True)
class Autoscale:
    """Point the autoscaler at a track, held at a number of pods or (None) free to decide."""

    track: str
    held: Optional[int]


@dataclass(frozen=True)
class RunTest:
    key: str
    track: str


@dataclass(frozen=True)
class ClearRequest:
    """Remove a request that was carried out (`abort`, `promote`)."""

    request: str


Effect = Union[ApplyTrack, RemoveTrack, Select, Activate, Autoscale, RunTest, ClearRequest]


@dataclass(frozen=True)
class Decision:
    """Carry the effects out in this order and write the status."""

    effects: Tuple[Effect, ...]
    status: Status
    requeue_at: Optional[dt.datetime] = None
    """When time alone changes what is to be done; None where only an event or a person does."""
    again: bool = False
    """Decide once more at once: what was written or changed is what the next decision is about."""


@dataclass(frozen=True)
class PastRollout:
    """One rollout of the Application, as its object says it."""

    name: str
    number: int
    digest: str
    tag: str = ""
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    cause: str = "push"
    desired_id: str = ""
    """`DesiredImage.id` of the image that it was created for."""
    requested_by: str = ""
    request: str = ""
    created_at: Optional[dt.datetime] = None
    finished_at: Optional[dt.datetime] = None

    @property
    def is_over(self) -> bool:
        return self.phase in TERMINAL

    @property
    def shown(self) -> str:
        """The image for a person: its tag, else a short digest."""
        return self.tag or short_digest(self.digest)


@dataclass(frozen=True)
class NewRollout:
    """A rollout to create."""

    number: int
    digest: str
    tag: str
    previous: str
    previous_tag: str
    cause: str
    requested_by: str
    desired_id: str
    request: str = ""
    """The id of the rollback that it answers."""

    @property
    def shown(self) -> str:
        """The image for a person: its tag, else a short digest."""
        return self.tag or short_digest(self.digest)


def good_rollout(history: Sequence[PastRollout]) -> Optional[PastRollout]:
    """The last rollout that came to all pods."""
    return max(
        (past for past in history if past.phase == COMPLETE),
        key=lambda past: past.number,
        default=None,
    )


class DesiredImage(NamedTuple):
    """The image that an Application should run: the newest push that it follows, or what a person
    chose.
    """

    digest: str
    tag: str = ""
    id: str = ""
    """Of the event, the same however often it is delivered."""
    recorded_at: Optional[dt.datetime] = None
    pushed_at: Optional[dt.datetime] = None
    by: str = ""
    cause: str = PUSH
    follows: bool = False
    """Whether another push was so shortly before it that more may come."""

    @property
    def shown(self) -> str:
        """The image for a person: its tag, else a short digest."""
        return self.tag or short_digest(self.digest)


class RollbackRequest(NamedTuple):
    """A person's rollback: to a digest, a tag, a rollout's name or `previous`."""

    target: str
    by: str
    id: str = ""
    """Identifies the request; may be empty."""
