"""One execution of a build: it fetches the source, decides which images are made, and makes them or
has them made.

It holds one worker for as long as a build on this host takes, and so has a limit of its own; builds
in the cluster are only begun here. While it lives it holds a Lease (`<uid>.build`); a thread sees
whether somebody wants it to stop. The state of each image is written to the object as it changes,
and so is the end: no other execution has to follow. Whoever comes after an execution that died goes
on with the images that are left (decision 0098).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import posixpath
import socket
import threading
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from kubestorm.core import status_requests as asked, untrusted
from kubestorm.kinds.build.base_images import recording as bases
from kubestorm.kinds.build import builders, records, slots, tags
from kubestorm.kinds.build.builders import Builder, Order, Progress
from kubestorm.kinds.build.builders.host import HostBuilder, refuse_unsafe_host
from kubestorm.kinds.build.builders.jobs import JobBuilder
from kubestorm.kinds.build.context import check_context
from kubestorm.clients.git.credentials import GitCredentials, git_credentials
from kubestorm.kinds.build.credentials import Logins, RegistryLogin, registry_logins
from kubestorm.kinds.build.logins import build_grants
from kubestorm.kinds.build.plan import Request, inputs_of, plan_images
from kubestorm.clients.host.processes import CanceledError, Runner
from kubestorm.kinds.build.records import Record
from kubestorm.kinds.build.settings import HOST_BUILDAH, BuildSettings
from kubestorm.clients.git.source import GitClient, forget_unused, kept_repository
from kubestorm.kinds.build.spec import ImageBuildSpec, ImageSpec, parse_image_build
from kubestorm.clients.host.workspace import Workspace, collect
from kubestorm.core.conditions import TRUE, Condition, format_time
from kubestorm.core.dispatching import Dispatch
from kubestorm.core.errors import ConflictError, DefinitionError, Error, TemporaryError
from kubestorm.clients.lease import Heartbeat, LeaseLostError
from kubestorm.core.naming import Identity
from kubestorm.core.image_names import ImageName
from kubestorm.kinds.common.resource import LEASE_WAIT_SECONDS, Object, ResourceHandle, reason_of
from kubestorm.clients.services import Services

log = logging.getLogger(__name__)

Say = Callable[[str], None]
Result = Dict[str, Any]
TICK_SECONDS = 1.0
SILENT_LEASES = 3
JOB_GRACE_SECONDS = 60.0
LABEL_REVISION = "org.opencontainers.image.revision"
LABEL_SOURCE = "org.opencontainers.image.source"


class Hold(NamedTuple):
    """A Lease that is held, or who holds it instead."""

    heartbeat: Optional[Heartbeat]
    taken_by: str = ""


class BuildRun:
    """Everything that the steps of an ImageBuild share."""

    def __init__(
        self,
        services: Services,
        identity: Identity,
        run_id: str,
        *,
        say: Say = lambda line: None,
        dispatch: Dispatch = lambda trigger, payload: None,
    ) -> None:
        self.services, self.identity, self.run_id = services, identity, run_id
        self.say, self.dispatch = say, dispatch
        self.settings = BuildSettings.from_config(services.settings.raw)
        self.handle = ResourceHandle(services, identity, run_id, records.ORDER)

    def parse(self, resource: Object) -> ImageBuildSpec:
        return parse_image_build(resource, self.settings, cluster=self.services.settings.cluster)

    @contextlib.contextmanager
    def build_lease(self, wait_seconds: float = 0.0, *, marks: bool = False) -> Iterator[Hold]:
        """Hold the Lease of whoever works on the object's builds, beside that of a step; or say who
        has held it for longer. With `marks`, that one has the object looked at again at its end.
        """
        lease = self.handle.lease(".build")
        acquire = lease.acquire_or_mark if marks else lease.acquire_within
        if acquire(wait_seconds):
            with self.handle.holding(lease) as heartbeat:
                yield Hold(heartbeat)
        else:
            yield Hold(None, lease.held_by)

    @property
    def silent_seconds(self) -> float:
        """How long a build's execution may be silent before it counts as dead: its Lease has run
        out by then.
        """
        return self.services.settings.lease.duration_seconds * SILENT_LEASES

    def tell_end(
        self,
        spec: ImageBuildSpec,
        build: Mapping[str, Any],
        images: Sequence[Record],
    ) -> None:
        """Dispatch kubestorm.build_finished where the build is over. To be called before the end is
        written: a crash in between then tells it again. LeaseLostError where it is another's to
        tell.
        """
        self.services.check_leases()
        if build.get("phase") == records.FINISHED:
            payload = records.finished_payload(self.identity._asdict(), spec, build, images)
            self.dispatch(records.BUILD_FINISHED, payload)

    def write(
        self,
        resource: Object,
        *conditions: Condition,
        build: Optional[Record] = None,
        images: Any = None,
        **more: Any,
    ) -> Optional[Object]:
        """Write status. What is gone from a record is removed from the object, too."""
        fields: Dict[str, Any] = dict(more)
        if build is not None:
            fields["build"] = build
        for key in ("build", "source"):
            if key in fields:
                fields[key] = records.replacing(
                    untrusted.status(resource).get(key) or {}, fields[key]
                )
        if images is not None:
            fields["images"] = [records.without_nothing(each) for each in images]
        generation = self.handle.generation(resource)
        return self.handle.write_status(
            *conditions, fields=fields, generation=generation, since=resource
        )

    def credentials(self, spec: ImageBuildSpec) -> GitCredentials:
        return git_credentials(self.services.vault, spec.source.vault_path, spec.source.address)

    def logins(
        self, spec: ImageBuildSpec, pulls: Mapping[str, Optional[Sequence[ImageName]]]
    ) -> Logins:
        """Registries' logins for some images, by name. `pulls` says of each what it stands on, None
        where that cannot be known.
        """
        found: Dict[str, List[RegistryLogin]] = {}
        for image in filter(None, map(spec.image, pulls)):
            grants = build_grants(
                self.settings,
                spec.builder,
                self.identity.namespace,
                image.pushed_to,
                pulls[image.name],
            )
            found[image.name] = registry_logins(self.services.vault, grants)
        return found

    @contextlib.contextmanager
    def git(
        self, spec: ImageBuildSpec, stop: Callable[[], str] = lambda: ""
    ) -> Iterator[GitClient]:
        """A client of the spec's repository, its credentials in a workspace that goes away."""
        with Workspace(self.settings.work_folder) as workspace:
            runner = Runner(workspace.path, stop=stop)
            yield GitClient(
                workspace, spec.source.address, self.credentials(spec), self.settings.source, runner
            )

    def job_builder(self, spec: ImageBuildSpec, logins: Optional[Logins] = None) -> JobBuilder:
        """The builder in the cluster; with credentials only where Jobs are to be made, for images
        that have `logins`.
        """
        git = None if logins is None else self.credentials(spec)
        return JobBuilder(
            self.services.kube, self.settings, spec.builder, logins=logins or {}, git=git
        )

    def free_slots(self) -> int:
        """How many builds more may be made on hosts for this namespace."""
        return slots.free(self.services, self.settings.max_concurrent, self.identity)

    def free_jobs(self, builder: JobBuilder) -> int:
        """How many Jobs more this namespace may have."""
        return self.settings.max_concurrent - builder.active(self.identity.namespace)

    def call_next(self, room: int) -> None:
        """Have the builds begin that have waited longest for their turn in this namespace, one for
        each place.
        """
        slots.call_next(self.services, self.handle.resource, self.identity, self.dispatch, room)

    def order(
        self, spec: ImageBuildSpec, build: Mapping[str, Any], record: Mapping[str, Any]
    ) -> Order:
        """The order of one image of a build, as its record says."""
        image = spec.image(str(record["name"]))
        if image is None:
            raise DefinitionError(
                f"The ImageBuild has no image {record['name']} any more.", field="spec.images"
            )
        commit, number = str(build["commit"]), untrusted.integer(build.get("number"))
        branch = str(build.get("branch") or spec.source.shown)
        return Order(
            identity=self.identity,
            number=number,
            attempt=max(untrusted.integer(record.get("attempts")), 1),
            image=image,
            source=spec.source,
            commit=commit,
            dockerfile=str(record.get("dockerfile") or image.dockerfile),
            tags=tags.fill_all(image.tags, branch=branch, commit=commit, number=number),
            labels={LABEL_REVISION: commit, LABEL_SOURCE: spec.source.address.url},
            timeout_seconds=spec.timeout_seconds,
        )


