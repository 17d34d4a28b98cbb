"""One run per object: a Kubernetes Lease as a lock between processes and machines that share
nothing else.

A run that finds the Lease taken ends at once; a run that died is overtaken when its Lease runs out.
Times are compared with this machine's clock, as no watch is kept long enough to observe the
other's: `skew_seconds` is the difference between two machines' clocks that is tolerated. Taking
over and renewing are checked by resourceVersion, so of two that try only one succeeds.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import uuid
from types import TracebackType
from typing import Any, Callable, Dict, Optional, Type

from kubestorm.errors import ConflictError, NotFoundError, TemporaryError
from kubestorm.kube import KubeClient, Resource

LEASES = Resource("coordination.k8s.io", "v1", "leases")
DURATION_SECONDS = 60
SKEW_SECONDS = 2.0


def default_holder() -> str:
    """A name no other run has: host, process and a random part."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


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

    def acquire(self) -> bool:
        """Take it if it is free, ours already, released or run out; False (and `held_by`) when
        another holds it.
        """
        try:
            lease = self._client.get(LEASES, self.name, self.namespace)
        except NotFoundError:
            return self._write(None)
        spec = lease.get("spec") or {}
        owner = spec.get("holderIdentity") or ""
        if owner and owner != self.holder and not self._ran_out(spec):
            self.held_by = owner
            return False
        return self._write(lease)

    def is_held(self) -> bool:
        """Whether anybody holds it now; asks only."""
        try:
            spec = self._client.get(LEASES, self.name, self.namespace).get("spec") or {}
        except NotFoundError:
            return False
        return bool(spec.get("holderIdentity")) and not self._ran_out(spec)

    def renew(self) -> bool:
        """Hold it for another duration; False when it was lost, and then the work must stop."""
        return self._lease is not None and self._write(self._lease)

    def release(self) -> None:
        """Let the next one in at once. Safe to repeat, and harmless when it was lost."""
        if self._lease is None:
            return
        body = {
            **self._lease,
            "spec": {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1},
        }
        self._lease = None
        # Otherwise another took it, or its namespace went.
        with contextlib.suppress(ConflictError, NotFoundError):
            self._client.update(LEASES, body, self.namespace)

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
            "leaseTransitions": int(before.get("leaseTransitions") or 0)
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
        return True

    def _ran_out(self, spec: Dict[str, Any]) -> bool:
        renewed = spec.get("renewTime") or spec.get("acquireTime")
        if not renewed:
            return True
        seconds = float(spec.get("leaseDurationSeconds") or self._duration) + self._skew
        moment = dt.datetime.fromisoformat(str(renewed).replace("Z", "+00:00"))
        return (self._now() - moment).total_seconds() > seconds
