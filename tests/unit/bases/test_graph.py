"""Which images a new base makes out of date, and in which order they are built."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubestorm.kinds.build.base_images.plan import BUILDING, BuiltImage, ImageKey, decide

OUTSIDE = "registry.example.com/os/debian:12"


def key(name: str) -> ImageKey:
    return ImageKey("shop", name, "main")


def ref(name: str) -> str:
    return f"registry.example.com/{name}:latest"


def image(name: str, stands_on: Mapping[str, str], **more: object) -> BuiltImage:
    return BuiltImage(key(name), frozenset({ref(name)}), dict(stands_on), **more)  # type: ignore[arg-type]


class World:
    """Images that are built at once when they are asked for: a build gives a new digest and records
    its bases.
    """

    def __init__(self, bases: Mapping[str, list[str]]) -> None:
        self.digests = {OUTSIDE: "os-1", **{ref(name): f"{name}-1" for name in bases}}
        self.images = {
            name: image(name, {base: self.digests[base] for base in stands})
            for name, stands in bases.items()
        }
        self.built: list[str] = []
        self.building: set[str] = set()

    def look(self, limit: int, interactive_waiting: int = 0) -> tuple[ImageKey, ...]:
        decision = decide(
            list(self.images.values()),
            self.digests,
            limit=limit,
            interactive_waiting=interactive_waiting,
        )
        for chosen in decision.start:
            self.building.add(chosen.build)
            self.images[chosen.build] = dataclasses.replace(
                self.images[chosen.build], state=BUILDING
            )
        return decision.start

    def finish(self, name: str) -> None:
        self.building.remove(name)
        self.built.append(name)
        now = {base: self.digests[base] for base in self.images[name].bases}
        self.images[name] = image(name, now)
        self.digests[ref(name)] = f"{name}-{len(self.built) + 1}"


def test_nothing_is_out_of_date_where_the_bases_are_the_same() -> None:
    """Twice the same push starts nothing."""
    assert World({"java": [OUTSIDE], "cart": [ref("java")]}).look(5) == ()


def test_parents_come_first() -> None:
    """A child of a parent out of date waits, also where the child's own bases have all changed."""
    world = World({"java": [OUTSIDE], "cart": [ref("java"), OUTSIDE]})
    world.digests[OUTSIDE] = "os-2"
    assert world.look(5) == (key("java"),)
    assert world.look(5) == ()
    world.finish("java")
    assert world.look(5) == (key("cart"),)


def test_a_grandchild_waits_for_what_is_not_yet_out_of_date() -> None:
    """The child between is not out of date yet, but it will be."""
    world = World({"java": [OUTSIDE], "tomcat": [ref("java")], "cart": [ref("tomcat"), OUTSIDE]})
    world.digests[OUTSIDE] = "os-2"
    assert world.look(5) == (key("java"),)
    world.finish("java")
    assert world.look(5) == (key("tomcat"),)


def test_builds_that_people_wait_for_come_first() -> None:
    """While one of them is queued nothing else starts, and the sentence says so."""
    world = World({"java": [OUTSIDE]})
    world.digests[OUTSIDE] = "os-2"
    assert world.look(5, interactive_waiting=2) == ()
    decision = decide(list(world.images.values()), world.digests, limit=5, interactive_waiting=2)
    assert decision.waiting == {key("java"): "waiting for 2 builds that people requested"}


def test_a_failed_build_is_not_tried_again_on_the_same_bases() -> None:
    """It is said; and another push of the base tries it again."""
    now = {OUTSIDE: "os-2"}
    failed = image("java", {OUTSIDE: "os-1"}, failed_on=now)
    decision = decide([failed], now, limit=5)
    assert decision.start == ()
    assert "the last build on these bases failed" in decision.failed[key("java")]
    assert decide([failed], {OUTSIDE: "os-3"}, limit=5).start == (key("java"),)


def test_nobody_waits_for_what_failed() -> None:
    """A child with another base that changed is built on the parent as it is."""
    parent = image("java", {OUTSIDE: "os-1"}, failed_on={OUTSIDE: "os-2"})
    child = image("cart", {ref("java"): "java-1", OUTSIDE: "os-1"})
    digests = {OUTSIDE: "os-2", ref("java"): "java-1"}
    assert decide([parent, child], digests, limit=5).start == (key("cart"),)


def test_a_cycle_is_reported_and_not_built() -> None:
    """What stands on itself is named; what stands beside it is built."""
    images = [
        image("a", {ref("b"): "b-1", OUTSIDE: "os-1"}),
        image("b", {ref("a"): "a-1"}),
        image("self", {ref("self"): "self-1", OUTSIDE: "os-1"}),
        image("fine", {OUTSIDE: "os-1"}),
    ]
    digests = {OUTSIDE: "os-2", ref("a"): "a-1", ref("b"): "b-1", ref("self"): "self-1"}
    decision = decide(images, digests, limit=5)
    assert decision.cycles == ((key("a"), key("b")), (key("self"),))
    assert decision.start == (key("fine"),)


def test_a_base_that_nobody_knows_is_reported() -> None:
    """It makes nothing out of date."""
    decision = decide([image("cart", {"docker.io/library/debian:12": ""})], {}, limit=5)
    assert decision.unknown == {key("cart"): ("docker.io/library/debian:12",)}
    assert decision.start == ()


@pytest.mark.parametrize("limit", [1, 4, 50])
def test_two_hundred_images_are_each_built_once(limit: int) -> None:
    """One push of what all stand on: each is built once, never more than the limit at a time,
    parents first.
    """
    chance = random.Random(limit)
    names = [f"i{number:03}" for number in range(200)]
    bases = {
        name: [OUTSIDE]
        if number < 5
        else [ref(each) for each in chance.sample(names[:number], k=min(3, number))]
        for number, name in enumerate(names)
    }
    _play(World(bases), bases, limit, chance)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 25), limit=st.integers(1, 6))
def test_any_graph_is_built_once_and_in_order(seed: int, count: int, limit: int) -> None:
    """Whatever the graph and the order in which builds end."""
    chance = random.Random(seed)
    names = [f"i{number:02}" for number in range(count)]
    bases = {
        name: [
            OUTSIDE,
            *(ref(each) for each in chance.sample(names[:number], k=chance.randint(0, number))),
        ]
        for number, name in enumerate(names)
    }
    _play(World(bases), bases, limit, chance)


def _play(world: World, bases: Mapping[str, list[str]], limit: int, chance: random.Random) -> None:
    world.digests[OUTSIDE] = "os-2"
    world.look(limit)
    while world.building:
        assert len(world.building) <= limit
        world.finish(chance.choice(sorted(world.building)))
        world.look(limit)
    assert sorted(world.built) == sorted(bases)
    place = {ref(name): number for number, name in enumerate(world.built)}
    for name, stands in bases.items():
        assert all(place.get(base, -1) < place[ref(name)] for base in stands)
