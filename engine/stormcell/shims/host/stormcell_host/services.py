"""What pack code may ask of the engine: `action_service` and `sensor_service`.

Method by method as st2common/services/datastore.py, python_action_wrapper.py and sensor_wrapper.py
of StackStorm 3.9.
"""

from __future__ import annotations

import itertools
import logging
import threading
from typing import Any, Callable, Dict, List, Optional

from .wire import Wire

SYSTEM_SCOPE = "system"
SEPARATOR = ":"

Call = Callable[[str, Dict[str, Any]], Any]


class EngineError(Exception):
    """The engine could not do what was asked; the text says why."""


_engine: List[Call] = []


def join_engine(call: Call) -> None:
    """Let `ask_engine` reach the engine; for the process of a sensor."""
    _engine[:] = [call]


def ask_engine(method: str, arguments: Dict[str, Any]) -> Any:
    """For what StackStorm lets pack code have without its service. Raises EngineError."""
    if not _engine:
        raise EngineError("Only sensors can ask the engine for this.")
    return _engine[0](method, arguments)


class KeyValuePair:
    """One key of the datastore, with the attributes st2client's class of the same name has."""

    def __init__(self, **fields: Any) -> None:
        self.name: str = fields.get("name", "")
        self.id: str = fields.get("id") or self.name
        self.value: Any = fields.get("value")
        self.scope: str = fields.get("scope", SYSTEM_SCOPE)
        self.user: Any = fields.get("user")
        self.secret: bool = bool(fields.get("secret") or fields.get("encrypted"))
        self.encrypted: bool = self.secret
        self.ttl: Any = fields.get("ttl")
        self.expire_timestamp: Any = fields.get("expire_timestamp")

    def __repr__(self) -> str:
        return f"<KeyValuePair name={self.name} scope={self.scope}>"


class DatastoreService:
    """Keys and values. By default those that belong to this pack and class; all of them with
    `local=False`.
    """

    def __init__(self, call: Call, pack: str, class_name: str, logger: logging.Logger) -> None:
        self._call = call
        self._prefix = f"{pack}.{class_name}{SEPARATOR}"
        self._logger = logger

    def get_user_info(self) -> Any:
        return self._call("get_user_info", {})

    def list_values(
        self,
        local: bool = True,
        prefix: Optional[str] = None,
        limit: Optional[int] = None,
        offset: Optional[int] = 0,
    ) -> List[KeyValuePair]:
        full = self._prefix + (prefix or "") if local else prefix
        found = self._call("list_values", {"prefix": full, "limit": limit, "offset": offset or 0})
        return [KeyValuePair(**item) for item in found]

    def get_value(
        self, name: str, local: bool = True, scope: str = SYSTEM_SCOPE, decrypt: bool = False
    ) -> Any:
        """Return the value, or None where there is none or it could not be read (which is logged)."""
        arguments = {
            "name": self._name(name, local, scope),
            "scope": scope,
            "decrypt": bool(decrypt),
        }
        try:
            return self._call("get_value", arguments)
        except EngineError as error:
            self._logger.error("Could not read %s from the datastore: %s", arguments["name"], error)
            return None

    def set_value(
        self,
        name: str,
        value: Any,
        ttl: Optional[int] = None,
        local: bool = True,
        scope: str = SYSTEM_SCOPE,
        encrypt: bool = False,
    ) -> bool:
        """Set a key to the text of `value`; it is on disk when this returns. `ttl` in seconds."""
        arguments = {"name": self._name(name, local, scope), "scope": scope, "value": str(value)}
        self._call("set_value", dict(arguments, ttl=ttl, encrypt=bool(encrypt)))
        return True

    def delete_value(self, name: str, local: bool = True, scope: str = SYSTEM_SCOPE) -> bool:
        """Remove a key. False where there was none."""
        arguments = {"name": self._name(name, local, scope), "scope": scope}
        try:
            return bool(self._call("delete_value", arguments))
        except EngineError as error:
            self._logger.error(
                "Could not delete %s from the datastore: %s", arguments["name"], error
            )
            return False

    def get_api_client(self) -> Any:
        """Return st2client's client, where that package is installed."""
        try:
            from st2client.client import Client
        except ImportError:
            raise EngineError(
                "st2client is not installed; use the other methods of this service."
            ) from None
        import os

        return Client(
            base_url=os.environ.get("ST2_BASE_URL"), api_url=os.environ.get("ST2_ACTION_API_URL")
        )

    def _name(self, name: str, local: bool, scope: str) -> str:
        if scope != SYSTEM_SCOPE:
            raise ValueError(f"Scope {scope} is unsupported.")
        return self._prefix + name if local else name


class Calls:
    """Questions to the engine that wait for their answer; for a thread that owns the connection
    while it runs.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._numbers = itertools.count(1)
        self._asking = threading.Lock()

    def __call__(self, method: str, arguments: Dict[str, Any]) -> Any:
        with self._asking:
            number = next(self._numbers)
            self._wire.send({"ask": number, "method": method, "arguments": arguments})
            while True:
                reply = self._wire.receive()
                if reply is None:
                    raise EngineError("The engine has gone.")
                if reply.get("reply") == number:
                    return answer_of(reply)


def answer_of(reply: Dict[str, Any]) -> Any:
    """Return what a reply carries, or raise what it says."""
    if reply.get("error") is not None:
        raise EngineError(reply["error"])
    return reply.get("value")


class ActionService:
    """`self.action_service` of an action."""

    def __init__(
        self, call: Call, pack: str, class_name: str, log_level: str, logger: logging.Logger
    ) -> None:
        self._call = call
        self.datastore_service = DatastoreService(call, pack, class_name, logger)
        self._action_wrapper = _Wrapper(pack, class_name, log_level)
        self.get_user_info = self.datastore_service.get_user_info
        self.list_values = self.datastore_service.list_values
        self.get_value = self.datastore_service.get_value
        self.set_value = self.datastore_service.set_value
        self.delete_value = self.datastore_service.delete_value

    def dispatch(
        self,
        trigger: Any,
        payload: Optional[Dict[str, Any]] = None,
        trace_tag: Optional[str] = None,
    ) -> None:
        """Dispatch a trigger; stormcell's own, for `core.inject_trigger`."""
        trace = {"trace_tag": trace_tag} if trace_tag else None
        self._call(
            "dispatch", {"trigger": trigger, "payload": payload or {}, "trace_context": trace}
        )

    def format_execution_result(self, execution_id: str) -> Any:
        """What a chat is told of an execution; stormcell's own, for the chatops pack."""
        return self._call("format_execution_result", {"execution_id": execution_id})

    def announce(self, route: str, payload: Dict[str, Any]) -> None:
        """Send an announcement to the stream; stormcell's own, for the chatops pack."""
        self._call("announce", {"route": route, "payload": payload})


class _Wrapper:
    """What StackStorm's Action class reads from its service."""

    def __init__(self, pack: str, class_name: str, log_level: str) -> None:
        self._pack = pack
        self._class_name = class_name
        self._log_level = log_level
