"""What every action of the pack does around its one library call: services from configuration,
errors as results.

A step that fails returns `(False, {...})` instead of raising: the error is then data that the next
task of a chain can read, and the execution shows one sentence instead of a traceback. What is no
error of ours is a bug, and raises.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from kubestorm.database.steps import SKIPPED, DatabaseRun
from kubestorm.errors import Error, TemporaryError
from kubestorm.lease import default_holder
from kubestorm.naming import Identity
from kubestorm.resource import ResourceHandle, reason_of
from kubestorm.services import Services, open_services

Outcome = Tuple[bool, Any]
Config = Optional[Mapping[str, Any]]


def run_with_services(call: Callable[[Services], Any], config: Config) -> Outcome:
    """Run a call on the configured services; an error of the pack becomes the result of a failed
    action.
    """
    try:
        return True, call(open_services(config))
    except Error as error:
        return False, failure(error)


def run_database_step(
    step: Callable[[DatabaseRun], Dict[str, Any]],
    config: Config,
    identity: Identity,
    run_id: str,
    *,
    wanted: bool = True,
) -> Outcome:
    """Run one step of a Database's run, or nothing where the plan saw no need for it."""
    if not wanted:
        return True, dict(SKIPPED)
    return run_with_services(lambda services: step(DatabaseRun(services, identity, run_id)), config)


def run_on_resource(
    call: Callable[[ResourceHandle], Any], config: Config, identity: Identity, run_id: str
) -> Outcome:
    """Run a call on one object of any kind."""
    return run_with_services(
        lambda services: call(ResourceHandle(services, identity, run_id)), config
    )


def lock(config: Config, identity: Identity, run_id: str) -> Outcome:
    """Take an object's Lease. Fails where another run holds it, and says so in `taken`."""
    try:
        holder = ResourceHandle(open_services(config), identity, run_id).lock()
    except Error as error:
        return False, {"taken": False, **failure(error)}
    if holder is None:
        return True, {
            "taken": False,
            "run_id": run_id,
            "message": f"Run {run_id} holds {identity}.",
        }
    message = f"Run {holder} is at work on {identity}; the next event or resync looks again."
    return False, {"taken": True, "run_id": "", "message": message}


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
