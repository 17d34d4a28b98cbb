"""One place that wires the pack up: configuration in, the clients out. Nothing connects before it
is used.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional

from kubestorm import kube
from kubestorm.consul_kv import ConsulStore
from kubestorm.kube import KubeClient, KubeSettings
from kubestorm.settings import Settings, load_settings
from kubestorm.vault import VaultStore

if TYPE_CHECKING:
    from kubestorm.rds import RdsClient
    from kubestorm.registry.client import RegistryClient

Clock = Callable[[], dt.datetime]


def utc_now() -> dt.datetime:
    """The wall clock, as an aware datetime."""
    return dt.datetime.now(dt.timezone.utc)


class Services:
    """Everything outside the pack that a step may talk to, each opened when first asked for."""

    def __init__(self, settings: Settings, *, now: Clock = utc_now) -> None:
        self.settings = settings
        self.now = now
        self._kube: Optional[KubeClient] = None
        self._rds: Optional[RdsClient] = None
        self._vault: Optional[VaultStore] = None
        self._consul: Optional[ConsulStore] = None
        self._registry: Optional[RegistryClient] = None

    @property
    def kube(self) -> KubeClient:
        """The Kubernetes API."""
        if self._kube is None:
            self._kube = kube.connect(KubeSettings.from_config(self.settings.raw))
        return self._kube

    @property
    def rds(self) -> RdsClient:
        """AWS RDS."""
        if self._rds is None:
            from kubestorm import rds  # here, as it brings all that plans a Database

            self._rds = rds.connect(self.settings.aws)
        return self._rds

    @property
    def vault(self) -> VaultStore:
        """Vault's KV engine."""
        if self._vault is None:
            self._vault = VaultStore(self.settings.vault)
        return self._vault

    @property
    def consul(self) -> ConsulStore:
        """Consul's key-value store."""
        if self._consul is None:
            self._consul = ConsulStore(self.settings.consul)
        return self._consul

    @property
    def registry(self) -> RegistryClient:
        """Image registries."""
        if self._registry is None:
            from kubestorm.registry.client import RegistryClient
            from kubestorm.registry.settings import RegistrySettings

            settings = RegistrySettings.from_config(self.settings.raw)
            self._registry = RegistryClient(
                settings,
                vault=lambda: VaultStore(self.settings.vault),
                aws=self.settings.aws,
                now=self.now,
            )
        return self._registry

    def close(self) -> None:
        """Give up pooled connections; safe to repeat, and a later use opens them again."""
        client, self._kube = self._kube, None
        if client is not None:
            client.close()
        if self._registry is not None:
            self._registry.close()


def open_services(config: Optional[Mapping[str, Any]]) -> Services:
    """The services as the pack's configuration says. Raises DefinitionError for a configuration
    that cannot be used.
    """
    return Services(load_settings(config))
