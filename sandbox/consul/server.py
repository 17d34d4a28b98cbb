"""The Consul server: the application on a port, and what tests and the demo do to it from outside."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.clock import Clock, wall_clock
from sandbox.consul.acl import Acl
from sandbox.consul.app import World, make_app
from sandbox.consul.catalog import Catalog
from sandbox.consul.store import Store
from sandbox.serving import LOOPBACK, AsgiApp, Certificate, Server


class ConsulServer(Server):
    """A Consul of one server node, with everything in memory.

    Without `management_token` and with the default "allow" there is no access control. Either of
    `management_token` or `default_policy="deny"` turns it on; the management token may then do
    everything, and make policies and tokens. `faults` wraps the application in a further ASGI
    layer.
    """

    def __init__(
        self,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        certificate: Certificate | None = None,
        clock: Clock = wall_clock,
        node: str = "sandbox",
        datacenter: str = "dc1",
        default_policy: str = "allow",
        management_token: str = "",
        faults: Callable[[AsgiApp], AsgiApp] | None = None,
    ) -> None:
        store = Store(clock)
        enabled = bool(management_token) or default_policy == "deny"
        self._acl = Acl(enabled=enabled, default=default_policy, management_token=management_token)
        self._world = World(
            store, Catalog(store, node=node, datacenter=datacenter, address=LOOPBACK), self._acl
        )
        app: AsgiApp = make_app(self._world)
        super().__init__(
            faults(app) if faults else app, host=host, port=port, certificate=certificate
        )

    def add_token(self, rules: str, *, name: str = "policy") -> str:
        """Make a policy of these rules (HCL or JSON) and a token that has it; returns the token's
        secret.
        """
        return self._acl.add_token([self._acl.add_policy(name, rules).id]).secret

    def lose_leader(self) -> None:
        """From now on requests fail with `No cluster leader`, except the agent's own and stale
        reads.
        """
        self._world.has_leader = False

    def regain_leader(self) -> None:
        """Have a leader again."""
        self._world.has_leader = True

    def look_at_the_time(self) -> None:
        """Carry out what has come due on a clock that a test has moved, for queries that are
        waiting.
        """
        if self._world.loop:
            self._world.loop.call_soon_threadsafe(self._world.look_at_the_time)

    @property
    def waiting_queries(self) -> int:
        """How many blocking queries wait now."""
        return len(self._world.store.watchers)
