"""What gets every watched object of ours, in addition to the rules."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

from kubestorm.clients.kube import KubeClient
from kubestorm.clients.services import utc_now
from kubestorm.core.errors import NotFoundError
from kubestorm.core.parts import ANNOUNCEMENTS, serves
from kubestorm.kinds.common.resource import NAMESPACES
from kubestorm.people.approval.observer import ApprovalObserver
from kubestorm.people.notifications.observer import NewsObserver
from kubestorm.sources.watching.api import Observer

Dispatch = Callable[[str, Dict[str, Any]], object]


def observers(
    config: Mapping[str, Any], client: KubeClient, dispatch: Dispatch, log: logging.Logger
) -> List[Observer]:
    """Created with each configuration. Raises DefinitionError for an invalid one."""

    def namespace(name: str) -> Optional[Dict[str, Any]]:
        with contextlib.suppress(NotFoundError):
            return client.get(NAMESPACES, name)
        return None

    told: List[Observer] = [
        ApprovalObserver(config, dispatch, log, clock=time.monotonic, now=utc_now)
    ]
    if serves(config, ANNOUNCEMENTS):
        told.append(
            NewsObserver(config, namespace, dispatch, log, clock=time.monotonic, now=utc_now)
        )
    return told
