"""The `application` section of the pack's configuration: the platform team's settings for every
Application.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Mapping, Optional, Tuple

from kubestorm.clients.registry.settings import declared
from kubestorm.core.quantity import parse_quantity
from kubestorm.core.sections import invalid_setting, read_section, setting
from kubestorm.core.untrusted import Network, networks

INTERNAL, NODE_PORT, LOAD_BALANCER, INGRESS = "internal", "nodePort", "loadBalancer", "ingress"
EXPOSURES = (INTERNAL, NODE_PORT, LOAD_BALANCER, INGRESS)
DEFAULT_SOURCES = ("kubestorm/{cluster}/{namespace}/*",)
"""What every Application may read of Consul and Vault: the things of its own namespace."""


@dataclass(frozen=True)
class ApplicationLimits:
    """What Applications in some namespaces may ask for. What is not set is not limited."""

    namespaces: Tuple[str, ...] = ("*",)
    """Shell patterns; the first entry of the list with a pattern that fits the namespace counts."""
    max_cpu: Optional[str] = None
    """Highest `resources.limits.cpu` of one pod, a quantity."""
    max_memory: Optional[str] = None
    """The highest limit of memory for one pod, for instance 1Gi."""
    max_replicas: Optional[int] = None
    """The most pods of one Application."""
    exposures: Optional[Tuple[str, ...]] = setting(None, one_of=EXPOSURES)
    """Which of internal, nodePort, loadBalancer, ingress may be used."""
    hosts: Optional[Tuple[str, ...]] = None
    """Shell patterns that every ingress host has to fit; `{namespace}` stands for the
    Application's.
    """

    def validate(self, where: str) -> None:
        for name in ("max_cpu", "max_memory"):
            value = getattr(self, name)
            if value is not None and parse_quantity(value) is None:
                raise invalid_setting(f"{where}.{name}", "a quantity such as 2 or 512Mi", value)

    def hosts_of(self, namespace: str) -> Optional[Tuple[str, ...]]:
        """The patterns of hosts for one namespace; None where every host is allowed."""
        if self.hosts is None:
            return None
        return tuple(pattern.replace("{namespace}", namespace) for pattern in self.hosts)


@dataclass(frozen=True)
class ApplicationSources:
    """What Applications in some namespaces may read, besides their own namespace's."""

    namespaces: Tuple[str, ...] = ("*",)
    """Shell patterns; every entry that fits counts."""
    consul: Tuple[str, ...] = ()
    """Shell patterns of keys; `*` covers slashes too, `{cluster}` and `{namespace}` are filled in.
    """
    vault: Tuple[str, ...] = ()
    """Shell patterns of paths below the mount, read likewise."""


@dataclass(frozen=True)
class IngressSettings:
    """How ingress hosts are served."""

    ingress_class: Optional[str] = None
    """Where an Application names none; not set: the cluster's default class."""
    domain: Optional[str] = None
    """An Application that names no host gets `<name>.<namespace>.<domain>`; not set: it has to name
    one.
    """
    tls: bool = True
    """Whether hosts are served over TLS unless an Application says otherwise."""
    tls_secret: Optional[str] = None
    """Secret with the certificate in the Application's namespace; not set: `<name>-tls`, as
    cert-manager would fill.
    """
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Put on every Ingress, for instance cert-manager.io/cluster-issuer."""
    test_hosts: Tuple[str, ...] = ()
    """Shell patterns of hosts that post-deploy tests may request (`through: ingress`), besides
    those below `domain`. Requests are sent from the pack's host, which reaches more than developers
    do.
    """
    private_networks: Tuple[str, ...] = ()
    """Networks (10.0.5.0/24) of private addresses that these hosts may resolve to. Without one,
    only public addresses are requested."""

    def validate(self, where: str) -> None:
        _ = self.networks  # refuses what is none

    def may_be_tested(self, host: str) -> bool:
        """Whether post-deploy tests may request a host, by its name."""
        patterns = (*self.test_hosts, *((f"*.{self.domain}",) if self.domain else ()))
        return any(fnmatchcase(host, pattern.lower()) for pattern in patterns)

    @property
    def networks(self) -> Tuple[Network, ...]:
        """`private_networks`, parsed. Raises DefinitionError."""
        return networks(self.private_networks, "application.ingress.private_networks")


@dataclass(frozen=True)
class ApplicationSettings:
    """What developers may ask of Applications, and what they get without asking."""

    MOVED: ClassVar[Mapping[str, str]] = {"registry": "is now registries.default."}

    registry: str = setting("", internal=True)
    """`registries.default`."""
    allowed_registries: Tuple[str, ...] = ()
    """Shell patterns of `registry/repository` that images may come from; empty allows every one."""
    pull_secret: Optional[str] = None
    """The secret in the Application's namespace that pulls images, unless the Application names
    one.
    """
    ingress: IngressSettings = IngressSettings()
    """How ingress hosts are served."""
    limits: Tuple[ApplicationLimits, ...] = ()
    """What Applications in some namespaces may ask for. The first entry that fits counts."""
    sources: Tuple[ApplicationSources, ...] = ()
    """What Applications in some namespaces may read of Consul and Vault, beside
    kubestorm/CLUSTER/NAMESPACE/, which is theirs. Every entry that fits counts. The pack's
    own policies there have to allow it too.
    """
    allow_patch: Tuple[str, ...] = ()
    """Namespaces (shell patterns) whose Applications may use `spec.patch`."""
    check_seconds: int = setting(300, least=1)
    """How often one pass over all Applications checks whether Consul or Vault changed for one, a
    host is free that another had, or a load balancer has an address.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ApplicationSettings:
        """Raises DefinitionError naming the key that is wrong."""
        settings = read_section(cls, config.get("application"), "application")
        return replace(settings, registry=declared(config).default)

    def limits_for(self, namespace: str) -> ApplicationLimits:
        """The first limits whose pattern fits the namespace; without one, no limits."""
        return next(
            (limits for limits in self.limits if _fits(namespace, limits.namespaces)),
            ApplicationLimits(),
        )

    def may_patch(self, namespace: str) -> bool:
        """Whether this namespace's Applications may change manifests by `spec.patch`."""
        return _fits(namespace, self.allow_patch)

    def readable(self, service: str, cluster: str, namespace: str) -> Tuple[str, ...]:
        """The patterns of Consul keys or Vault paths (`service` is consul or vault) that this
        namespace may read.
        """
        patterns = list(DEFAULT_SOURCES)
        for source in self.sources:
            if _fits(namespace, source.namespaces):
                patterns += source.consul if service == "consul" else source.vault
        return tuple(
            pattern.replace("{cluster}", cluster).replace("{namespace}", namespace)
            for pattern in patterns
        )


def is_allowed(path: str, patterns: Tuple[str, ...]) -> bool:
    """Whether a key or a path fits one of the patterns. What climbs or hides (`..`, `//`) never
    does.
    """
    parts = path.rstrip("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        return False
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _fits(namespace: str, patterns: Tuple[str, ...]) -> bool:
    return any(fnmatchcase(namespace, pattern) for pattern in patterns)
