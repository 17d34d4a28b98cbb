"""One custom resource during one run: its lock, its status, its finalizer, the Events it leaves.

Knows no kind in particular: `order` names the conditions that lead to Ready. Every write is an
ensure: status is patched only where something differs, so that a look which finds all in order
leaves no trace and wakes no watcher.
"""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence

from kubestorm.clients.kube import KubeClient, Resource
from kubestorm.clients.lease import Heartbeat, LeaseLock, LeaseLostError
from kubestorm.clients.services import Services
from kubestorm.core import conditions as conditions_module
from kubestorm.core import status_requests, untrusted
from kubestorm.core.conditions import (
    FALSE,
    READY,
    TRUE,
    UNDER_WAY,
    Condition,
    roll_up,
    set_condition,
)
from kubestorm.core.errors import (
    ConflictError,
    Error,
    NotFoundError,
    PermanentError,
    TemporaryError,
)
from kubestorm.core.naming import FINALIZER, LOOK_AGAIN_ANNOTATION, Identity
from kubestorm.core.times import format_time

Object = Dict[str, Any]
Result = Dict[str, Any]
CONFLICT_ATTEMPTS = 5
LEASE_WAIT_SECONDS = 5.0
"""How long a step waits for another's to end; most take one or two seconds."""
NAMESPACES = Resource("", "v1", "namespaces")


