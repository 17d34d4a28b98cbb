"""How many builds a namespace may have at a time, counted by Leases so that engines and machines
share the count.

A build on a host holds one of N Leases for as long as it works, renewed with its own; that of a
build that died runs out. Jobs in the cluster are counted themselves, under a Lease that is held
while they are made. A build that finds no room waits until one that ends calls it.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Mapping, Optional

from kubestorm import untrusted
from kubestorm.building import records
from kubestorm.building.settings import BuildSettings
from kubestorm.dispatching import Dispatch
from kubestorm.kube import Object, Resource
from kubestorm.lease import HEARTBEATS, Heartbeat, LeaseLock, LeaseTakenError
from kubestorm.naming import Identity
from kubestorm.services import Services

COUNTING_WAIT_SECONDS = 30.0
"""Making a Job takes a second or two."""


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
def counting(services: Services, identity: Identity, holder: str) -> Iterator[None]:
    """Nobody else makes Jobs for this namespace meanwhile. Raises LeaseTakenError when somebody
    does for long.
    """
    lease = _lease(services, f"build-jobs.{identity.namespace}", holder)
    if not lease.acquire_within(COUNTING_WAIT_SECONDS):
        raise LeaseTakenError(lease.name, lease.held_by)
    try:
        with Heartbeat(lease, services.settings.lease.duration_seconds / HEARTBEATS):
            yield
    finally:
        lease.release()


def call_next(
    services: Services, resource: Resource, identity: Identity, dispatch: Dispatch
) -> str:
    """Ask for an execution of the build of this namespace that has waited longest for its turn; its
    name, empty where none waits.
    """
    waiting = [
        each
        for each in services.kube.list_all(resource, identity.namespace)
        if _build_of(each).get("awaitsTurn") and not each["metadata"].get("deletionTimestamp")
    ]
    if not waiting:
        return ""
    first = min(waiting, key=lambda each: str(_build_of(each).get("requestedAt")))["metadata"]
    called = identity._replace(name=first["name"], uid=first["uid"])
    dispatch(records.BUILD_REQUESTED, called._asdict())
    return called.name


def _build_of(resource: Object) -> Mapping[str, Any]:
    return untrusted.mapping(untrusted.status(resource).get("build"))


def _lease(services: Services, name: str, holder: str) -> LeaseLock:
    duration = services.settings.lease.duration_seconds
    return LeaseLock(
        services.kube, name, holder=holder, duration_seconds=duration, now=services.now
    )
