"""What an ImageBuild's status says: phases, reasons, the records of its build and images,
conditions. Pure; times are passed in.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence

from kubestorm.core import status_requests, untrusted
from kubestorm.core.conditions import FALSE, TRUE, UNKNOWN, Condition, StrEnum
from kubestorm.core.times import format_time, parse_time
from kubestorm.kinds.build.spec import ImageBuildSpec


class Phase(StrEnum):
    """Of a build."""

    REQUESTED = "Requested"
    RUNNING = "Running"
    FINISHED = "Finished"


class Outcome(StrEnum):
    """Of a finished build."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    NOTHING_TO_DO = "NothingToDo"


class ImageState(StrEnum):
    """Of one image of a build."""

    WAITING = "Waiting"
    BUILDING = "Building"
    TESTING = "Testing"
    PUSHING = "Pushing"
    PUSHED = "Pushed"
    SKIPPED = "Skipped"
    FAILED = "Failed"
    CANCELED = "Canceled"


class Cause(StrEnum):
    """Why there is a build."""

    FIRST_BUILD = "FirstBuild"
    COMMAND = "Command"
    COMMIT = "Commit"
    SPEC_CHANGE = "SpecChange"


class Reason(StrEnum):
    """Of conditions and of images."""

    VALID = "Valid"
    INVALID_SPEC = "InvalidSpec"
    FETCHED = "Fetched"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    NOT_BUILT = "NotBuilt"
    SUSPENDED = "Suspended"
    WAITING_FOR_BUILDER = "WaitingForBuilder"
    BUILDING = "Building"
    BUILT = "Built"
    PUSHED = "Pushed"
    CANCELED = "Canceled"
    FAILED = "Failed"
    # Why an image is built.
    FIRST_BUILD = "FirstBuild"
    REQUESTED = "Requested"
    DEFINITION_CHANGED = "DefinitionChanged"
    HISTORY_REWRITTEN = "HistoryRewritten"
    PATHS_CHANGED = "PathsChanged"
    # Why an image is skipped.
    UP_TO_DATE = "UpToDate"
    PATHS_UNCHANGED = "PathsUnchanged"
    NOT_REQUESTED = "NotRequested"
    # Why an image failed.
    SOURCE_REFUSED = "SourceRefused"
    BUILD_FAILED = "BuildFailed"
    TEST_FAILED = "TestFailed"
    TEST_TIMED_OUT = "TestTimedOut"
    TIMED_OUT = "TimedOut"
    PUSH_FAILED = "PushFailed"
    BASE_IMAGE_MISSING = "BaseImageMissing"
    REGISTRY_DENIED = "RegistryDenied"
    NETWORK_FAILED = "NetworkFailed"
    DISK_FULL = "DiskFull"
    HOST_FAILED = "HostFailed"
    JOB_GONE = "JobGone"
    POD_LOST = "PodLost"
    DIGEST_LOST = "DigestLost"


FINAL = frozenset((ImageState.PUSHED, ImageState.SKIPPED, ImageState.FAILED, ImageState.CANCELED))
UNDER_WAY = frozenset((ImageState.BUILDING, ImageState.TESTING, ImageState.PUSHING))

SPEC_VALID, SOURCE_FETCHED, BUILT, PUSHED = "SpecValid", "SourceFetched", "Built", "Pushed"
CONDITIONS: Mapping[str, str] = {
    SPEC_VALID: "Waiting for the spec to be checked.",
    SOURCE_FETCHED: "Waiting for the git server.",
    BUILT: "Waiting for the build.",
    PUSHED: "Waiting for the push.",
}
"""The conditions that lead to Ready, and the message of Ready while one is not written yet."""
"""The types of the conditions, in the order in which they decide Ready."""
REQUEST_ANNOTATION = "kubestorm.io/build-request"
PUSHED_ANNOTATION = "kubestorm.io/source-pushed"
BUILD_REQUESTED, BUILD_FINISHED = "kubestorm.build_requested", "kubestorm.build_finished"
TURN_SECONDS = 600.0
"""After which a build that waits for another one tries by itself; the build that ends starts it
before."""
SHOWN_COMMIT = 8

