"""One execution of a build: it fetches the source, decides which images are built, and builds them
or has Jobs build them.

It holds one worker for as long as a build on this host takes, and so has a timeout of its own;
builds in the cluster are only started here. It holds the Lease `<uid>.build` and watches for a
cancellation in a thread. The state of each image is written to the object as it changes, and so is
the end: no other execution has to follow. The execution that follows one that died continues with
the images that are left (decision 0098).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import posixpath
import socket
import threading
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from kubestorm.clients.git.source import GitClient, forget_unused, kept_repository
from kubestorm.clients.host.processes import CanceledError
from kubestorm.clients.host.workspace import collect
from kubestorm.clients.lease import Heartbeat, LeaseLostError
from kubestorm.core import status_requests, untrusted
from kubestorm.core.conditions import FALSE, TRUE, Condition
from kubestorm.core.errors import ConflictError, DefinitionError, Error, TemporaryError
from kubestorm.core.times import format_time, parse_time
from kubestorm.kinds.build import builders, slots
from kubestorm.kinds.build.base_images.observe import RecordedBases, record_bases
from kubestorm.kinds.build.builders import Builder, Order
from kubestorm.kinds.build.builders.host import HostBuilder, refuse_unsafe_host
from kubestorm.kinds.build.context import check_context
from kubestorm.kinds.build.credentials import Logins
from kubestorm.kinds.build.failures import Failure
from kubestorm.kinds.build.plan import due_images, is_planned, plan_images, planned, requeue_at
from kubestorm.kinds.build.run import JOB_GRACE_SECONDS, BuildRun, Result
from kubestorm.kinds.build.settings import HOST_BUILDAH
from kubestorm.kinds.build.spec import ImageBuildSpec, ImageSpec
from kubestorm.kinds.build.status import (
    FINAL,
    SOURCE_FETCHED,
    Cause,
    ImageState,
    Outcome,
    Phase,
    Reason,
    Record,
    Request,
    awaiting_turn,
    build_in,
    cancel_reason,
    canceled,
    conditions_of,
    failed,
    finished,
    images_of,
    interrupted,
    is_progressing,
    last_good,
    retrying,
    running,
    summarized,
)
from kubestorm.kinds.common.resource import LEASE_WAIT_SECONDS, Object, reason_of

log = logging.getLogger(__name__)
TICK_SECONDS = 1.0


class CancelWatcher:
    """Watches in a thread whether a build has to stop; the `with` block ends the thread."""

    def __init__(self, run: BuildRun, number: int, heartbeats: Sequence[Heartbeat]) -> None:
        self._run, self._number, self._heartbeats = run, number, heartbeats
        self._reason = ""
        self._canceled = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="build-watcher", daemon=True)

    def reason(self) -> str:
        """Why the build has to stop now; empty while it may continue."""
        if any(each.is_lost for each in self._heartbeats):
            return "Another execution has taken over this build."
        return self._reason

    @property
    def canceled(self) -> bool:
        """Whether a person or the object's deletion stopped it, not another execution."""
        return self._canceled and not any(each.is_lost for each in self._heartbeats)

    def __enter__(self) -> CancelWatcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            try:
                self._check()
            except Error:
                pass  # a failed request to the API server stops no build
            except Exception:
                log.exception("build.check_failed", extra={"resource": str(self._run.identity)})

    def _check(self) -> None:
        resource = self._run.read()
        if resource is None:
            self._stop("The ImageBuild is being deleted.")
            return
        reason = cancel_reason(untrusted.status(resource), self._number)
        if reason:
            self._stop(reason)
        self._postpone_requeue(resource)

    def _postpone_requeue(self, resource: Object) -> None:
        """Move requeueAt on before it is due, as a sign of life. A conflict with another write,
        which is one as well, is ignored.
        """
        run, status = self._run, untrusted.status(resource)
        now, due = run.services.now(), parse_time(status.get("requeueAt"))
        is_running = build_in(status).get("phase") == Phase.RUNNING
        if not is_running or due is None or (due - now).total_seconds() > run.silent_seconds / 2:
            return
        later = format_time(now + dt.timedelta(seconds=run.silent_seconds))
        metadata = resource["metadata"]
        run.services.kube.patch_status(
            run.handle.resource,
            metadata["name"],
            {"requeueAt": later},
            metadata["namespace"],
            resource_version=metadata["resourceVersion"],
        )

    def _stop(self, reason: str) -> None:
        if not self._reason:
            self._canceled = True
            self._reason = reason


