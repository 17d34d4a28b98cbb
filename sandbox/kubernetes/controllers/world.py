"""What every controller works with: the API, the informers, a queue of keys, and how an error is
met.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx

from sandbox.kubernetes.client.api import (
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
    Api,
    ApiError,
    Manifest,
)
from sandbox.kubernetes.client.events import EventRecorder
from sandbox.kubernetes.client.informer import Informer, Key, key_of

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 10.0

log = logging.getLogger(__name__)


class World:
    """One API with the informers that the controllers share."""

    def __init__(self, api: Api, tasks: asyncio.TaskGroup) -> None:
        self.api = api
        self.tasks = tasks
        self.namespaces = Informer(api, NAMESPACES)
        self.services = Informer(api, SERVICES)
        self.pods = Informer(api, PODS)
        self.deployments = Informer(api, DEPLOYMENTS)
        self.replica_sets = Informer(api, REPLICA_SETS)
        self.stateful_sets = Informer(api, STATEFUL_SETS)
        self.jobs = Informer(api, JOBS)

    def informers(self) -> list[Informer]:
        """All of them; pods last, so that owners are known when pods arrive."""
        return [
            self.namespaces,
            self.services,
            self.deployments,
            self.replica_sets,
            self.stateful_sets,
            self.jobs,
            self.pods,
        ]


class Controller:
    """Brings one kind's objects to what they ask for: a queue of keys and one worker that calls
    `sync`.

    Subclasses say which informer holds their objects and implement `sync`, which must be safe to
    repeat.
    """

    name = ""

    def __init__(self, world: World, own: Informer) -> None:
        self.world = world
        self.api = world.api
        self.own = own
        self.events = EventRecorder(world.api, world.tasks, f"{self.name}-controller")
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._failures: dict[Key, int] = {}
        own.handlers.append(self._on_own_change)

    async def sync(self, key: Key) -> None:
        """Look at the object as it is now and do the next thing it needs."""
        raise NotImplementedError

    def enqueue(self, key: Key) -> None:
        """Have the key looked at soon; once, however often it is asked for meanwhile."""
        if key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait(key)

    def enqueue_after(self, key: Key, seconds: float) -> None:
        """Have the key looked at again then."""
        asyncio.get_running_loop().call_later(max(0.0, seconds), self.enqueue, key)

    async def run(self) -> None:
        """Work until cancelled. An error is retried with back-off, and never stops the others."""
        while True:
            key = await self._queue.get()
            self._waiting.discard(key)
            try:
                await self.sync(key)
            except (ApiError, httpx.HTTPError) as error:
                self._retry(key, error)
            except Exception:
                # The outer loop: one object that we misread must not stop the rest.
                log.exception("controller.failed", extra={"controller": self.name, "key": key})
                self._retry(key, None)
            else:
                self._failures.pop(key, None)

    def follow(self, informer: Informer, owners: Callable[[Manifest], list[Key]]) -> None:
        """Look at the `owners` of every object of `informer` that changes."""

        def handle(before: Manifest | None, after: Manifest | None) -> None:
            for manifest in (before, after):
                if manifest is not None:
                    for key in owners(manifest):
                        self.enqueue(key)

        informer.handlers.append(handle)

    async def create_owned(
        self, informer: Informer, owner: Manifest, manifest: Manifest
    ) -> Manifest:
        """Create an object that `owner` controls, and remember it."""
        reference = {
            "apiVersion": self.own.resource.api_version,
            "kind": self.own.resource.kind,
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        namespace = owner["metadata"]["namespace"]
        metadata = {**manifest["metadata"], "namespace": namespace, "ownerReferences": [reference]}
        body = {
            "apiVersion": informer.resource.api_version,
            "kind": informer.resource.kind,
            **manifest,
            "metadata": metadata,
        }
        made = await self.api.create(informer.resource.path(namespace), body)
        informer.remember(made)
        return made

    async def delete_owned(self, informer: Informer, manifest: Manifest) -> None:
        """Delete an object, in the background, and remember that; one that is gone is fine."""
        options = {
            "propagationPolicy": "Background",
            "preconditions": {"uid": manifest["metadata"]["uid"]},
        }
        try:
            answer = await self.api.delete(informer.resource.path_of(manifest), options)
        except ApiError as error:
            if not (error.is_missing or error.is_conflict):
                raise
            return
        if answer.get("kind") == informer.resource.kind:
            informer.remember(answer)
        else:
            informer.forget(manifest)

    async def write_status(self, manifest: Manifest, status: Manifest) -> Manifest:
        """Replace the status of an own object where it differs; 409 if somebody changed the object
        meanwhile.
        """
        if (manifest.get("status") or {}) == status:
            return manifest
        body = {**manifest, "status": status}
        written = await self.api.replace(self.own.resource.path_of(manifest, "status"), body)
        self.own.remember(written)
        return written

    def _on_own_change(self, before: Manifest | None, after: Manifest | None) -> None:
        if after is not None:
            self.enqueue(key_of(after))

    def _retry(self, key: Key, error: Exception | None) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        if error and not (isinstance(error, ApiError) and (error.is_conflict or error.is_missing)):
            log.debug(
                "controller.retry", extra={"controller": self.name, "key": key, "error": str(error)}
            )
        self.enqueue_after(
            key, min(FIRST_RETRY_SECONDS * 2 ** min(failures, 16), LAST_RETRY_SECONDS)
        )


def owner_keys(kind: str) -> Callable[[Manifest], list[Key]]:
    """A function to the key of an object's controlling owner of this kind."""

    def owners(manifest: Manifest) -> list[Key]:
        references: list[dict[str, Any]] = manifest["metadata"].get("ownerReferences") or []
        namespace = manifest["metadata"].get("namespace", "")
        return [
            (namespace, reference["name"])
            for reference in references
            if reference.get("controller") and reference["kind"] == kind
        ]

    return owners