Record = Dict[str, Any]
_PARTS = ("lastGood", "failedOn")


class LastGood(NamedTuple):
    """An image's last successful build: its commit, definition and digest."""

    commit: str
    inputs: str
    digest: str = ""


class Request(NamedTuple):
    """Somebody asked for a build by a command. No images means all of them; `force` also builds
    what has not changed.
    """

    id: str
    by: str = ""
    images: FrozenSet[str] = frozenset()
    force: bool = True


# Read.


def build_in(status: Mapping[str, Any]) -> Record:
    """The record of the last build; empty before the first."""
    return dict(untrusted.mapping(status.get("build")))


def is_progressing(build: Mapping[str, Any]) -> bool:
    """Whether a build is requested or runs."""
    return build.get("phase") in (Phase.REQUESTED, Phase.RUNNING)


def read_request(annotations: Mapping[str, str]) -> Optional[Request]:
    """The request that image_build_start wrote as an annotation; None when it cannot be read."""
    found = untrusted.json_object(annotations.get(REQUEST_ANNOTATION))
    if not found.get("id") or not untrusted.text(found["id"]):
        return None
    return Request(
        id=untrusted.text(found["id"]),
        by=untrusted.text(found.get("by")),
        images=frozenset(untrusted.words(found.get("images"))),
        force=bool(found.get("force", True)),
    )


def cancel_reason(status: Mapping[str, Any], number: int) -> str:
    """Why the build of that number has to stop; empty when nobody canceled it."""
    found = status_requests.in_status(status, status_requests.CANCEL)
    # A build that is not a number is not this one: an unreadable request stops nothing.
    if not found or untrusted.integer(found.get("build") or number, -1) != number:
        return ""
    reason = untrusted.text(found.get("reason"))
    by = untrusted.text(found.get("by"), "somebody")
    return f"Canceled by {by}{': ' if reason else ''}{reason}."


def images_of(status: Mapping[str, Any]) -> List[Record]:
    """The images in a status, in their order; entries without a name are left out."""
    found: List[Record] = []
    for each in untrusted.mappings(status.get("images")):
        name = untrusted.text(each.get("name"))
        parts = {
            key: dict(value)
            for key, value in each.items()
            if key in _PARTS and isinstance(value, Mapping)
        }
        rest = {key: value for key, value in each.items() if key not in (*_PARTS, "name")}
        if name:
            found.append({"name": name, **rest, **parts})
    return found


def last_good(records: Mapping[str, Record]) -> Dict[str, LastGood]:
    """The last successful build of each image that had one."""
    found = {name: record.get("lastGood") or {} for name, record in records.items()}
    return {
        name: LastGood(
            str(each["commit"]), str(each.get("inputs", "")), str(each.get("digest", ""))
        )
        for name, each in found.items()
        if untrusted.text(each.get("commit"))
    }


# The record of a build, as it changes.


def running(build: Record, *, host: str, execution_id: str, now: dt.datetime) -> Record:
    """A build that an execution works on."""
    fields = {"phase": Phase.RUNNING, "host": host, "executionId": execution_id, "message": ""}
    return {"startedAt": format_time(now), **_not_waiting(build), **fields}


def finished(build: Record, outcome: Outcome, message: str, now: dt.datetime) -> Record:
    """A build that is over."""
    over = {
        "phase": Phase.FINISHED,
        "outcome": outcome,
        "message": message,
        "finishedAt": format_time(now),
    }
    return {**_not_waiting(build), **over}


def awaiting_turn(build: Record, message: str, now: dt.datetime) -> Record:
    """A build that waits until another build of its namespace ends."""
    until = now + dt.timedelta(seconds=TURN_SECONDS)
    waits = {"phase": Phase.REQUESTED, "awaitsTurn": True, "notBefore": format_time(until)}
    return {**_not_waiting(build), **waits, "message": message}


def retrying(
    build: Record, message: str, count: int, wait_seconds: float, now: dt.datetime
) -> Record:
    """A build whose execution could not work for a reason that may pass."""
    due = format_time(now + dt.timedelta(seconds=wait_seconds))
    again = {"phase": Phase.REQUESTED, "interruptions": count, "notBefore": due}
    return {**_not_waiting(build), **again, "message": f"{message} Retrying."}


