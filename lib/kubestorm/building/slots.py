"""How many builds a namespace may have at a time, counted by Leases so that engines and machines
share the count.

A build on a host holds one of N Leases for as long as it works, renewed with its own; one that died
lets go of it when the Lease runs out. Jobs in the cluster are counted themselves, under a Lease
that is held while they are made.
"""

from __future__ import annotations

import contextlib
from typing import Iterator, Optional

from kubestorm.building.settings import BuildSettings
from kubestorm.lease import LeaseLock
from kubestorm.naming import Identity
from kubestorm.services import Services


def take(
    services: Services, settings: BuildSettings, identity: Identity, holder: str
) -> Optional[LeaseLock]:
    """A free slot of the object's namespace, None when all are taken. The caller renews and
    releases it.
    """
    for number in range(settings.max_concurrent):
        lease = _lease(services, f"build-slot.{identity.namespace}.{number}", holder)
        if lease.acquire():
            return lease
    return None


@contextlib.contextmanager
def counting(services: Services, identity: Identity) -> Iterator[bool]:
    """Whether nobody else makes Jobs for this namespace meanwhile."""
    lease = _lease(services, f"build-jobs.{identity.namespace}", "")
    if not lease.acquire():
        yield False
        return
    try:
        yield True
    finally:
        lease.release()


def _lease(services: Services, name: str, holder: str) -> LeaseLock:
    duration = services.settings.lease.duration_seconds
    return LeaseLock(
        services.kube, name, holder=holder, duration_seconds=duration, now=services.now
    )
