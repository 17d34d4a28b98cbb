"""The pack's configuration as values: one tree, under each field its unit, default and reason.

`config.schema.yaml` is the same tree for StackStorm; it checks shapes, this module checks what a
schema cannot say. Settings say where a credential is found (file, profile, role): StackStorm puts
configuration on a command line. What the sensors read (`watch`, `resync`, `kubernetes`) is theirs:
kube.py and watching/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Optional, Tuple, TypeVar

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import read_section

CLUSTER_PATTERN = re.compile(r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")


@dataclass(frozen=True)
class LeaseSettings:
    duration_seconds: int = 60
    """How long a run that died keeps its object locked; each step of a living run renews it."""


@dataclass(frozen=True)
class AwsSettings:
    region: Optional[str] = None
    """None leaves it to the profile or the environment."""
    profile: Optional[str] = None
    """A name in ~/.aws/config; None uses boto3's own chain (environment, instance role, IRSA)."""
    credentials_file: Optional[str] = None
    """A file of profiles with their keys; None is ~/.aws/credentials of the user that runs us."""
    role_arn: Optional[str] = None
    """A role to assume with those credentials, for instance in the account that holds the
    databases.
    """
    external_id: Optional[str] = None
    endpoint_url: Optional[str] = None
    """Where the API is, if not at Amazon: a VPC endpoint, or a stand-in."""
    ca_file: Optional[str] = None
    timeout_seconds: float = 15.0
    """Per connection and per answer; a step has to return within seconds."""
    watch_seconds: float = 15.0
    """Between two looks of the sensor at all instances and snapshots while RDS is busy with one of
    ours.
    """
    watch_idle_seconds: float = 300.0
    """The same while nothing is under way."""
    attempts: int = 4
    """Calls including the first, with botocore's standard back-off, before the step leaves it to
    the resync.
    """


@dataclass(frozen=True)
class VaultAuth:
    method: str = "token"
    """`token`, `approle` or `kubernetes`."""
    mount: Optional[str] = None
    """Where the method is mounted; None is its usual place (`approle`, `kubernetes`)."""
    token_file: Optional[str] = None
    role: Optional[str] = None
    role_id: Optional[str] = None
    secret_id_file: Optional[str] = None
    jwt_file: str = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@dataclass(frozen=True)
class VaultSettings:
    url: str = "https://127.0.0.1:8200"
    namespace: Optional[str] = None
    """Vault Enterprise's namespace."""
    mount: str = "secret"
    """Where the KV version 2 engine is mounted."""
    ca_file: Optional[str] = None
    verify_tls: bool = True
    timeout_seconds: float = 10.0
    auth: VaultAuth = field(default_factory=VaultAuth)


@dataclass(frozen=True)
class ConsulSettings:
    url: str = "http://127.0.0.1:8500"
    token_file: Optional[str] = None
    datacenter: Optional[str] = None
    ca_file: Optional[str] = None
    verify_tls: bool = True
    timeout_seconds: float = 10.0


@dataclass(frozen=True)
class EngineOffer:
    """One database engine that operations offer."""

    versions: Tuple[str, ...]
    """What `spec.version` may say. "16" stands for whatever minor version RDS prefers."""
    default_version: Optional[str] = None
    """Used where the resource names none; None is the first of `versions`."""


@dataclass(frozen=True)
class NamespaceLimits:
    """What resources in some namespaces may ask for. None means: whatever is offered."""

    namespaces: Tuple[str, ...] = ("*",)
    """Shell patterns; the first entry of the list with a pattern that fits the namespace counts."""
    sizes: Optional[Tuple[str, ...]] = None
    engines: Optional[Tuple[str, ...]] = None
    max_storage_gib: Optional[int] = None
    deletion_policies: Optional[Tuple[str, ...]] = None
    fixed_fields: Tuple[str, ...] = ()
    """Fields of `spec` that only operations decide here (`subnetGroup`, `multiAZ`, ...)."""
    allowed_values: Mapping[str, Tuple[Any, ...]] = field(default_factory=dict)
    """Field of `spec`, dotted -> what a resource may state there; of a list, each item."""
    ranges: Mapping[str, Tuple[int, int]] = field(default_factory=dict)
    """Field of `spec`, dotted -> least and most that a resource may state there."""
    restore_from: Tuple[str, ...] = ()
    """Shell patterns of snapshots and instances that may be restored here though their tags do not
    say that they are of the namespace; none by default."""


