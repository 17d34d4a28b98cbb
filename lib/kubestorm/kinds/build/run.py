"""What the steps of an ImageBuild share: its clients, Leases, credentials, and writes of its
status.
"""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from kubestorm.clients.git.credentials import GitCredentials, git_credentials
from kubestorm.clients.git.source import GitClient
from kubestorm.clients.host.processes import Runner
from kubestorm.clients.host.workspace import Workspace
from kubestorm.clients.lease import Heartbeat
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.conditions import Condition
from kubestorm.core.dispatching import Dispatch, dispatcher
from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import ImageName
from kubestorm.core.naming import Identity
from kubestorm.core.times import format_time
from kubestorm.kinds.build import builders, slots, tags
from kubestorm.kinds.build.builders import Order, Progress
from kubestorm.kinds.build.builders.jobs import JobBuilder
from kubestorm.kinds.build.credentials import Logins, RegistryLogin, registry_logins
from kubestorm.kinds.build.failures import Failure
from kubestorm.kinds.build.logins import build_grants
from kubestorm.kinds.build.plan import inputs_of
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.kinds.build.spec import ImageBuildSpec, SourceSpec, parse_image_build
from kubestorm.kinds.build.status import (
    BUILD_FINISHED,
    CONDITIONS,
    ImageState,
    Phase,
    Reason,
    Record,
    failed,
    finished_payload,
    replacing,
    with_duration,
    without_empty,
)
from kubestorm.kinds.common.resource import Object, ResourceHandle

Say = Callable[[str], None]
Result = Dict[str, Any]
SILENT_LEASES = 3
JOB_GRACE_SECONDS = 60.0
LABEL_REVISION = "org.opencontainers.image.revision"
LABEL_SOURCE = "org.opencontainers.image.source"


@contextlib.contextmanager
def open_git(
    services: Services,
    settings: BuildSettings,
    source: SourceSpec,
    stop: Callable[[], str] = lambda: "",
) -> Iterator[GitClient]:
    """A client of a source's repository; its credentials are in a workspace that is deleted
    afterwards.
    """
    credentials = git_credentials(services.vault, source.vault_path, source.address)
    with Workspace(settings.work_folder) as workspace:
        runner = Runner(workspace.path, stop=stop)
        yield GitClient(workspace, source.address, credentials, settings.source, runner)


class HeldLease(NamedTuple):
    """A Lease that is held, or who holds it instead."""

    heartbeat: Optional[Heartbeat]
    taken_by: str = ""