def run_build(run: BuildRun) -> Result:
    """Carry out the build that an ImageBuild's status requests. Ends at once where another
    execution does that. Safe to repeat.
    """
    try:
        with run.build_lease(LEASE_WAIT_SECONDS) as lease:
            if lease.heartbeat is not None:
                return _run_build(run, lease.heartbeat)
        message = f"Already being built by execution {lease.taken_by}."
    except LeaseLostError as error:
        message = str(error)
    return {"skipped": True, "message": message}


def _run_build(run: BuildRun, heartbeat: Heartbeat) -> Result:
    resource = run.read()
    if resource is None:
        return {"skipped": True, "message": "The ImageBuild is being deleted."}
    build = build_in(untrusted.status(resource))
    if not is_progressing(build):
        return {"skipped": True, "message": "No build is requested."}
    spec = run.parse(resource)
    if spec.builder != HOST_BUILDAH:
        with CancelWatcher(run, untrusted.integer(build.get("number")), [heartbeat]) as watcher:
            return _Execution(run, resource, spec, build, watcher).carry_out()
    limit = run.settings.max_concurrent
    slot = slots.acquire(run.services, limit, run.identity, run.run_id)
    if slot is None:
        resource, build = _await_turn(run, resource, build)
        # One may have been freed before the status said that this build waits.
        slot = slots.acquire(run.services, limit, run.identity, run.run_id)
    if slot is None:
        return {"waiting": True, "message": build["message"]}
    try:
        with run.services.holding(slot) as slot_heartbeat, CancelWatcher(
            run, untrusted.integer(build.get("number")), [heartbeat, slot_heartbeat]
        ) as watcher:
            return _Execution(run, resource, spec, build, watcher).carry_out()
    finally:
        # Where this fails, the waiting build tries again by itself after TURN_SECONDS.
        with contextlib.suppress(Exception):
            run.start_next(run.free_slots())


def _await_turn(run: BuildRun, resource: Object, build: Record) -> Tuple[Object, Record]:
    limit, now = run.settings.max_concurrent, run.services.now()
    message = f"Waiting for another build of this namespace to end (at most {limit} at a time)."
    build = awaiting_turn(build, message, now)
    conditions = conditions_of(build, [])
    due = requeue_at(build, run.silent_seconds, now)
    written = run.write(resource, *conditions, build=build, requeueAt=due)
    return written or resource, build


