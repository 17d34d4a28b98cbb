"""What is done about an ImageBuild: `reconcile` and `teardown`, one function for each action.

Both read the object and the world as they are, do what can be done now, write the status and
return; neither waits. The build itself is an execution of its own (execution.py), which `reconcile`
requests by a trigger.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

from kubestorm.clients.lease import LeaseLostError
from kubestorm.core import status_requests, untrusted
from kubestorm.core.conditions import FALSE, TRUE, UNKNOWN, Condition, condition_in
from kubestorm.core.errors import Error
from kubestorm.kinds.build import logs
from kubestorm.kinds.build.builders.jobs import JobBuilder
from kubestorm.kinds.build.observe import has_jobs, read_jobs, read_source
from kubestorm.kinds.build.pipeline import act as delivery
from kubestorm.kinds.build.plan import (
    FinishBuild,
    StartBuild,
    plan_build,
    requeue_at,
    wants_another,
)
from kubestorm.kinds.build.run import JOB_GRACE_SECONDS, BuildRun, Result
from kubestorm.kinds.build.settings import HOST_BUILDAH
from kubestorm.kinds.build.spec import ImageBuildSpec, InvalidSpecError
from kubestorm.kinds.build.status import (
    BUILD_REQUESTED,
    BUILT,
    SOURCE_FETCHED,
    SPEC_VALID,
    UNDER_WAY,
    Phase,
    Reason,
    Record,
    build_in,
    cancel_reason,
    canceled,
    conditions_of,
    images_of,
    read_request,
    summarized,
)
from kubestorm.kinds.common.resource import LEASE_WAIT_SECONDS, Object

SKIPPED: Mapping[str, Any] = {"skipped": True}


@contextlib.contextmanager
def reporting(run: BuildRun, condition_type: str) -> Iterator[None]:
    """Write whatever fails inside as that condition, then raise it."""
    try:
        yield
    except LeaseLostError:
        raise
    except Error as error:
        with contextlib.suppress(Error):
            run.handle.report(condition_type, error)
        raise


def reconcile(run: BuildRun) -> Result:
    """Check the spec, find the commit of its branch, and advance the build of that commit."""
    resource = run.read()
    if resource is None:
        return dict(SKIPPED)
    try:
        spec = run.parse(resource)
    except InvalidSpecError as error:
        run.write(resource, Condition(SPEC_VALID, FALSE, Reason.INVALID_SPEC, str(error)))
        return {"message": f"{Reason.INVALID_SPEC}: {error}"}
    with reporting(run, SPEC_VALID):
        run.handle.ensure_finalizer()
        valid = Condition(SPEC_VALID, TRUE, Reason.VALID, "Spec is valid.")
        resource = run.write(resource, valid) or resource
    with reporting(run, SOURCE_FETCHED):
        commit = _update_source(run, resource, spec)
    with reporting(run, BUILT):
        return {"commit": commit, **_advance(run, spec)}


def _update_source(run: BuildRun, resource: Object, spec: ImageBuildSpec) -> str:
    """Write which commit the branch is at where that is not known; the commit."""
    status = untrusted.status(resource)
    found = read_source(run, resource, spec)
    if found is None:
        return str(untrusted.mapping(status.get("source"))["commit"])
    commit = str(found["commit"])
    before = condition_in(status, SOURCE_FETCHED)
    reason, message = str(Reason.FETCHED), f"{found['branch']} is at {commit}."
    if before.get("status") == TRUE and build_in(status).get("commit") != commit:
        reason, message = str(before["reason"]), str(before["message"])
    run.write(resource, Condition(SOURCE_FETCHED, TRUE, reason, message), source=found)
    return commit


class Advanced(NamedTuple):
    """A build after one step. `start`: an execution is to be requested; `freed`: a Job of the
    namespace has ended, and none of this build takes its place.
    """

    build: Record
    start: bool = False
    freed: bool = False


def _advance(run: BuildRun, spec: ImageBuildSpec) -> Result:
    """Bring the build one step on: read its Jobs, request its execution, restart what was
    interrupted.

    Whoever works on the build holds its Lease. Where another build is due after that one, that
    execution has the object reconciled again at its end.
    """
    resource = run.read()
    if resource is None:
        return dict(SKIPPED)
    request = read_request(untrusted.annotations_of(resource))
    marks = wants_another(untrusted.status(resource), spec, request)
    with run.build_lease(marks=marks) as lease:
        if lease.heartbeat is None:
            message = f"Already being built by execution {lease.taken_by}."
            return {"phase": str(Phase.RUNNING), "message": message}
        resource = run.read()
        if resource is None:
            return dict(SKIPPED)
        advanced = _advance_alone(run, resource, spec)
    # Not before the Lease is free for the execution that is requested.
    if advanced.start:
        run.dispatch(BUILD_REQUESTED, run.identity._asdict())
    if advanced.freed:
        run.start_next(run.free_jobs(run.job_builder(spec)))
    return {key: advanced.build.get(key) for key in ("phase", "number", "outcome")}


def _advance_alone(run: BuildRun, resource: Object, spec: ImageBuildSpec) -> Advanced:
    resource, freed = _update_jobs(run, resource, spec)
    status = untrusted.status(resource)
    now = run.services.now()
    build, images = build_in(status), images_of(status)
    decision = plan_build(
        status,
        spec,
        request=read_request(untrusted.annotations_of(resource)),
        alive=has_jobs(status) and build.get("phase") == Phase.RUNNING,
        attempts=run.settings.attempts,
        now=now,
    )
    if isinstance(decision, FinishBuild):
        _stop_jobs(run, spec, decision.build, images)
        images = canceled(images, str(decision.build.get("message")), now)
        run.dispatch_end(spec, decision.build, images)
    build = decision.build if decision else build
    conditions = conditions_of(build, images)
    if not build and spec.suspend:
        message = "Built by commands only (spec.suspend)."
        conditions = [Condition(BUILT, UNKNOWN, Reason.SUSPENDED, message)]
    changed: Dict[str, Any] = {"build": build, "images": images} if decision else {}
    if build.get("phase") == Phase.FINISHED:
        # Carried out, or too late.
        changed.update(status_requests.taken_back(resource, status_requests.CANCEL))
    due = requeue_at(build, spec.timeout_seconds + JOB_GRACE_SECONDS, now)
    run.write(resource, *conditions, requeueAt=due, **changed)
    return Advanced(build, start=isinstance(decision, StartBuild), freed=freed)


def _update_jobs(run: BuildRun, resource: Object, spec: ImageBuildSpec) -> Tuple[Object, bool]:
    """Write what has become of the Jobs; whether this leaves room for another build's."""
    status = untrusted.status(resource)
    build, before = build_in(status), images_of(status)
    if build.get("phase") == Phase.FINISHED or not has_jobs(status):
        return resource, False
    now = run.services.now()
    reason = cancel_reason(status, untrusted.integer(build.get("number")))
    if reason:
        _stop_jobs(run, spec, build, before)
        images = canceled(before, reason, now)
    else:
        images = read_jobs(run, spec, build, before)
    has_ended = [each.get("state") for each in images] != [each.get("state") for each in before]
    if has_ended:
        build = summarized(build, images, now)
        if reason:
            build["message"] = reason
        run.dispatch_end(spec, build, images)
    written = run.write(resource, *conditions_of(build, images), build=build, images=images)
    return written or resource, has_ended and build.get("phase") != Phase.REQUESTED


