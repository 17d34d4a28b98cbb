"""Limits how many builds a namespace has at a time, by Leases, so that engines and machines share
the count.

A build on a host holds one of N Leases while it runs; that of a dead build expires. Jobs in the
cluster are counted by listing them, under a Lease that is held while they are created. A build
without a slot waits until one that ends starts it.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, List, Mapping, Optional

from kubestorm.clients.kube import Object, Resource
from kubestorm.clients.lease import LeaseLock, LeaseTakenError
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.dispatching import Dispatch
from kubestorm.core.naming import Identity
from kubestorm.kinds.build.status import BUILD_REQUESTED

COUNTING_WAIT_SECONDS = 30.0
"""Creating a Job takes a second or two."""


def acquire(services: Services, limit: int, identity: Identity, holder: str) -> Optional[LeaseLock]:
    """A free slot of the object's namespace, None when all are taken. The caller holds it."""
    return next(
        (lease for lease in _slots(services, limit, identity, holder) if lease.acquire()), None
    )


def count_free(services: Services, limit: int, identity: Identity) -> int:
    """How many slots of the object's namespace are free now."""
    return sum(not lease.is_taken() for lease in _slots(services, limit, identity))


@contextlib.contextmanager
def counting(services: Services, identity: Identity, holder: str) -> Iterator[None]:
    """Hold the Lease under which Jobs are created for this namespace. Raises LeaseTakenError where
    another holds it for too long.
    """
    lease = services.lease(f"build-jobs.{identity.namespace}", holder)
    if not lease.acquire_within(COUNTING_WAIT_SECONDS):
        raise LeaseTakenError(lease.name, lease.held_by)
    with services.holding(lease):
        yield


def start_next(
    services: Services, resource: Resource, identity: Identity, dispatch: Dispatch, count: int
) -> List[str]:
    """Request executions of the builds of this namespace that have waited longest, `count` of them:
    one for each free slot, since whoever freed another one may have requested the same build. Their
    names. A build that is requested twice starts once.
    """
    waiting = [
        each
        for each in services.kube.list_all(resource, identity.namespace)
        if _build_of(each).get("awaitsTurn") and not each["metadata"].get("deletionTimestamp")
    ]
    waiting.sort(key=lambda each: str(_build_of(each).get("requestedAt")))
    started = [
        identity._replace(name=each["metadata"]["name"], uid=each["metadata"]["uid"])
        for each in waiting[: max(count, 0)]
    ]
    for each in started:
        dispatch(BUILD_REQUESTED, each._asdict())
    return [each.name for each in started]


def _build_of(resource: Object) -> Mapping[str, Any]:
    return untrusted.mapping(untrusted.status(resource).get("build"))


def _slots(
    services: Services, limit: int, identity: Identity, holder: str = ""
) -> Iterator[LeaseLock]:
    for number in range(limit):
        yield services.lease(f"build-slot.{identity.namespace}.{number}", holder)
