"""What an ImageBuild's status says of its builds, and what is to be done next. Pure; times are
passed in.

A build answers a key: the commit, the spec and a person's request, as one word. Another key is
another build; while one is under way the next waits, so that a storm of pushes ends in two builds,
of which the last one wins.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from kubestorm.core import status_requests as asked, untrusted
from kubestorm.kinds.build.plan import Decision, LastGood, Request, inputs_of
from kubestorm.kinds.build.spec import ImageBuildSpec
from kubestorm.core.conditions import FALSE, TRUE, UNKNOWN, Condition, format_time

REQUESTED_PHASE, RUNNING, FINISHED = "Requested", "Running", "Finished"
SUCCEEDED, FAILED, CANCELED, NOTHING_TO_DO = "Succeeded", "Failed", "Canceled", "NothingToDo"
WAITING, BUILDING, TESTING, PUSHING, PUSHED = "Waiting", "Building", "Testing", "Pushing", "Pushed"
SKIPPED, IMAGE_FAILED, IMAGE_CANCELED = "Skipped", "Failed", "Canceled"
FINAL = frozenset((PUSHED, SKIPPED, IMAGE_FAILED, IMAGE_CANCELED))
UNDER_WAY = frozenset((BUILDING, TESTING, PUSHING))

REQUEST_ANNOTATION = "kubestorm.io/build-request"
PUSHED_ANNOTATION = "kubestorm.io/source-pushed"

BUILT, PUSHED_CONDITION, SPEC_VALID, SOURCE_FETCHED = (
    "Built",
    "Pushed",
    "SpecValid",
    "SourceFetched",
)
ORDER = (SPEC_VALID, SOURCE_FETCHED, BUILT, PUSHED_CONDITION)
INVALID_SPEC, BUILD_FAILED, SOURCE_UNAVAILABLE = "InvalidSpec", "BuildFailed", "SourceUnavailable"
BUILD_REQUESTED, BUILD_FINISHED = "kubestorm.build_requested", "kubestorm.build_finished"
REDISPATCH_SECONDS = 300.0
"""When an execution that has not begun is asked for again: it may wait for a worker that long."""
TURN_SECONDS = 600.0
"""When a build that waits for its turn looks by itself. The build that ends before it calls it."""

Record = Dict[str, Any]


def spec_digest(spec: ImageBuildSpec) -> str:
    """A word for everything in a spec that can change what comes out; who is told does not."""
    said = {
        "source": [spec.source.address.url, spec.source.branch, spec.source.revision],
        "builder": spec.builder,
        "images": [[each.name, inputs_of(each), list(each.paths)] for each in spec.images],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def key_of(commit: str, spec: ImageBuildSpec, request_id: str) -> str:
    """What a build answers. A request counts until the next one, also when commits follow it."""
    return "/".join((commit[:12], spec_digest(spec), request_id or "-"))


def read_request(annotations: Mapping[str, str]) -> Optional[Request]:
    """A person's wish to build, from the annotation that image_build_start writes; None when it
    cannot be read.
    """
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
    """Why the build of that number has to stop; empty when nobody said so."""
    found = asked.in_status(status, asked.CANCEL)
    # A build that is no number is not this one: a request that cannot be read stops nothing.
    if not found or untrusted.integer(found.get("build") or number, -1) != number:
        return ""
    reason = untrusted.text(found.get("reason"))
    by = untrusted.text(found.get("by"), "Somebody")
    return f"{by} canceled it{': ' if reason else ''}{reason}."


def images_of(status: Mapping[str, Any]) -> List[Record]:
    """The images in a status, in their order; what has no name is none."""
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


_PARTS = ("lastGood", "failedOn")


def last_good(records: Mapping[str, Record]) -> Dict[str, LastGood]:
    """The last good build of each image that had one."""
    found = {name: record.get("lastGood") or {} for name, record in records.items()}
    return {
        name: LastGood(
            str(each["commit"]), str(each.get("inputs", "")), str(each.get("digest", ""))
        )
        for name, each in found.items()
        if untrusted.text(each.get("commit"))
    }


class Ask(NamedTuple):
    """An execution that builds is to be asked for; `build` is the build's record, to be written
    first.
    """

    build: Record


class Finish(NamedTuple):
    """The build is over without an execution of its own having said so."""

    build: Record


Next = Union[Ask, Finish, None]


def decide(
    status: Mapping[str, Any],
    spec: ImageBuildSpec,
    *,
    request: Optional[Request],
    alive: bool,
    attempts: int,
    now: dt.datetime,
) -> Next:
    """What a look at an ImageBuild leads to; None: nothing is to be done now.

    `alive` says whether an execution (or a Job) is at work on the build; `attempts` is how often a
    build may be begun that nobody ends.
    """
    build = dict(untrusted.mapping(status.get("build")))
    if build.get("phase") in (REQUESTED_PHASE, RUNNING):
        cancel = cancel_reason(status, untrusted.integer(build.get("number")))
        return _under_way(build, cancel, alive, attempts, now)
    if not wants_another(status, spec, request):
        return None
    source = untrusted.mapping(status.get("source"))
    asked_anew = request is not None and request.id != build.get("requestId")
    commit = str(source.get("commit") or "")
    request_id = request.id if request else str(build.get("requestId") or "")
    new = _new_build(build, commit, request if asked_anew else None, now)
    return Ask(
        {
            **new,
            "key": key_of(commit, spec, request_id),
            "branch": str(source.get("branch") or spec.source.shown),
            "builder": spec.builder,
            "requestId": request_id,
        }
    )


def wants_another(
    status: Mapping[str, Any], spec: ImageBuildSpec, request: Optional[Request]
) -> bool:
    """Whether another build than the one in the status is wanted: now, or after it."""
    build = untrusted.mapping(status.get("build"))
    if spec.suspend and (request is None or request.id == build.get("requestId")):
        return False
    commit = str(untrusted.mapping(status.get("source")).get("commit") or "")
    request_id = request.id if request else str(build.get("requestId") or "")
    return bool(build.get("key") != key_of(commit, spec, request_id))


def _new_build(before: Record, commit: str, request: Optional[Request], now: dt.datetime) -> Record:
    cause = "the first build"
    if request is not None:
        cause = "a command"
    elif before:
        cause = "a commit" if before.get("commit") != commit else "a change of the spec"
    return {
        "number": untrusted.integer(before.get("number")) + 1,
        "commit": commit,
        "phase": REQUESTED_PHASE,
        "cause": cause,
        "requestedBy": request.by if request else "",
        "requestImages": sorted(request.images) if request else [],
        "requestForce": bool(request.force) if request else False,
        "requestedAt": format_time(now),
        "dispatchedAt": format_time(now),
        "interruptions": 0,
    }


def _under_way(build: Record, cancel: str, alive: bool, attempts: int, now: dt.datetime) -> Next:
    if alive:
        return None  # whoever is at work sees a cancellation itself
    if cancel:
        return Finish(finished(build, CANCELED, cancel, now))
    asked = {"phase": REQUESTED_PHASE, "dispatchedAt": format_time(now)}
    if build["phase"] == RUNNING:
        count = untrusted.integer(build.get("interruptions")) + 1
        build = {**build, "interruptions": count}
        if count >= attempts:
            message = f"It was begun {count} times and never ended; check the build host."
            return Finish(finished(build, FAILED, message, now))
        return Ask({**build, **asked, "message": "It was interrupted and starts again."})
    due = ask_at(build)
    return Ask({**build, **asked}) if due is None or due <= now else None


def ask_at(build: Mapping[str, Any]) -> Optional[dt.datetime]:
    """When an execution is to be asked for (again), for a build that none is at work on; None: at
    once.
    """
    dispatched = untrusted.moment(build.get("dispatchedAt"))
    times = [untrusted.moment(build.get("notBefore"))]
    if dispatched is not None:
        times.append(dispatched + dt.timedelta(seconds=REDISPATCH_SECONDS))
    return max((each for each in times if each is not None), default=None)


def requeue_at(build: Mapping[str, Any], silent_seconds: float, now: dt.datetime) -> Optional[str]:
    """When somebody has to look at a build of which nothing was heard until then; None where that
    is never.

    `silent_seconds` is how long a build that runs may be silent before it counts as dead.
    """
    if build.get("phase") == RUNNING:
        return format_time(now + dt.timedelta(seconds=silent_seconds))
    if build.get("phase") == REQUESTED_PHASE:
        return format_time(ask_at(build) or now)
    return None


def finished(build: Record, outcome: str, message: str, now: dt.datetime) -> Record:
    """The record of a build that is over."""
    over = {
        "phase": FINISHED,
        "outcome": outcome,
        "message": message,
        "finishedAt": format_time(now),
    }
    return {**_without_waiting(build), **over}


def awaiting_turn(build: Record, message: str, now: dt.datetime) -> Record:
    """The record of a build that waits until another build of its namespace ends."""
    until = now + dt.timedelta(seconds=TURN_SECONDS)
    waits = {"phase": REQUESTED_PHASE, "awaitsTurn": True, "notBefore": format_time(until)}
    return {**_without_waiting(build), **waits, "message": message}


def begun(build: Record, *, host: str, execution_id: str, now: dt.datetime) -> Record:
    """The record of a build that an execution works on."""
    fields = {"phase": RUNNING, "host": host, "executionId": execution_id, "message": ""}
    return {"startedAt": format_time(now), **_without_waiting(build), **fields}


def _without_waiting(build: Record) -> Record:
    return {
        key: value
        for key, value in build.items()
        if key not in ("notBefore", "dispatchedAt", "awaitsTurn")
    }


def planned(
    decisions: Sequence[Decision], before: Mapping[str, Record], *, number: int, commit: str
) -> List[Record]:
    """The images' records at the beginning of a build; what was skipped keeps what it is."""
    found: List[Record] = []
    for decision in decisions:
        good = dict((before.get(decision.image) or {}).get("lastGood") or {})
        record: Record = {
            "name": decision.image,
            "state": WAITING if decision.build else SKIPPED,
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
    """The images that can be begun now, in their order."""
    return tuple(
        name
        for name, record in records.items()
        if record.get("state") == WAITING
        and (untrusted.moment(record.get("retryAt")) or now) <= now
    )


def failed(
    record: Record, *, reason: str, message: str, retryable: bool, log_tail: str, attempts: int,
    retry_seconds: float,
    now: dt.datetime,
) -> Record:  # fmt: skip
    """The record of an image whose build ended badly: it waits for another try if that may help."""
    count = untrusted.integer(record.get("attempts"))
    again = retryable and count < attempts
    out = {
        **record,
        "reason": reason,
        "message": message,
        "logTail": log_tail,
        "state": WAITING if again else IMAGE_FAILED,
    }
    out.pop("retryAt", None)
    if again:
        wait = retry_seconds * 2.0 ** (count - 1)
        out["retryAt"] = format_time(now + dt.timedelta(seconds=wait))
        out["message"] = f"{message} It is tried again (try {count} of {attempts} failed)."
    else:
        out["finishedAt"] = format_time(now)
    return with_duration(out)


def with_duration(record: Record) -> Record:
    """The record with how long it took, where it is over."""
    begun, over = (
        untrusted.moment(record.get("startedAt")),
        untrusted.moment(record.get("finishedAt")),
    )
    if begun is not None and over is not None:
        record["durationSeconds"] = (over - begun).total_seconds()
    return record


def settle(build: Record, records: Sequence[Record], now: dt.datetime) -> Record:
    """The build's record after its images': finished when all are, or asked for again when the next
    try is due.
    """
    states = [record.get("state") for record in records]
    if any(state == WAITING for state in states):
        times = [
            untrusted.moment(record.get("retryAt")) or now
            for record in records
            if record.get("state") == WAITING
        ]
        again = {"phase": REQUESTED_PHASE, "notBefore": format_time(min(times))}
        message = "Images wait for their turn or for another try."
        return {**_without_waiting(build), **again, "message": message}
    if any(state in UNDER_WAY for state in states):
        return {**build, "phase": RUNNING, "message": ""}
    names: Dict[str, List[str]] = {}
    for record in records:
        names.setdefault(str(record.get("state")), []).append(str(record["name"]))
    outcome = NOTHING_TO_DO
    for state, word in ((IMAGE_FAILED, FAILED), (IMAGE_CANCELED, CANCELED), (PUSHED, SUCCEEDED)):
        if state in names:
            outcome = word
            break
    said = "; ".join(
        f"{state.lower()}: {', '.join(found)}" for state, found in sorted(names.items())
    )
    return finished(build, outcome, f"{said}.", now)


def later(build: Record, message: str, count: int, wait_seconds: float, now: dt.datetime) -> Record:
    """The build's record when its execution could not work for a reason that may pass."""
    due = format_time(now + dt.timedelta(seconds=wait_seconds))
    again = {"phase": REQUESTED_PHASE, "interruptions": count, "notBefore": due}
    return {**_without_waiting(build), **again, "message": f"{message} It is tried again."}


def cancel_images(records: Sequence[Record], reason: str, now: dt.datetime) -> List[Record]:
    """The records after the build was canceled: what was not over is."""
    return [
        record
        if record.get("state") in FINAL
        else with_duration(
            {
                **{key: value for key, value in record.items() if key != "retryAt"},
                "state": IMAGE_CANCELED,
                "reason": CANCELED,
                "message": reason,
                "finishedAt": format_time(now),
            }
        )
        for record in records
    ]


def conditions_of(
    build: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> List[Condition]:
    """Built and Pushed, as they follow from a build and its images."""
    number, phase, outcome = build.get("number"), build.get("phase"), build.get("outcome")
    records = [each for each in records if each.get("build", number) == number]
    if phase in (REQUESTED_PHASE, RUNNING):
        reason = "WaitingForBuilder" if phase == REQUESTED_PHASE else "Building"
        now = [
            f"{each['name']} ({each.get('state', '').lower()})"
            for each in records
            if each.get("state") not in FINAL
        ]
        what = f"Build {number} of {str(build.get('commit'))[:8]}"
        said = f"{what}: {build['message']}" if build.get("message") else f"{what} is starting."
        text = f"{what}: {', '.join(now)}." if now else said
        pushed = sum(each.get("state") in (PUSHED, SKIPPED) for each in records)
        return [
            Condition(BUILT, FALSE, reason, text),
            Condition(
                PUSHED_CONDITION, FALSE, reason, f"{pushed} of {len(records)} images are pushed."
            ),
        ]
    if outcome in (FAILED, CANCELED):
        bad = [each for each in records if each.get("state") in (IMAGE_FAILED, IMAGE_CANCELED)]
        text = "; ".join(f"{each['name']}: {each.get('message', '')}" for each in bad) or str(
            build.get("message", "")
        )
        stage = [str(each.get("failedStage", "")) for each in bad]
        only_push = bool(stage) and all(each == "push" for each in stage)
        reason = CANCELED
        if outcome == FAILED:
            reason = str((bad[0].get("reason") if bad else "") or BUILD_FAILED)
        if only_push:
            return [
                Condition(BUILT, TRUE, "Built", f"Build {number} made its images."),
                Condition(PUSHED_CONDITION, FALSE, reason, text),
            ]
        return [
            Condition(BUILT, FALSE, reason, text),
            Condition(
                PUSHED_CONDITION,
                FALSE,
                str(outcome),
                "Not all images of the last build were pushed.",
            ),
        ]
    if outcome in (SUCCEEDED, NOTHING_TO_DO):
        made = [str(each["name"]) for each in records if each.get("state") == PUSHED]
        text = (
            f"Build {number} made {', '.join(made)}."
            if made
            else f"Build {number}: no image had to be built."
        )
        return [
            Condition(BUILT, TRUE, "Built" if made else "UpToDate", text),
            Condition(PUSHED_CONDITION, TRUE, "Pushed", "All images are in the registry."),
        ]
    return [Condition(BUILT, UNKNOWN, "NotBuilt", "Nothing has been built yet.")]


def finished_payload(
    identity: Mapping[str, str],
    spec: ImageBuildSpec,
    build: Mapping[str, Any],
    records: Sequence[Record],
) -> Dict[str, Any]:
    """The payload of the trigger kubestorm.build_finished."""
    fields = (
        "name",
        "state",
        "reason",
        "message",
        "reference",
        "digest",
        "tags",
        "durationSeconds",
        "logTail",
    )
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
        "images": [{key: record[key] for key in fields if key in record} for record in records],
    }


def without_nothing(record: Mapping[str, Any]) -> Record:
    """A record without what says nothing: no text, no number, no, none. Absent reads the same.

    API servers of Kubernetes 1.20 that were built with later libraries take such values for null,
    and refuse them.
    """
    return {
        key: without_nothing(value) if isinstance(value, dict) else value
        for key, value in record.items()
        if value or isinstance(value, (list, dict))
    }


def replacing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Record:
    """A map as a merge patch that leaves nothing of the old one."""
    kept = without_nothing(after)
    return {**{key: None for key in before if key not in kept}, **kept}