def summarized(build: Record, records: Sequence[Record], now: dt.datetime) -> Record:
    """A build as its images stand: finished when all are, or requested again for the time of the
    next attempt.
    """
    states = [record.get("state") for record in records]
    if ImageState.WAITING in states:
        times = [
            parse_time(record.get("retryAt")) or now
            for record in records
            if record.get("state") == ImageState.WAITING
        ]
        again = {"phase": Phase.REQUESTED, "notBefore": format_time(min(times))}
        return {**_not_waiting(build), **again, "message": "Images wait to start or to be retried."}
    if any(state in UNDER_WAY for state in states):
        return {**build, "phase": Phase.RUNNING, "message": ""}
    names: Dict[str, List[str]] = {}
    for record in records:
        names.setdefault(str(record.get("state")), []).append(str(record["name"]))
    outcome = Outcome.NOTHING_TO_DO
    for state, word in (
        (ImageState.FAILED, Outcome.FAILED),
        (ImageState.CANCELED, Outcome.CANCELED),
        (ImageState.PUSHED, Outcome.SUCCEEDED),
    ):
        if state in states:
            outcome = word
            break
    said = "; ".join(f"{each.lower()}: {', '.join(names[each])}" for each in sorted(names))
    return finished(build, outcome, f"{said}.", now)


def _not_waiting(build: Record) -> Record:
    return {
        key: value
        for key, value in build.items()
        if key not in ("notBefore", "dispatchedAt", "awaitsTurn")
    }


# The record of an image, as it changes.


def failed(
    record: Record, *, reason: str, message: str, retryable: bool, log_tail: str, attempts: int,
    retry_seconds: float,
    now: dt.datetime,
) -> Record:  # fmt: skip
    """An image whose build failed: it waits for another attempt where that may help."""
    count = untrusted.integer(record.get("attempts"))
    again = retryable and count < attempts
    out = {
        **record,
        "reason": reason,
        "message": message,
        "logTail": log_tail,
        "state": ImageState.WAITING if again else ImageState.FAILED,
    }
    out.pop("retryAt", None)
    if again:
        wait = retry_seconds * 2.0 ** (count - 1)
        out["retryAt"] = format_time(now + dt.timedelta(seconds=wait))
        out["message"] = f"{message} Retrying (attempt {count} of {attempts} failed)."
    else:
        out["finishedAt"] = format_time(now)
    return with_duration(out)


def canceled(records: Sequence[Record], reason: str, now: dt.datetime) -> List[Record]:
    """The images after their build was canceled: those that were not over are canceled."""
    return [
        record
        if record.get("state") in FINAL
        else with_duration(
            {
                **{key: value for key, value in record.items() if key != "retryAt"},
                "state": ImageState.CANCELED,
                "reason": Reason.CANCELED,
                "message": reason,
                "finishedAt": format_time(now),
            }
        )
        for record in records
    ]


def interrupted(record: Record) -> Record:
    """An image whose execution died waits again; the attempt that was cut off does not count."""
    if record.get("state") not in UNDER_WAY:
        return record
    attempts = max(untrusted.integer(record.get("attempts"), 1) - 1, 0)
    return {**record, "state": ImageState.WAITING, "attempts": attempts}


def with_duration(record: Record) -> Record:
    """The record with how long the build took, where it is over."""
    start, end = parse_time(record.get("startedAt")), parse_time(record.get("finishedAt"))
    if start is not None and end is not None:
        record["durationSeconds"] = (end - start).total_seconds()
    return record


# Written.


