"""What RDS does for all our Databases, seen in one paged call each for instances and snapshots.

A Database does not ask again whether its instance is ready: this looks at all of them, often while
something is under way and seldom otherwise, and names the owner of what reached a state in which
the owner can act or has something new to tell. `judge` decides and does nothing else.
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
    from kubestorm.clients.rds import ListedSnapshot, RdsClient
    from kubestorm.kinds.database.plan import ObservedInstance

# Nothing can be done for the owner while RDS says one of these of an instance or a snapshot.
# Source: "Viewing Amazon RDS DB instance status" in the RDS user guide.
PASSING = frozenset(
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


class Seen(NamedTuple):
    """One instance or snapshot as it was last seen."""

    owner: Owner
    state: str
    """A digest of what may concern its owner; empty while RDS is busy with it."""
    told: bool = False
    """Whether its owner has been woken for this state."""


Memory = Mapping[str, Seen]


class Verdict(NamedTuple):
    """Whom to wake, and what to remember."""

    wake: List[Owner]
    memory: Dict[str, Seen]
    under_way: bool
    """Whether RDS is busy with something of ours."""


def judge(found: Mapping[str, Seen], memory: Optional[Memory], waits: Iterable[str]) -> Verdict:
    """Compare what is seen with what was. `waits`: the keys of Databases that wait for RDS.

    Without a memory (the first look of a process) only those are woken that wait.
    """
    waiting, before = frozenset(waits), memory or {}
    wake: Dict[str, Owner] = {}
    after: Dict[str, Seen] = {}
    for identifier, seen in found.items():
        old = before.get(identifier)
        if not seen.state:
            # The state before is kept, so that a nightly backup is no news.
            after[identifier] = Seen(seen.owner, old.state if old else "")
            continue
        is_other = old is not None and old.state not in ("", seen.state)
        waits_now = seen.owner.key in waiting
        known_told = old is not None and old.told and not is_other and waits_now
        wanted = is_other or (waits_now and not known_told)
        if wanted:
            wake[seen.owner.uid] = seen.owner
        after[identifier] = seen._replace(told=wanted or known_told)
    if memory is None:
        # What went before this process began: a deletion waits for nothing any more.
        there = {one.owner.key for one in found.values()}
        for key in waiting - there:
            namespace, _, name = key.partition("/")
            wake[key] = Owner(namespace, name, "")
    for identifier, old in before.items():
        if identifier not in found:
            wake[old.owner.uid] = old.owner
    return Verdict(list(wake.values()), after, any(not one.state for one in found.values()))


def seen_instances(instances: Iterable[ObservedInstance], cluster: str) -> Dict[str, Seen]:
    """Our instances among all of the region."""
    found = {}
    for one in instances:
        owner = owner_of(one.tags, cluster)
        if owner is not None:
            found[f"instance/{one.identifier}"] = Seen(owner, _state(one.status, _facts(one)))
    return found


def seen_snapshots(snapshots: Iterable[ListedSnapshot], cluster: str) -> Dict[str, Seen]:
    """Our snapshots among all of the region."""
    found = {}
    for one in snapshots:
        owner = owner_of(one.tags, cluster)
        if owner is not None:
            found[f"snapshot/{one.identifier}"] = Seen(owner, _state(one.status, ()))
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
    if status in PASSING:
        return ""
    return hashlib.sha256(repr((status, facts)).encode()).hexdigest()[:16]


class InstanceWatch:
    """The loop: `run` looks at RDS from time to time until `stop`. Every method may be called from
    any thread.
    """

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
        all, or no rule asks for them: then RDS is not asked either.
        """
        self._connect, self._cluster, self._settings = connect, cluster, settings
        self._waits, self._wake, self._log = waits, wake, log
        self._memory: Optional[Memory] = None
        self._failures = 0
        self._trouble = ""
        self._pause = 0.0
        self._poked = threading.Event()
        self._stopping = threading.Event()

    def poke(self) -> None:
        """A Database waits for RDS now, or does no longer: choose the pause anew."""
        self._poked.set()

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping.set()
        self._poked.set()

    def run(self) -> None:
        """Look until `stop`."""
        pause: Optional[float] = 0.0
        last = 0.0
        while True:
            self._poked.wait(pause)
            if self._stopping.is_set():
                return
            self._poked.clear()
            waits = self._waits()
            now = time.monotonic()
            # A poke alone is no reason to ask RDS more often than every `watch_seconds`.
            soon = waits and not self._failures
            due = last + (self._settings.watch_seconds if soon else self._pause)
            if waits is None:
                pause = None
            elif now < due:
                pause = due - now
            else:
                last, self._pause = now, self.look(waits)
                pause = self._pause

    def look(self, waits: Collection[str]) -> float:
        """Look once and wake whom it concerns; the seconds to wait before the next look."""
        settings = self._settings
        try:
            rds = self._connect()
            found = {
                **seen_instances(rds.list_instances(), self._cluster),
                **seen_snapshots(rds.list_snapshots(), self._cluster),
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
        verdict = judge(found, self._memory, waits)
        self._memory = verdict.memory
        for owner in verdict.wake:
            self._wake(owner)
        busy = verdict.under_way or bool(waits)
        return settings.watch_seconds if busy else settings.watch_idle_seconds
