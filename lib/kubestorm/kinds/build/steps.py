"""What is done about an ImageBuild: `reconcile` and `teardown`, one function an action.

Each looks at the object and the world as they are, does what can be done now, writes what it found
and returns; none waits. The work itself is an execution of its own (running.py), which `reconcile`
requests by a trigger.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from kubestorm.core import status_requests as asked, untrusted
from kubestorm.kinds.build import builders, logs, records
from kubestorm.kinds.build.builders.jobs import JobBuilder
from kubestorm.kinds.build.records import Ask, Finish, Record
from kubestorm.kinds.build.running import JOB_GRACE_SECONDS, BuildRun, record_after
from kubestorm.kinds.build.settings import HOST_BUILDAH
from kubestorm.kinds.build.spec import ImageBuildSpec, InvalidSpecError
from kubestorm.core.conditions import (
    FALSE,
    TRUE,
    UNKNOWN,
    Condition,
    condition_in,
    find,
    format_time,
)
from kubestorm.core.errors import Error
from kubestorm.clients.lease import LeaseLostError
from kubestorm.kinds.build.pipeline import steps as delivery
from kubestorm.kinds.common.resource import LEASE_WAIT_SECONDS, Object

Result = Dict[str, Any]
SKIPPED: Mapping[str, Any] = {"skipped": True}
SOURCE_AGE_SECONDS = 3600.0


@contextlib.contextmanager
def reporting(run: BuildRun, condition_type: str) -> Iterator[None]:
    """Write the condition of whatever fails inside, then let it fail."""
    try:
        yield
    except LeaseLostError:
        raise
    except Error as error:
        with contextlib.suppress(Error):
            run.handle.report(condition_type, error)
        raise


def reconcile(run: BuildRun) -> Result:
    """Check the spec, find the commit that it names, and bring the build of that commit one step
    on.
    """
    resource = _living(run)
    if resource is None:
        return dict(SKIPPED)
    try:
        spec = run.parse(resource)
    except InvalidSpecError as error:
        run.write(resource, Condition(records.SPEC_VALID, FALSE, records.INVALID_SPEC, str(error)))
        return {"message": f"{records.INVALID_SPEC}: {error}"}
    with reporting(run, records.SPEC_VALID):
        run.handle.ensure_finalizer()
        valid = Condition(records.SPEC_VALID, TRUE, "Valid", "Spec is valid.")
        resource = run.write(resource, valid) or resource
    with reporting(run, records.SOURCE_FETCHED):
        commit = _find_commit(run, resource, spec)
    with reporting(run, records.BUILT):
        return {"commit": commit, **_drive(run, spec)}


def _find_commit(run: BuildRun, resource: Object, spec: ImageBuildSpec) -> str:
    """The commit that the spec names; the git server is asked where something says that it may be
    another one than before.
    """
    status = untrusted.status(resource)
    known = dict(untrusted.mapping(status.get("source")))
    annotations = untrusted.annotations_of(resource)
    request = records.read_request(annotations)
    answers = annotations.get(records.PUSHED_ANNOTATION, "") + (f"/{request.id}" if request else "")
    asked = {"generation": run.handle.generation(resource), "answers": answers}
    if not _has_to_ask(run, resource, known, asked):
        return str(known["commit"])
    with run.git(spec) as git:
        head = git.head(spec.source.branch, spec.source.revision)
    found = {
        **asked,
        "url": spec.source.address.url,
        "branch": head.branch,
        "commit": head.commit,
        "shortCommit": head.commit[:8],
        "seenAt": format_time(run.services.now()),
    }
    told = condition_in(status, records.SOURCE_FETCHED)
    reason, message = "Fetched", f"{head.branch} is at {head.commit}."
    if (
        told.get("status") == TRUE
        and untrusted.mapping(status.get("build")).get("commit") != head.commit
    ):
        reason, message = str(told["reason"]), str(told["message"])
    run.write(resource, Condition(records.SOURCE_FETCHED, TRUE, reason, message), source=found)
    return str(head.commit)


def _has_to_ask(
    run: BuildRun, resource: Object, known: Mapping[str, Any], asked: Mapping[str, Any]
) -> bool:
    """Whether an event, a command, a change of the spec or an hour has come since the last answer,
    or the last answer was none.
    """
    if not known.get("commit") or any(
        (known.get(key) or "") != (value or "") for key, value in asked.items()
    ):
        return True
    conditions = untrusted.mappings(untrusted.status(resource).get("conditions"))
    condition = find(conditions, records.SOURCE_FETCHED) or {}
    generation = run.handle.generation(resource)
    if (condition.get("status"), condition.get("observedGeneration")) != (TRUE, generation):
        return True
    seen = untrusted.moment(known.get("seenAt"))
    return seen is None or (run.services.now() - seen).total_seconds() > SOURCE_AGE_SECONDS


class Driven(NamedTuple):
    """What a look at the build has led to. `ask`: an execution is wanted; `freed`: a Job of the
    namespace has ended, and none of our own images takes its place.
    """

    build: Record
    ask: bool = False
    freed: bool = False


def _drive(run: BuildRun, spec: ImageBuildSpec) -> Result:
    """Bring the build one step on: look at its Jobs, request its execution, take up what was
    interrupted.

    Whoever works on the build holds its Lease. Where another build is wanted after that one, that
    execution has the object looked at again at its end.
    """
    resource = _living(run)
    if resource is None:
        return dict(SKIPPED)
    request = records.read_request(untrusted.annotations_of(resource))
    wants_another = records.wants_another(untrusted.status(resource), spec, request)
    with run.build_lease(marks=wants_another) as hold:
        if hold.heartbeat is None:
            message = f"Already being built by execution {hold.taken_by}."
            return {"phase": records.RUNNING, "message": message}
        resource = _living(run)
        if resource is None:
            return dict(SKIPPED)
        driven = _drive_alone(run, resource, spec)
    # Not before the Lease is free for who is called.
    if driven.ask:
        run.dispatch(records.BUILD_REQUESTED, run.identity._asdict())
    if driven.freed:
        run.call_next(run.free_jobs(run.job_builder(spec)))
    return {key: driven.build.get(key) for key in ("phase", "number", "outcome")}


def _drive_alone(run: BuildRun, resource: Object, spec: ImageBuildSpec) -> Driven:
    resource, freed = _look_at_jobs(run, resource, spec)
    status = untrusted.status(resource)
    now = run.services.now()
    build: Record = dict(untrusted.mapping(status.get("build")))
    images: List[Record] = records.images_of(status)
    decision = records.decide(
        status,
        spec,
        request=records.read_request(untrusted.annotations_of(resource)),
        alive=_has_jobs(status) and build.get("phase") == records.RUNNING,
        attempts=run.settings.attempts,
        now=now,
    )
    if isinstance(decision, Finish):
        _stop_jobs(run, spec, decision.build, images)
        images = records.cancel_images(images, str(decision.build.get("message")), now)
        run.tell_end(spec, decision.build, images)
    build = decision.build if decision else build
    conditions = records.conditions_of(build, images)
    if not build and spec.suspend:
        message = "Built only by a command (spec.suspend)."
        conditions = [Condition(records.BUILT, UNKNOWN, "Suspended", message)]
    changed: Dict[str, Any] = {"build": build, "images": images} if decision else {}
    if build.get("phase") == records.FINISHED:
        changed.update(asked.taken_back(resource, asked.CANCEL))  # acted upon, or too late
    requeue_at = records.requeue_at(build, spec.timeout_seconds + JOB_GRACE_SECONDS, now)
    run.write(resource, *conditions, requeueAt=requeue_at, **changed)
    return Driven(build, ask=isinstance(decision, Ask), freed=freed)


def _has_jobs(status: Mapping[str, Any]) -> bool:
    return any(
        each.get("job") and each.get("state") in records.UNDER_WAY
        for each in records.images_of(status)
    )


def _look_at_jobs(run: BuildRun, resource: Object, spec: ImageBuildSpec) -> Tuple[Object, bool]:
    """Take what became of the Jobs over into the status; whether this leaves room for another
    build's.
    """
    status = untrusted.status(resource)
    build = dict(untrusted.mapping(status.get("build")))
    if build.get("phase") == records.FINISHED or not _has_jobs(status):
        return resource, False
    builder, now = run.job_builder(spec), run.services.now()
    before: List[Record] = records.images_of(status)
    reason = records.cancel_reason(status, untrusted.integer(build.get("number")))
    if reason:
        _stop_jobs(run, spec, build, before)
        images = records.cancel_images(before, reason, now)
    else:
        images = [_look_at_job(run, spec, builder, build, each) for each in before]
    has_ended = _states(images) != _states(before)
    if has_ended:
        build = records.settle(build, images, now)
        if reason:
            build["message"] = reason
        run.tell_end(spec, build, images)
    conditions = records.conditions_of(build, images)
    written = run.write(resource, *conditions, build=build, images=images)
    return written or resource, has_ended and build.get("phase") != records.REQUESTED_PHASE


def _states(images: List[Record]) -> List[Any]:
    return [each.get("state") for each in images]


def _look_at_job(
    run: BuildRun,
    spec: ImageBuildSpec,
    builder: JobBuilder,
    build: Mapping[str, Any],
    record: Record,
) -> Record:
    if not record.get("job") or record.get("state") not in records.UNDER_WAY:
        return record
    order = run.order(spec, build, record)
    progress = builder.look(order)
    if progress.state == builders.RUNNING:
        return {**record, "message": progress.message}
    out = record_after(run, record, order, progress)
    return {**out, "logTail": progress.log_tail} if progress.log_tail else out


def _stop_jobs(
    run: BuildRun, spec: ImageBuildSpec, build: Mapping[str, Any], images: List[Record]
) -> None:
    if spec.builder == HOST_BUILDAH:
        return
    builder = run.job_builder(spec)
    for record in images:
        if record.get("job") and record.get("state") in records.UNDER_WAY:
            builder.cancel(run.order(spec, build, record))


def teardown(run: BuildRun) -> Result:
    """Stop what is under way for an object that is being deleted, remove what it left, let it go.
    Images stay.
    """
    resource = run.handle.read()
    if resource is None or not resource["metadata"].get("deletionTimestamp"):
        return dict(SKIPPED)
    # The execution at work has seen the deletion, and stops by itself.
    with run.build_lease(LEASE_WAIT_SECONDS, marks=True) as hold, reporting(run, records.BUILT):
        if hold.heartbeat is None:
            message = f"Waiting for execution {hold.taken_by} to stop the build."
            return {"released": False, "message": message}
        removed = _remove_jobs(run, resource)
        delivery.stop(run.services, resource, "The ImageBuild was deleted.", run.dispatch)
        logs.forget(run.settings, run.identity)
        run.handle.release_finalizer()
    if removed:
        run.call_next(min(len(removed), run.settings.max_concurrent))
    return {"released": True}


def _remove_jobs(run: BuildRun, resource: Object) -> List[str]:
    """Remove the Jobs of all its builds, where one was ever made in the cluster."""
    used = {untrusted.mapping(untrusted.status(resource).get("build")).get("builder")}
    if used == {None}:
        return []
    with contextlib.suppress(InvalidSpecError):
        used |= {run.parse(resource).builder}
    if used == {HOST_BUILDAH}:
        return []
    builder = JobBuilder(run.services.kube, run.settings, run.settings.builder)
    return builder.remove_all(run.identity)


def _living(run: BuildRun) -> Optional[Object]:
    """The object, None when it is gone or going."""
    resource = run.handle.read()
    if resource is None or resource["metadata"].get("deletionTimestamp"):
        return None
    return resource
