"""Which build is due, and which of its images are built. Pure; times are passed in.

A build answers a key: the commit, the spec and a person's request, as one word. Another key is
another build; while one is under way the next waits, so that many pushes end in two builds, of
which the last one counts. An image is built when its paths have changed since its own last
successful build, not since the last commit: a change that failed to build is still a change.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from kubestorm.core import untrusted
from kubestorm.core.times import format_time, parse_time
from kubestorm.kinds.build.paths import PathFilter
from kubestorm.kinds.build.spec import ImageBuildSpec, ImageSpec
from kubestorm.kinds.build.status import (
    SHOWN_COMMIT,
    Cause,
    ImageState,
    LastGood,
    Outcome,
    Phase,
    Reason,
    Record,
    Request,
    build_in,
    cancel_reason,
    finished,
    is_progressing,
)

REDISPATCH_SECONDS = 300.0
"""After which an execution that has not started is requested again: it may wait for a worker that
long."""


# Which build is due.


class StartBuild(NamedTuple):
    """An execution that builds is to be requested; `build` is the build's record, to be written
    first.
    """

    build: Record


class FinishBuild(NamedTuple):
    """The build is over without an execution of its own having written that."""

    build: Record


Decision = Union[StartBuild, FinishBuild, None]


def spec_digest(spec: ImageBuildSpec) -> str:
    """A word for everything in a spec that can change what is built; `notify` does not."""
    inputs = {
        "source": [spec.source.address.url, spec.source.branch, spec.source.revision],
        "builder": spec.builder,
        "images": [[each.name, inputs_of(each), list(each.paths)] for each in spec.images],
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def key_of(commit: str, spec: ImageBuildSpec, request_id: str) -> str:
    """What a build answers. A request counts until the next one, also when commits follow it."""
    return "/".join((commit[:12], spec_digest(spec), request_id or "-"))


def plan_build(
    status: Mapping[str, Any],
    spec: ImageBuildSpec,
    *,
    request: Optional[Request],
    alive: bool,
    attempts: int,
    now: dt.datetime,
) -> Decision:
    """What is to be done about an ImageBuild now; None: nothing.

    `alive` says whether an execution (or a Job) works on the build; `attempts` is how often a build
    is started that nobody ends.
    """
    build = build_in(status)
    if is_progressing(build):
        cancel = cancel_reason(status, untrusted.integer(build.get("number")))
        return _plan_progressing(build, cancel, alive, attempts, now)
    if not wants_another(status, spec, request):
        return None
    source = untrusted.mapping(status.get("source"))
    is_new_request = request is not None and request.id != build.get("requestId")
    commit = str(source.get("commit") or "")
    request_id = request.id if request else str(build.get("requestId") or "")
    return StartBuild(
        {
            **_new_build(build, commit, request if is_new_request else None, now),
            "key": key_of(commit, spec, request_id),
            "branch": str(source.get("branch") or spec.source.shown),
            "builder": spec.builder,
            "requestId": request_id,
        }
    )


def wants_another(
    status: Mapping[str, Any], spec: ImageBuildSpec, request: Optional[Request]
) -> bool:
    """Whether another build than the one in the status is due: now, or after it."""
    build = build_in(status)
    if spec.suspend and (request is None or request.id == build.get("requestId")):
        return False
    commit = str(untrusted.mapping(status.get("source")).get("commit") or "")
    request_id = request.id if request else str(build.get("requestId") or "")
    return bool(build.get("key") != key_of(commit, spec, request_id))


def _new_build(before: Record, commit: str, request: Optional[Request], now: dt.datetime) -> Record:
    cause = Cause.FIRST_BUILD
    if request is not None:
        cause = Cause.COMMAND
    elif before:
        cause = Cause.COMMIT if before.get("commit") != commit else Cause.SPEC_CHANGE
    return {
        "number": untrusted.integer(before.get("number")) + 1,
        "commit": commit,
        "phase": Phase.REQUESTED,
        "cause": cause,
        "requestedBy": request.by if request else "",
        "requestImages": sorted(request.images) if request else [],
        "requestForce": bool(request.force) if request else False,
        "requestedAt": format_time(now),
        "dispatchedAt": format_time(now),
        "interruptions": 0,
    }


def _plan_progressing(
    build: Record, cancel: str, alive: bool, attempts: int, now: dt.datetime
) -> Decision:
    if alive:
        return None  # whoever works on it sees a cancellation itself
    if cancel:
        return FinishBuild(finished(build, Outcome.CANCELED, cancel, now))
    again = {"phase": Phase.REQUESTED, "dispatchedAt": format_time(now)}
    if build["phase"] == Phase.RUNNING:
        count = untrusted.integer(build.get("interruptions")) + 1
        build = {**build, "interruptions": count}
        if count >= attempts:
            message = f"Started {count} times and never finished; check the build host."
            return FinishBuild(finished(build, Outcome.FAILED, message, now))
        return StartBuild({**build, **again, "message": "Interrupted; starting again."})
    due = start_at(build)
    return StartBuild({**build, **again}) if due is None or due <= now else None


def start_at(build: Mapping[str, Any]) -> Optional[dt.datetime]:
    """When an execution is to be requested (again) for a build that none works on; None: now."""
    dispatched = parse_time(build.get("dispatchedAt"))
    times = [parse_time(build.get("notBefore"))]
    if dispatched is not None:
        times.append(dispatched + dt.timedelta(seconds=REDISPATCH_SECONDS))
    return max((each for each in times if each is not None), default=None)


def requeue_at(build: Mapping[str, Any], silent_seconds: float, now: dt.datetime) -> Optional[str]:
    """When a build is to be checked again if nothing has changed until then; None: never.

    `silent_seconds` is how long a running build may go without a sign of life.
    """
    if build.get("phase") == Phase.RUNNING:
        return format_time(now + dt.timedelta(seconds=silent_seconds))
    if build.get("phase") == Phase.REQUESTED:
        return format_time(start_at(build) or now)
    return None


# Which images are built.


class ImageDecision(NamedTuple):
    """Whether one image is built, with one word and one sentence why."""

    image: str
    build: bool
    reason: Reason
    message: str


Changes = Mapping[str, Optional[Sequence[str]]]
"""Commit of a last successful build -> the paths that differ between it and the new commit; None
where it is not an ancestor of the new commit."""


def inputs_of(image: ImageSpec) -> str:
    """A fingerprint of what an image is built from besides the source: a change of it is a reason
    to build.
    """
    inputs: Dict[str, Any] = {
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
        inputs["dockerfile_text"] = image.dockerfile_text
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def plan_images(
    images: Sequence[ImageSpec],
    *,
    commit: str,
    last_good: Mapping[str, LastGood],
    changes: Changes,
    request: Optional[Request] = None,
) -> Tuple[ImageDecision, ...]:
    """One decision for each image, in their order."""
    return tuple(
        ImageDecision(
            image.name, *_plan_image(image, commit, last_good.get(image.name), changes, request)
        )
        for image in images
    )


def _plan_image(
    image: ImageSpec,
    commit: str,
    last: Optional[LastGood],
    changes: Changes,
    request: Optional[Request],
) -> Tuple[bool, Reason, str]:
    if request is not None:
        by = request.by or "somebody"
        if request.images and image.name not in request.images:
            return False, Reason.NOT_REQUESTED, f"Not among the images that {by} requested."
        if request.force:
            return True, Reason.REQUESTED, f"Requested by {by}."
    if last is None:
        return True, Reason.FIRST_BUILD, "Not built yet."
    since = f"since the last successful build ({last.commit[:SHOWN_COMMIT]})"
    if last.inputs != inputs_of(image):
        return True, Reason.DEFINITION_CHANGED, f"The image's definition changed {since}."
    if last.commit == commit:
        return False, Reason.UP_TO_DATE, f"Already built from {commit[:SHOWN_COMMIT]}."
    changed = changes.get(last.commit)
    if changed is None:
        message = (
            f"{last.commit[:SHOWN_COMMIT]}, the last successful build, is not an ancestor "
            "(force-push or another branch)."
        )
        return True, Reason.HISTORY_REWRITTEN, message
    found = PathFilter(image.paths).first(changed)
    if found is None:
        return False, Reason.PATHS_UNCHANGED, f"No path of the image changed {since}."
    return True, Reason.PATHS_CHANGED, f"{found} changed {since}."


def planned(
    decisions: Sequence[ImageDecision], before: Mapping[str, Record], *, number: int, commit: str
) -> List[Record]:
    """The images' records at the start of a build; a skipped image keeps its last result."""
    found: List[Record] = []
    for decision in decisions:
        good = dict((before.get(decision.image) or {}).get("lastGood") or {})
        record: Record = {
            "name": decision.image,
            "state": ImageState.WAITING if decision.build else ImageState.SKIPPED,
            "reason": decision.reason,
            "message": decision.message,
            "build": number,
            "commit": commit,
            "attempts": 0,
        }
        if not decision.build and good:
            record.update(
                {key: good[key] for key in ("digest", "reference", "tags") if key in good}
            )
        if good:
            record["lastGood"] = good
        failed_on = (before.get(decision.image) or {}).get("failedOn")
        if failed_on and not decision.build:
            record["failedOn"] = dict(failed_on)
        found.append(record)
    return found


def is_planned(records: Mapping[str, Record], spec: ImageBuildSpec, number: int) -> bool:
    """Whether the images' records are those of this build."""
    return [each.name for each in spec.images] == list(records) and all(
        record.get("build") == number for record in records.values()
    )


def due_images(records: Mapping[str, Record], now: dt.datetime) -> Tuple[str, ...]:
    """The images that can be started now, in their order."""
    return tuple(
        name
        for name, record in records.items()
        if record.get("state") == ImageState.WAITING
        and (parse_time(record.get("retryAt")) or now) <= now
    )
