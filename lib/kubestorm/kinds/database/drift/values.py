"""What is compared, and what comes of it: facts and findings as values."""

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
    """Where a Database is, or was: its names in Consul and Vault follow from it."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Origin(NamedTuple):
    """The kind of resource that asks: Database, or another that is read as one."""

    group: str = naming.GROUP
    version: str = naming.VERSION
    plural: str = "databases"
    kind: str = KIND


DATABASE = Origin()


class Difference(NamedTuple):
    """One thing that is not as it is wished. `repairable`: `database_reconcile` brings it back by
    itself.
    """

    service: str
    field: str
    wished: Any
    found: Any
    what: str
    repairable: bool = False


@dataclass(frozen=True)
class Wish:
    """One Database, as far as the comparison needs it."""

    place: Place
    uid: str
    identifier: str
    """The RDS instance that is its own."""
    vault_path: str
    """With the mount, as it is published."""
    spec: Optional[DatabaseSpec] = None
    tags: Mapping[str, str] = field(default_factory=dict)
    host: Optional[str] = None
    """The address that status tells, None before there was one."""
    port: Optional[int] = None
    credentials_stored: bool = False
    """Status says that Vault had them."""
    origin: Origin = DATABASE
    own_identifier: str = ""
    """The identifier that its name gives, which its own parameter group is named for, also where it
    was adopted.
    """
    rotation_due: bool = False
    """New credentials are asked for and not there yet, so that a pending copy in Vault is at work.
    """
    under_way: str = ""
    """Why it is not compared now (being made, being changed, being deleted); empty when it is."""


@dataclass(frozen=True)
class World:
    """What exists. None for what could not be asked; `unknown` then says why, by service."""

    instances: Optional[Tuple[ObservedInstance, ...]] = ()
    snapshots: FrozenSet[Place] = frozenset()
    """The places of which a manual or final snapshot is kept."""
    published: Optional[Mapping[Place, Mapping[str, str]]] = field(default_factory=dict)
    """Our keys in Consul with their values; a place with foreign keys alone has an empty mapping.
    """
    secrets: Optional[Mapping[Place, int]] = field(default_factory=dict)
    """The current version of each secret in Vault; 0 where it was listed and not looked at."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    pending: FrozenSet[Place] = frozenset()
    """The places with a rotation's copy of new credentials in Vault."""
    parameters: Mapping[str, Mapping[str, ObservedParameter]] = field(default_factory=dict)
    """What is set in parameter groups, by group; a group that is not there, or was not asked for,
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
        """Whether a run of `database_reconcile` would mend any of it."""
        return any(one.repairable for one in self.differences)


class Kept(NamedTuple):
    """A leftover that is as it should be, and why."""

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
    """Databases looked at, those under way included."""

    def is_judged(self, place: Place, service: str, *, orphan: bool) -> bool:
        """Whether this report says anything of a place in a service; where it does not, what was
        known stays so.
        """
        if place in self.under_way or service in self.unknown:
            return False
        # Without RDS nobody can tell an orphan from a leftover of Retain or Snapshot.
        return not (orphan and RDS in self.unknown)


Payload = Dict[str, Any]
