"""Which images of a build are made, and why the others are not. Pure.

What counts is the image's own last good build, not the last commit: a change that failed to build
is still a change.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, FrozenSet, Mapping, NamedTuple, Optional, Sequence, Tuple

from kubestorm.kinds.build.paths import PathFilter
from kubestorm.kinds.build.spec import ImageSpec

FIRST_BUILD = "FirstBuild"
REQUESTED = "Requested"
DEFINITION_CHANGED = "DefinitionChanged"
HISTORY_REWRITTEN = "HistoryRewritten"
PATHS_CHANGED = "PathsChanged"
UP_TO_DATE = "UpToDate"
PATHS_UNCHANGED = "PathsUnchanged"
NOT_REQUESTED = "NotRequested"
SHOWN_COMMIT = 8


class LastGood(NamedTuple):
    """An image's last build that ended well: from which commit, with which definition, and what
    came out.
    """

    commit: str
    inputs: str
    digest: str = ""


class Request(NamedTuple):
    """Somebody asked for a build by a command. No images means all of them; `force` builds what has
    not changed too.
    """

    id: str
    by: str = ""
    images: FrozenSet[str] = frozenset()
    force: bool = True


class Decision(NamedTuple):
    """What is done about one image, with one word and one sentence why."""

    image: str
    build: bool
    reason: str
    message: str


Changes = Mapping[str, Optional[Sequence[str]]]
"""Commit of a last good build -> the paths that differ between it and the new commit; None where
the new commit's history does not lead back to it."""


def inputs_of(image: ImageSpec) -> str:
    """A short fingerprint of what else than the source an image is made from: a change of it is a
    reason to build.
    """
    said: Dict[str, Any] = {
        "context": image.context,
        "dockerfile": image.dockerfile,
        "build_args": dict(image.build_args),
        "target": image.target,
        "platforms": list(image.platforms),
        "reference": image.reference,
        "tags": list(image.tags),
        "test": list(image.test_command),
    }
    if image.dockerfile_text:
        said["dockerfile_text"] = image.dockerfile_text
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def plan_images(
    images: Sequence[ImageSpec],
    *,
    commit: str,
    last_good: Mapping[str, LastGood],
    changes: Changes,
    request: Optional[Request] = None,
) -> Tuple[Decision, ...]:
    """One decision for each image, in their order."""
    return tuple(
        _decide(image, commit, last_good.get(image.name), changes, request) for image in images
    )


def _decide(
    image: ImageSpec,
    commit: str,
    last: Optional[LastGood],
    changes: Changes,
    request: Optional[Request],
) -> Decision:
    if request is not None and request.images and image.name not in request.images:
        return Decision(
            image.name, False, NOT_REQUESTED, f"{request.by or 'Somebody'} asked for other images."
        )
    if request is not None and request.force:
        return Decision(image.name, True, REQUESTED, f"{request.by or 'Somebody'} asked for it.")
    if last is None:
        return Decision(image.name, True, FIRST_BUILD, "It has never been built.")
    if last.inputs != inputs_of(image):
        return Decision(
            image.name,
            True,
            DEFINITION_CHANGED,
            "Its definition has changed since its last good build.",
        )
    if last.commit == commit:
        return Decision(
            image.name,
            False,
            UP_TO_DATE,
            f"It has been built from {commit[:SHOWN_COMMIT]} already.",
        )
    changed = changes.get(last.commit)
    since = last.commit[:SHOWN_COMMIT]
    if changed is None:
        message = (
            f"The history does not lead back to {since}, its last good build (a force-push, or "
            "another branch)."
        )
        return Decision(image.name, True, HISTORY_REWRITTEN, message)
    found = PathFilter(image.paths).first(changed)
    if found is None:
        message = f"None of its paths has changed since {since}, its last good build."
        return Decision(image.name, False, PATHS_UNCHANGED, message)
    return Decision(
        image.name, True, PATHS_CHANGED, f"{found} has changed since {since}, its last good build."
    )
