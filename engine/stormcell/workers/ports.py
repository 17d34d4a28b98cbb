"""What pack code may ask of the engine, in the words of the side that asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

SENSOR_USER = "sensor_service"
"""StackStorm's name for whoever a sensor's questions come from."""


class Datastore(Protocol):
    """Keys and values. Names are full (`PACK.CLASS:key` for what belongs to a sensor or action)."""

    async def get_value(self, name: str, *, scope: str, decrypt: bool) -> str | None:
        """Return a value, or None where there is none. An encrypted one comes as it is stored
        unless `decrypt`.
        """

    async def set_value(
        self,
        name: str,
        value: str,
        *,
        scope: str,
        ttl_seconds: int | None = None,
        encrypt: bool = False,
    ) -> None:
        """Set a value; it is on disk when this returns."""

    async def delete_value(self, name: str, *, scope: str) -> bool:
        """Remove a key; False where there was none."""

    async def list_values(
        self, *, prefix: str | None, limit: int | None, offset: int
    ) -> list[dict[str, Any]]:
        """Return keys as the API shows them (`name`, `value`, `scope`, `secret`,
        `expire_timestamp`), by name.
        """


class Dispatch(Protocol):
    """Takes one trigger instance."""

    async def __call__(
        self,
        trigger: str | dict[str, Any],
        payload: dict[str, Any],
        trace_context: dict[str, Any] | None,
    ) -> None:
        """Return when it is on disk, or was dropped with a warning. Raises stormcell.errors.Error
        otherwise.
        """


class Dispatched(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger instance on its way in."""

    trigger: str | dict[str, Any]
    payload: dict[str, Any]
    trace_context: dict[str, Any] | None = None


class DispatchMany(Protocol):
    """Takes many at once, in order; what one commit can hold."""

    async def __call__(self, batch: Sequence[Dispatched]) -> None:
        """Return when all are on disk (or dropped with a warning). An error means that none is."""


class ChatOps(Protocol):
    """Tells a chat how a command ended."""

    async def format_execution_result(self, execution_id: str) -> dict[str, Any]:
        """Return `enabled`, `message` and perhaps `extra`. NotFoundError where there is no such
        execution.
        """

    async def announce(self, route: str, payload: dict[str, Any]) -> None:
        """Send `payload` to everybody on the stream."""


ConfigFor = Callable[[str], dict[str, Any] | Awaitable[dict[str, Any]]]
"""Pack ref -> its configuration, resolved; raises DefinitionError where it is wrong."""


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The ports together."""

    datastore: Datastore
    dispatch: Dispatch
    chatops: ChatOps | None = None
    config_for: ConfigFor | None = None


async def answer(
    services: Services | None, method: str, arguments: dict[str, Any], *, user: str
) -> Any:
    """Carry out one question of pack code. Raises whatever the port raises, ValueError for an
    unknown method.
    """
    if method == "get_user_info":
        return {
            "username": user,
            "authentication": {"method": "authentication token", "location": "header"},
            "rbac": {"enabled": False, "roles": [], "is_admin": False},
        }
    if services is None:
        raise ValueError("no datastore is joined to this runner")
    if method == "dispatch":
        return await services.dispatch(
            arguments["trigger"], arguments["payload"], arguments["trace_context"]
        )
    if services.chatops is not None and method == "format_execution_result":
        return await services.chatops.format_execution_result(arguments["execution_id"])
    if services.chatops is not None and method == "announce":
        return await services.chatops.announce(arguments["route"], arguments["payload"])
    if services.config_for is not None and method == "get_config":
        return await present_config(services.config_for, arguments["pack"])
    store = services.datastore
    if method == "get_value":
        return await store.get_value(
            arguments["name"], scope=arguments["scope"], decrypt=arguments["decrypt"]
        )
    if method == "set_value":
        ttl = arguments["ttl"]
        return await store.set_value(
            arguments["name"],
            arguments["value"],
            scope=arguments["scope"],
            ttl_seconds=None if ttl is None else int(ttl),
            encrypt=arguments["encrypt"],
        )
    if method == "delete_value":
        return await store.delete_value(arguments["name"], scope=arguments["scope"])
    if method == "list_values":
        return await store.list_values(
            prefix=arguments["prefix"], limit=arguments["limit"], offset=arguments["offset"]
        )
    raise ValueError(f"pack code asked for '{method}', which there is not")


async def present_config(config_for: ConfigFor, pack: str) -> dict[str, Any]:
    """A pack's configuration as it is now. Raises DefinitionError where it is wrong."""
    config = config_for(pack)
    return await config if isinstance(config, Awaitable) else config
