"""What a Database resource asks for, parsed and checked against what operations offer.

The API server's schema has refused wrong shapes already; this module says what a schema cannot (and 1.20 has no CEL):
values that operations choose, and fields that contradict each other. All problems are found in one go, each with its
field and what would be right. Pure: nothing is called, and nothing here knows AWS.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from kubestorm.errors import DefinitionError
from kubestorm.settings import DatabaseSettings, EngineOffer, NamespaceLimits

RETAIN, SNAPSHOT, DELETE = "Retain", "Snapshot", "Delete"
DELETION_POLICIES = (RETAIN, SNAPSHOT, DELETE)
MIN_STORAGE_GIB = 20
MAX_STORAGE_GIB = 65536
PROVISIONED_IOPS_TYPES = ("io1", "io2")
STORAGE_TYPES = ("gp2", "gp3", "io1", "io2")
MAX_BACKUP_RETENTION_DAYS = 35
MONITORING_INTERVALS_SECONDS = (0, 1, 5, 10, 15, 30, 60)


class Problem(NamedTuple):
    """One thing that is wrong: the field's path and a sentence with what would be right."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class InvalidSpecError(DefinitionError):
    """The resource asks for what cannot be. `problems` holds all that was found; `str` names them all."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems), field=problems[0].field)
        self.problems = tuple(problems)


@dataclass(frozen=True)
class PointInTime:
    """Restore from another instance's automated backups; `time` is RFC 3339, None the latest restorable."""

    source_instance: str
    time: Optional[str] = None


@dataclass(frozen=True)
class DatabaseSpec:
    """A checked Database. None means: nobody decided, AWS's own default stands and is not compared."""

    engine: str
    version: str
    size: str
    instance_class: str
    storage_gib: int
    storage_type: str
    iops: Optional[int]
    max_storage_gib: Optional[int]
    multi_az: bool
    backup_retention_days: int
    backup_window: Optional[str]
    maintenance_window: Optional[str]
    database_name: str
    deletion_policy: str
    deletion_protection: bool
    subnet_group: Optional[str]
    security_groups: Tuple[str, ...]
    parameter_group: Optional[str]
    parameters: Mapping[str, str]
    """Parameters of the instance's own group; RDS writes all values as text."""
    encryption_key: Optional[str]
    monitoring_interval_seconds: int
    monitoring_role_arn: Optional[str]
    tags: Mapping[str, str]
    adopt: Optional[str]
    restore_snapshot: Optional[str]
    restore_point: Optional[PointInTime]
    stated: FrozenSet[str] = frozenset()
    """The fields that the resource itself decided (by `spec` or a label), dotted; the rest are the pack's defaults."""


def parse_database(resource: Mapping[str, Any], settings: DatabaseSettings) -> DatabaseSpec:
    """Read a Database object as the Kubernetes API returns it. Raises InvalidSpecError with every problem."""
    return _Parser(resource, settings).parse()


def limits_for(namespace: str, settings: DatabaseSettings) -> NamespaceLimits:
    """The first limits whose pattern fits the namespace; without one, everything that is offered."""
    for limits in settings.limits:
        if any(fnmatchcase(namespace, pattern) for pattern in limits.namespaces):
            return limits
    return NamespaceLimits()


def policy_of(resource: Mapping[str, Any], settings: DatabaseSettings) -> str:
    """What becomes of the data of a Database, also of one that cannot be parsed otherwise.

    What it asks for, the default where it says nothing, Retain where it asks for what it may not have.
    """
    return _Parser(resource, settings).policy()