class Watcher:
    """Knows why a build under way has to stop. A thread, ended by `with`."""

    def __init__(self, run: BuildRun, number: int, heartbeats: Sequence[Heartbeat]) -> None:
        self._run, self._number, self._heartbeats = run, number, heartbeats
        self._reason = ""
        self._canceled = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="build-watcher", daemon=True)

    def reason(self) -> str:
        """Why the build has to stop now; empty while it may go on."""
        if any(each.is_lost for each in self._heartbeats):
            return "Another execution has taken over this build."
        return self._reason

    @property
    def canceled(self) -> bool:
        """Whether a person (or the object's end) stopped it, not another run taking over."""
        return self._canceled and not any(each.is_lost for each in self._heartbeats)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            try:
                self._look()
            except Error:
                pass  # an API server that does not answer for a moment stops no build
            except Exception:
                log.exception("build.look_failed", extra={"resource": str(self._run.identity)})

    def _look(self) -> None:
        resource = self._run.handle.read()
        if resource is None or resource["metadata"].get("deletionTimestamp"):
            self._stop("The ImageBuild is being deleted.")
            return
        reason = records.cancel_reason(untrusted.status(resource), self._number)
        if reason:
            self._stop(reason)
        self._put_off(resource)

    def _put_off(self, resource: Object) -> None:
        """Say in the status that the build lives, before somebody looks whether it died. Whatever
        was written to the object meanwhile says it as well.
        """
        run, status = self._run, untrusted.status(resource)
        now, due = run.services.now(), untrusted.moment(status.get("requeueAt"))
        is_running = untrusted.mapping(status.get("build")).get("phase") == records.RUNNING
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
    """Work on the build that an ImageBuild's status asks for. Ends at once where another execution
    does.
    """
    try:
        with run.build_lease(LEASE_WAIT_SECONDS) as hold:
            if hold.heartbeat is not None:
                return _run_build(run, hold.heartbeat)
        message = f"Already being built by execution {hold.taken_by}."
    except LeaseLostError as error:
        message = str(error)
    return {"skipped": True, "message": message}