@dataclass(frozen=True)
class DatabaseDefaults:
    """What a resource gets that does not say otherwise. The units are those of `spec`."""

    size: Optional[str] = None
    storage_gib: int = 20
    storage_type: str = "gp3"
    max_storage_gib: Optional[int] = None
    multi_az: bool = False
    backup_retention_days: int = 7
    backup_window: Optional[str] = None
    maintenance_window: Optional[str] = None
    deletion_policy: str = "Retain"
    deletion_protection: bool = False
    subnet_group: Optional[str] = None
    security_groups: Tuple[str, ...] = ()
    parameter_group: Optional[str] = None
    encryption_key: Optional[str] = None
    monitoring_interval_seconds: int = 0
    monitoring_role_arn: Optional[str] = None


# The fields of `spec`, as limits, labels and mappings name them.
SPEC_FIELDS = frozenset(
    (
        "adopt",
        "backup.retentionDays",
        "backup.window",
        "databaseName",
        "deletionPolicy",
        "deletionProtection",
        "encryptionKey",
        "engine",
        "maintenanceWindow",
        "monitoring.intervalSeconds",
        "multiAZ",
        "parameterGroup",
        "parameters",
        "restoreFrom.pointInTime.sourceInstance",
        "restoreFrom.pointInTime.time",
        "restoreFrom.pointInTime.useLatest",
        "restoreFrom.snapshot",
        "securityGroups",
        "size",
        "storage.iops",
        "storage.maxSizeGiB",
        "storage.sizeGiB",
        "storage.throughputMiBps",
        "storage.type",
        "subnetGroup",
        "tags",
        "version",
    )
)
DEFAULT_SIZES = {
    "small": "db.t3.small",
    "medium": "db.t3.medium",
    "large": "db.m6i.large",
    "xlarge": "db.m6i.xlarge",
    "huge": "db.r6i.2xlarge",
}
DEFAULT_ENGINES = {
    "postgres": EngineOffer(versions=("16", "15", "14"), default_version="16"),
    "mysql": EngineOffer(versions=("8.4", "8.0"), default_version="8.0"),
    "mariadb": EngineOffer(versions=("11.4", "10.11"), default_version="10.11"),
}


@dataclass(frozen=True)
class KindMapping:
    """Another kind of resource that asks for a database, in words of its own."""

    group: str
    version: str
    plural: str
    fields: Mapping[str, str] = field(default_factory=dict)
    """Its field (dotted, from the top of the object) -> the field of our `spec`."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Field of our `spec` (dotted) -> what it always is, for instance engine: mysql."""
    status: str = "subresource"
    """`subresource`, or `object` where its CRD has no status subresource: then `generation` counts
    our own writes too and is not looked at."""


@dataclass(frozen=True)
class DatabaseSettings:
    identifier_prefix: str = "ks"
    """First part of every RDS identifier; short, because RDS allows 63 characters in all."""
    username: str = "dbadmin"
    """The master user. Not `admin`, `root` or `postgres`: each is reserved by one of the engines.
    """
    sizes: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_SIZES))
    """Name that developers use -> RDS instance class."""
    engines: Mapping[str, EngineOffer] = field(default_factory=lambda: dict(DEFAULT_ENGINES))
    defaults: DatabaseDefaults = field(default_factory=DatabaseDefaults)
    limits: Tuple[NamespaceLimits, ...] = ()
    label_overrides: Mapping[str, str] = field(default_factory=dict)
    """Label -> the field of `spec` it sets where `spec` itself says nothing, dotted
    (`storage.sizeGiB`).
    """
    tags: Mapping[str, str] = field(default_factory=dict)
    """Put on every instance, beside the four that say whose it is."""
    kinds: Tuple[KindMapping, ...] = ()
    """Kinds other than Database that are to be understood as one."""
    apply_immediately: bool = True
    """Change at once; False leaves it to the maintenance window, and the condition says so."""


