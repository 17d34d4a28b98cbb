"""The pack's configuration as values: one tree, under each field its unit, default and reason.

`config.schema.yaml` is the same tree for StackStorm; it checks shapes, this module checks what a
schema cannot say. Settings say where a credential is found (file, profile, role): StackStorm puts
configuration on a command line. What the sensors read (`watch`, `resync`, `kubernetes`) is theirs:
kube.py and watching/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Optional, Tuple

from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import invalid_setting, read_section, setting

DELETION_POLICIES = ("Retain", "Snapshot", "Delete")
CLUSTER_PATTERN = re.compile(r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")


@dataclass(frozen=True)
class LeaseSettings:
    """The Leases that keep two runs for one resource apart."""

    duration_seconds: int = setting(60, least=5)
    """How long a run that died keeps its object locked; each step of a living run renews it."""


@dataclass(frozen=True)
class AwsSettings:
    """How AWS is reached. Credentials come from boto3's own chain (profile, environment, instance
    role, IRSA).
    """

    region: Optional[str] = None
    """Not set: that of the profile or the environment."""
    profile: Optional[str] = None
    """A name in ~/.aws/config; not set: boto3's own chain (environment, instance role, IRSA)."""
    credentials_file: Optional[str] = None
    """A file of profiles with their keys; not set: ~/.aws/credentials of the user that runs
    actions.
    """
    role_arn: Optional[str] = None
    """A role to assume with those credentials, for instance in the account that holds the
    databases.
    """
    external_id: Optional[str] = None
    """External id for that role."""
    endpoint_url: Optional[str] = None
    """Where the API is, if not at Amazon: a VPC endpoint, or a stand-in."""
    ca_file: Optional[str] = None
    """Path of a file with the certificate authorities to trust."""
    timeout_seconds: float = 15.0
    """Per connection and per answer; a step has to return within seconds."""
    watch_seconds: float = setting(15.0, least=0.05)
    """Between two looks of the sensor at all instances and snapshots while RDS is busy with one of
    ours.
    """
    watch_idle_seconds: float = setting(300.0, least=1)
    """The same while nothing is under way."""
    attempts: int = setting(4, least=1)
    """Calls including the first, with botocore's standard back-off, before the step leaves it to
    the resync.
    """


@dataclass(frozen=True)
class VaultAuth:
    """How the pack logs in to Vault."""

    method: str = setting("token", one_of=("token", "approle", "kubernetes"))
    """`token`, `approle` or `kubernetes`."""
    mount: Optional[str] = None
    """Where the method is mounted; not set: its usual place (`approle`, `kubernetes`)."""
    token_file: Optional[str] = None
    """For token: path of the file that holds it."""
    role: Optional[str] = None
    """For kubernetes: the role."""
    role_id: Optional[str] = None
    """For approle: the role id, which is a name and no secret."""
    secret_id_file: Optional[str] = None
    """For approle: path of the file that holds the secret id."""
    jwt_file: str = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    """For kubernetes: path of the service account's token."""

    def validate(self, where: str) -> None:
        needed = {"approle": ("role_id", "secret_id_file"), "kubernetes": ("role",)}
        for name in needed.get(self.method, ()):
            if not getattr(self, name):
                raise DefinitionError(
                    f"{where}.method {self.method} needs {where}.{name}.", field=f"{where}.{name}"
                )


@dataclass(frozen=True)
class VaultSettings:
    """How Vault is reached."""

    url: str = "https://127.0.0.1:8200"
    """Vault's address."""
    namespace: Optional[str] = None
    """Vault Enterprise's namespace."""
    mount: str = "secret"
    """Where the KV version 2 engine is mounted."""
    ca_file: Optional[str] = None
    """Path of a file with the certificate authorities to trust."""
    verify_tls: bool = True
    """Check Vault's certificate."""
    timeout_seconds: float = 10.0
    """Seconds to wait for an answer."""
    auth: VaultAuth = VaultAuth()
    """How the pack proves to Vault who it is."""


@dataclass(frozen=True)
class ConsulSettings:
    """How Consul is reached."""

    url: str = "http://127.0.0.1:8500"
    """Consul's address."""
    token_file: Optional[str] = None
    """Path of the file that holds the ACL token."""
    datacenter: Optional[str] = None
    """Datacenter to write to; the agent's own if not set."""
    ca_file: Optional[str] = None
    """Path of a file with the certificate authorities to trust."""
    verify_tls: bool = True
    """Check Consul's certificate."""
    timeout_seconds: float = 10.0
    """Seconds to wait for an answer."""


