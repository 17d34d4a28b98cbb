"""Polls the RDS instances and snapshots of all our Databases, in one paged call each.

A Database does not poll its own instance: this polls all of them, often while something is in
progress and seldom otherwise, and wakes the owner of what reached a state in which the owner can
act or report. `compare` is pure.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Collection,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
)

from kubestorm.core import naming
from kubestorm.core.errors import Error
from kubestorm.core.settings import AwsSettings

if TYPE_CHECKING:
    from kubestorm.clients.rds import ListedSnapshot, ObservedInstance, RdsClient

# Statuses of an instance or a snapshot during which its owner can do nothing.
# Source: "Viewing Amazon RDS DB instance status" in the RDS user guide.
BUSY_STATUSES = frozenset(
    (
        "backing-up",
        "configuring-enhanced-monitoring",
        "configuring-iam-database-auth",
        "configuring-log-exports",
        "converting-to-vpc",
        "creating",
        "deleting",
        "maintenance",
        "modifying",
        "moving-to-vpc",
        "rebooting",
        "renaming",
        "resetting-master-credentials",
        "starting",
        "stopping",
        "storage-config-upgrade",
        "storage-initialization",
        "storage-optimization",
        "upgrading",
    )
)


class Owner(NamedTuple):
    """Whose an instance or snapshot is, by its tags."""

    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class ResourceState(NamedTuple):
    """One instance or snapshot as it was last seen."""

    owner: Owner
    state: str
    """A digest of what concerns its owner; empty while RDS is busy with it."""
    notified: bool = False
    """Whether its owner has been woken for this state."""


States = Mapping[str, ResourceState]


class Comparison(NamedTuple):
    """Owners to wake, and the states to remember."""

    wake: List[Owner]
    states: Dict[str, ResourceState]
    under_way: bool
    """Whether RDS is busy with something of ours."""


def compare(
    found: Mapping[str, ResourceState], states: Optional[States], waits: Iterable[str]
) -> Comparison:
    """Compare two polls. `waits`: the keys of Databases that wait for RDS.

    Without earlier states (the first poll of a process) only Databases that wait are woken.
    """
    waiting, before = frozenset(waits), states or {}
    wake: Dict[str, Owner] = {}
    after: Dict[str, ResourceState] = {}
    for identifier, seen in found.items():
        old = before.get(identifier)
        if not seen.state:
            # The state before is kept, so that a nightly backup wakes nobody.
            after[identifier] = ResourceState(seen.owner, old.state if old else "")
            continue
        is_other = old is not None and old.state not in ("", seen.state)
        waits_now = seen.owner.key in waiting
        was_notified = old is not None and old.notified and not is_other and waits_now
        wanted = is_other or (waits_now and not was_notified)
        if wanted:
            wake[seen.owner.uid] = seen.owner
        after[identifier] = seen._replace(notified=wanted or was_notified)
    if states is None:
        # Deleted before this process started.
        there = {one.owner.key for one in found.values()}
        for key in waiting - there:
            namespace, _, name = key.partition("/")
            wake[key] = Owner(namespace, name, "")
    for identifier, old in before.items():
        if identifier not in found:
            wake[old.owner.uid] = old.owner
    return Comparison(list(wake.values()), after, any(not one.state for one in found.values()))


def instance_states(
    instances: Iterable[ObservedInstance], cluster: str
) -> Dict[str, ResourceState]:
    """Our instances among all of the region."""
    found = {}
    for one in instances:
        owner = owner_of(one.tags, cluster)
        if owner is not None:
            found[f"instance/{one.identifier}"] = ResourceState(
                owner, _state(one.status, _facts(one))
            )
    return found


def snapshot_states(snapshots: Iterable[ListedSnapshot], cluster: str) -> Dict[str, ResourceState]:
    """Our snapshots among all of the region."""
    found = {}
    for one in snapshots:
        owner = owner_of(one.tags, cluster)
        if owner is not None:
            found[f"snapshot/{one.identifier}"] = ResourceState(owner, _state(one.status, ()))
    return found


def owner_of(tags: Mapping[str, str], cluster: str) -> Optional[Owner]:
    """The Database that an instance was made for; None where it is not ours."""
    if tags.get(naming.TAG_CLUSTER) != cluster or not tags.get(naming.TAG_UID):
        return None
    return Owner(
        tags.get(naming.TAG_NAMESPACE, ""), tags.get(naming.TAG_NAME, ""), tags[naming.TAG_UID]
    )


def _facts(one: ObservedInstance) -> Any:
    return (
        one.version,
        one.instance_class,
        one.storage_gib,
        one.storage_type,
        one.iops,
        one.throughput_mibps,
        one.max_storage_gib,
        one.multi_az,
        one.host,
        one.port,
        one.parameter_group,
        one.deletion_protection,
        one.pending_reboot,
        one.password_pending,
    )


def _state(status: str, facts: Any) -> str:
    if status in BUSY_STATUSES:
        return ""
    return hashlib.sha256(repr((status, facts)).encode()).hexdigest()[:16]


class RdsPoller:
    """The loop: `run` polls until `stop`. Every method may be called from any thread."""

    def __init__(
        self,
        connect: Callable[[], RdsClient],
        cluster: str,
        settings: AwsSettings,
        *,
        waits: Callable[[], Optional[Collection[str]]],
        wake: Callable[[Owner], None],
        log: logging.Logger,
    ) -> None:
        """`waits` gives the keys of the Databases that wait for RDS, None where there are none at
        all, or no rule asks for them: then RDS is not polled.
        """
        self._connect, self._cluster, self._settings = connect, cluster, settings
        self._waits, self._wake, self._log = waits, wake, log
        self._states: Optional[States] = None
        self._failures = 0
        self._trouble = ""
        self._interval = 0.0
        self._rescheduled = threading.Event()
        self._stopping = threading.Event()

    def reschedule(self) -> None:
        """A Database waits for RDS now, or no longer does: choose the interval again."""
        self._rescheduled.set()

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping.set()
        self._rescheduled.set()

    def run(self) -> None:
        """Poll until `stop`."""
        pause: Optional[float] = 0.0
        last = 0.0
        while True:
            self._rescheduled.wait(pause)
            if self._stopping.is_set():
                return
            self._rescheduled.clear()
            waits = self._waits()
            now = time.monotonic()
            # Never more often than every `watch_seconds`.
            soon = waits and not self._failures
            due = last + (self._settings.watch_seconds if soon else self._interval)
            if waits is None:
                pause = None
            elif now < due:
                pause = due - now
            else:
                last, self._interval = now, self.poll_once(waits)
                pause = self._interval

    def poll_once(self, waits: Collection[str]) -> float:
        """Poll once and wake the owners concerned; the seconds until the next poll."""
        settings = self._settings
        try:
            rds = self._connect()
            found = {
                **instance_states(rds.list_instances(), self._cluster),
                **snapshot_states(rds.list_snapshots(), self._cluster),
            }
        except Exception as error:  # noqa: BLE001 (the outermost loop: nobody else would wake a Database)
            self._failures += 1
            if str(error) != self._trouble:
                self._trouble = str(error)
                known = isinstance(error, Error)
                self._log.warning("rds.unavailable: %s", error, exc_info=None if known else error)
            return min(
                settings.watch_seconds * 2.0 ** min(self._failures, 8), settings.watch_idle_seconds
            )
        if self._trouble:
            self._log.info("rds.recovered: after %s", self._trouble)
        self._failures, self._trouble = 0, ""
        verdict = compare(found, self._states, waits)
        self._states = verdict.states
        for owner in verdict.wake:
            self._wake(owner)
        busy = verdict.under_way or bool(waits)
        return settings.watch_seconds if busy else settings.watch_idle_seconds
