"""What a look at a repository tells, and when the next one is."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.registry.client import Look
from kubestorm.core.errors import NotFoundError, TemporaryError
from kubestorm.core.image_names import ImageName
from kubestorm.core.tag_policy import parse_follow
from kubestorm.sources.poll_failures import delay_seconds
from kubestorm.sources.registry.polling import (
    RegistryPoller,
    differences,
    looked_at,
    pushed_between,
)
from kubestorm.sources.registry.settings import PolledSettings, PollingSettings

from tests.unit.registry.test_registry_parts import Datastore

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone.utc)
CART = "registry.example.com/team/cart"


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


class Repository:
    """One repository: tag -> letter of its digest; `created` by letter."""

    def __init__(self, **tags: str) -> None:
        self.held = {tag.replace("_", "."): letter for tag, letter in tags.items()}
        self.created: dict[str, dt.datetime] = {}
        self.fail: Exception | None = None
        self.asked: list[tuple[str, str]] = []

    def tags(self, image: ImageName) -> list[str]:
        if self.fail:
            raise self.fail
        return list(self.held)

    def look(self, image: ImageName, reference: str, *, known: str = "") -> Look:
        self.asked.append((reference, known))
        if reference not in self.held:
            raise NotFoundError("gone")
        return Look(digest(self.held[reference]), changed=digest(self.held[reference]) != known)

    def image_created(self, image: ImageName, reference: str) -> dt.datetime | None:
        return self.created.get(reference[7])


class World:
    """A poller with a clock, and what it told as (tag, letter)."""

    def __init__(
        self, repository: Repository, follow: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        self.repository, self.store, self.now = repository, Datastore(), NOON
        self.settings = PollingSettings(
            interval_seconds=60, repositories=(PolledSettings(CART, follow=follow),), **settings
        )
        self.payloads: list[dict[str, Any]] = []
        self.fail: Exception | None = None
        self.restart()

    def restart(self) -> None:
        self.poller = RegistryPoller(
            self.settings, self.store, self._dispatch, logging.getLogger("test"), share=lambda: 0.0
        )

    def _dispatch(self, trigger: str, payload: Any) -> None:
        if self.fail:
            raise self.fail
        self.payloads.append(payload)

    def look(self, after: float = 60) -> list[tuple[str, str]]:
        """Poll after some seconds; what was told then."""
        self.now += dt.timedelta(seconds=after)
        told = len(self.payloads)
        self.poller.poll(self.repository, self.now)
        return [(each["tag"], each["digest"][7]) for each in self.payloads[told:]]


def test_the_first_look_only_writes_down():
    """There is nothing to compare with; later looks tell what is new and what moved."""
    world = World(Repository(v1="a", v2="b"))
    assert world.look() == []
    assert world.look() == []
    world.repository.held.update(v2="c", v3="d")
    assert world.look() == [("v2", "c"), ("v3", "d")]
    assert world.look() == []


def test_the_first_look_tells_what_is_followed():
    """One tag, the one that an Application with the same wish would run."""
    world = World(
        Repository(**{"1_0_0": "a", "1_2_0": "b", "2_0_0": "c", "latest": "c"}), {"semver": "^1"}
    )
    assert world.look() == [("1.2.0", "b")]
    world.repository.held.update({"1.3.0": "d", "2.1.0": "e", "latest": "e"})
    assert world.look() == [("1.3.0", "d")]


def test_the_first_look_at_a_branch_tells_the_newest():
    """By the time that the images say."""
    repository = Repository(**{"main-aaaaaaa": "a", "main-bbbbbbb": "b", "dev-c": "c"})
    repository.created = {"a": NOON, "b": NOON - dt.timedelta(days=1)}
    assert World(repository, {"branch": "main"}).look() == [("main-aaaaaaa", "a")]


def test_a_payload_is_that_of_a_push():
    """So that a rule need not know how it was heard of."""
    world = World(Repository(v1="a"))
    world.look()
    world.repository.held["v2"] = "b"
    world.look()
    (payload,) = world.payloads
    assert payload == {
        "registry": "registry.example.com",
        "repository": "team/cart",
        "tag": "v2",
        "digest": digest("b"),
        "media_type": "",
        "pushed_at": "2026-03-01T12:02:00Z",
        "actor": "",
        "source": "polling",
        "event_id": payload["event_id"],
    }
    assert payload["event_id"]


def test_what_was_known_survives_a_restart():
    """It is in the datastore; what came meanwhile is told, and what went is forgotten."""
    world = World(Repository(v1="a", v2="b"))
    world.look()
    world.repository.held = {"v2": "b", "v3": "c"}
    world.restart()
    assert world.look() == [("v3", "c")]
    world.repository.held["v1"] = "a"
    assert world.look() == [("v1", "a")]


def test_what_could_not_be_told_is_told_at_the_next_look():
    """With the same event id, so that a receiver may know it again."""
    world = World(Repository(v1="a"))
    world.look()
    world.repository.held["v2"] = "b"
    world.fail = ConnectionError("bus")
    assert world.look() == []
    world.fail = None
    assert world.look(after=120) == [("v2", "b")]

    again = World(Repository(v1="a"))
    again.look()
    again.repository.held["v2"] = "b"
    known = dict(again.store.values)
    again.look()
    again.store.values = known  # a crash before it was written
    again.restart()
    again.look()
    assert len({each["event_id"] for each in again.payloads}) == 1
    assert [each["tag"] for each in again.payloads] == ["v2", "v2"]


def test_several_new_tags_are_told_in_the_order_they_were_made():
    """And with times in that order, between the two looks."""
    world = World(Repository(v1="a"))
    world.look()
    world.repository.held.update(v3="c", v2="b")
    world.repository.created = {
        "b": world.now + dt.timedelta(seconds=1),
        "c": world.now + dt.timedelta(seconds=30),
    }
    assert world.look() == [("v2", "b"), ("v3", "c")]
    assert [each["pushed_at"] for each in world.payloads] == [
        "2026-03-01T12:01:01Z",
        "2026-03-01T12:01:30Z",
    ]


def test_a_tag_that_vanishes_during_a_look_is_passed_over():
    """It was in the list, and is gone when it is looked at."""
    world = World(Repository(v1="a"))
    world.repository.tags = lambda image: ["v1", "v0"]
    assert world.look() == []
    world.repository.held["v1"] = "b"
    assert world.look() == [("v1", "b")]


def test_requests_are_conditional():
    """The registry hears what is known and need not say it again."""
    world = World(Repository(v1="a"))
    world.look()
    world.look()
    assert world.repository.asked == [("v1", ""), ("v1", digest("a"))]


def test_a_registry_that_does_not_answer_is_asked_less_and_less(caplog):
    """The time doubles, is said once, and is the usual again after the first answer."""
    world = World(Repository(v1="a"), max_backoff_seconds=240)
    world.repository.fail = TemporaryError("down")
    looks = []
    original = world.repository.tags
    world.repository.tags = lambda image: (looks.append(world.now), original(image))[1]
    for _ in range(100):
        world.look(after=10)
    gaps = [(after - before).total_seconds() for before, after in zip(looks, looks[1:])]
    assert gaps[:4] == [120, 240, 240, 240]
    world.repository.fail = None
    for _ in range(50):
        world.look(after=10)
    assert (looks[-1] - looks[-2]).total_seconds() == 60
    said = [
        record.getMessage().partition(":")[0]
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]
    assert said == ["polling.failed"]


def test_each_repository_has_its_own_interval():
    """A failure of one does not hold up another."""
    settings = PollingSettings(
        interval_seconds=100,
        repositories=(
            PolledSettings("r.example/a"),
            PolledSettings("r.example/b", interval_seconds=10),
        ),
    )
    looks: list[str] = []

    class Registry(Repository):
        def tags(self, image):
            looks.append(image.repository)
            if image.repository == "a":
                raise TemporaryError("down")
            return []

    poller = RegistryPoller(
        settings, Datastore(), lambda *_: None, logging.getLogger("test"), share=lambda: 0.0
    )
    for second in range(0, 31, 5):
        poller.poll(Registry(), NOON + dt.timedelta(seconds=second))
    assert looks == ["a", "b", "b", "b", "b"]
    assert poller.tick_seconds == 2.5


@pytest.mark.parametrize(
    "interval, failures, retry_after, share, seconds",
    [
        (60, 0, None, 0.0, 60),
        (60, 0, None, 1.0, 66),
        (60, 0, None, -1.0, 54),
        (60, 1, None, 0.0, 120),
        (60, 99, None, 0.0, 3600),
        (7200, 3, None, 0.0, 7200),
        (60, 1, 600, 0.0, 600),
    ],
)
def test_the_delay_until_the_next_look(interval, failures, retry_after, share, seconds):
    """Doubled with each failure up to the bound, never before the registry's Retry-After."""
    assert delay_seconds(
        interval, failures, PollingSettings(), share, retry_after
    ) == pytest.approx(seconds)