class _Execution:
    """One build, continued where it is."""

    def __init__(
        self,
        run: BuildRun,
        resource: Object,
        spec: ImageBuildSpec,
        build: Record,
        watcher: CancelWatcher,
    ) -> None:
        self._run, self._resource, self._spec, self._watcher = run, resource, spec, watcher
        self._build = build
        self._images: List[Record] = images_of(untrusted.status(resource))
        self._now = run.services.now
        self._bases: Dict[str, RecordedBases] = {}
        self._silent_seconds = run.silent_seconds

    def carry_out(self) -> Result:
        """Run the build. What fails before an image is started fails the build, or is retried."""
        try:
            return self._carry_out()
        except CanceledError as error:
            return self._canceled(str(error))
        except (ConflictError, LeaseLostError):
            raise
        except Error as error:
            self._report(error)
            raise

    def _carry_out(self) -> Result:
        run = self._run
        if self._spec.builder == HOST_BUILDAH:
            refuse_unsafe_host(run.settings)
            collect(run.settings.work_folder)
            forget_unused(run.settings.work_folder, keep_days=run.settings.source.keep_days)
        self._build = running(
            self._build, host=socket.gethostname(), execution_id=run.run_id, now=self._now()
        )
        self._save()
        address, vault_path = self._spec.source.address, self._spec.source.vault_path
        kept = kept_repository(
            run.settings.work_folder,
            namespace=run.identity.namespace,
            address=address,
            vault_path=vault_path,
        )
        with run.git(self._spec, self._watcher.reason) as git, kept as repository:
            self._prepare(git, repository)
            dockerfiles = self._check_contexts(git, repository)
        # The git credentials are deleted before anything of the source runs.
        if self._spec.builder != HOST_BUILDAH:
            return self._begin_jobs(dockerfiles)
        return self._build_here(repository, dockerfiles)

    def _prepare(self, git: GitClient, repository: Path) -> None:
        """Fetch the source and decide about each image."""
        known = {str(each["name"]): each for each in self._images}
        good = last_good(known)
        commit, branch = (
            str(self._build["commit"]),
            self._spec.source.revision or self._spec.source.branch,
        )
        self._run.say(f"Fetching {commit} of {self._spec.source.address.url}.")
        since = sorted({each.commit for each in good.values()} - {commit})
        git.fetch(repository, commit=commit, branch=branch, since=since)
        if not is_planned(known, self._spec, untrusted.integer(self._build.get("number"))):
            changes = {each: git.changed_paths(repository, each, commit) for each in since}
            decisions = plan_images(
                self._spec.images,
                commit=commit,
                last_good=good,
                changes=changes,
                request=self._request(),
            )
            for decision in decisions:
                verb = "will be built" if decision.build else "is skipped"
                self._run.say(f"{decision.image} {verb}: {decision.message}")
            number = untrusted.integer(self._build.get("number"))
            self._images = planned(decisions, known, number=number, commit=commit)
        self._save(_fetched(commit, self._spec))

    def _request(self) -> Optional[Request]:
        if self._build.get("cause") != Cause.COMMAND:
            return None
        names = frozenset(untrusted.words(self._build.get("requestImages")))
        by, force = str(self._build.get("requestedBy") or ""), bool(self._build.get("requestForce"))
        return Request(str(self._build.get("requestId")), by, names, force)

    def _check_contexts(self, git: GitClient, repository: Path) -> Dict[str, str]:
        """The Dockerfile's path of each image that is to be built; an image whose context is
        refused fails, and no other.
        """
        found: Dict[str, str] = {}
        for index, record in enumerate(self._images):
            image = self._spec.image(str(record["name"]))
            if image is None or record.get("state") in FINAL:
                continue
            try:
                found[image.name] = self._check_context(git, repository, image)
            except DefinitionError as error:
                message = f"{error}."
                self._images[index] = self._failed(record, Reason.SOURCE_REFUSED, message)
        self._save()
        return found

    def _check_context(self, git: GitClient, repository: Path, image: ImageSpec) -> str:
        commit = str(self._build["commit"])
        entries = git.tree(repository, commit, image.context)
        found = check_context(
            entries,
            git.links(repository, entries),
            image=image.name,
            context=image.context,
            dockerfile=image.dockerfile,
            absolute_ok=self._run.settings.allow_absolute_links,
        )
        text = image.dockerfile_text or git.text(
            repository, commit, posixpath.join(image.context, found)
        )
        self._bases[image.name] = record_bases(
            self._run.services,
            text,
            image.build_args,
            image.target,
            platforms=image.platforms,
            builder_platform=self._run.settings.platform_of(self._spec.builder),
        )
        return found

    def _build_here(self, repository: Path, dockerfiles: Mapping[str, str]) -> Result:
        def check_out(order: Order, target: Path) -> None:
            with self._run.git(self._spec, self._watcher.reason) as git:
                git.check_out(repository, order.commit, order.image.context, target)

        for index, record in enumerate(self._images):
            self._images[index] = interrupted(record)
        due = due_images(self._by_name, self._now())
        builder = HostBuilder(
            self._run.settings,
            check_out=check_out,
            logins=self._logins(due),
            stop=self._watcher.reason,
        )
        for name in due:
            self._build_image(builder, name, dockerfiles[name])
        return self._settle()

    def _build_image(self, builder: Builder, name: str, dockerfile: str) -> None:
        """Build one image, and write its result."""
        record = self._begin(name, dockerfile)
        order = self._run.order(self._spec, self._build, record)
        self._run.say(f"--- {name}: {', '.join(order.references)}")

        def stage(word: str) -> None:
            states = {
                "build": ImageState.BUILDING,
                "test": ImageState.TESTING,
                "push": ImageState.PUSHING,
            }
            self._put({**self._by_name[name], "state": states[word]})
            self._save()

        try:
            progress = builder.start(order, self._run.say, stage)
        except CanceledError:
            raise
        except TemporaryError as error:
            progress = builders.failed("build", Failure(Reason.HOST_FAILED, str(error), True))
        self._put(self._run.image_after(self._by_name[name], order, progress))
        self._run.say(f"--- {name}: {progress.message}")
        self._save()

    def _begin_jobs(self, dockerfiles: Mapping[str, str]) -> Result:
        """Create as many Jobs as the namespace may have; the other images wait for their turn."""
        run = self._run
        with slots.counting(run.services, run.identity, run.run_id):
            due = due_images(self._by_name, self._now())
            builder = run.job_builder(self._spec, self._logins(due))
            builder.collect()
            room = run.free_jobs(builder)
            for name in due[: max(room, 0)]:
                record = self._begin(name, dockerfiles[name])
                order = run.order(self._spec, self._build, record)
                progress = builder.start(order, run.say, lambda word: None)
                self._put(
                    {
                        **record,
                        "state": ImageState.BUILDING,
                        "job": progress.job,
                        "message": progress.message,
                    }
                )
                self._save()
        # The end of a Job is watched; one that never ends is checked when its time is over.
        self._silent_seconds = self._spec.timeout_seconds + JOB_GRACE_SECONDS
        return self._settle(awaits_turn=len(due) > max(room, 0))

    def _logins(self, names: Sequence[str]) -> Logins:
        """Read before any image is started: a secret missing in Vault is no failure of an image."""
        known = {name: self._bases[name].images for name in names if name in self._bases}
        return self._run.logins(self._spec, known)

    def _begin(self, name: str, dockerfile: str) -> Record:
        record = {
            key: value
            for key, value in self._by_name[name].items()
            if key not in ("retryAt", "logTail")
        }
        record.update(
            state=ImageState.BUILDING, attempts=untrusted.integer(record.get("attempts")) + 1
        )
        record.setdefault("startedAt", format_time(self._now()))
        if dockerfile:
            record["dockerfile"] = dockerfile
        found = self._bases.get(name)
        record["bases"] = found.digests if found else {}
        record["unknownBases"] = list(found.unknown) if found else []
        self._put(record)
        self._save()
        return record

    def _failed(self, record: Record, reason: Reason, message: str) -> Record:
        settings = self._run.settings
        out = failed(
            record, reason=reason, message=message, retryable=False, log_tail="",
            attempts=settings.attempts,
            retry_seconds=settings.retry_seconds, now=self._now(),
        )  # fmt: skip
        return {**out, "failedStage": "build"}

    def _settle(self, *, awaits_turn: bool = False) -> Result:
        self._build = summarized(self._build, self._images, self._now())
        if awaits_turn:
            limit = self._run.settings.max_concurrent
            message = f"Images wait for Jobs of this namespace to end (at most {limit} at a time)."
            self._build = awaiting_turn(self._build, message, self._now())
        return self._end()

    def _canceled(self, reason: str) -> Result:
        """End a build that was stopped. Where another execution has taken over, that one writes."""
        if not self._watcher.canceled:
            return {"skipped": True, "message": reason}
        now = self._now()
        self._images = canceled(self._images, reason, now)
        self._build = finished(self._build, Outcome.CANCELED, reason, now)
        self._run.say(reason)
        return self._end()

    def _end(self) -> Result:
        """Write the end of the build, or that it continues later."""
        self._run.dispatch_end(self._spec, self._build, self._images)
        self._save()
        if self._build.get("phase") == Phase.FINISHED:
            self._run.handle.take_back(status_requests.CANCEL)  # carried out, or too late
        states = {str(each["name"]): str(each.get("state")) for each in self._images}
        keys = ("number", "phase", "outcome", "message", "commit")
        return {**{key: self._build.get(key) for key in keys}, "images": states}

    def _report(self, error: Error) -> None:
        """Write a failure outside of the images: the build is retried where that may help, or
        failed.
        """
        now, run = self._now(), self._run
        count = untrusted.integer(self._build.get("interruptions")) + 1
        is_source = error.service in ("Git", "Vault") or isinstance(error, DefinitionError)
        if isinstance(error, TemporaryError) and count < run.settings.attempts:
            wait = run.settings.retry_seconds * 2.0 ** (count - 1)
            self._build = retrying(self._build, str(error), count, wait, now)
        else:
            self._build = finished(self._build, Outcome.FAILED, str(error), now)
            number = untrusted.integer(self._build.get("number"))
            reason = Reason.SOURCE_UNAVAILABLE if is_source else Reason.BUILD_FAILED
            self._images = [
                self._failed({**each, "build": number}, reason, str(error))
                if each.get("state") not in FINAL
                else each
                for each in self._images
            ]
        condition = Condition(SOURCE_FETCHED, FALSE, reason_of(error), str(error))
        with contextlib.suppress(Error):
            run.dispatch_end(self._spec, self._build, self._images)
            self._save(*([condition] if is_source else []))

    @property
    def _by_name(self) -> Dict[str, Record]:
        return {str(each["name"]): each for each in self._images}

    def _put(self, record: Record) -> None:
        self._images = [record if each["name"] == record["name"] else each for each in self._images]

    def _save(self, *conditions: Condition) -> None:
        written = self._run.write(
            self._resource,
            *conditions,
            *conditions_of(self._build, self._images),
            build=self._build,
            images=self._images,
            requeueAt=requeue_at(self._build, self._silent_seconds, self._now()),
        )
        if written is not None:
            self._resource = written


def _fetched(commit: str, spec: ImageBuildSpec) -> Condition:
    message = f"Fetched commit {commit} of {spec.source.shown}."
    return Condition(SOURCE_FETCHED, TRUE, Reason.FETCHED, message)
