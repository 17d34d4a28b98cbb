"""Writes core/v1 Events, the lines at the end of `kubectl describe`, without holding up what they
tell of.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

import httpx

from sandbox.kubernetes.client.api import EVENTS, Api, ApiError, Manifest, timestamp

log = logging.getLogger(__name__)


class EventRecorder:
    """Records events in the name of one component; what cannot be written is dropped, as with the
    real ones.
    """

    def __init__(self, api: Api, tasks: asyncio.TaskGroup, component: str) -> None:
        self._api = api
        self._tasks = tasks
        self._component = component

    def normal(self, about: Manifest, reason: str, message: str) -> None:
        """Tell of something that went as it should."""
        self._record("Normal", about, reason, message)

    def warning(self, about: Manifest, reason: str, message: str) -> None:
        """Tell of something a person may want to look at."""
        self._record("Warning", about, reason, message)

    def _record(self, kind: str, about: Manifest, reason: str, message: str) -> None:
        self._tasks.create_task(self._write(kind, about, reason, message))

    async def _write(self, kind: str, about: Manifest, reason: str, message: str) -> None:
        metadata, now = about["metadata"], timestamp()
        namespace = metadata.get("namespace", "default")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{secrets.token_hex(8)}",
                "namespace": namespace,
            },
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace"),
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._api.create(EVENTS.path(namespace), event)
        except (ApiError, httpx.HTTPError) as error:
            # A namespace that is being deleted takes no more events.
            log.debug("event.dropped", extra={"reason": reason, "error": type(error).__name__})
