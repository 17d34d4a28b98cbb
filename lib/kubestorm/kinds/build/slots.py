"""How many builds a namespace may have at a time, counted by Leases so that engines and machines
share the count.

A build on a host holds one of N Leases for as long as it works, renewed with its own; that of a
build that died runs out. Jobs in the cluster are counted themselves, under a Lease that is held
while they are made. A build that finds no room waits until one that ends calls it.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, List, Mapping, Optional

from kubestorm.core import untrusted
from kubestorm.kinds.build import records
from kubestorm.core.dispatching import Dispatch
from kubestorm.clients.kube import Object, Resource
from kubestorm.clients.lease import LeaseLock, LeaseTakenError
from kubestorm.core.naming import Identity
from kubestorm.clients.services import Services

COUNTING_WAIT_SECONDS = 30.0
"""Making a Job takes a second or two."""


def take(services: Services, limit: int, identity: Identity, holder: str) -> Optional[LeaseLock]:
    """A free slot of the object's namespace, None when all are taken. The caller holds it."""
    return next(
        (lease for lease in _slots(services, limit, identity, holder) if lease.acquire()), None
    )


def free(services: Services, limit: int, identity: Identity) -> int:
    """How many slots of the object's namespace nobody holds now."""
    return sum(not lease.is_taken() for lease in _slots(services, limit, identity))


@contextlib.contextmanager
def counting(services: Services, identity: Identity, holder: str) -> Iterator[None]:
    """Nobody else makes Jobs for this namespace meanwhile. Raises LeaseTakenError when somebody
    does for long.
    """
    lease = services.lease(f"build-jobs.{identity.namespace}", holder)
    if not lease.acquire_within(COUNTING_WAIT_SECONDS):
        raise LeaseTakenError(lease.name, lease.held_by)
    with services.holding(lease):
        yield


def call_next(
    services: Services, resource: Resource, identity: Identity, dispatch: Dispatch, room: int
) -> List[str]:
    """Ask for executions of the builds of this namespace that have waited longest for their turn:
    one for each place that is free (`room`), since whoever gave back the other may have called the
    same one. Their names. A build that is called twice begins once.
    """
    waiting = [
        each
        for each in services.kube.list_all(resource, identity.namespace)
        if _build_of(each).get("awaitsTurn") and not each["metadata"].get("deletionTimestamp")
    ]
    waiting.sort(key=lambda each: str(_build_of(each).get("requestedAt")))
    called = [
        identity._replace(name=each["metadata"]["name"], uid=each["metadata"]["uid"])
        for each in waiting[: max(room, 0)]
    ]
    for each in called:
        dispatch(records.BUILD_REQUESTED, each._asdict())
    return [each.name for each in called]


def _build_of(resource: Object) -> Mapping[str, Any]:
    return untrusted.mapping(untrusted.status(resource).get("build"))


def _slots(
    services: Services, limit: int, identity: Identity, holder: str = ""
) -> Iterator[LeaseLock]:
    for number in range(limit):
        yield services.lease(f"build-slot.{identity.namespace}.{number}", holder)
