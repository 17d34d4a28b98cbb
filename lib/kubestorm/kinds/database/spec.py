"""The spec of a Database, parsed and checked against what operations offer. Pure.

The schema of the CRD refuses wrong types; this module checks what a schema cannot (Kubernetes 1.20
has no CEL): values that operations choose, and fields that contradict each other. All problems are
reported together, each with its field and what would be right.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Dict, FrozenSet, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from kubestorm.core import untrusted
from kubestorm.core.settings import DatabaseSettings, EngineOffer, NamespaceLimits
from kubestorm.core.spec_reader import InvalidSpecError, SpecReader

RETAIN, SNAPSHOT, DELETE = "Retain", "Snapshot", "Delete"
DELETION_POLICIES = (RETAIN, SNAPSHOT, DELETE)
MIN_STORAGE_GIB = 20
MAX_STORAGE_GIB = 65536
PROVISIONED_IOPS_TYPES = ("io1", "io2")
STORAGE_TYPES = ("gp2", "gp3", "io1", "io2")
MAX_BACKUP_RETENTION_DAYS = 35
LEAST_WINDOW_MINUTES = 30
MINUTES_A_DAY, MINUTES_A_WEEK = 1440, 10080
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONITORING_INTERVALS_SECONDS = (0, 1, 5, 10, 15, 30, 60)


class DiskRules(NamedTuple):
    """What may be chosen for a type of storage, of the three engines.

    Source: "Amazon RDS DB instance storage" in the RDS user guide. Below `least_gib` gp3 has its
    own, fixed IOPS and throughput, and io1 and io2 do not exist.
    """

    least_gib: int
    iops: Tuple[int, int]
    iops_per_gib: Tuple[float, float] = (0.0, float("inf"))
    throughput_mibps: Optional[Tuple[int, int]] = None


DISKS: Mapping[str, DiskRules] = {
    "gp3": DiskRules(400, (12000, 64000), throughput_mibps=(500, 4000)),
    "io1": DiskRules(100, (1000, 256000), (0.5, 50.0)),
    "io2": DiskRules(100, (1000, 256000), (0.5, 1000.0)),
}
# gp3 gives a MiB/s for each four operations a second at most.
IOPS_A_MIBPS = 4


@dataclass(frozen=True)
class PointInTime:
    """Restore from another instance's automated backups; `time` is RFC 3339, None the latest
    restorable.
    """

    source_instance: str
    time: Optional[str] = None


@dataclass(frozen=True)
class DatabaseSpec:
    """A checked spec. None means AWS's default, which is not compared."""

    engine: str
    version: str
    size: str
    instance_class: str
    storage_gib: int
    storage_type: str
    iops: Optional[int]
    throughput_mibps: Optional[int]
    max_storage_gib: Optional[int]
    """Up to where RDS may grow the disk (storage autoscaling); 0 turns that off."""
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
    """Of the instance's own parameter group; RDS keeps all values as text."""
    encryption_key: Optional[str]
    monitoring_interval_seconds: int
    monitoring_role_arn: Optional[str]
    tags: Mapping[str, str]
    adopt: Optional[str]
    restore_snapshot: Optional[str]
    restore_point: Optional[PointInTime]
    offered_versions: Tuple[str, ...] = ()
    """What operations offer of the engine, for messages."""
    stated: FrozenSet[str] = frozenset()
    """Dotted paths of what the resource sets, by `spec` or a label; the rest are defaults."""


def parse_database(resource: Mapping[str, Any], settings: DatabaseSettings) -> DatabaseSpec:
    """Read a Database object as the Kubernetes API returns it. Raises InvalidSpecError with every
    problem.
    """
    return _Parser(resource, settings).parse()


def limits_for(namespace: str, settings: DatabaseSettings) -> NamespaceLimits:
    """The first limits whose pattern matches the namespace; without one, everything is offered."""
    for limits in settings.limits:
        if any(fnmatchcase(namespace, pattern) for pattern in limits.namespaces):
            return limits
    return NamespaceLimits()


def policy_of(resource: Mapping[str, Any], settings: DatabaseSettings) -> str:
    """deletionPolicy, also of a spec that is invalid otherwise: the default where it is not set,
    Retain where it is not allowed.
    """
    return _Parser(resource, settings).policy()


