"""Decides which images are out of date because of a new base, and which of them to build now. Pure.

No queue is kept that could be lost: an image is out of date while a base has another digest than
the one it was built on, so every check of the same state decides the same, and after a crash the
next check continues.

- Parents first: an image waits while a direct or indirect base is out of date or being built.
- Each once, however many of its bases changed: only when all of them are up to date.
- A few at a time, and none while a build that a person waits for is queued.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Sequence, Set, Tuple

IDLE, BUILDING = "idle", "building"


class ImageKey(NamedTuple):
    """One image of one ImageBuild."""

    namespace: str
    build: str
    image: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.build}:{self.image}"


@dataclass(frozen=True)
class BuiltImage:
    """An image as it was last built."""

    key: ImageKey
    produces: FrozenSet[str]
    """Its tags: `registry/repository:tag`."""
    bases: Mapping[str, str]
    """Name of a base -> the digest at the last successful build; empty where unknown."""
    failed_on: Mapping[str, str] = field(default_factory=dict)
    """The same for a later build that failed, which is not repeated on the same bases."""
    state: str = IDLE
    """`building` also while a build is only requested."""


@dataclass(frozen=True)
class Decision:
    """What to build now, and why the rest waits; `waiting` and `failed` have sentences for
    people.
    """

    start: Tuple[ImageKey, ...] = ()
    waiting: Mapping[ImageKey, str] = field(default_factory=dict)
    failed: Mapping[ImageKey, str] = field(default_factory=dict)
    """Out of date, but not built again: the build on these bases failed."""
    cycles: Tuple[Tuple[ImageKey, ...], ...] = ()
    unknown: Mapping[ImageKey, Tuple[str, ...]] = field(default_factory=dict)
    """Bases whose digest is unknown, as their registry is not configured."""


def decide(
    images: Sequence[BuiltImage],
    digests: Mapping[str, str],
    *,
    limit: int,
    interactive_waiting: int = 0,
) -> Decision:
    """Choose the builds to start. `digests` has the current digest of each base, by name; `limit`
    includes running builds.
    """
    by_key = {image.key: image for image in images}
    parents = _parents(images)
    cycles = _cycles(parents)
    in_cycle = {key for cycle in cycles for key in cycle}
    outdated = {image.key for image in images if _is_outdated(image, digests)}
    failed_here = {key for key in outdated if _has_failed_on_these(by_key[key], digests)}
    building = {image.key for image in images if image.state == BUILDING}
    start: List[ImageKey] = []
    waiting: Dict[ImageKey, str] = {}
    failed: Dict[ImageKey, str] = {}
    # What failed or is in a cycle does not become up to date by waiting: nothing waits for it.
    pending = _reached_from(
        (outdated - failed_here - in_cycle) | building, parents, stop_at=in_cycle
    )
    room = limit - len(building)
    for key in sorted(outdated - building):
        below = [parent for parent in sorted(parents[key]) if parent in pending and parent != key]
        if key in in_cycle:
            continue
        if key in failed_here:
            failed[key] = (
                "the last build on these bases failed; another base or commit triggers the next"
            )
        elif below:
            waiting[key] = f"waiting for {below[0]}"
        elif interactive_waiting:
            waiting[key] = f"waiting for {interactive_waiting} builds that people requested"
        elif len(start) >= room:
            waiting[key] = f"at most {limit} are built at a time"
        else:
            start.append(key)
    missing = {
        image.key: tuple(sorted(base for base in image.bases if not digests.get(base)))
        for image in images
    }
    unknown = {key: bases for key, bases in missing.items() if bases}
    return Decision(tuple(start), waiting, failed, cycles, unknown)


def _is_outdated(image: BuiltImage, digests: Mapping[str, str]) -> bool:
    return any(
        digests.get(base) and digests[base] != built_on for base, built_on in image.bases.items()
    )


def _has_failed_on_these(image: BuiltImage, digests: Mapping[str, str]) -> bool:
    if not image.failed_on:
        return False
    return all(digests.get(base, tried) == tried for base, tried in image.failed_on.items())


def _parents(images: Sequence[BuiltImage]) -> Dict[ImageKey, Set[ImageKey]]:
    """The images that each image is built on directly."""
    makers: Dict[str, Set[ImageKey]] = {}
    for image in images:
        for name in image.produces:
            makers.setdefault(name, set()).add(image.key)
    return {
        image.key: {maker for base in image.bases for maker in makers.get(base, ())}
        for image in images
    }


def _reached_from(
    roots: Set[ImageKey], parents: Mapping[ImageKey, Set[ImageKey]], *, stop_at: Set[ImageKey]
) -> Set[ImageKey]:
    """The roots and all images built on them, directly or indirectly, except through `stop_at`."""
    children: Dict[ImageKey, List[ImageKey]] = {}
    for child, below in parents.items():
        for parent in below:
            children.setdefault(parent, []).append(child)
    reached = set(roots)
    open_keys = list(roots)
    while open_keys:
        for child in children.get(open_keys.pop(), ()):
            if child not in reached and child not in stop_at:
                reached.add(child)
                open_keys.append(child)
    return reached


def _cycles(parents: Mapping[ImageKey, Set[ImageKey]]) -> Tuple[Tuple[ImageKey, ...], ...]:
    """The groups of images that are built on themselves, each sorted (Tarjan's strongly connected
    components).
    """
    index: Dict[ImageKey, int] = {}
    low: Dict[ImageKey, int] = {}
    stack: List[ImageKey] = []
    found: List[Tuple[ImageKey, ...]] = []
    for root in sorted(parents):
        if root in index:
            continue
        # An explicit stack: a chain of bases may be longer than Python's recursion limit.
        work = [(root, iter(sorted(parents[root])))]
        index[root] = low[root] = len(index)
        stack.append(root)
        while work:
            key, rest = work[-1]
            parent = next(rest, None)
            if parent is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[key])
                if low[key] == index[key]:
                    group = stack[stack.index(key) :]
                    del stack[stack.index(key) :]
                    if len(group) > 1 or key in parents[key]:
                        found.append(tuple(sorted(group)))
            elif parent not in index:
                index[parent] = low[parent] = len(index)
                stack.append(parent)
                work.append((parent, iter(sorted(parents[parent]))))
            elif parent in stack:
                low[key] = min(low[key], index[parent])
    return tuple(sorted(found))