class ResourceHandle:
    """What a step does to the object itself. `run_id` names the run in the Lease and in
    `status.lastRunId`.
    """

    def __init__(
        self,
        services: Services,
        identity: Identity,
        run_id: str,
        order: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.identity = identity
        self.run_id = run_id
        self.resource = Resource(identity.group, identity.version, identity.plural)
        self._services = services
        self.is_gone = False
        """Whether a look has found that there is no such object any more."""
        self._order = order or {}
        kinds = services.settings.database.kinds
        self._plain_status = any(
            (kind.group, kind.plural, kind.status) == (identity.group, identity.plural, "object")
            for kind in kinds
        )

    @property
    def _kube(self) -> KubeClient:
        return self._services.kube

    # The lock.

    def while_leased(
        self, work: Callable[[], Result], *, wait_seconds: float = LEASE_WAIT_SECONDS
    ) -> Result:
        """Do one step's work under the object's Lease, which a heartbeat renews and which is given
        back at the end.

        Contention is no failure: where another execution holds the Lease for longer than
        `wait_seconds`, or has taken it over, the result says so (`skipped`) and the holder sees to
        another look. Steps are ensures, so that what was left out is done then.
        """
        lease = self.lease()
        if not lease.acquire_or_mark(wait_seconds):
            return _left_to(f"Already being reconciled by execution {lease.held_by}.")
        try:
            with self.holding(lease):
                return work()
        except LeaseLostError as error:
            return _left_to(str(error))

    def lease(self, suffix: str = "") -> LeaseLock:
        """The object's Lease, or another one that is for the object; not taken yet."""
        return self._services.lease(
            f"{self.identity.uid}{suffix}", self.run_id, of=str(self.identity)
        )

    @contextlib.contextmanager
    def holding(self, lease: LeaseLock) -> Iterator[Heartbeat]:
        """As Services.holding. At the end the object is looked at again where somebody has asked
        for that; the Lease of one that is gone goes, too.
        """
        try:
            with self._services.holding(lease) as heartbeat:
                try:
                    yield heartbeat
                finally:
                    lease.is_over = self.is_gone
        finally:
            if lease.was_marked and not self.is_gone:
                with contextlib.suppress(Error):
                    self.request_look()

    def request_look(self) -> None:
        """Have the sensor dispatch the object once more. Harmless when it is gone."""
        stamp = format_time(self._services.now(), "microseconds")
        body = {
            "metadata": {
                "annotations": {LOOK_AGAIN_ANNOTATION: stamp},
                "uid": self.identity.uid,
            }
        }
        with contextlib.suppress(NotFoundError, ConflictError):
            self._kube.patch(self.resource, self.identity.name, body, self.identity.namespace)

    # The object.

    def read(self) -> Optional[Object]:
        """The object as it is now; None when it is gone, also when another object has its name."""
        with contextlib.suppress(NotFoundError):
            found = self._kube.get(self.resource, self.identity.name, self.identity.namespace)
            if found["metadata"].get("uid") == self.identity.uid:
                return found
        self.is_gone = True
        return None

    def is_namespace_terminating(self) -> bool:
        """Whether the namespace around it is being deleted."""
        try:
            namespace = self._kube.get(NAMESPACES, self.identity.namespace)
        except NotFoundError:
            return True
        return bool(namespace["metadata"].get("deletionTimestamp"))

    def ensure_finalizer(self) -> bool:
        """Hold the object's deletion until `release_finalizer`; whether it had to be written."""
        return self._change_finalizers(wanted=True)

    def release_finalizer(self) -> bool:
        """Let the object go. Safe to repeat, also when it is gone."""
        return self._change_finalizers(wanted=False)

    def _change_finalizers(self, *, wanted: bool) -> bool:
        for _ in range(CONFLICT_ATTEMPTS):
            found = self.read()
            if found is None:
                return False
            metadata = found["metadata"]
            finalizers = list(metadata.get("finalizers") or ())
            if (FINALIZER in finalizers) is wanted:
                return False
            if wanted and metadata.get("deletionTimestamp"):
                return False  # the API server refuses new finalizers on what is being deleted
            changed = (
                [*finalizers, FINALIZER]
                if wanted
                else [item for item in finalizers if item != FINALIZER]
            )
            body = {
                "metadata": {"finalizers": changed, "resourceVersion": metadata["resourceVersion"]}
            }
            try:
                self._kube.patch(self.resource, self.identity.name, body, self.identity.namespace)
            except ConflictError:
                continue
            except NotFoundError:
                return False
            self.is_gone = bool(metadata.get("deletionTimestamp")) and not changed
            return True
        raise ConflictError(
            f"{self.identity}: gave up after {CONFLICT_ATTEMPTS} update conflicts.",
            service="Kubernetes",
        )

    def remove_annotation(self, key: str) -> None:
        """Take away an annotation that has been acted upon. Safe to repeat, also when the object is
        gone.
        """
        found = self.read()
        if found is None or key not in untrusted.annotations_of(found):
            return
        body = {"metadata": {"annotations": {key: None}, "uid": self.identity.uid}}
        with contextlib.suppress(NotFoundError):
            self._kube.patch(self.resource, self.identity.name, body, self.identity.namespace)

    def take_back(self, name: str, since: Optional[Mapping[str, Any]] = None) -> None:
        """Take away what was asked, as `since` has it, and has been acted upon (`asked`). Safe to
        repeat, also when the object is gone.
        """
        for _ in range(CONFLICT_ATTEMPTS):
            found = self.read()
            fields = status_requests.taken_back(found, name, since=since)
            if found is None or not fields:
                return
            with contextlib.suppress(ConflictError, NotFoundError):
                self.put_status(fields, found["metadata"]["resourceVersion"])
                return

    def generation(self, resource: Object) -> int:
        """Which spec this is; always 0 where the API counts our own writes of status too."""
        return (
            0 if self._plain_status else untrusted.integer(resource["metadata"].get("generation"))
        )

    # Its status.

    def put_status(self, changes: Mapping[str, Any], version: str) -> Object:
        """Merge fields into the status of the object of that resourceVersion, wherever the kind
        keeps it. Raises ConflictError where the object has changed since.
        """
        name, namespace = self.identity.name, self.identity.namespace
        if self._plain_status:
            body = {"metadata": {"resourceVersion": version}, "status": dict(changes)}
            return self._kube.patch(self.resource, name, body, namespace)
        return self._kube.patch_status(
            self.resource, name, dict(changes), namespace, resource_version=version
        )

    def write_status(
        self,
        *new: Condition,
        fields: Optional[Mapping[str, Any]] = None,
        generation: Optional[int] = None,
        ready: Optional[Condition] = None,
        since: Optional[Mapping[str, Any]] = None,
    ) -> Optional[Object]:
        """Set conditions and fields, and Ready as it follows from them (or as `ready` says); leave
        Events of changes.

        `generation` is that of the spec which the step read; without it, that of the object now. A
        field of None is removed; requests only that are as they were in `since`, which the step
        read. The object as it then is, None when it is gone.
        """
        for _ in range(CONFLICT_ATTEMPTS):
            found = self.read()
            if found is None:
                return None
            old = untrusted.status(found)
            answered = generation if generation is not None else self.generation(found)
            before = untrusted.mappings(old.get("conditions"))
            after = [dict(item) for item in before]
            now = self._services.now()
            for condition in new:
                after = set_condition(after, condition, generation=answered, now=now)
            latest = self.generation(found)
            total = ready or roll_up(after, self._order, generation=latest)
            if self._order or ready:
                after = set_condition(after, total, generation=answered, now=now)
            status = {"conditions": after, "observedGeneration": answered, **(fields or {})}
            if status_requests.FIELD in status:
                status.update(
                    status_requests.taken_back(
                        found, *status.pop(status_requests.FIELD), since=since
                    )
                )
            changes = {key: value for key, value in status.items() if old.get(key) != value}
            if not changes:
                return found
            changes["lastRunId"] = self.run_id
            version = found["metadata"]["resourceVersion"]
            try:
                written = self.put_status(changes, version)
            except ConflictError:
                continue
            except NotFoundError:
                return None
            self._leave_events(written, before, after)
            return written
        raise ConflictError(
            f"{self.identity}: gave up after {CONFLICT_ATTEMPTS} update conflicts.",
            service="Kubernetes",
        )

    def report(self, condition_type: str, error: Error) -> None:
        """Write a failed step's condition: the service's name and its reason, in the developer's
        words.
        """
        self.write_status(Condition(condition_type, FALSE, reason_of(error), str(error)))

    def event(
        self, involved: Mapping[str, Any], reason: str, message: str, *, warning: bool = False
    ) -> None:
        """Leave an Event; that it cannot be left (a namespace that is being deleted refuses it)
        stops nothing.
        """
        with contextlib.suppress(Error):
            self._kube.create_event(
                involved,
                reason=reason,
                message=message,
                type="Warning" if warning else "Normal",
                now=self._services.now(),
            )

    def _leave_events(
        self,
        involved: Mapping[str, Any],
        before: Sequence[Mapping[str, Any]],
        after: Sequence[Mapping[str, Any]],
    ) -> None:
        for condition in after:
            told = [untrusted.text(condition.get(one)) for one in ("type", "status", "reason")]
            if not all(told):
                continue  # another controller's
            kind = told[0]
            old = conditions_module.find(before, kind) or {}
            if (old.get("status"), old.get("reason")) == (condition["status"], condition["reason"]):
                continue
            if kind == READY and condition["status"] != TRUE:
                continue  # the condition that keeps it from being Ready has told already
            warning = condition["status"] != TRUE and condition["reason"] not in UNDER_WAY
            self.event(
                involved, condition["reason"], f"{kind}: {condition['message']}", warning=warning
            )


def _left_to(message: str) -> Result:
    return {"skipped": True, "message": message}


def reason_of(error: Error) -> str:
    """One word for a condition: whose fault, and whether waiting helps (`VaultUnavailable`,
    `AWSRDSRefused`).
    """
    service = "".join(part for part in error.service.split()) or "Pack"
    if isinstance(error, TemporaryError):
        return f"{service}Unavailable"
    if isinstance(error, ConflictError):
        return f"{service}Conflict"
    if isinstance(error, PermanentError):
        return f"{service}Refused"
    if isinstance(error, NotFoundError):
        return f"{service}NotFound"
    return "ConfigurationError"