class BuildRun:
    """One execution's access to an ImageBuild."""

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
        self.handle = ResourceHandle(services, identity, run_id, CONDITIONS)

    def read(self) -> Optional[Object]:
        """The object as it is now; None when it is deleted or being deleted."""
        resource = self.handle.read()
        if resource is None or resource["metadata"].get("deletionTimestamp"):
            return None
        return resource

    def parse(self, resource: Object) -> ImageBuildSpec:
        return parse_image_build(resource, self.settings, cluster=self.services.settings.cluster)

    @contextlib.contextmanager
    def build_lease(self, wait_seconds: float = 0.0, *, marks: bool = False) -> Iterator[HeldLease]:
        """Hold the Lease of whoever works on the object's builds, in addition to that of a step, or
        say who holds it. With `marks`, that one has the object reconciled again at its end.
        """
        lease = self.handle.lease(".build")
        acquire = lease.acquire_or_mark if marks else lease.acquire_within
        if acquire(wait_seconds):
            with self.handle.holding(lease) as heartbeat:
                yield HeldLease(heartbeat)
        else:
            yield HeldLease(None, lease.held_by)

    @property
    def silent_seconds(self) -> float:
        """How long a build's execution may be silent before it counts as dead: its Lease has
        expired by then.
        """
        return self.services.settings.lease.duration_seconds * SILENT_LEASES

    def dispatch_end(
        self, spec: ImageBuildSpec, build: Mapping[str, Any], images: Sequence[Record]
    ) -> None:
        """Dispatch kubestorm.build_finished where the build is over. To be called before that is
        written: a crash in between dispatches it again. LeaseLostError where another execution has
        taken over.
        """
        self.services.check_leases()
        if build.get("phase") == Phase.FINISHED:
            payload = finished_payload(self.identity._asdict(), spec, build, images)
            self.dispatch(BUILD_FINISHED, payload)

    def write(
        self,
        resource: Object,
        *conditions: Condition,
        build: Optional[Record] = None,
        images: Any = None,
        **more: Any,
    ) -> Optional[Object]:
        """Write the status. What a record no longer has is removed from the object, too."""
        fields: Dict[str, Any] = dict(more)
        if build is not None:
            fields["build"] = build
        for key in ("build", "source"):
            if key in fields:
                before = untrusted.mapping(untrusted.status(resource).get(key))
                fields[key] = replacing(before, fields[key])
        if images is not None:
            fields["images"] = [without_empty(each) for each in images]
        generation = self.handle.generation(resource)
        return self.handle.write_status(
            *conditions, fields=fields, generation=generation, since=resource
        )

    def credentials(self, spec: ImageBuildSpec) -> GitCredentials:
        return git_credentials(self.services.vault, spec.source.vault_path, spec.source.address)

    def logins(
        self, spec: ImageBuildSpec, pulls: Mapping[str, Optional[Sequence[ImageName]]]
    ) -> Logins:
        """Registries' logins for some images, by name. `pulls` has each one's base images, None
        where they are not known.
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
        """A client of the spec's repository."""
        with open_git(self.services, self.settings, spec.source, stop) as git:
            yield git

    def job_builder(self, spec: ImageBuildSpec, logins: Optional[Logins] = None) -> JobBuilder:
        """The builder in the cluster; with credentials only where Jobs are to be made, for images
        that have `logins`.
        """
        git = None if logins is None else self.credentials(spec)
        return JobBuilder(
            self.services.kube, self.settings, spec.builder, logins=logins or {}, git=git
        )

    def free_slots(self) -> int:
        """How many more builds may run on hosts for this namespace."""
        return slots.count_free(self.services, self.settings.max_concurrent, self.identity)

    def free_jobs(self, builder: JobBuilder) -> int:
        """How many more Jobs this namespace may have."""
        return self.settings.max_concurrent - builder.active(self.identity.namespace)

    def start_next(self, count: int) -> None:
        """Start as many of the namespace's waiting builds, those that have waited longest."""
        slots.start_next(self.services, self.handle.resource, self.identity, self.dispatch, count)

    def order(
        self, spec: ImageBuildSpec, build: Mapping[str, Any], record: Mapping[str, Any]
    ) -> Order:
        """The order for one image of a build, as its record says."""
        image = spec.image(str(record["name"]))
        if image is None:
            raise DefinitionError(
                f"The ImageBuild no longer has an image {record['name']}.", field="spec.images"
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

    def image_after(self, record: Record, order: Order, progress: Progress) -> Record:
        """An image's record after its order is over, here or in a Job."""
        now = self.services.now()
        if progress.state == builders.PUSHED:
            result = {
                "digest": progress.digest,
                "reference": f"{order.image.reference}@{progress.digest}",
                "tags": list(order.tags),
            }
            good = {
                **result,
                "commit": order.commit,
                "inputs": inputs_of(order.image),
                "at": format_time(now),
                "bases": dict(record.get("bases") or {}),
                "unknownBases": list(record.get("unknownBases") or ()),
            }
            done = {"state": ImageState.PUSHED, "message": progress.message, "lastGood": good}
            return with_duration({**record, **result, **done, "finishedAt": format_time(now)})
        if progress.state == builders.GONE:
            gone = Failure(Reason.JOB_GONE, "The Job no longer exists.", True)
            progress = builders.failed("build", gone)
        out = failed(
            record,
            reason=progress.reason,
            message=progress.message,
            retryable=progress.retryable,
            log_tail=progress.log_tail,
            attempts=self.settings.attempts,
            retry_seconds=self.settings.retry_seconds,
            now=now,
        )
        if out["state"] == ImageState.FAILED:
            out["failedOn"] = dict(record.get("bases") or {})
        return {**out, "failedStage": progress.stage}


def run_maker(
    action_service: Any, say: Say = lambda line: None
) -> Callable[[Services, Identity, str], BuildRun]:
    """What gives each action its BuildRun, with what dispatches triggers for this execution."""
    dispatch = dispatcher(action_service)

    def make_run(services: Services, identity: Identity, run_id: str) -> BuildRun:
        return BuildRun(services, identity, run_id, say=say, dispatch=dispatch)

    return make_run