@given(
    st.lists(st.from_regex(r"v?[0-9]{1,3}(\.[0-9]{1,3}){0,2}(-rc[0-9])?", fullmatch=True)),
    st.integers(1, 5),
)
def test_the_highest_tags_are_looked_at(tags, most):
    """At most so many, each once, with numbers as numbers."""
    found = looked_at(tags, None, most)
    assert len(found) == min(most, len(set(tags)))
    assert set(found) <= set(tags)
    assert looked_at(["1.10", "1.9", "1.2"], None, 2) == ["1.9", "1.10"]


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz")),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz")),
)
def test_what_differs_is_new_or_elsewhere(known, found):
    """After telling the differences, there are none."""
    told = differences(known, found)
    assert {
        **{tag: known[tag] for tag in found if tag in known and tag not in told},
        **{t: found[t] for t in told},
    } == found
    assert differences(found, found) == []


@given(st.none() | st.integers(-10, 10), st.none() | st.integers(-10, 0))
def test_a_push_lies_between_two_looks(made, since):
    """Whatever clock the builder had."""
    instants = [None if x is None else NOON + dt.timedelta(seconds=x) for x in (made, since)]
    found = pushed_between(instants[0], instants[1], NOON)
    assert found <= NOON
    assert instants[1] is None or found >= instants[1]


def test_only_what_is_followed_is_looked_at():
    """A pattern narrows the requests as well as the events."""
    assert looked_at(["1.0.0", "latest", "2.0.0"], parse_follow({"semver": "^1"}), 10) == ["1.0.0"]


def test_what_is_attached_to_images_is_not_looked_at():
    """Signatures would crowd the images out of the highest tags."""
    tags = ["latest", "main-1a2b3c4d", f"sha256-{'ab' * 32}.sig", f"sha256-{'cd' * 32}"]
    assert looked_at(tags, None, 2) == ["latest", "main-1a2b3c4d"]