def _run_build(run: BuildRun, heartbeat: Heartbeat) -> Result:
    resource = run.handle.read()
    if resource is None or resource["metadata"].get("deletionTimestamp"):
        return {"skipped": True, "message": "The ImageBuild is being deleted."}
    build = dict(untrusted.mapping(untrusted.status(resource).get("build")))
    if build.get("phase") not in (records.REQUESTED_PHASE, records.RUNNING):
        return {"skipped": True, "message": "No build is requested."}
    spec = run.parse(resource)
    if spec.builder != HOST_BUILDAH:
        with Watcher(run, untrusted.integer(build.get("number")), [heartbeat]) as watcher:
            return _Execution(run, resource, spec, build, watcher).carry_out()
    limit = run.settings.max_concurrent
    slot = slots.take(run.services, limit, run.identity, run.run_id)
    if slot is None:
        resource, build = _await_turn(run, resource, build)
        # One may have been given back before anybody could know that this build waits.
        slot = slots.take(run.services, limit, run.identity, run.run_id)
    if slot is None:
        return {"waiting": True, "message": build["message"]}
    try:
        with run.services.holding(slot) as slot_heartbeat, Watcher(
            run, untrusted.integer(build.get("number")), [heartbeat, slot_heartbeat]
        ) as watcher:
            return _Execution(run, resource, spec, build, watcher).carry_out()
    finally:
        # What this cannot do now, the waiting build does when its turn has not come for long.
        with contextlib.suppress(Exception):
            run.call_next(run.free_slots())