@dataclass(frozen=True)
class Settings:
    cluster: str
    """The word for this Kubernetes cluster in every name outside it. Never change it: names follow
    from it.
    """
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    aws: AwsSettings = field(default_factory=AwsSettings)
    vault: VaultSettings = field(default_factory=VaultSettings)
    consul: ConsulSettings = field(default_factory=ConsulSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The configuration as it came, for the parts that read their own keys."""


T = TypeVar("T")


def load_settings(config: Optional[Mapping[str, Any]]) -> Settings:
    """Read the pack's configuration as StackStorm hands it to actions and sensors.

    Raises DefinitionError naming the setting and what would be right. Nothing is connected or read
    from disk.
    """
    config = config or {}
    cluster = config.get("cluster")
    if not isinstance(cluster, str) or not CLUSTER_PATTERN.match(cluster):
        raise DefinitionError(
            "The pack's configuration needs `cluster`: a word of small letters, digits and "
            "hyphens that names this "
            f"Kubernetes cluster, up to 32 characters (found: {cluster!r}). Set it in "
            "configs/kubestorm.yaml.",
            field="cluster",
        )
    vault = dict(config.get("vault") or {})
    auth = read_section(VaultAuth, vault.pop("auth", None), "vault.auth")
    if auth.method not in ("token", "approle", "kubernetes"):
        raise DefinitionError(
            f"vault.auth.method is {auth.method!r}; it is one of token, approle, kubernetes.",
            field="vault.auth.method",
        )
    return Settings(
        cluster=cluster,
        lease=read_section(LeaseSettings, config.get("lease"), "lease"),
        aws=read_section(AwsSettings, config.get("aws"), "aws"),
        vault=read_section(VaultSettings, {**vault, "auth": auth}, "vault"),
        consul=read_section(ConsulSettings, config.get("consul"), "consul"),
        database=_database(config.get("database") or {}),
        raw=dict(config),
    )


def _database(raw: Mapping[str, Any]) -> DatabaseSettings:
    values = dict(raw)
    engines = values.pop("engines", None)
    if engines:
        values["engines"] = {name: _engine(name, offer) for name, offer in engines.items()}
    values["defaults"] = read_section(DatabaseDefaults, values.get("defaults"), "database.defaults")
    values["limits"] = tuple(
        _limits(item, f"database.limits[{index}]")
        for index, item in enumerate(values.get("limits") or ())
    )
    values["kinds"] = tuple(
        read_section(KindMapping, item, f"database.kinds[{index}]")
        for index, item in enumerate(values.get("kinds") or ())
    )
    settings = read_section(DatabaseSettings, values, "database")
    if settings.defaults.size is not None and settings.defaults.size not in settings.sizes:
        raise DefinitionError(
            f"database.defaults.size is {settings.defaults.size!r}; database.sizes offers "
            f"{', '.join(settings.sizes)}.",
            field="database.defaults.size",
        )
    if settings.defaults.monitoring_interval_seconds and not settings.defaults.monitoring_role_arn:
        message = (
            "database.defaults.monitoring_interval_seconds needs monitoring_role_arn, the role "
            "that writes readings."
        )
        raise DefinitionError(message, field="database.defaults.monitoring_role_arn")
    for index, kind in enumerate(settings.kinds):
        _check_fields((*kind.fields.values(), *kind.values), f"database.kinds[{index}]")
    _check_fields(settings.label_overrides.values(), "database.label_overrides")
    wrong = next(
        (kind for kind in settings.kinds if kind.status not in ("subresource", "object")), None
    )
    if wrong is not None:
        message = (
            f"database.kinds: status of {wrong.plural}.{wrong.group} is {wrong.status!r}; "
            "subresource or object."
        )
        raise DefinitionError(message, field="database.kinds")
    return settings


def _limits(raw: Any, where: str) -> NamespaceLimits:
    limits = read_section(NamespaceLimits, raw, where)
    _check_fields((*limits.fixed_fields, *limits.allowed_values, *limits.ranges), where)
    for name, values in limits.allowed_values.items():
        if not isinstance(values, (list, tuple)) or not values:
            raise DefinitionError(
                f"{where}.allowed_values.{name} is {values!r}; it is a list of values.", field=where
            )
    for name, ends in limits.ranges.items():
        numbers = isinstance(ends, (list, tuple)) and all(type(end) is int for end in ends)
        if not numbers or len(ends) != 2 or ends[0] > ends[1]:
            raise DefinitionError(
                f"{where}.ranges.{name} is {ends!r}; it is [least, most].", field=where
            )
    return limits


def _check_fields(names: Iterable[str], where: str) -> None:
    """Refuse names of fields that do not exist: they would silently limit nothing. A field with
    others below it means all of them.
    """
    for name in names:
        if name not in SPEC_FIELDS and not any(
            known.startswith(f"{name}.") for known in SPEC_FIELDS
        ):
            message = f"{where} names {name}, which is no field of a Database's spec; there are: "
            raise DefinitionError(message + ", ".join(sorted(SPEC_FIELDS)) + ".", field=where)


def _engine(name: str, raw: Any) -> EngineOffer:
    offer = read_section(EngineOffer, raw, f"database.engines.{name}")
    if not offer.versions:
        raise DefinitionError(
            f"database.engines.{name}.versions is empty; name at least one version."
        )
    if offer.default_version is not None and offer.default_version not in offer.versions:
        raise DefinitionError(
            f"database.engines.{name}.default_version is {offer.default_version!r}; "
            f"its versions are {', '.join(offer.versions)}."
        )
    return offer