def conditions_of(
    build: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> List[Condition]:
    """Built and Pushed, as they follow from a build and its images."""
    number, outcome = build.get("number"), build.get("outcome")
    records = [each for each in records if each.get("build", number) == number]
    if is_progressing(build):
        return _progressing(build, records)
    if outcome in (Outcome.FAILED, Outcome.CANCELED):
        return _failed(build, records)
    if outcome in (Outcome.SUCCEEDED, Outcome.NOTHING_TO_DO):
        made = [str(each["name"]) for each in records if each.get("state") == ImageState.PUSHED]
        reason = Reason.BUILT if made else Reason.UP_TO_DATE
        text = (
            f"Build {number} succeeded: {', '.join(made)}."
            if made
            else f"Build {number}: no image had to be built."
        )
        return [
            Condition(BUILT, TRUE, reason, text),
            Condition(PUSHED, TRUE, Reason.PUSHED, "All images are in the registry."),
        ]
    return [Condition(BUILT, UNKNOWN, Reason.NOT_BUILT, "Not built yet.")]


def _progressing(build: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> List[Condition]:
    is_waiting = build.get("phase") == Phase.REQUESTED
    reason = Reason.WAITING_FOR_BUILDER if is_waiting else Reason.BUILDING
    states = [
        f"{each['name']} ({str(each.get('state') or '').lower()})"
        for each in records
        if each.get("state") not in FINAL
    ]
    what = f"Build {build.get('number')} of {str(build.get('commit'))[:SHOWN_COMMIT]}"
    text = f"{what} is starting."
    if states or build.get("message"):
        text = f"{what}: {', '.join(states)}." if states else f"{what}: {build['message']}"
    done = sum(each.get("state") in (ImageState.PUSHED, ImageState.SKIPPED) for each in records)
    return [
        Condition(BUILT, FALSE, reason, text),
        Condition(PUSHED, FALSE, reason, f"{done} of {len(records)} images pushed."),
    ]


def _failed(build: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> List[Condition]:
    bad = [
        each for each in records if each.get("state") in (ImageState.FAILED, ImageState.CANCELED)
    ]
    text = "; ".join(f"{each['name']}: {each.get('message', '')}" for each in bad)
    text = text or str(build.get("message", ""))
    reason = str(Reason.CANCELED)
    if build.get("outcome") == Outcome.FAILED:
        reason = str((bad[0].get("reason") if bad else "") or Reason.BUILD_FAILED)
    if bad and all(each.get("failedStage") == "push" for each in bad):
        return [
            Condition(BUILT, TRUE, Reason.BUILT, f"Build {build.get('number')} built its images."),
            Condition(PUSHED, FALSE, reason, text),
        ]
    message = "Not all images of the last build were pushed."
    return [
        Condition(BUILT, FALSE, reason, text),
        Condition(PUSHED, FALSE, str(build.get("outcome")), message),
    ]


def finished_payload(
    identity: Mapping[str, str],
    spec: ImageBuildSpec,
    build: Mapping[str, Any],
    records: Sequence[Record],
) -> Dict[str, Any]:
    """The payload of the trigger kubestorm.build_finished."""
    words = ("name", "state", "reason", "message", "reference", "digest", "logTail")
    return {
        **identity,
        "number": untrusted.integer(build.get("number")),
        "outcome": str(build.get("outcome") or ""),
        "message": str(build.get("message") or ""),
        "commit": str(build.get("commit") or ""),
        "branch": spec.source.shown,
        "url": spec.source.address.url,
        "cause": str(build.get("cause") or ""),
        "requested_by": str(build.get("requestedBy") or ""),
        "execution_id": str(build.get("executionId") or ""),
        "channels": list(spec.notify.channels),
        "wanted": build.get("outcome") in spec.notify.on,
        "images": [
            {
                **{key: str(record[key]) for key in words if key in record},
                **{key: record[key] for key in ("tags", "durationSeconds") if key in record},
            }
            for record in records
        ],
    }


def without_empty(record: Mapping[str, Any]) -> Record:
    """A record without empty text, 0 and false, which read the same when they are absent.

    API servers of Kubernetes 1.20 that were built with later libraries take such values for null,
    and refuse them.
    """
    return {
        key: without_empty(value) if isinstance(value, dict) else value
        for key, value in record.items()
        if value or isinstance(value, (list, dict))
    }


def replacing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Record:
    """A mapping as a merge patch that leaves nothing of the old one."""
    kept = without_empty(after)
    return {**{key: None for key in before if key not in kept}, **kept}
