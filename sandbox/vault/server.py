"""The Vault server: the application on a port, and what tests and the demo do to it from outside."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from sandbox.clock import Clock, wall_clock
from sandbox.serving import LOOPBACK, AsgiApp, Certificate, Server
from sandbox.vault.app import VaultApp
from sandbox.vault.core import Core
from sandbox.vault.kubernetes_auth import ServiceAccount, TokenReviewer, table_reviewer

ROLES = ("active", "standby", "performance-standby", "dr-secondary")


class VaultServer(Server):
    """A Vault with everything in memory.

    With `dev` it starts initialised (one key share), unsealed, with a KV v2 at secret/ and a root
    token, given or made up; otherwise a client initialises it. `reviewer` decides about Kubernetes
    logins: a callable, or a table from tokens to service accounts; without one the auth method asks
    the API server it is configured with. `faults` wraps the application in a further layer.
    """

    def __init__(
        self,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        certificate: Certificate | None = None,
        dev: bool = False,
        root_token: str | None = None,
        clock: Clock = wall_clock,
        reviewer: TokenReviewer | Mapping[str, ServiceAccount] | None = None,
        faults: Callable[[AsgiApp], AsgiApp] | None = None,
    ) -> None:
        decide = table_reviewer(reviewer) if isinstance(reviewer, Mapping) else reviewer
        self._core = Core(clock, decide)
        self._keys: list[bytes] = []
        self.root_token = ""
        if dev:
            self._keys, self.root_token = self._core.initialize(1, 1, root_token or "")
            self.unseal()
            self._core.mount_secrets("secret/", "kv-v2", description="key/value secret storage")
        app: AsgiApp = VaultApp(self._core)
        super().__init__(
            faults(app) if faults else app, host=host, port=port, certificate=certificate
        )

    @property
    def unseal_key(self) -> str:
        """The only key share of a dev server, in base64; empty otherwise."""
        return base64.b64encode(self._keys[0]).decode() if self._keys else ""

    def seal(self) -> None:
        """Seal it, as an operator would or as a restart does."""
        with self._core.lock:
            self._core.seal()

    def unseal(self) -> None:
        """Unseal a dev server; others are unsealed by whoever has their shares."""
        if not self._keys:
            raise RuntimeError("only a dev server knows its own key: send the shares to sys/unseal")
        with self._core.lock:
            self._core.offer_share(self.unseal_key)

    def set_role(self, role: str) -> None:
        """Let sys/health report this role, one of ROLES; requests are served as before."""
        if role not in ROLES:
            raise ValueError(f"role must be one of {', '.join(ROLES)}")
        self._core.role = role
