"""A Kubernetes Lease as a lock between processes and machines that share nothing else.

`while_held` is what a step does with it: take the object's Lease, renew it by a heartbeat while the
step works, give it back. A process that died is overtaken when its Lease runs out. Whoever finds it
taken leaves a mark on it, so that the holder sees on release that somebody wanted another look.
Times are compared with this machine's clock, as no watch is kept long enough to observe the
other's: `skew_seconds` is the difference between two machines' clocks that is tolerated. Taking
over and renewing are checked by resourceVersion, so of two that try only one succeeds.
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

from kubestorm import untrusted
from kubestorm.errors import ConflictError, NotFoundError, TemporaryError
from kubestorm.kube import KubeClient, Resource
from kubestorm.naming import LOOK_AGAIN_ANNOTATION

LEASES = Resource("coordination.k8s.io", "v1", "leases")
DURATION_SECONDS = 60
SKEW_SECONDS = 2.0
HEARTBEATS = 3
"""Renewals within one duration: two may fail before the Lease runs out."""
TAKEN_POLL_SECONDS = 0.25
WRITE_ATTEMPTS = 5


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

    `name` is usually an object's uid. Not for sharing between threads.
    """

    def __init__(
        self,
        client: KubeClient,
        name: str,
        *,
        namespace: str = "",
        holder: str = "",
        duration_seconds: int = DURATION_SECONDS,
        skew_seconds: float = SKEW_SECONDS,
        now: Callable[[], dt.datetime] = _utc_now,
    ) -> None:
        self._client, self.name = client, name
        self.namespace = namespace or client.settings.namespace
        self.holder = holder or default_holder()
        self._duration, self._skew, self._now = duration_seconds, skew_seconds, now
        self.held_by = ""
        self._lease: Optional[Dict[str, Any]] = None
        self._was_held = False

    def acquire(self) -> bool:
        """Take it if it is free, ours already, released or run out.

        False (and `held_by`) when another holds it.
        """
        lease = self._read()
        if lease is None:
            return self._write(None)
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") != self.holder and self._is_taken(spec):
            self.held_by = spec["holderIdentity"]
            return False
        return self._write(lease)

    def is_held(self) -> bool:
        """Whether anybody holds it now; asks only."""
        lease = self._read()
        return lease is not None and self._is_taken(lease.get("spec") or {})

    def ended_since(self, moment: dt.datetime) -> bool:
        """Whether somebody held it after a moment and has given it back; asks only."""
        spec = (self._read() or {}).get("spec") or {}
        renewed = untrusted.moment(spec.get("renewTime"))
        return not spec.get("holderIdentity") and renewed is not None and renewed >= moment

    def acquire_within(self, seconds: float) -> bool:
        """As `acquire`, tried again for so many seconds: a step holds it for a few."""
        deadline = time.monotonic() + seconds
        while not self.acquire():
            if time.monotonic() >= deadline:
                return False
            time.sleep(TAKEN_POLL_SECONDS)
        return True

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
        """Ask the holder to see to it that somebody looks again; False when nobody holds it now."""
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
                self._client.update(LEASES, body, self.namespace)
            except NotFoundError:
                pass  # its namespace went
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
        stamp = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (lease or {}).get("spec") or {}
        same = before.get("holderIdentity") == self.holder
        spec = {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self._duration,
            "acquireTime": before.get("acquireTime", stamp) if same else stamp,
            "renewTime": stamp,
            "leaseTransitions": untrusted.integer(before.get("leaseTransitions"))
            + (0 if same or lease is None else 1),
        }
        try:
            if lease is None:
                metadata = {"name": self.name, "namespace": self.namespace}
                body = {
                    "apiVersion": LEASES.api_version,
                    "kind": "Lease",
                    "metadata": metadata,
                    "spec": spec,
                }
                self._lease = self._client.create(LEASES, body, self.namespace)
            else:
                self._lease = self._client.update(LEASES, {**lease, "spec": spec}, self.namespace)
        except (ConflictError, NotFoundError) as error:
            # 404 on create is the namespace's: the operator must hear of it.
            if lease is None and isinstance(error, NotFoundError):
                raise
            self._lease = None
            self.held_by = "another run"
            return False
        self._was_held = True
        return True

    def _ran_out(self, spec: Dict[str, Any]) -> bool:
        renewed = spec.get("renewTime") or spec.get("acquireTime")
        if not renewed:
            return True
        duration = untrusted.number(spec.get("leaseDurationSeconds")) or self._duration
        renewed = untrusted.moment(renewed)
        # A time that nobody can read is none that anybody renews.
        return renewed is None or (self._now() - renewed).total_seconds() > (duration + self._skew)


class Heartbeat:
    """Renews a Lease from its own thread while a `with` block works; `is_lost` says when to stop.

    The client is urllib3's and may be used from both threads; the lock object is used by it
    alone until the block ends.
    """

    def __init__(self, lease: LeaseLock, interval_seconds: float) -> None:
        self._lease, self._interval = lease, interval_seconds
        self._done = threading.Event()
        self.is_lost = False
        self._thread = threading.Thread(target=self._run, name="kubestorm-lease", daemon=True)

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

    def _run(self) -> None:
        kept_at = time.monotonic()
        while not self._done.wait(self._interval):
            try:
                kept = self._lease.renew()
                kept_at = time.monotonic()
            except Exception:  # noqa: BLE001 (whatever it was: what counts is how long ago it was kept)
                # Not renewed for a whole duration: another may have it by now.
                kept = time.monotonic() - kept_at < self._interval * HEARTBEATS
            if not kept:
                self.is_lost = True
                return