@dataclass(frozen=True)
class EngineOffer:
    """One database engine that operations offer."""

    versions: Tuple[str, ...]
    """What `spec.version` may say. "16" stands for whatever minor version RDS prefers."""
    default_version: Optional[str] = None
    """Used where the resource names none. Not set: the first of `versions`."""

    def validate(self, where: str) -> None:
        if not self.versions:
            raise DefinitionError(f"{where}.versions is empty; name at least one version.")
        if self.default_version is not None and self.default_version not in self.versions:
            raise invalid_setting(
                f"{where}.default_version",
                f"one of {', '.join(self.versions)}",
                self.default_version,
            )


@dataclass(frozen=True)
class NamespaceLimits:
    """What resources in some namespaces may ask for."""

    namespaces: Tuple[str, ...] = ("*",)
    """Shell patterns; the first entry of the list with a pattern that fits the namespace counts."""
    sizes: Optional[Tuple[str, ...]] = None
    """Names of `database.sizes` that may be used here. Not set: all."""
    engines: Optional[Tuple[str, ...]] = None
    """Names of `database.engines` that may be used here. Not set: all."""
    max_storage_gib: Optional[int] = None
    """Highest `storage.sizeGiB`, in GiB."""
    deletion_policies: Optional[Tuple[str, ...]] = setting(None, one_of=DELETION_POLICIES)
    """Policies that may be used here. Not set: all."""
    fixed_fields: Tuple[str, ...] = ()
    """Fields of `spec` that only operations decide here (`subnetGroup`, `multiAZ`, ...)."""
    allowed_values: Mapping[str, Tuple[Any, ...]] = field(default_factory=dict)
    """Field of `spec`, dotted -> what a resource may state there; of a list, each item."""
    ranges: Mapping[str, Tuple[int, int]] = field(default_factory=dict)
    """Field of `spec`, dotted -> least and most that a resource may state there."""
    restore_from: Tuple[str, ...] = ()
    """Shell patterns of snapshots and instances that may be restored here though their tags do not
    say that they are of the namespace; none by default."""

    def validate(self, where: str) -> None:
        _check_fields((*self.fixed_fields, *self.allowed_values, *self.ranges), where)
        for name, values in self.allowed_values.items():
            if not values:
                raise invalid_setting(f"{where}.allowed_values.{name}", "a list of values", values)
        for name, ends in self.ranges.items():
            if ends[0] > ends[1]:
                raise invalid_setting(f"{where}.ranges.{name}", "[least, most]", list(ends))


@dataclass(frozen=True)
class DatabaseDefaults:
    """What a resource gets that does not say otherwise. The units are those of `spec`."""

    size: Optional[str] = None
    """One of sizes; the first if not set."""
    storage_gib: int = setting(20, least=20)
    """GiB."""
    storage_type: str = setting("gp3", one_of=("gp2", "gp3", "io1", "io2"))
    """RDS storage type."""
    max_storage_gib: Optional[int] = None
    """GiB up to which RDS may grow the disk by itself; not set, it may not."""
    multi_az: bool = False
    """Whether RDS keeps a standby in another zone."""
    backup_retention_days: int = setting(7, most=35)
    """Days; 0 turns automated backups off."""
    backup_window: Optional[str] = None
    """UTC, for instance 03:00-04:00; RDS chooses if not set."""
    maintenance_window: Optional[str] = None
    """UTC, for instance sun:05:00-sun:06:00; RDS chooses if not set."""
    deletion_policy: str = setting("Retain", one_of=DELETION_POLICIES)
    """What happens to the instance when its resource is deleted."""
    deletion_protection: bool = False
    """Whether RDS refuses to delete the instance."""
    subnet_group: Optional[str] = None
    """RDS subnet group."""
    security_groups: Tuple[str, ...] = ()
    """Ids of VPC security groups."""
    parameter_group: Optional[str] = None
    """RDS parameter group."""
    encryption_key: Optional[str] = None
    """KMS key id or ARN; RDS's own key if not set."""
    monitoring_interval_seconds: int = setting(0, one_of=(0, 1, 5, 10, 15, 30, 60))
    """Seconds between readings of enhanced monitoring; 0 turns it off."""
    monitoring_role_arn: Optional[str] = None
    """The role with which enhanced monitoring writes its readings."""

    def validate(self, where: str) -> None:
        if self.monitoring_interval_seconds and not self.monitoring_role_arn:
            raise DefinitionError(
                f"{where}.monitoring_interval_seconds needs monitoring_role_arn, the role that "
                "writes readings.",
                field=f"{where}.monitoring_role_arn",
            )


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
    """Its API group, for instance mysqldbs.prsn.io."""
    version: str
    """The version of its API that the pack uses."""
    plural: str
    """Its plural name in the API."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Its field (dotted, from the top of the object) -> the field of our `spec`."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Field of our `spec` (dotted) -> what it always is, for instance engine: mysql."""
    status: str = setting("subresource", one_of=("subresource", "object"))
    """`subresource`, or `object` where its CRD has no status subresource: then `generation` counts
    the pack's own writes too and is ignored.
    """

    def validate(self, where: str) -> None:
        _check_fields((*self.fields.values(), *self.values), where)


