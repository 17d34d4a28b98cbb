"""A Kubernetes Lease as a lock between processes and machines that share nothing else.

`Services.holding` is what a step does with it: a heartbeat renews the Lease while the step works,
each write asks first whether it is still held, and it is given back at the end. A process that died
is overtaken when its Lease runs out. Whoever finds it taken leaves a mark on it, so that the holder
sees on release that somebody wanted another look. Times are compared with this machine's clock, as
no watch is kept long enough to observe the other's: `skew_seconds` is the difference between two
machines' clocks that is tolerated. Taking over and renewing are checked by resourceVersion, so of
two that try only one succeeds. Leases are in the pack's namespace, and removed by whoever finds
that the object is gone, or by `collect` (decision 0127).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Callable, Dict, Optional, Type

from kubestorm.clients.kube import FIELD_MANAGER, LEASES, KubeClient
from kubestorm.clients.kube_errors import ForbiddenError
from kubestorm.core import trouble, untrusted
from kubestorm.core.errors import ConflictError, NotFoundError, TemporaryError
from kubestorm.core.naming import LEASE_OF_ANNOTATION, LOOK_AGAIN_ANNOTATION, MANAGED_BY_LABEL
from kubestorm.core.times import format_time, parse_time

DURATION_SECONDS = 60
SKEW_SECONDS = 2.0
HEARTBEATS = 3
"""Renewals within one duration. Each has a third of the duration to succeed, and the last third is
left for a write that is on its way when the second one fails."""
LEAST_TIMEOUT_SECONDS = 1.0
TAKEN_POLL_SECONDS = 0.25
WRITE_ATTEMPTS = 5
UNUSED_SECONDS = 86400.0
"""A Lease that was not held for a day is deleted; it is created again when needed."""


def default_holder() -> str:
    """A name no other run has: host, process and a random part."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


class LeaseLostError(TemporaryError):
    """Another run has taken over; this one has to stop."""


