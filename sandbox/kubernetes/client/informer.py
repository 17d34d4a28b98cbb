"""A cache of one kind that follows the server by list and watch, as client-go's informers do.

Everything here runs in one event loop, so there are no locks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

import httpx

from sandbox.kubernetes.client.api import Api, ApiError, Manifest, Resource

log = logging.getLogger(__name__)

PAGE_SIZE = 500
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
GONE_KEPT = 10_000

Key = tuple[str, str]
Handler = Callable[[Manifest | None, Manifest | None], None]


def key_of(manifest: Manifest) -> Key:
    """Namespace ("" where the kind has none) and name."""
    metadata = manifest["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def controller_uid(manifest: Manifest) -> str | None:
    """The uid of the owner that controls the object, if any."""
    for owner in manifest["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return owner["uid"]
    return None


class Informer:
    """All objects of one kind as last seen; `handlers` are called with (before, after), None for
    absent.

    Our own writes are remembered at once (`remember`, `forget`), so that the next decision sees
    them before the watch brings them back. Objects in the cache belong to it: copy before changing.
    """

    def __init__(self, api: Api, resource: Resource) -> None:
        self.resource = resource
        self.handlers: list[Handler] = []
        self.synced = asyncio.Event()
        self._api = api
        self._objects: dict[Key, Manifest] = {}
        self._by_controller: dict[str, dict[Key, Manifest]] = defaultdict(dict)
        # Uids of what is no more: an answer to a write may arrive after the watch has told the
        # object's end.
        self._gone: dict[str, None] = {}

    def get(self, namespace: str, name: str) -> Manifest | None:
        """The object under this name, if there is one."""
        return self._objects.get((namespace, name))

    def all(self, namespace: str | None = None) -> list[Manifest]:
        """Every object, or those of one namespace."""
        return [
            item for key, item in self._objects.items() if namespace is None or key[0] == namespace
        ]

    def controlled_by(self, uid: str) -> list[Manifest]:
        """The objects whose controlling owner has this uid."""
        return list(self._by_controller.get(uid, {}).values())

    def remember(self, manifest: Manifest) -> None:
        """Take in what the server answered to our own write."""
        self._put(manifest)

    def forget(self, manifest: Manifest) -> None:
        """Take in that the server has removed the object; later news of it is old news."""
        self._drop(key_of(manifest), manifest["metadata"]["uid"])

    async def run(self) -> None:
        """Follow the server until cancelled; an unreachable server or a kind it does not serve is
        tried again.
        """
        wait = FIRST_RETRY_SECONDS
        while True:
            try:
                version = await self._list()
                wait = FIRST_RETRY_SECONDS
                await self._watch(version)
            except ApiError as error:
                log.debug(
                    "informer.refused", extra={"plural": self.resource.plural, "code": error.code}
                )
            except (httpx.HTTPError, ValueError) as error:
                log.debug(
                    "informer.broken",
                    extra={"plural": self.resource.plural, "error": type(error).__name__},
                )
            await asyncio.sleep(wait)
            wait = min(wait * 2, LAST_RETRY_SECONDS)

    async def _list(self) -> str:
        found: list[Manifest] = []
        parameters = {"limit": str(PAGE_SIZE)}
        while True:
            page = await self._api.get(self.resource.path(), **parameters)
            found += page["items"] or ()
            version, onward = page["metadata"]["resourceVersion"], page["metadata"].get("continue")
            if not onward:
                break
            parameters["continue"] = onward
        self._replace_all(found)
        self.synced.set()
        return version

    async def _watch(self, version: str) -> None:
        """Follow from `version`, over as many watches as it takes; returns never, raises when a new
        list is due.
        """
        while True:
            async for event in self._api.watch(self.resource.path(), resourceVersion=version):
                manifest = event["object"]
                version = manifest["metadata"]["resourceVersion"]
                if event["type"] == "DELETED":
                    self._drop(key_of(manifest), manifest["metadata"]["uid"])
                elif event["type"] != "BOOKMARK":
                    self._put(manifest)

    def _replace_all(self, found: Iterable[Manifest]) -> None:
        seen = {}
        for manifest in found:
            # Items of a list carry no kind and apiVersion.
            manifest.setdefault("kind", self.resource.kind)
            manifest.setdefault("apiVersion", self.resource.api_version)
            seen[key_of(manifest)] = manifest
        for key in [key for key in self._objects if key not in seen]:
            self._drop(key, self._objects[key]["metadata"]["uid"])
        for manifest in seen.values():
            self._put(manifest)

    def _put(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        if metadata["uid"] in self._gone:
            return
        key = key_of(manifest)
        before = self._objects.get(key)
        if before and before["metadata"]["uid"] == metadata["uid"]:
            if int(before["metadata"]["resourceVersion"]) >= int(metadata["resourceVersion"]):
                return
        elif before:
            self._drop(key, before["metadata"]["uid"])
            before = None
        if before and (uid := controller_uid(before)):
            self._by_controller[uid].pop(key, None)
        self._objects[key] = manifest
        if uid := controller_uid(manifest):
            self._by_controller[uid][key] = manifest
        self._tell(before, manifest)

    def _drop(self, key: Key, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > GONE_KEPT:
            del self._gone[next(iter(self._gone))]
        before = self._objects.get(key)
        if not before or before["metadata"]["uid"] != uid:
            return
        del self._objects[key]
        if owner := controller_uid(before):
            self._by_controller[owner].pop(key, None)
            if not self._by_controller[owner]:
                del self._by_controller[owner]
        self._tell(before, None)

    def _tell(self, before: Manifest | None, after: Manifest | None) -> None:
        for handler in self.handlers:
            handler(before, after)