@dataclass(frozen=True)
class DatabaseSettings:
    """What developers may ask of Databases, and what they get without asking."""

    identifier_prefix: str = "ks"
    """First part of every RDS identifier; short, because RDS allows 63 characters in all."""
    username: str = "dbadmin"
    """The master user. Not `admin`, `root` or `postgres`: each is reserved by one of the engines.
    """
    sizes: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_SIZES))
    """Name that developers use -> RDS instance class."""
    engines: Mapping[str, EngineOffer] = field(default_factory=lambda: dict(DEFAULT_ENGINES))
    """Engines on offer, each with its versions. What is given replaces the pack's own list."""
    defaults: DatabaseDefaults = DatabaseDefaults()
    """What a new database gets whose resource does not say otherwise. Units as in spec."""
    limits: Tuple[NamespaceLimits, ...] = ()
    """What resources in some namespaces may ask for. The first entry with a pattern that
    fits the namespace counts.
    """
    label_overrides: Mapping[str, str] = field(default_factory=dict)
    """Label -> the field of `spec` it sets where `spec` itself says nothing, dotted
    (`storage.sizeGiB`).
    """
    tags: Mapping[str, str] = field(default_factory=dict)
    """Put on every instance, beside the four that say whose it is."""
    kinds: Tuple[KindMapping, ...] = ()
    """Kinds other than Database that are to be understood as one."""
    apply_immediately: bool = True
    """Change at once; false leaves it to the maintenance window, and the condition says so."""

    def validate(self, where: str) -> None:
        if self.defaults.size is not None and self.defaults.size not in self.sizes:
            raise invalid_setting(
                f"{where}.defaults.size", f"one of {', '.join(self.sizes)}", self.defaults.size
            )
        _check_fields(self.label_overrides.values(), f"{where}.label_overrides")


@dataclass(frozen=True)
class Settings:
    cluster: str
    """The word for this Kubernetes cluster in every name outside it. Never change it: names follow
    from it.
    """
    lease: LeaseSettings = LeaseSettings()
    aws: AwsSettings = AwsSettings()
    vault: VaultSettings = VaultSettings()
    consul: ConsulSettings = ConsulSettings()
    database: DatabaseSettings = DatabaseSettings()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The configuration as it came, for the parts that read their own keys."""


def load_settings(config: Optional[Mapping[str, Any]]) -> Settings:
    """Read the pack's configuration as StackStorm hands it to actions and sensors.

    Raises DefinitionError naming the setting and what would be right. Nothing is connected or read
    from disk.
    """
    config = config or {}
    cluster = config.get("cluster")
    if not isinstance(cluster, str) or not CLUSTER_PATTERN.match(cluster):
        proposed = re.sub(r"[^a-z0-9]+", "-", str(cluster or "").lower()).strip("-")[:32]
        raise DefinitionError(
            "cluster must be a name for this Kubernetes cluster of lower-case letters, digits and "
            f"hyphens, up to 32 characters{f', for example {proposed}' if proposed else ''} "
            f"(found: {cluster!r}). Set it in configs/kubestorm.yaml.",
            field="cluster",
        )
    return Settings(
        cluster=cluster,
        lease=read_section(LeaseSettings, config.get("lease"), "lease"),
        aws=read_section(AwsSettings, config.get("aws"), "aws"),
        vault=read_section(VaultSettings, config.get("vault"), "vault"),
        consul=read_section(ConsulSettings, config.get("consul"), "consul"),
        database=read_section(DatabaseSettings, config.get("database"), "database"),
        raw=dict(config),
    )


def _check_fields(names: Iterable[str], where: str) -> None:
    """Refuse names of fields that do not exist: they would silently limit nothing. A field with
    others below it means all of them.
    """
    for name in names:
        if name not in SPEC_FIELDS and not any(
            known.startswith(f"{name}.") for known in SPEC_FIELDS
        ):
            message = (
                f"{where} names {name}, which is not a field of a Database's spec; the fields are: "
            )
            raise DefinitionError(message + ", ".join(sorted(SPEC_FIELDS)) + ".", field=where)