class _Parser(SpecReader):
    """Reads one resource and collects its problems."""

    def __init__(self, resource: Mapping[str, Any], settings: DatabaseSettings) -> None:
        super().__init__(resource.get("spec"))
        metadata = resource.get("metadata") or {}
        self._settings = settings
        self._name = str(metadata.get("name", ""))
        self._namespace = str(metadata.get("namespace", ""))
        self._limits = limits_for(self._namespace, settings)
        self._stated: Set[str] = set()
        self._from_labels = self._read_labels(untrusted.texts(metadata.get("labels")))

    def parse(self) -> DatabaseSpec:
        defaults = self._settings.defaults
        self._check_fixed_fields()
        engine, version = self._engine_and_version()
        size = self._size()
        storage_gib, max_storage_gib = self._storage()
        storage_type = self.choice("storage.type", STORAGE_TYPES, defaults.storage_type)
        policies = self._limits.deletion_policies or DELETION_POLICIES
        interval = self.whole(
            "monitoring.intervalSeconds", defaults.monitoring_interval_seconds, 0, 60
        )
        if interval not in MONITORING_INTERVALS_SECONDS:
            self.wrong(
                "monitoring.intervalSeconds",
                f"{interval} is not one of {_words(MONITORING_INTERVALS_SECONDS)}",
            )
        restore_snapshot, restore_point = self._restore()
        iops, throughput = self._performance(storage_type, storage_gib)
        backup_window, maintenance_window = self._windows()
        spec = DatabaseSpec(
            engine=engine,
            version=version,
            size=size,
            instance_class=self._settings.sizes.get(size, ""),
            storage_gib=storage_gib,
            storage_type=storage_type,
            iops=iops,
            throughput_mibps=throughput,
            max_storage_gib=max_storage_gib,
            multi_az=self.boolean("multiAZ", defaults.multi_az),
            backup_retention_days=self.whole(
                "backup.retentionDays", defaults.backup_retention_days, 0, MAX_BACKUP_RETENTION_DAYS
            ),
            backup_window=backup_window,
            maintenance_window=maintenance_window,
            database_name=self._database_name(),
            deletion_policy=self.choice("deletionPolicy", policies, defaults.deletion_policy),
            deletion_protection=self.boolean("deletionProtection", defaults.deletion_protection),
            subnet_group=self.text("subnetGroup", defaults.subnet_group),
            security_groups=self.texts("securityGroups") or defaults.security_groups,
            parameter_group=self.text("parameterGroup", defaults.parameter_group),
            parameters=self._parameters(),
            encryption_key=self.text("encryptionKey", defaults.encryption_key),
            monitoring_interval_seconds=self._monitored(interval),
            monitoring_role_arn=defaults.monitoring_role_arn,
            tags={**self._settings.tags, **self.mapping("tags")},
            adopt=self.text("adopt", None),
            restore_snapshot=restore_snapshot,
            restore_point=restore_point,
            offered_versions=self._offered_versions(engine),
            stated=frozenset(self._stated),
        )
        self._check_allowed()
        if self.problems:
            raise InvalidSpecError(self.problems)
        return spec

    def policy(self) -> str:
        """deletionPolicy alone, with Retain for what is not allowed."""
        allowed = self._limits.deletion_policies or DELETION_POLICIES
        policy = self.get("deletionPolicy") or self._settings.defaults.deletion_policy
        return str(policy) if policy in allowed and policy in DELETION_POLICIES else RETAIN

    # Where a value comes from: spec, else a label that operations let decide, else nothing.

    def _read_labels(self, labels: Mapping[str, Any]) -> Dict[str, Any]:
        values: Dict[str, Any] = {}
        for label, path in self._settings.label_overrides.items():
            if label in labels:
                values[path] = _from_label(str(labels[label]))
        return values

    def get(self, path: str) -> Any:
        value = super().get(path)
        if value is None:
            value = self._from_labels.get(path)
        if value is not None:
            self._stated.add(path)
        return value

    def text(self, path: str, default: Optional[str] = None) -> Optional[str]:
        """A label's number is text as well."""
        value = self.get(path)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        return super().text(path, default)

    def choice(self, path: str, allowed: Sequence[str], default: str) -> str:
        value = self.get(path)
        if value is None:
            return default if default in allowed else allowed[0]
        if value not in allowed:
            self.wrong(
                path, f"{untrusted.shown(value)} is not offered here; allowed: {_words(allowed)}"
            )
        return str(value)

    # Fields with rules of their own.

    def _parameters(self) -> Mapping[str, str]:
        values = self.mapping("parameters")
        if "parameters" in self._stated and self.get("parameterGroup") is not None:
            self.wrong(
                "parameters",
                "cannot be set together with parameterGroup; remove one of them",
            )
        for name, value in values.items():
            if isinstance(value, (dict, list)) or value is None:
                self.wrong(
                    f"parameters.{name}",
                    f"must be a string or a number, not {untrusted.shown(value)}",
                )
        return {str(name): _parameter_value(value) for name, value in values.items()}

    def _check_fixed_fields(self) -> None:
        for path in self._limits.fixed_fields:
            if self.get(path) is not None:
                self.wrong(path, f"is set by operations in namespace {self._namespace}; remove it")

    def _engine_and_version(self) -> Tuple[str, str]:
        offered = tuple(self._settings.engines)
        allowed = tuple(
            name for name in offered if self._limits.engines is None or name in self._limits.engines
        )
        engine = self.get("engine")
        if not isinstance(engine, str) or engine not in allowed:
            found = (
                "is required"
                if engine is None
                else f"{untrusted.shown(engine)} is not offered here"
            )
            self.wrong("engine", f"{found}; allowed: {_words(allowed)}")
            return str(engine), ""
        offer: EngineOffer = self._settings.engines[engine]
        version = self.text("version", offer.default_version or offer.versions[0]) or ""
        if version not in offer.versions:
            self.wrong(
                "version",
                f"{untrusted.shown(version)} is not offered for {engine}; allowed: "
                f"{_words(offer.versions)}",
            )
        return engine, version

    def _offered_versions(self, engine: str) -> Tuple[str, ...]:
        offer, allowed = self._settings.engines.get(engine), self._limits.allowed_values
        versions = offer.versions if offer else ()
        return tuple(one for one in versions if one in allowed.get("version", versions))

    def _size(self) -> str:
        sizes = self._settings.sizes
        allowed = tuple(
            name for name in sizes if self._limits.sizes is None or name in self._limits.sizes
        )
        size = self.get("size")
        if size is None:
            size = self._settings.defaults.size or (allowed[0] if allowed else "")
        if size not in allowed:
            self.wrong(
                "size", f"{untrusted.shown(size)} is not offered here; allowed: {_words(allowed)}"
            )
        return str(size)

    def _storage(self) -> Tuple[int, Optional[int]]:
        most = self._limits.max_storage_gib or MAX_STORAGE_GIB
        size = self.whole(
            "storage.sizeGiB", self._settings.defaults.storage_gib, MIN_STORAGE_GIB, most
        )
        default_ceiling = self._settings.defaults.max_storage_gib
        if self.get("storage.maxSizeGiB") is None and (default_ceiling or 0) < least_ceiling(size):
            return size, None
        ceiling = self.whole("storage.maxSizeGiB", default_ceiling or size, 0, most)
        least = least_ceiling(size)
        if ceiling and ceiling < least and self._knows_size():
            message = (
                f"{ceiling} is less than a tenth above storage.sizeGiB ({size}); set {least} or "
                "more, or 0 for none"
            )
            self.wrong("storage.maxSizeGiB", message)
        return size, ceiling

    def _performance(self, kind: str, size: int) -> Tuple[Optional[int], Optional[int]]:
        """IOPS and MiB/s, None where the storage type decides."""
        iops = self.whole("storage.iops", 0, 1000, 256000) or None
        throughput = self.whole("storage.throughputMiBps", 0, 125, 4000) or None
        rules = DISKS.get(kind)
        if rules is None:
            for path, value in (("storage.iops", iops), ("storage.throughputMiBps", throughput)):
                if value is not None:
                    self.wrong(
                        path, f"cannot be set for storage.type {kind}; use gp3, or remove it"
                    )
            return None, None
        if throughput is not None and rules.throughput_mibps is None:
            self.wrong(
                "storage.throughputMiBps",
                f"cannot be set for storage.type {kind}; use gp3, or remove it",
            )
            throughput = None
        if iops is None and kind in PROVISIONED_IOPS_TYPES:
            self.wrong(
                "storage.iops",
                f"is required by storage.type {kind}: {rules.iops[0]} to {rules.iops[1]}",
            )
        else:
            self._check_performance(
                kind, rules, size if self._knows_size() else None, iops, throughput
            )
        return iops, throughput

    def _knows_size(self) -> bool:
        """Whether the disk has the parsed size: an adopted or restored one may have another."""
        return "storage.sizeGiB" in self._stated or not (
            self.get("adopt") or self.mapping("restoreFrom")
        )

    def _check_performance(
        self,
        kind: str,
        rules: DiskRules,
        size: Optional[int],
        iops: Optional[int],
        throughput: Optional[int],
    ) -> None:
        chosen = iops is not None or throughput is not None
        if (
            size is not None
            and size < rules.least_gib
            and (chosen or kind in PROVISIONED_IOPS_TYPES)
        ):
            what = "has its own IOPS and throughput below" if kind == "gp3" else "begins at"
            self.wrong(
                "storage.sizeGiB",
                f"{size} is too small; storage.type {kind} {what} {rules.least_gib} GiB",
            )
            return
        if iops is not None and not rules.iops[0] <= iops <= rules.iops[1]:
            low, high = rules.iops
            self.wrong(
                "storage.iops",
                f"{iops} is not between {low} and {high}, as storage.type {kind} has them",
            )
        elif (
            iops is not None
            and size
            and not rules.iops_per_gib[0] <= iops / size <= rules.iops_per_gib[1]
        ):
            low, high = (int(share * size) for share in rules.iops_per_gib)
            self.wrong(
                "storage.iops",
                f"{iops} is not between {low} and {high}, which {size} GiB of {kind} can have",
            )
        if throughput is None or rules.throughput_mibps is None:
            return
        low, high = rules.throughput_mibps
        high = min(high, (iops or rules.iops[0]) // IOPS_A_MIBPS)
        if not low <= throughput <= high:
            given = f"with {iops or rules.iops[0]} IOPS"
            self.wrong(
                "storage.throughputMiBps", f"{throughput} is not between {low} and {high} ({given})"
            )

    def _windows(self) -> Tuple[Optional[str], Optional[str]]:
        """Backup and maintenance window: half an hour at least, and not at the same time."""
        defaults = self._settings.defaults
        backup = self.text("backup.window", defaults.backup_window)
        maintenance = self.text("maintenanceWindow", defaults.maintenance_window)
        spans = {}
        for path, value, circle in (
            ("backup.window", backup, MINUTES_A_DAY),
            ("maintenanceWindow", maintenance, MINUTES_A_WEEK),
        ):
            span = None if value is None else _span(value, circle)
            if value is not None and (
                span is None or not LEAST_WINDOW_MINUTES <= span[1] < MINUTES_A_DAY
            ):
                example = "03:00-04:00" if circle == MINUTES_A_DAY else "sun:05:00-sun:06:00"
                self.wrong(
                    path,
                    f"must be a window of half an hour to a day in UTC, such as {example}, not "
                    f"{untrusted.shown(value)}",
                )
            elif span is not None:
                spans[path] = span
        if len(spans) == 2 and _overlap(spans["backup.window"], spans["maintenanceWindow"]):
            path = "maintenanceWindow" if "maintenanceWindow" in self._stated else "backup.window"
            self.wrong(
                path,
                f"backup window ({backup}) and maintenance window ({maintenance}) must not overlap",
            )
        return backup, maintenance

    def _monitored(self, interval: int) -> int:
        if interval and not self._settings.defaults.monitoring_role_arn:
            message = (
                "operations have not set up enhanced monitoring "
                "(database.defaults.monitoring_role_arn); remove it"
            )
            self.wrong("monitoring.intervalSeconds", message)
        return interval

    def _check_allowed(self) -> None:
        """The fields that the resource sets, against the lists and ranges of its namespace."""
        where = f"in namespace {self._namespace}"
        for path, allowed in self._limits.allowed_values.items():
            value = self.get(path)
            values = value if isinstance(value, list) else [] if value is None else [value]
            wrong = [item for item in values if item not in allowed]
            if wrong:
                self.wrong(
                    path, f"{_words(wrong)} is not offered {where}; allowed: {_words(allowed)}"
                )
        for path, (low, high) in self._limits.ranges.items():
            value = self.get(path)
            if isinstance(value, int) and not isinstance(value, bool) and not low <= value <= high:
                self.wrong(
                    path, f"{value} is not between {low} and {high}, which is offered {where}"
                )

    def _database_name(self) -> str:
        name = self.text("databaseName", None)
        if name is None:
            plain = "".join(letter if letter.isalnum() else "_" for letter in self._name)
            return (plain if plain[:1].isalpha() else f"db_{plain}")[:63]
        if not (
            name[:1].isalpha()
            and name.isascii()
            and name.replace("_", "a").isalnum()
            and len(name) <= 63
        ):
            self.wrong(
                "databaseName",
                f"{untrusted.shown(name)} is not 1 to 63 letters, digits and underscores, a "
                "letter first",
            )
        return name

    def _restore(self) -> Tuple[Optional[str], Optional[PointInTime]]:
        if not self.mapping("restoreFrom"):
            return None, None
        snapshot, point = (
            self.text("restoreFrom.snapshot", None),
            self.mapping("restoreFrom.pointInTime"),
        )
        if bool(snapshot) == bool(point):
            found = (
                "both a snapshot and a point in time"
                if snapshot
                else "neither a snapshot nor a point in time"
            )
            self.wrong("restoreFrom", f"has {found}; set exactly one of snapshot and pointInTime")
            return None, None
        if self.get("adopt"):
            self.wrong(
                "restoreFrom",
                "cannot be set together with adopt; remove one of them",
            )
        if self.get("encryptionKey"):
            self.wrong(
                "encryptionKey", "a restored database keeps the key of its snapshot; remove it"
            )
        if snapshot:
            return snapshot, None
        if not point.get("sourceInstance"):
            self.wrong(
                "restoreFrom.pointInTime.sourceInstance",
                "is required: the RDS instance to restore",
            )
        if point.get("time") and point.get("useLatest"):
            self.wrong("restoreFrom.pointInTime", "has both time and useLatest; remove one of them")
        return None, PointInTime(str(point.get("sourceInstance", "")), point.get("time"))


def least_ceiling(size: int) -> int:
    """The smallest ceiling of storage autoscaling that RDS accepts for a disk of that size; GiB."""
    return -(-size * 11 // 10)


def _span(window: str, circle: int) -> Optional[Tuple[int, int]]:
    """(first minute, length in minutes), `circle` is that of a day or a week; None if invalid."""
    ends = [_minute(text, weekly=circle == MINUTES_A_WEEK) for text in window.lower().split("-")]
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return None
    return ends[0], (ends[1] - ends[0]) % circle


def _minute(text: str, *, weekly: bool) -> Optional[int]:
    parts = text.split(":")
    day = parts.pop(0) if weekly else DAYS[0]
    if (
        day not in DAYS
        or len(parts) != 2
        or not all(len(part) == 2 and untrusted.digits(part) is not None for part in parts)
    ):
        return None
    hour, minute = int(parts[0]), int(parts[1])
    return (
        None if hour > 23 or minute > 59 else DAYS.index(day) * MINUTES_A_DAY + hour * 60 + minute
    )


def _overlap(daily: Tuple[int, int], weekly: Tuple[int, int]) -> bool:
    """Whether a window of each day and one of the week have a minute in common."""
    for day in range(-1, len(DAYS) + 1):
        begin = day * MINUTES_A_DAY + daily[0]
        for shift in (-MINUTES_A_WEEK, 0, MINUTES_A_WEEK):
            if begin < weekly[0] + shift + weekly[1] and weekly[0] + shift < begin + daily[1]:
                return True
    return False


def _parameter_value(value: Any) -> str:
    """As RDS keeps it: booleans are 1 and 0."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _words(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values) or "nothing"


def _from_label(text: str) -> Any:
    """Labels are strings: booleans and integers are converted."""
    if text in ("true", "false"):
        return text == "true"
    number = untrusted.digits(text)
    return text if number is None else number
