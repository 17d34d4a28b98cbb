"""The AWS server: moto below, our RDS put in its place, and the faults a test can ask for above.

It owns moto's process-wide state for as long as it runs: starting one clears what was there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self

from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from sandbox.aws import rds
from sandbox.aws.throttling import Throttle
from sandbox.aws.wsgi import WsgiBridge
from sandbox.clock import Clock, wall_clock
from sandbox.serving import LOOPBACK, AsgiApp, Certificate, Server

DEFAULT_PROVISION_SECONDS = 3.0
NEVER = float("inf")

_running = threading.Lock()


class AwsServer(Server):
    """moto with a realistic RDS on a loopback port; any credentials and any region will do.

    `provision_seconds` is how long an instance takes to become available, on `clock`; everything
    else RDS does takes a part of it (`rds.RdsTimes`). `faults` wraps the application in a further
    ASGI layer.
    """

    def __init__(
        self,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        certificate: Certificate | None = None,
        clock: Clock = wall_clock,
        provision_seconds: float = DEFAULT_PROVISION_SECONDS,
        faults: Callable[[AsgiApp], AsgiApp] | None = None,
    ) -> None:
        self.throttle = Throttle(WsgiBridge(DomainDispatcherApplication(create_backend_app)))
        self._world = rds.World(clock=clock, times=rds.RdsTimes.scaled(provision_seconds))
        self._holds_state = False
        app: AsgiApp = faults(self.throttle) if faults else self.throttle
        super().__init__(app, host=host, port=port, certificate=certificate)

    def start(self) -> Self:
        """Take over moto's state, empty it and serve. Raises RuntimeError while another one runs in
        this process.
        """
        self._take_state()
        return super().start()

    def stop(self) -> None:
        """Stop serving and leave moto's state empty and unpatched. Safe to repeat."""
        super().stop()
        self._release_state()

    def run_until_signalled(self) -> None:
        """Serve in this thread until SIGTERM or SIGINT."""
        self._take_state()
        try:
            super().run_until_signalled()
        finally:
            self._release_state()

    def reset(self) -> None:
        """Forget every resource of every service."""
        BackendDict.reset()
        reset_model_data()

    def enforce_iam(self, enforced: bool) -> None:
        """Check each call's signature and policies from now on, as moto's IAM does; or stop
        checking.
        """
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0 if enforced else NEVER
        ActionAuthenticatorMixin.request_count = 0

    def throttle_next(self, calls: int, action: str | None = None) -> None:
        """Refuse the next `calls` requests (of one action, such as DescribeDBInstances, or of any)
        for their rate.
        """
        self.throttle.refuse_next(calls, action)

    def run_maintenance(self) -> None:
        """Let a maintenance window come: begin to apply what waits in PendingModifiedValues, in all
        regions.
        """
        for backend in self._rds_backends():
            backend.run_maintenance()

    def announce_maintenance(
        self, db_instance_identifier: str, action: str, description: str
    ) -> None:
        """Let AWS have maintenance of its own for an instance, until a window comes."""
        for backend in self._rds_backends():
            if db_instance_identifier in backend.databases:
                details = {"Action": action, "Description": description}
                backend.databases[db_instance_identifier].maintenance.append(details)

    def password_matches(self, db_instance_identifier: str, password: str) -> bool:
        """Whether this is the instance's master password now; there is no way to read it."""
        found = [
            b.databases[db_instance_identifier]
            for b in self._rds_backends()
            if db_instance_identifier in b.databases
        ]
        # moto keeps it and, like AWS, lets nobody read it.
        return any(instance._master_user_password == password for instance in found)

    def _rds_backends(self) -> list[Any]:
        return rds.all_backends()

    def _take_state(self) -> None:
        if not _running.acquire(blocking=False):
            super().stop()
            raise RuntimeError(
                "moto keeps one state per process: stop the other AwsServer first, or run it as a program"
            )
        self._holds_state = True
        self.reset()
        rds.install(self._world)

    def _release_state(self) -> None:
        if not self._holds_state:
            return
        self._holds_state = False
        self.enforce_iam(False)
        self.reset()
        rds.uninstall()
        _running.release()