def _await_turn(run: BuildRun, resource: Object, build: Record) -> Tuple[Object, Record]:
    limit, now = run.settings.max_concurrent, run.services.now()
    message = f"Waiting for another build of this namespace to end (at most {limit} at a time)."
    build = records.awaiting_turn(build, message, now)
    conditions = records.conditions_of(build, [])
    requeue_at = records.requeue_at(build, run.silent_seconds, now)
    written = run.write(resource, *conditions, build=build, requeueAt=requeue_at)
    return written or resource, build


class _Execution:
    """One build, taken up where it is."""

    def __init__(
        self, run: BuildRun, resource: Object, spec: ImageBuildSpec, build: Record, watcher: Watcher
    ) -> None:
        self._run, self._resource, self._spec, self._watcher = run, resource, spec, watcher
        self._build = build
        self._images: List[Record] = records.images_of(untrusted.status(resource))
        self._now = run.services.now
        self._bases: Dict[str, bases.Recorded] = {}
        self._silent_seconds = run.silent_seconds

    def carry_out(self) -> Result:
        """The whole of it. What fails before an image is begun fails the build, or is retried."""
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
        self._build = records.begun(
            self._build, host=socket.gethostname(), execution_id=run.run_id, now=self._now()
        )
        self._save()
        source = run.settings.work_folder
        address, vault_path = self._spec.source.address, self._spec.source.vault_path
        kept = kept_repository(
            source, namespace=run.identity.namespace, address=address, vault_path=vault_path
        )
        with run.git(self._spec, self._watcher.reason) as git, kept as repository:
            self._prepare(git, repository)
            dockerfiles = self._check_contexts(git, repository)
        # The credentials for git are gone before anything of the source runs.
        if self._spec.builder != HOST_BUILDAH:
            return self._begin_jobs(dockerfiles)
        return self._build_here(repository, dockerfiles)

    def _prepare(self, git: GitClient, repository: Path) -> None:
        """Have the source, and a decision about each image."""
        known = {str(each["name"]): each for each in self._images}
        good = records.last_good(known)
        commit, branch = (
            str(self._build["commit"]),
            self._spec.source.revision or self._spec.source.branch,
        )
        self._run.say(f"Fetching {commit} of {self._spec.source.address.url}.")
        since = sorted({each.commit for each in good.values()} - {commit})
        git.fetch(repository, commit=commit, branch=branch, since=since)
        if not records.is_planned(known, self._spec, untrusted.integer(self._build.get("number"))):
            changes = {each: git.changed_paths(repository, each, commit) for each in since}
            decisions = plan_images(
                self._spec.images,
                commit=commit,
                last_good=good,
                changes=changes,
                request=self._request(),
            )
            for decision in decisions:
                verb = "is built" if decision.build else "is skipped"
                self._run.say(f"{decision.image} {verb}: {decision.message}")
            number = untrusted.integer(self._build.get("number"))
            self._images = records.planned(decisions, known, number=number, commit=commit)
        self._save(_fetched(commit, self._spec))

    def _request(self) -> Optional[Request]:
        if self._build.get("cause") != "a command":
            return None
        names = frozenset(untrusted.words(self._build.get("requestImages")))
        by, force = str(self._build.get("requestedBy") or ""), bool(self._build.get("requestForce"))
        return Request(str(self._build.get("requestId")), by, names, force)

    def _check_contexts(self, git: GitClient, repository: Path) -> Dict[str, str]:
        """The real Dockerfile of each image that is to be built; one whose context is refused fails
        by itself.
        """
        found: Dict[str, str] = {}
        for index, record in enumerate(self._images):
            image = self._spec.image(str(record["name"]))
            if image is None or record.get("state") in records.FINAL:
                continue
            try:
                found[image.name] = self._check_context(git, repository, image)
            except DefinitionError as error:
                message = f"{error}."
                self._images[index] = self._failed(record, "SourceRefused", message, stage="build")
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
        self._bases[image.name] = bases.record(
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
            self._images[index] = _rewound(record)  # whatever an execution that died left half-way
        due = records.due_images(self._by_name, self._now())
        builder = HostBuilder(
            self._run.settings,
            check_out=check_out,
            logins=self._logins(due),
            stop=self._watcher.reason,
        )
        for name in due:
            self._one(builder, name, dockerfiles[name])
        return self._settle()

    def _one(self, builder: Builder, name: str, dockerfile: str) -> None:
        """Make one image, and write what became of it."""
        record = self._begin(name, dockerfile)
        order = self._run.order(self._spec, self._build, record)
        self._run.say(f"--- {name}: {', '.join(order.references)}")

        def stage(word: str) -> None:
            states = {"build": records.BUILDING, "test": records.TESTING, "push": records.PUSHING}
            self._put({**self._by_name[name], "state": states[word]})
            self._save()

        try:
            progress = builder.start(order, self._run.say, stage)
        except CanceledError:
            raise
        except TemporaryError as error:
            progress = Progress(
                builders.FAILED,
                reason="HostFailed",
                message=str(error),
                retryable=True,
                stage="build",
            )
        self._put(record_after(self._run, self._by_name[name], order, progress))
        self._run.say(f"--- {name}: {progress.message}")
        self._save()

    def _begin_jobs(self, dockerfiles: Mapping[str, str]) -> Result:
        """Make as many Jobs as the namespace may have; the images that are left wait for their
        turn.
        """
        run = self._run
        with slots.counting(run.services, run.identity, run.run_id):
            due = records.due_images(self._by_name, self._now())
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
                        "state": records.BUILDING,
                        "job": progress.job,
                        "message": progress.message,
                    }
                )
                self._save()
        # A Job that ends is watched; one that never does is looked at when its time is over.
        self._silent_seconds = self._spec.timeout_seconds + JOB_GRACE_SECONDS
        return self._settle(awaits_turn=len(due) > max(room, 0))

    def _logins(self, names: Sequence[str]) -> Logins:
        """Read before any image is begun: what Vault lacks is no failure of an image."""
        known = {name: self._bases[name].images for name in names if name in self._bases}
        return self._run.logins(self._spec, known)

    def _begin(self, name: str, dockerfile: str) -> Record:
        record = {
            key: value
            for key, value in self._by_name[name].items()
            if key not in ("retryAt", "logTail")
        }
        record.update(
            state=records.BUILDING, attempts=untrusted.integer(record.get("attempts")) + 1
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

    def _failed(self, record: Record, reason: str, message: str, *, stage: str) -> Record:
        settings = self._run.settings
        out = records.failed(
            record, reason=reason, message=message, retryable=False, log_tail="",
            attempts=settings.attempts,
            retry_seconds=settings.retry_seconds, now=self._now(),
        )  # fmt: skip
        return {**out, "failedStage": stage}

    def _settle(self, *, awaits_turn: bool = False) -> Result:
        self._build = records.settle(self._build, self._images, self._now())
        if awaits_turn:
            limit = self._run.settings.max_concurrent
            message = f"Images wait for Jobs of this namespace to end (at most {limit} at a time)."
            self._build = records.awaiting_turn(self._build, message, self._now())
        return self._end()

    def _canceled(self, reason: str) -> Result:
        """Stopped from outside. Where another execution has taken over, that one writes."""
        if not self._watcher.canceled:
            return {"skipped": True, "message": reason}
        now = self._now()
        self._images = records.cancel_images(self._images, reason, now)
        self._build = records.finished(self._build, records.CANCELED, reason, now)
        self._run.say(reason)
        return self._end()

    def _end(self) -> Result:
        """Write how it ended, or that it goes on later."""
        self._run.tell_end(self._spec, self._build, self._images)
        self._save()
        if self._build.get("phase") == records.FINISHED:
            self._run.handle.take_back(asked.CANCEL)  # acted upon, or too late
        states = {str(each["name"]): str(each.get("state")) for each in self._images}
        keys = ("number", "phase", "outcome", "message", "commit")
        return {**{key: self._build.get(key) for key in keys}, "images": states}

    def _report(self, error: Error) -> None:
        """What failed before or beside the images: tried again where that may help, otherwise the
        build's end.
        """
        now, run = self._now(), self._run
        count = untrusted.integer(self._build.get("interruptions")) + 1
        is_source = error.service in ("Git", "Vault") or isinstance(error, DefinitionError)
        if isinstance(error, TemporaryError) and count < run.settings.attempts:
            wait = run.settings.retry_seconds * 2.0 ** (count - 1)
            self._build = records.later(self._build, str(error), count, wait, now)
        else:
            self._build = records.finished(self._build, records.FAILED, str(error), now)
            number = untrusted.integer(self._build.get("number"))
            reason = records.SOURCE_UNAVAILABLE if is_source else records.BUILD_FAILED
            self._images = [
                self._failed({**each, "build": number}, reason, str(error), stage="build")
                if each.get("state") not in records.FINAL
                else each
                for each in self._images
            ]
        condition = Condition(records.SOURCE_FETCHED, "False", reason_of(error), str(error))
        with contextlib.suppress(Error):
            run.tell_end(self._spec, self._build, self._images)
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
            *records.conditions_of(self._build, self._images),
            build=self._build,
            images=self._images,
            requeueAt=records.requeue_at(self._build, self._silent_seconds, self._now()),
        )
        if written is not None:
            self._resource = written


