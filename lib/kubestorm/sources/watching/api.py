"""The Kubernetes side of a watch: the port that the loop needs, and its one real implementation."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Protocol

from kubestorm.clients.kube import KubeClient, Resource
from kubestorm.clients.lease import LeaseLock
from kubestorm.core.errors import Error
from kubestorm.sources.watching.settings import LoopSettings

Object = Dict[str, Any]


class WatchKey(NamedTuple):
    """What is watched; triggers that agree in all of it share one watch.

    `resync` is what the trigger says, None where it says nothing. It belongs to the key so that
    every trigger has a state of its own: with a shared one it would miss the objects that were
    dispatched for the other. `status` counts phases and conditions among what can change, and so
    needs a state of its own too.
    """

    group: str
    version: str
    plural: str
    namespace: str = ""
    label_selector: str = ""
    resync: Optional[bool] = None
    status: bool = False

    @property
    def resource(self) -> Resource:
        return Resource(self.group, self.version, self.plural)

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return (
            f"{self.resource}{where}{' with ' + self.label_selector if self.label_selector else ''}"
        )


class Stream(Protocol):
    """An open watch."""

    def batches(self) -> Iterator[List[bytes]]:
        """Raw lines in the groups in which they arrive; ends when the server ends the watch."""

    def close(self) -> None:
        """End it from any thread."""


class Observer(Protocol):
    """Gets every object of ours, and may have something to do at a time."""

    def observe(self, plural: str, obj: Object, fresh: bool) -> None:
        """An object as it is now; `fresh`: its phase or conditions have changed."""

    def due(self) -> Optional[float]:
        """The time of the monotonic clock at which `tick` has something to do, or None."""

    def tick(self) -> None:
        """Do what is due."""


class WatchApi(Protocol):
    """What a watch asks of the API server; raises the pack's errors."""

    def list_page(self, continue_token: str) -> Object:
        """The first page (no token) or the one after it."""

    def open_stream(self, resource_version: str) -> Stream:
        """Watch what happens after this version."""

    def get(self, namespace: str, name: str) -> Object:
        """One object as it is now."""

    def ended_since(self, lease: str, moment: dt.datetime) -> bool:
        """Whether a step has held and released the Lease of that name after a moment."""


class KubeWatchApi:
    """One WatchKey on a real API server."""

    def __init__(self, client: KubeClient, key: WatchKey, settings: LoopSettings) -> None:
        self._client, self._key, self._settings = client.without_retries(), key, settings

    def list_page(self, continue_token: str) -> Object:
        return self._client.list_page(
            self._key.resource,
            self._key.namespace,
            limit=self._settings.page_size,
            continue_token=continue_token,
            label_selector=self._key.label_selector,
        )

    def open_stream(self, resource_version: str) -> Stream:
        return self._client.stream_watch(
            self._key.resource,
            self._key.namespace,
            resource_version=resource_version,
            timeout_seconds=int(self._settings.timeout_seconds),
            read_timeout_seconds=self._settings.timeout_seconds + self._settings.stall_seconds,
            label_selector=self._key.label_selector,
        )

    def get(self, namespace: str, name: str) -> Object:
        return self._client.get(self._key.resource, name, namespace)

    def ended_since(self, lease: str, moment: dt.datetime) -> bool:
        # Without the right to read Leases there is one resync too many.
        with contextlib.suppress(Error):
            return bool(lease) and LeaseLock(self._client, lease).ended_since(moment)
        return False
