"""The engine in the words of pack code's side: the datastore and dispatch that sensors and actions
are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stormcell.api.content_documents import alias_document, content_id
from stormcell.api.documents import execution_document, key_document
from stormcell.chatops import formatted
from stormcell.engine import Engine
from stormcell.runners.simple import Announce
from stormcell.store.datastore import Datastore
from stormcell.workers.ports import Dispatched


class PackDatastore:
    """The port `Datastore` of `stormcell.workers.ports` over the store."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    async def get_value(self, name: str, *, scope: str, decrypt: bool) -> str | None:
        entry = self._datastore.get(name, scope=scope)
        return None if entry is None else self._datastore.value(entry, decrypt=decrypt)

    async def set_value(
        self,
        name: str,
        value: str,
        *,
        scope: str,
        ttl_seconds: int | None = None,
        encrypt: bool = False,
    ) -> None:
        await self._datastore.set(name, value, scope=scope, ttl_seconds=ttl_seconds, secret=encrypt)

    async def delete_value(self, name: str, *, scope: str) -> bool:
        return await self._datastore.delete(name, scope=scope)

    async def list_values(
        self, *, prefix: str | None, limit: int | None, offset: int
    ) -> list[dict[str, Any]]:
        found = self._datastore.list(prefix=prefix or "")
        part = found[offset : None if limit is None or limit < 0 else offset + limit]
        return [key_document(entry, self._datastore.value(entry, decrypt=False)) for entry in part]


class PackDispatch:
    """The port `Dispatch`: what does not fit is dropped with a warning, as in StackStorm; what
    cannot be written is an error to the sender, who sends it again. `engine` is set once there is
    one."""

    engine: Engine

    async def __call__(
        self,
        trigger: str | dict[str, Any],
        payload: dict[str, Any],
        trace_context: dict[str, Any] | None,
    ) -> None:
        trace = _trace(trace_context)
        await self.engine.dispatch_many([(trigger, payload, trace)])

    async def many(self, batch: Sequence[Dispatched]) -> None:
        """The port `DispatchMany`: what came together is one transaction."""
        await self.engine.dispatch_many(
            (item.trigger, item.payload, _trace(item.trace_context)) for item in batch
        )


class PackChatOps:
    """The port `ChatOps`: what a chat is told, and the telling."""

    def __init__(self, dispatch: PackDispatch, announce: Announce) -> None:
        self._dispatch = dispatch
        self._announce = announce

    async def format_execution_result(self, execution_id: str) -> dict[str, Any]:
        engine = self._dispatch.engine
        execution = engine.trees.find(execution_id)
        alias_id = (execution.context.get("action_alias_ref") or {}).get("id")
        aliases = engine.catalog.content.aliases.values()
        alias = next(
            (item for item in aliases if content_id("action_alias", item.ref) == alias_id), None
        )
        return formatted(
            execution_document(execution, engine.core), alias_document(alias) if alias else None
        )

    async def announce(self, route: str, payload: dict[str, Any]) -> None:
        await self._announce(route, payload)


def _trace(trace_context: dict[str, Any] | None) -> str:
    return str((trace_context or {}).get("trace_tag") or "")