class _Parser:
    """Reads one resource, and collects what is wrong with it on the way."""

    def __init__(self, resource: Mapping[str, Any], settings: DatabaseSettings) -> None:
        metadata = resource.get("metadata") or {}
        self._settings = settings
        self._name = str(metadata.get("name", ""))
        self._namespace = str(metadata.get("namespace", ""))
        self._limits = limits_for(self._namespace, settings)
        self._problems: List[Problem] = []
        self._stated: Set[str] = set()
        spec = resource.get("spec")
        self._spec: Mapping[str, Any] = spec if isinstance(spec, Mapping) else {}
        self._from_labels = self._read_labels(metadata.get("labels") or {})

    def parse(self) -> DatabaseSpec:
        defaults = self._settings.defaults
        self._check_fixed_fields()
        engine, version = self._engine_and_version()
        size = self._size()
        storage_gib, max_storage_gib = self._storage()
        storage_type = self._choice("storage.type", STORAGE_TYPES, defaults.storage_type)
        policies = self._limits.deletion_policies or DELETION_POLICIES
        interval = self._integer("monitoring.intervalSeconds", defaults.monitoring_interval_seconds, 0, 60)
        if interval not in MONITORING_INTERVALS_SECONDS:
            self._wrong("monitoring.intervalSeconds", f"{interval} is none of {_words(MONITORING_INTERVALS_SECONDS)}")
        restore_snapshot, restore_point = self._restore()
        spec = DatabaseSpec(
            engine=engine,
            version=version,
            size=size,
            instance_class=self._settings.sizes.get(size, ""),
            storage_gib=storage_gib,
            storage_type=storage_type,
            iops=self._iops(storage_type),
            max_storage_gib=max_storage_gib,
            multi_az=self._boolean("multiAZ", defaults.multi_az),
            backup_retention_days=self._integer(
                "backup.retentionDays", defaults.backup_retention_days, 0, MAX_BACKUP_RETENTION_DAYS
            ),
            backup_window=self._text("backup.window", defaults.backup_window),
            maintenance_window=self._text("maintenanceWindow", defaults.maintenance_window),
            database_name=self._database_name(),
            deletion_policy=self._choice("deletionPolicy", policies, defaults.deletion_policy),
            deletion_protection=self._boolean("deletionProtection", defaults.deletion_protection),
            subnet_group=self._text("subnetGroup", defaults.subnet_group),
            security_groups=self._texts("securityGroups") or defaults.security_groups,
            parameter_group=self._text("parameterGroup", defaults.parameter_group),
            parameters=self._parameters(),
            encryption_key=self._text("encryptionKey", defaults.encryption_key),
            monitoring_interval_seconds=interval,
            monitoring_role_arn=defaults.monitoring_role_arn,
            tags={**self._settings.tags, **self._mapping("tags")},
            adopt=self._text("adopt", None),
            restore_snapshot=restore_snapshot,
            restore_point=restore_point,
            stated=frozenset(self._stated),
        )
        if self._problems:
            raise InvalidSpecError(self._problems)
        return spec

    def policy(self) -> str:
        """deletionPolicy alone, with Retain for what is not allowed."""
        allowed = self._limits.deletion_policies or DELETION_POLICIES
        policy = self._get("deletionPolicy") or self._settings.defaults.deletion_policy
        return str(policy) if policy in allowed and policy in DELETION_POLICIES else RETAIN

    # Where a value comes from: spec, else a label that operations let decide, else nothing.

    def _read_labels(self, labels: Mapping[str, Any]) -> Dict[str, Any]:
        values: Dict[str, Any] = {}
        for label, path in self._settings.label_overrides.items():
            if label in labels:
                values[path] = _from_label(str(labels[label]))
        return values

    def _get(self, path: str) -> Any:
        value: Any = self._spec
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            value = self._from_labels.get(path)
        if value is not None:
            self._stated.add(path)
        return value

    def _wrong(self, path: str, message: str) -> None:
        self._problems.append(Problem(f"spec.{path}", message))

    # Kinds of value.

    def _text(self, path: str, default: Optional[str]) -> Optional[str]:
        value = self._get(path)
        if value is None or value == "":
            return default
        if isinstance(value, (dict, list, bool)):
            self._wrong(path, f"{value!r} is no text")
            return default
        return str(value)

    def _boolean(self, path: str, default: bool) -> bool:
        value = self._get(path)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self._wrong(path, f"{value!r} is neither true nor false")
        return default

    def _integer(self, path: str, default: int, low: int, high: int) -> int:
        value = self._get(path)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            if not low <= value <= high:
                self._wrong(path, f"{value} is not between {low} and {high}")
            return int(value)
        self._wrong(path, f"{value!r} is no whole number")
        return default

    def _mapping(self, path: str) -> Mapping[str, Any]:
        value = self._get(path)
        if value is None or isinstance(value, Mapping):
            return value or {}
        self._wrong(path, f"{value!r} is no object")
        return {}

    def _texts(self, path: str) -> Tuple[str, ...]:
        value = self._get(path)
        if value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            return tuple(value or ())
        self._wrong(path, f"{value!r} is no list of texts")
        return ()

    def _choice(self, path: str, allowed: Sequence[str], default: str) -> str:
        value = self._get(path)
        if value is None:
            return default if default in allowed else allowed[0]
        if value not in allowed:
            self._wrong(path, f"{value!r} is not offered here; allowed: {_words(allowed)}")
        return str(value)

    # Fields with rules of their own.

    def _parameters(self) -> Mapping[str, str]:
        values = self._mapping("parameters")
        if "parameters" in self._stated and self._get("parameterGroup") is not None:
            self._wrong("parameters", "parameterGroup names a group that is not ours to write; give one of them")
        for name, value in values.items():
            if isinstance(value, (dict, list)) or value is None:
                self._wrong(f"parameters.{name}", f"{value!r} is no value of a parameter; write a text or a number")
        return {str(name): _parameter_value(value) for name, value in values.items()}

    def _check_fixed_fields(self) -> None:
        for path in self._limits.fixed_fields:
            if self._get(path) is not None:
                self._wrong(path, f"operations decide this in namespace {self._namespace}; leave it out")

    def _engine_and_version(self) -> Tuple[str, str]:
        offered = tuple(self._settings.engines)
        allowed = tuple(name for name in offered if self._limits.engines is None or name in self._limits.engines)
        engine = self._get("engine")
        if not isinstance(engine, str) or engine not in allowed:
            found = "it is missing" if engine is None else f"{engine!r} is not offered here"
            self._wrong("engine", f"{found}; allowed: {_words(allowed)}")
            return str(engine), ""
        offer: EngineOffer = self._settings.engines[engine]
        version = self._text("version", offer.default_version or offer.versions[0]) or ""
        if version not in offer.versions:
            self._wrong("version", f"{version!r} is not offered for {engine}; allowed: {_words(offer.versions)}")
        return engine, version

    def _size(self) -> str:
        sizes = self._settings.sizes
        allowed = tuple(name for name in sizes if self._limits.sizes is None or name in self._limits.sizes)
        size = self._get("size")
        if size is None:
            size = self._settings.defaults.size or (allowed[0] if allowed else "")
        if size not in allowed:
            self._wrong("size", f"{size!r} is not offered here; allowed: {_words(allowed)}")
        return str(size)

    def _storage(self) -> Tuple[int, Optional[int]]:
        most = self._limits.max_storage_gib or MAX_STORAGE_GIB
        size = self._integer("storage.sizeGiB", self._settings.defaults.storage_gib, MIN_STORAGE_GIB, most)
        default_ceiling = self._settings.defaults.max_storage_gib
        if self._get("storage.maxSizeGiB") is None and (default_ceiling is None or default_ceiling <= size):
            return size, None
        ceiling = self._integer("storage.maxSizeGiB", default_ceiling or size, MIN_STORAGE_GIB, most)
        if ceiling <= size:
            self._wrong(
                "storage.maxSizeGiB", f"{ceiling} is not above storage.sizeGiB ({size}); raise it or leave it out"
            )
        return size, ceiling

    def _iops(self, storage_type: str) -> Optional[int]:
        if self._get("storage.iops") is None:
            if storage_type in PROVISIONED_IOPS_TYPES:
                self._wrong("storage.iops", f"storage.type {storage_type} needs it: between 1000 and 256000")
            return None
        if storage_type == "gp2":
            self._wrong("storage.iops", "storage.type gp2 has none to choose; use gp3, io1 or io2, or leave it out")
            return None
        return self._integer("storage.iops", 3000, 1000, 256000)

    def _database_name(self) -> str:
        name = self._text("databaseName", None)
        if name is None:
            plain = "".join(letter if letter.isalnum() else "_" for letter in self._name)
            return (plain if plain[:1].isalpha() else f"db_{plain}")[:63]
        if not (name[:1].isalpha() and name.isascii() and name.replace("_", "a").isalnum() and len(name) <= 63):
            self._wrong("databaseName", f"{name!r} is not 1 to 63 letters, digits and underscores, a letter first")
        return name

    def _restore(self) -> Tuple[Optional[str], Optional[PointInTime]]:
        if not self._mapping("restoreFrom"):
            return None, None
        snapshot, point = self._text("restoreFrom.snapshot", None), self._mapping("restoreFrom.pointInTime")
        if bool(snapshot) == bool(point):
            found = "both a snapshot and a point in time" if snapshot else "neither a snapshot nor a point in time"
            self._wrong("restoreFrom", f"{found}; give exactly one of snapshot and pointInTime")
            return None, None
        if self._get("adopt"):
            self._wrong(
                "restoreFrom", "an adopted instance cannot be restored as well; give one of adopt and restoreFrom"
            )
        if snapshot:
            return snapshot, None
        if not point.get("sourceInstance"):
            self._wrong("restoreFrom.pointInTime.sourceInstance", "it is missing; name the RDS instance to restore")
        if point.get("time") and point.get("useLatest"):
            self._wrong("restoreFrom.pointInTime", "both time and useLatest; give one of them")
        return None, PointInTime(str(point.get("sourceInstance", "")), point.get("time"))


def _parameter_value(value: Any) -> str:
    """As RDS keeps it: truth values are 1 and 0."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _words(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values) or "nothing"


def _from_label(text: str) -> Any:
    """A label is always text; numbers and truth values are read as what they say."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text