class LeaseTakenError(TemporaryError):
    """Somebody else holds it; `holder` names them."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(f"the lease {name} is held by {holder}", service="Kubernetes")
        self.holder = holder


class LeaseLock:
    """`acquire` / `renew` / `release` one Lease; as a context manager, raises LeaseTakenError when
    it is taken.

    `name` is usually an object's uid, `of` says to people which object that is. Not for sharing
    between threads.
    """

    def __init__(
        self,
        client: KubeClient,
        name: str,
        *,
        namespace: str = "",
        holder: str = "",
        of: str = "",
        duration_seconds: int = DURATION_SECONDS,
        skew_seconds: float = SKEW_SECONDS,
        now: Callable[[], dt.datetime] = _utc_now,
    ) -> None:
        self.duration_seconds, self._skew, self._now = duration_seconds, skew_seconds, now
        self._client = client.with_timeout(
            max(duration_seconds / HEARTBEATS, LEAST_TIMEOUT_SECONDS)
        )
        self.name, self._of = name, of
        self.namespace = namespace or client.settings.namespace
        self.holder = holder or default_holder()
        self.held_by = ""
        self.renewed_at = 0.0
        """The monotonic clock when the last renewal that succeeded was sent."""
        self.is_over = False
        """Whether its object is gone: `release` then deletes it."""
        self.was_marked = False
        """Whether `release` has found a mark."""
        self._lease: Optional[Dict[str, Any]] = None
        self._was_held = False

    def acquire(self) -> bool:
        """Take it if it is free, ours already, released or run out.

        False (and `held_by`) when another holds it.
        """
        lease = self._read()
        spec = (lease or {}).get("spec") or {}
        if spec.get("holderIdentity") != self.holder and self._is_taken(spec):
            self.held_by = spec["holderIdentity"]
            return False
        if self._write(lease):
            return True
        # A write that was answered with 5xx and came again is refused though it went through.
        mine = self._mine()
        return mine is not None and self._write(mine)

    def is_taken(self) -> bool:
        """Whether anybody holds it now; asks only."""
        lease = self._read()
        return lease is not None and self._is_taken(lease.get("spec") or {})

    def ended_since(self, moment: dt.datetime) -> bool:
        """Whether it was held after a moment and has been released. Read only."""
        spec = (self._read() or {}).get("spec") or {}
        renewed = parse_time(spec.get("renewTime"))
        return not spec.get("holderIdentity") and renewed is not None and renewed >= moment

    def acquire_within(self, seconds: float) -> bool:
        """As `acquire`, tried again for so many seconds: a step holds it for a few."""
        deadline = time.monotonic() + seconds
        while not self.acquire():
            if time.monotonic() >= deadline:
                return False
            time.sleep(TAKEN_POLL_SECONDS)
        return True

    def acquire_or_mark(self, seconds: float) -> bool:
        """As `acquire_within`; False when another holds it, who then knows that somebody wants
        another look.
        """
        return self.acquire_within(seconds) or (not self.mark() and self.acquire())

    def renew(self) -> bool:
        """Hold it for another duration; False when it was lost, and then the work must stop."""
        for _ in range(WRITE_ATTEMPTS):
            if self._lease is None:
                # A mark changes the Lease and takes nothing away.
                self._lease = self._mine()
            if self._lease is None:
                return False
            if self._write(self._lease):
                return True
        return False

    def mark(self) -> bool:
        """Ask the holder for another run after its own; False when it is not held now."""
        for _ in range(WRITE_ATTEMPTS):
            lease = self._read()
            if lease is None or not self._is_taken(lease.get("spec") or {}):
                return False
            metadata = lease["metadata"]
            annotations = {
                **untrusted.texts(metadata.get("annotations")),
                LOOK_AGAIN_ANNOTATION: self.holder,
            }
            body = {**lease, "metadata": {**metadata, "annotations": annotations}}
            with contextlib.suppress(ConflictError, NotFoundError):
                self._client.update(LEASES, body, self.namespace)
                return True
        return False

    def release(self) -> bool:
        """Let the next one in at once; whether somebody has left a mark meanwhile.

        Safe to repeat, and harmless when it was lost.
        """
        self.was_marked = self._release()
        return self.was_marked

    def _release(self) -> bool:
        for _ in range(WRITE_ATTEMPTS):
            if self._lease is None and self._was_held:
                self._lease = self._mine()
            if self._lease is None:
                return False
            metadata = self._lease["metadata"]
            annotations = dict(untrusted.texts(metadata.get("annotations")))
            marked = annotations.pop(LOOK_AGAIN_ANNOTATION, None) is not None
            body = {
                **self._lease,
                "metadata": {**metadata, "annotations": annotations},
                "spec": {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1},
            }
            try:
                if self.is_over:
                    _delete(self._client, self._lease)
                else:
                    self._client.update(LEASES, body, self.namespace)
            except NotFoundError:
                pass  # its namespace went
            except ForbiddenError:
                if not self.is_over:
                    raise
                self.is_over = False  # nobody is kept waiting for what may not be deleted
                continue
            except ConflictError:
                self._lease = None
                continue
            self._lease, self._was_held = None, False
            return marked
        return False

    def _read(self) -> Optional[Dict[str, Any]]:
        try:
            return self._client.get(LEASES, self.name, self.namespace)
        except NotFoundError:
            return None

    def _mine(self) -> Optional[Dict[str, Any]]:
        lease = self._read()
        holder = ((lease or {}).get("spec") or {}).get("holderIdentity")
        return lease if holder == self.holder else None

    def _is_taken(self, spec: Dict[str, Any]) -> bool:
        return bool(spec.get("holderIdentity")) and not self._ran_out(spec)

    def __enter__(self) -> LeaseLock:
        if not self.acquire():
            raise LeaseTakenError(self.name, self.held_by or "another run")
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.release()

    def _write(self, lease: Optional[Dict[str, Any]]) -> bool:
        stamp, sent = format_time(self._now(), "microseconds"), time.monotonic()
        metadata = (lease or {"metadata": {"name": self.name, "namespace": self.namespace}})[
            "metadata"
        ]
        annotations = dict(untrusted.texts(metadata.get("annotations")))
        if self._of:
            annotations[LEASE_OF_ANNOTATION] = self._of
        labels = {**untrusted.texts(metadata.get("labels")), MANAGED_BY_LABEL: FIELD_MANAGER}
        before = (lease or {}).get("spec") or {}
        same = before.get("holderIdentity") == self.holder
        spec = {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self.duration_seconds,
            "acquireTime": before.get("acquireTime", stamp) if same else stamp,
            "renewTime": stamp,
            "leaseTransitions": untrusted.integer(before.get("leaseTransitions"))
            + (0 if same or lease is None else 1),
        }
        body = {
            "apiVersion": LEASES.api_version,
            "kind": "Lease",
            "metadata": {**metadata, "labels": labels, "annotations": annotations},
            "spec": spec,
        }
        send = self._client.create if lease is None else self._client.update
        try:
            self._lease = send(LEASES, body, self.namespace)
        except (ConflictError, NotFoundError) as error:
            # 404 on create is the namespace's: the operator must hear of it.
            if lease is None and isinstance(error, NotFoundError):
                raise
            self._lease = None
            self.held_by = "another run"
            return False
        self._was_held, self.renewed_at = True, sent
        return True

    def _ran_out(self, spec: Dict[str, Any]) -> bool:
        renewed = spec.get("renewTime") or spec.get("acquireTime")
        if not renewed:
            return True
        duration = untrusted.number(spec.get("leaseDurationSeconds")) or self.duration_seconds
        renewed = parse_time(renewed)
        # A time that nobody can read is none that anybody renews.
        return renewed is None or (self._now() - renewed).total_seconds() > (duration + self._skew)


class Heartbeat:
    """Renews a Lease from its own thread while a `with` block works; `check` says whether the work
    may go on.

    The lock object is used by it alone until the block ends.
    """

    def __init__(self, lease: LeaseLock) -> None:
        self._lease = lease
        self._interval = lease.duration_seconds / HEARTBEATS
        self._renewing = threading.Lock()
        self._done = threading.Event()
        self.is_lost = False
        self._thread = threading.Thread(target=self._run, name="kubestorm-lease", daemon=True)

    def check(self, *, sure: bool = False) -> None:
        """Raises LeaseLostError where another run may have taken over, TemporaryError where nobody
        can say now; either way, nothing may be written.

        Free where the heartbeat is on time. With `sure` it is renewed in any case, so that a slow
        write has the whole duration.
        """
        if sure or time.monotonic() - self._lease.renewed_at > self._interval:
            self._renew()
        if self.is_lost:
            raise LeaseLostError(
                f"Another execution has taken over from {self._lease.holder}, which stops here.",
                service="Kubernetes",
            )

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._done.set()
        self._thread.join()

    def _renew(self) -> None:
        with self._renewing:
            # Whoever has lost it once never writes again, whatever became of the Lease.
            if not self.is_lost and not self._lease.renew():
                self.is_lost = True
                trouble.count(trouble.LEASES_LOST)

    def _run(self) -> None:
        pause = self._interval
        while not self._done.wait(pause):
            try:
                self._renew()
                pause = self._interval
            except Exception:  # noqa: BLE001 (whatever it was: it is tried again, and `check` raises it)
                pause = self._interval / HEARTBEATS
            if self.is_lost:
                return


def collect(client: KubeClient, now: dt.datetime) -> int:
    """Delete the Leases of the pack that nobody has held for a day; how many. Their objects are
    gone, or at rest: whoever wants one makes it anew.
    """
    namespace, selector = client.settings.namespace, f"{MANAGED_BY_LABEL}={FIELD_MANAGER}"
    count = 0
    for lease in list(client.list_all(LEASES, namespace, label_selector=selector)):
        spec = untrusted.mapping(lease.get("spec"))
        renewed = parse_time(spec.get("renewTime"))
        duration = untrusted.number(spec.get("leaseDurationSeconds")) or DURATION_SECONDS
        unused = (now - renewed).total_seconds() - duration if renewed else UNUSED_SECONDS
        if unused >= UNUSED_SECONDS:
            with contextlib.suppress(ConflictError, NotFoundError):  # somebody has taken it
                _delete(client, lease)
                count += 1
    return count


def _delete(client: KubeClient, lease: Dict[str, Any]) -> None:
    """Delete a Lease, if it is unchanged since it was read."""
    metadata = lease["metadata"]
    client.delete(
        LEASES,
        metadata["name"],
        metadata["namespace"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
    )
