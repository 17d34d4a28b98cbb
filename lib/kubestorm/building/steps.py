"""The steps of an ImageBuild's run, in the order of workflows/imagebuild_reconcile.yaml: one
function an action.

Each looks at the object and the world as they are, does what can be done now, writes what it found
and returns; none waits. The work itself is an execution of its own (running.py), which the step
`drive` asks for by a trigger.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any, Dict, Iterator, List, Mapping

from kubestorm import naming
from kubestorm.building import builders, logs, records
from kubestorm.building.builders.jobs import JobBuilder
from kubestorm.building.records import Again, Finish, Look, Record, Start
from kubestorm.building.running import BuildRun, record_after
from kubestorm.building.settings import HOST_BUILDAH
from kubestorm.building.spec import ImageBuildSpec, InvalidSpecError
from kubestorm.conditions import FALSE, TRUE, UNKNOWN, Condition, find, format_time
from kubestorm.dispatching import Dispatch
from kubestorm.errors import Error
from kubestorm.resource import LeaseLostError, Object

Result = Dict[str, Any]
BUILD_REQUESTED = "kubestorm.build_requested"
BUILD_FINISHED = "kubestorm.build_finished"
SKIPPED: Mapping[str, Any] = {"skipped": True}
SOURCE_AGE_SECONDS = 3600.0


@contextlib.contextmanager
def reporting(run: BuildRun, condition_type: str) -> Iterator[None]:
    """Write the condition of whatever fails inside, then let it fail. The Lease is renewed first."""
    run.handle.keep_lock()
    try:
        yield
    except LeaseLostError:
        raise
    except Error as error:
        with contextlib.suppress(Error):
            run.handle.report(condition_type, error)
        raise


def plan(run: BuildRun) -> Result:
    """Read the object afresh, check it, hold its deletion; says what the rest of the run has to do.

    `todo` is a list of the steps that have work: source, drive; or teardown; or none.
    """
    run.handle.keep_lock()
    resource = run.handle.read()
    if resource is None:
        return {"todo": [], "reason": "The object is gone."}
    metadata = resource["metadata"]
    if metadata.get("deletionTimestamp"):
        held = naming.FINALIZER in (metadata.get("finalizers") or ())
        return {"todo": ["teardown"] if held else [], "reason": "The object is being deleted."}
    try:
        run.parse(resource)
    except InvalidSpecError as error:
        run.write(resource, Condition(records.SPEC_VALID, FALSE, records.INVALID_SPEC, str(error)))
        return {"todo": [], "reason": f"InvalidSpec: {error}"}
    with reporting(run, records.SPEC_VALID):
        run.handle.ensure_finalizer()
        run.write(
            resource, Condition(records.SPEC_VALID, TRUE, "Valid", "The spec can be carried out.")
        )
    return {"todo": ["source", "drive"], "reason": ""}


def source(run: BuildRun) -> Result:
    """Ask the git server which commit is wished for, where something says that it may be another
    one than before.
    """
    with reporting(run, records.SOURCE_FETCHED):
        resource = _living(run)
        if resource is None:
            return dict(SKIPPED)
        spec = run.parse(resource)
        known = dict((resource.get("status") or {}).get("source") or {})
        event = (resource["metadata"].get("annotations") or {}).get(records.PUSHED_ANNOTATION, "")
        asked = {"generation": run.handle.generation(resource), "answers": event}
        request = records.read_request(resource["metadata"].get("annotations") or {})
        asked["answers"] += f"/{request.id}" if request else ""
        if not _has_to_ask(run, resource, known, asked):
            return {"commit": known["commit"], "asked": False}
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
        told = (
            find((resource.get("status") or {}).get("conditions") or [], records.SOURCE_FETCHED)
            or {}
        )
        build = (resource.get("status") or {}).get("build") or {}
        conditions = []
        if told.get("status") != TRUE or build.get("commit") == head.commit:
            message = f"{head.branch} is at {head.commit}."
            conditions = [Condition(records.SOURCE_FETCHED, TRUE, "Fetched", message)]
        elif told:
            conditions = [
                Condition(records.SOURCE_FETCHED, TRUE, str(told["reason"]), str(told["message"]))
            ]
        run.write(resource, *conditions, source=found)
        return {"commit": head.commit, "branch": head.branch, "asked": True}


def _has_to_ask(
    run: BuildRun, resource: Object, known: Mapping[str, Any], asked: Mapping[str, Any]
) -> bool:
    """Whether an event, a command, a change of the spec or an hour has come since the last answer."""
    if not known.get("commit") or any(
        (known.get(key) or "") != (value or "") for key, value in asked.items()
    ):
        return True
    conditions = (resource.get("status") or {}).get("conditions") or []
    condition = find(conditions, records.SOURCE_FETCHED) or {}
    if condition.get("observedGeneration") != run.handle.generation(resource):
        return True
    seen = records.parse_time(known.get("seenAt"))
    return seen is None or (run.services.now() - seen).total_seconds() > SOURCE_AGE_SECONDS


def drive(run: BuildRun, dispatch: Dispatch) -> Result:
    """Bring the build one step on: look at Jobs, begin what is wished for, take up what was
    interrupted, tell the end.

    Whoever works on the build holds its Lease; nothing is written then.
    """
    with reporting(run, records.BUILT):
        resource = _living(run)
        if resource is None:
            return dict(SKIPPED)
        spec = run.parse(resource)
        lease = run.lease(run.run_id)
        if not lease.acquire():
            after = run.services.now() + dt.timedelta(seconds=records.LOOK_SECONDS)
            run.handle.write_status(fields={"nextLookAt": format_time(after)})
            return {"phase": records.RUNNING, "message": f"{lease.held_by} is at work on it."}
        try:
            resource = _living(run) or resource
            # Before the next build takes its place in the status.
            resource = _announce(run, resource, spec, dispatch)
            resource, result = _drive(run, resource, spec)
        finally:
            lease.release()
        if result.pop("dispatch", False):
            dispatch(BUILD_REQUESTED, run.identity._asdict())
        _announce(run, resource, spec, dispatch)
        return dict(result)


def _drive(run: BuildRun, resource: Object, spec: ImageBuildSpec) -> Any:
    resource = _look_at_jobs(run, resource, spec)
    status = resource.get("status") or {}
    annotations = resource["metadata"].get("annotations") or {}
    now, commit = run.services.now(), str((status.get("source") or {}).get("commit") or "")
    decision = records.decide(
        status,
        spec,
        commit=commit,
        request=records.read_request(annotations),
        cancel=annotations,
        alive=_has_jobs(status) and (status.get("build") or {}).get("phase") == records.RUNNING,
        attempts=run.settings.attempts,
        now=now,
    )
    images: List[Record] = [dict(each) for each in status.get("images") or ()]
    if isinstance(decision, Look):
        return _look_later(run, resource, spec, decision, images)
    build = dict(decision.build)
    if isinstance(decision, Start):
        build["branch"] = str((status.get("source") or {}).get("branch") or spec.source.shown)
        decision = Again({**build, "dispatched": True}, "Requested")
        build = decision.build
    if isinstance(decision, Finish):
        _stop_jobs(run, spec, build, images)
        images = records.cancel_images(images, str(build.get("message")), now)
        run.handle.remove_annotation(records.CANCEL_ANNOTATION)
    after = now + dt.timedelta(seconds=records.LOOK_SECONDS)
    conditions = records.conditions_of(
        build, images if build.get("phase") == records.FINISHED else []
    )
    look = format_time(after) if isinstance(decision, Again) else None
    written = run.write(resource, *conditions, build=build, images=images, nextLookAt=look)
    result = {
        "phase": build.get("phase"),
        "number": build.get("number"),
        "outcome": build.get("outcome"),
    }
    return written or resource, {**result, "dispatch": isinstance(decision, Again)}


def _look_later(
    run: BuildRun, resource: Object, spec: ImageBuildSpec, look: Look, images: List[Record]
) -> Any:
    """Nothing to begin: write what the conditions are now, and when to come again."""
    build = (resource.get("status") or {}).get("build") or {}
    conditions = records.conditions_of(build, images)
    if not build and spec.suspend:
        conditions = [
            Condition(
                records.BUILT,
                UNKNOWN,
                "Suspended",
                "It is built by a command alone (spec.suspend).",
            )
        ]
    when = None
    if look.after_seconds is not None:
        when = format_time(run.services.now() + dt.timedelta(seconds=max(look.after_seconds, 1.0)))
    if build.get("phase") == records.FINISHED:
        run.handle.remove_annotation(records.CANCEL_ANNOTATION)  # it came too late
    more: Dict[str, Any] = (
        {"nextLookAt": when} if when or (resource.get("status") or {}).get("nextLookAt") else {}
    )
    written = run.write(resource, *conditions, **more)
    return written or resource, {"phase": build.get("phase"), "number": build.get("number")}


def _has_jobs(status: Mapping[str, Any]) -> bool:
    return any(
        each.get("job") and each.get("state") in records.UNDER_WAY
        for each in status.get("images") or ()
    )


def _look_at_jobs(run: BuildRun, resource: Object, spec: ImageBuildSpec) -> Object:
    """Take what became of the Jobs over into the status."""
    status = resource.get("status") or {}
    build = dict(status.get("build") or {})
    if build.get("phase") == records.FINISHED or not _has_jobs(status):
        return resource
    builder = run.job_builder(spec)
    images: List[Record] = [dict(each) for each in status.get("images") or ()]
    annotations = resource["metadata"].get("annotations") or {}
    reason = records.cancel_reason(annotations, int(build.get("number") or 0))
    if reason:
        _stop_jobs(run, spec, build, images)
        images = records.cancel_images(images, reason, run.services.now())
        build["message"] = reason
        run.handle.remove_annotation(records.CANCEL_ANNOTATION)
    else:
        images = [_look_at_job(run, spec, builder, build, each) for each in images]
    build = records.settle(build, images, run.services.now())
    if reason:
        build["message"] = reason
    conditions = records.conditions_of(build, images)
    return run.write(resource, *conditions, build=build, images=images) or resource


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


def _announce(run: BuildRun, resource: Object, spec: ImageBuildSpec, dispatch: Dispatch) -> Object:
    """Tell the end of a build once: dispatched first, written after, so that a crash in between
    tells it again.
    """
    status = resource.get("status") or {}
    build = dict(status.get("build") or {})
    if build.get("phase") != records.FINISHED or build.get("announced"):
        return resource
    images = [dict(each) for each in status.get("images") or ()]
    dispatch(BUILD_FINISHED, records.finished_payload(run.identity._asdict(), spec, build, images))
    return run.write(resource, build={**build, "announced": True}) or resource


def teardown(run: BuildRun) -> Result:
    """Stop what is under way for an object that is being deleted, remove what it left, let it go.
    Images stay.
    """
    run.handle.keep_lock()
    resource = run.handle.read()
    if resource is None or not resource["metadata"].get("deletionTimestamp"):
        return dict(SKIPPED)
    try:
        spec = run.parse(resource)
    except InvalidSpecError:
        spec = None
    lease = run.lease(run.run_id)
    if not lease.acquire():
        # The execution at work has seen the deletion, and stops by itself.
        return {"released": False, "message": f"{lease.held_by} is still at work on it."}
    try:
        known = ((resource.get("status") or {}).get("build") or {}).get("builder")
        used = {str(known)} if known else set()
        used |= {spec.builder} if spec and known else set()
        if used - {HOST_BUILDAH}:
            JobBuilder(run.services.kube, run.settings, run.settings.builder).remove_all(
                run.identity
            )
        logs.forget(run.settings, run.identity)
        run.handle.release_finalizer()
    finally:
        lease.release()
    return {"released": True}


def _living(run: BuildRun) -> Any:
    """The object, None when it is gone or going."""
    resource = run.handle.read()
    if resource is None or resource["metadata"].get("deletionTimestamp"):
        return None
    return resource
