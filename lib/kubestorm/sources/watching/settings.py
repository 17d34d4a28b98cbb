"""Settings of watching: one tree of dataclasses, read once from the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Tuple

from kubestorm.clients.kube import KubeSettings
from kubestorm.core.errors import DefinitionError
from kubestorm.core.sections import invalid_setting, read_section, setting
from kubestorm.core.settings import AwsSettings, load_settings

OWN_GROUP = "kubestorm.io"


@dataclass(frozen=True)
class ResyncSettings:
    """When an object is resynced though nothing happened to it."""

    groups: Tuple[str, ...] = (OWN_GROUP,)
    """API groups that get resync events by themselves; a trigger's `resync` parameter says
    otherwise.
    """
    initial_seconds: float = 15.0
    """First retry of an object whose step failed; doubles from there."""
    max_seconds: float = 600.0
    """Where the doubling stops. What is watched (RDS, pods, Jobs) is resynced this often only as a
    backstop."""
    unheard_seconds: float = 120.0
    """How long an event may be unanswered before a resync: the run may be queued, or have died.
    Doubles as well."""
    all_seconds: float = 3600.0
    """Every object of the kinds whose trigger asks for resync, Ready or not; 0 turns it off. Kinds
    of ours are left to the drift poll instead."""
    jitter: float = setting(0.1, most=1)
    """Share of a delay that is random, so that objects made together are not resynced together."""

    def validate(self, where: str) -> None:
        for name in ("initial_seconds", "max_seconds", "unheard_seconds"):
            if not getattr(self, name):  # it would resync without a pause
                raise invalid_setting(f"{where}.{name}", "more than 0", 0)


@dataclass(frozen=True)
class LoopSettings:
    """How resources are watched."""

    page_size: int = setting(500, least=1)
    """Objects a page; client-go's number."""
    timeout_seconds: int = setting(300, least=1)
    """The server ends the watch after this and it is resumed: a load balancer forgets idle
    connections later.
    """
    stall_seconds: float = 30.0
    """Silence of timeout_seconds and this is a dead connection: the server would have ended the
    watch.
    """
    backoff_initial_seconds: float = 1.0
    """Seconds before the first new try after a failure; doubled each time."""
    backoff_max_seconds: float = 60.0
    """Seconds between tries at most."""
    absent_seconds: float = 15.0
    """Between tries of a resource that the API does not serve yet."""
    forbidden_seconds: float = 60.0
    """Between tries of what is forbidden: an administrator has to act first."""
    record_seconds: float = 10.0
    """The state is written this long after the dispatch, and at most one value in so many seconds:
    on StackStorm each write is an event. A crash within it repeats those events."""


@dataclass(frozen=True)
class WatchSettings:
    """Everything the sensor takes from the pack's configuration."""

    cluster: str
    """The cluster's name, part of every payload and of every name made outside the cluster."""
    kubernetes: KubeSettings = field(default_factory=KubeSettings)
    resync: ResyncSettings = field(default_factory=ResyncSettings)
    watch: LoopSettings = field(default_factory=LoopSettings)
    aws: AwsSettings = field(default_factory=AwsSettings)
    database_kinds: Tuple[Tuple[str, str], ...] = ()
    """Group and plural of the kinds that are understood as Databases."""

    build_namespace: str = ""
    """Where builds run as Jobs; empty: none does."""

    def is_ours(self, group: str, plural: str) -> bool:
        """Whether the pack's own journeys write the status of this kind."""
        return group in self.resync.groups or (group, plural) in self.database_kinds

    def places(self, group: str, plural: str, namespace: str) -> Tuple[str, ...]:
        """The namespaces in which a kind is watched, "" for all at once; none where it is left out.

        What the pack serves is ours and what is understood as a Database. Any other kind, which may
        have no namespace at all, is watched where its rule says.
        """
        if group != OWN_GROUP and (group, plural) not in self.database_kinds:
            return (namespace,)
        if group == OWN_GROUP and plural in self.kubernetes.left_out:
            return ()
        served = self.kubernetes.namespaces
        if namespace and served and namespace not in served:
            raise DefinitionError(
                f"a rule asks for {plural} in {namespace}, which kubernetes.namespaces leaves out",
                field="namespace",
            )
        return self.kubernetes.places(namespace)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, build_namespace: str = "") -> WatchSettings:
        """Read `cluster`, `kubernetes`, `parts`, `resync` and `watch`; DefinitionError names the
        key that is wrong.
        """
        settings = load_settings(config)
        return cls(
            cluster=settings.cluster,
            kubernetes=KubeSettings.from_config(config),
            resync=read_section(ResyncSettings, config.get("resync"), "resync"),
            watch=read_section(LoopSettings, config.get("watch"), "watch"),
            aws=settings.aws,
            build_namespace=build_namespace,
            database_kinds=tuple((one.group, one.plural) for one in settings.database.kinds),
        )