def record_after(run: BuildRun, record: Record, order: Order, progress: Progress) -> Record:
    """An image's record after what became of its order, here or in a Job."""
    settings, now = run.settings, run.services.now()
    if progress.state == builders.PUSHED:
        reference = f"{order.image.reference}@{progress.digest}"
        good = {
            "commit": order.commit,
            "inputs": inputs_of(order.image),
            "digest": progress.digest,
            "reference": reference,
            "tags": list(order.tags),
            "at": format_time(now),
            "bases": dict(record.get("bases") or {}),
            "unknownBases": list(record.get("unknownBases") or ()),
        }
        done = {
            **record,
            "state": records.PUSHED,
            "message": progress.message,
            "digest": progress.digest,
            "reference": reference,
            "tags": list(order.tags),
            "finishedAt": format_time(now),
            "lastGood": good,
        }
        return records.with_duration(done)
    if progress.state == builders.GONE:
        progress = Progress(
            builders.FAILED, reason="JobGone", message="Its Job is gone.", retryable=True,
            stage="build"
        )  # fmt: skip
    out = records.failed(
        record,
        reason=progress.reason,
        message=progress.message,
        retryable=progress.retryable,
        log_tail=progress.log_tail,
        attempts=settings.attempts,
        retry_seconds=settings.retry_seconds,
        now=now,
    )
    if out["state"] == records.IMAGE_FAILED:
        out["failedOn"] = dict(record.get("bases") or {})
    return {**out, "failedStage": progress.stage}


def _fetched(commit: str, spec: ImageBuildSpec) -> Condition:
    message = f"Commit {commit} of {spec.source.shown} is here."
    return Condition(records.SOURCE_FETCHED, TRUE, "Fetched", message)


def _rewound(record: Record) -> Record:
    """An image that was being made when its execution died waits again; the try that was cut off
    does not count.
    """
    if record.get("state") not in records.UNDER_WAY:
        return record
    return {
        **record,
        "state": records.WAITING,
        "attempts": max(untrusted.integer(record.get("attempts"), 1) - 1, 0),
    }
