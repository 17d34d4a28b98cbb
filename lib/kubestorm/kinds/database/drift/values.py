"""What is compared, and what is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, Mapping, NamedTuple, Optional, Tuple

from kubestorm.clients.rds import ObservedInstance, ObservedParameter
from kubestorm.core import naming
from kubestorm.kinds.database.spec import DatabaseSpec

RDS, VAULT, CONSUL = "AWS RDS", "Vault", "Consul"
SERVICES = (RDS, VAULT, CONSUL)
MISSING, EXTRA, DIFFERENT = "missing", "extra", "different"
KIND = "Database"


class Place(NamedTuple):
    """Namespace and name of a Database that exists or existed."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Origin(NamedTuple):
    """The kind of the resource: Database, or another that is read as one."""

    group: str = naming.GROUP
    version: str = naming.VERSION
    plural: str = "databases"
    kind: str = KIND


DATABASE = Origin()


class Difference(NamedTuple):
    """One difference; `what` is missing, extra or different. `repairable`: a run of
    `database_reconcile` repairs it.
    """

    service: str
    field: str
    wished: Any
    found: Any
    what: str
    repairable: bool = False


@dataclass(frozen=True)
class Desired:
    """One Database: what should exist."""

    place: Place
    uid: str
    identifier: str
    """Of its RDS instance."""
    vault_path: str
    """With the mount, as it is published."""
    spec: Optional[DatabaseSpec] = None
    tags: Mapping[str, str] = field(default_factory=dict)
    host: Optional[str] = None
    """The endpoint in its status, None before there was one."""
    port: Optional[int] = None
    credentials_stored: bool = False
    """Its status says that Vault has them."""
    origin: Origin = DATABASE
    own_identifier: str = ""
    """The identifier that its name gives, which its own parameter group is named for, also where it
    was adopted.
    """
    rotation_due: bool = False
    """A rotation is requested and not finished, so that it needs its pending copy in Vault."""
    under_way: str = ""
    """Why it is not compared now (being created, changed or deleted); empty when it is."""


@dataclass(frozen=True)
class ObservedState:
    """What exists. None for what could not be read; `unknown` then says why, by service."""

    instances: Optional[Tuple[ObservedInstance, ...]] = ()
    snapshots: FrozenSet[Place] = frozenset()
    """The places of which a manual or final snapshot is kept."""
    published: Optional[Mapping[Place, Mapping[str, str]]] = field(default_factory=dict)
    """Our keys in Consul with their values; a place with foreign keys alone has an empty mapping.
    """
    secrets: Optional[Mapping[Place, int]] = field(default_factory=dict)
    """The current version of each secret in Vault; 0 where it was only listed."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    pending: FrozenSet[Place] = frozenset()
    """The places with a rotation's copy of new credentials in Vault."""
    parameters: Mapping[str, Mapping[str, ObservedParameter]] = field(default_factory=dict)
    """What is set in parameter groups, by group; a group that does not exist or was not read
    is not in it.
    """


@dataclass(frozen=True)
class Finding:
    """One Database, or what is left of one that is gone (an orphan), with all that differs."""

    place: Place
    uid: str
    differences: Tuple[Difference, ...]
    orphan: bool = False
    origin: Origin = DATABASE

    @property
    def repairable(self) -> bool:
        """Whether a run of `database_reconcile` repairs any of it."""
        return any(one.repairable for one in self.differences)


class Kept(NamedTuple):
    """A leftover that is kept on purpose, and why."""

    place: Place
    service: str
    found: str
    reason: str


@dataclass(frozen=True)
class Report:
    """The outcome of one comparison, sorted by place."""

    findings: Tuple[Finding, ...] = ()
    kept: Tuple[Kept, ...] = ()
    under_way: Mapping[Place, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    compared: int = 0
    """Databases read, also those that are changing."""

    def is_judged(self, place: Place, service: str, *, orphan: bool) -> bool:
        """Whether this report covers a place in a service; else earlier findings remain."""
        if place in self.under_way or service in self.unknown:
            return False
        # Without RDS, an orphan looks like a leftover of Retain or Snapshot.
        return not (orphan and RDS in self.unknown)


Payload = Dict[str, Any]