def _stop_jobs(
    run: BuildRun, spec: ImageBuildSpec, build: Mapping[str, Any], images: List[Record]
) -> None:
    if spec.builder == HOST_BUILDAH:
        return
    builder = run.job_builder(spec)
    for record in images:
        if record.get("job") and record.get("state") in UNDER_WAY:
            builder.cancel(run.order(spec, build, record))


def teardown(run: BuildRun) -> Result:
    """Stop the build of an object that is being deleted, remove its Jobs and logs, and let the
    object go. Images stay.
    """
    resource = run.handle.read()
    if resource is None or not resource["metadata"].get("deletionTimestamp"):
        return dict(SKIPPED)
    # The execution that builds has seen the deletion, and stops by itself.
    with run.build_lease(LEASE_WAIT_SECONDS, marks=True) as lease, reporting(run, BUILT):
        if lease.heartbeat is None:
            message = f"Waiting for execution {lease.taken_by} to stop the build."
            return {"released": False, "message": message}
        removed = _remove_jobs(run, resource)
        delivery.stop(run.services, resource, "The ImageBuild was deleted.", run.dispatch)
        logs.forget(run.settings, run.identity)
        run.handle.release_finalizer()
    if removed:
        run.start_next(min(len(removed), run.settings.max_concurrent))
    return {"released": True}


def _remove_jobs(run: BuildRun, resource: Object) -> List[str]:
    """Remove the Jobs of all its builds, where one was ever made in the cluster."""
    used = {build_in(untrusted.status(resource)).get("builder")}
    if used == {None}:
        return []
    with contextlib.suppress(InvalidSpecError):
        used |= {run.parse(resource).builder}
    if used == {HOST_BUILDAH}:
        return []
    builder = JobBuilder(run.services.kube, run.settings, run.settings.builder)
    return builder.remove_all(run.identity)
