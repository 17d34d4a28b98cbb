"""What every action about ImageBuilds does around its one library call."""

from __future__ import annotations

from typing import Any, Callable

from kubestorm.kinds.build.running import BuildRun
from kubestorm.core.dispatching import dispatcher
from kubestorm.core.naming import Identity
from kubestorm.clients.services import Services


def run_maker(
    action_service: Any, say: Callable[[str], None] = lambda line: None
) -> Callable[[Services, Identity, str], BuildRun]:
    """Gives each step its view of the object, with what dispatches triggers for this execution."""
    dispatch = dispatcher(action_service)

    def make_run(services: Services, identity: Identity, run_id: str) -> BuildRun:
        return BuildRun(services, identity, run_id, say=say, dispatch=dispatch)

    return make_run
