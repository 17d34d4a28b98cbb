"""What every action of the pack does around its one library call: services from configuration,
errors as results.

A step that fails returns `(False, {...})` instead of raising: the error is then data that the next
task of a chain can read, and the execution shows one sentence instead of a traceback. What is no
error of ours is a bug, and raises.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Tuple, TypeVar

from kubestorm.clients.lease import default_holder
from kubestorm.clients.services import Services, open_services
from kubestorm.core.errors import Error, TemporaryError
from kubestorm.core.naming import Identity
from kubestorm.kinds.common.resource import ResourceHandle, reason_of

Outcome = Tuple[bool, Any]
Config = Optional[Mapping[str, Any]]


class HasHandle(Protocol):
    """One step's view of one object of any kind."""

    @property
    def handle(self) -> ResourceHandle:
        """The object, whose Lease the step takes."""


Run = TypeVar("Run", bound=HasHandle)


def run_with_services(call: Callable[[Services], Any], config: Config) -> Outcome:
    """Run a call on the configured services; an error of the pack becomes the result of a failed
    action.
    """
    try:
        return True, call(open_services(config))
    except Error as error:
        return False, failure(error)


def run_step(
    step: Callable[[Run], Any],
    make_run: Callable[[Services, Identity, str], Run],
    config: Config,
    identity: Identity,
) -> Outcome:
    """Run one step of an object's journey under the Lease of that object.

    `make_run` gives the step's view of the object (DatabaseRun, ApplicationRun, ...); its `handle`
    holds the Lease. That another execution holds it is a good end: see ResourceHandle.while_leased.
    """

    def call(services: Services) -> Any:
        run = make_run(services, identity, running_id())
        return run.handle.while_leased(lambda: step(run))

    return run_with_services(call, config)


def run_on_resource(
    call: Callable[[ResourceHandle], Any], config: Config, identity: Identity
) -> Outcome:
    """Run a call on one object of any kind, without its Lease."""
    return run_with_services(
        lambda services: call(ResourceHandle(services, identity, running_id())), config
    )


def running_id() -> str:
    """The execution that runs this action, for a Lease that it takes on its own."""
    return os.environ.get("ST2_ACTION_EXECUTION_ID") or default_holder()


def failure(error: Error) -> Dict[str, Any]:
    """An error as an execution's result; texts of errors hold no secrets."""
    retry_after = error.retry_after_seconds if isinstance(error, TemporaryError) else None
    return {
        "reason": reason_of(error),
        "service": error.service,
        "message": str(error),
        "retryable": isinstance(error, TemporaryError),
        "retry_after_seconds": retry_after,
    }
