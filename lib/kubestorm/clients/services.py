"""One place that wires the pack up: configuration in, the clients out. Nothing connects before it
is used.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Mapping, Optional

from kubestorm.clients import kube
from kubestorm.clients.consul_kv import ConsulStore
from kubestorm.clients.kube import KubeClient, KubeSettings
from kubestorm.clients.lease import Heartbeat, LeaseLock
from kubestorm.clients.vault import VaultStore
from kubestorm.core.errors import Error
from kubestorm.core.settings import Settings, load_settings

if TYPE_CHECKING:
    from kubestorm.clients.rds import RdsClient
    from kubestorm.clients.registry.client import RegistryClient

Clock = Callable[[], dt.datetime]


def utc_now() -> dt.datetime:
    """The wall clock, as an aware datetime."""
    return dt.datetime.now(dt.timezone.utc)


class Services:
    """Everything outside the pack that a step may talk to, each opened when first asked for.

    While a Lease is held (`holding`), no client writes anything once another run may have it.
    """

    def __init__(self, settings: Settings, *, now: Clock = utc_now) -> None:
        self.settings = settings
        self.now = now
        self._kube: Optional[KubeClient] = None
        self._rds: Optional[RdsClient] = None
        self._vault: Optional[VaultStore] = None
        self._consul: Optional[ConsulStore] = None
        self._registry: Optional[RegistryClient] = None
        self._held: List[Heartbeat] = []
        # What they write is in no other system's order: the Lease is renewed before each write.
        self._before_write = functools.partial(self.check_leases, sure=True)

    def lease(self, name: str, holder: str = "", *, of: str = "") -> LeaseLock:
        """A Lease of the configured duration, not taken yet."""
        return LeaseLock(
            self.kube,
            name,
            holder=holder,
            of=of,
            duration_seconds=self.settings.lease.duration_seconds,
            now=self.now,
        )

    @contextlib.contextmanager
    def holding(self, lease: LeaseLock) -> Iterator[Heartbeat]:
        """Keep a Lease that was taken, and give it back at the end. LeaseLostError from any write
        where it was lost.
        """
        heartbeat = Heartbeat(lease)
        self._held.append(heartbeat)
        try:
            with heartbeat:
                yield heartbeat
        finally:
            self._held.remove(heartbeat)
            # An API server that does not answer lets it run out.
            with contextlib.suppress(Error):
                lease.release()

    def check_leases(self, *, sure: bool = False) -> None:
        """Before a write: whether every Lease that is held still is. As Heartbeat.check."""
        for heartbeat in tuple(self._held):
            heartbeat.check(sure=sure)

    @property
    def kube(self) -> KubeClient:
        """The Kubernetes API."""
        if self._kube is None:
            self._kube = kube.connect(
                KubeSettings.from_config(self.settings.raw), self.check_leases
            )
        return self._kube

    @property
    def rds(self) -> RdsClient:
        """AWS RDS."""
        if self._rds is None:
            from kubestorm.clients import rds  # here, as it brings all that plans a Database

            self._rds = rds.connect(self.settings.aws, self._before_write)
        return self._rds

    @property
    def vault(self) -> VaultStore:
        """Vault's KV engine."""
        if self._vault is None:
            self._vault = VaultStore(self.settings.vault, self._before_write)
        return self._vault

    @property
    def consul(self) -> ConsulStore:
        """Consul's key-value store."""
        if self._consul is None:
            self._consul = ConsulStore(self.settings.consul, self._before_write)
        return self._consul

    @property
    def registry(self) -> RegistryClient:
        """Image registries."""
        if self._registry is None:
            from kubestorm.clients.registry.client import RegistryClient
            from kubestorm.clients.registry.settings import declared

            self._registry = RegistryClient(
                declared(self.settings.raw),
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
