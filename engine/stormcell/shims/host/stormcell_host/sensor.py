"""The host of one sensor: loads its class, runs it, and speaks with the engine for it.

Messages in: `start`, `triggers` (what was added, changed, removed), `ack` for dispatches, `reply`
for questions. Messages out: `dispatch`, `ask`, `log`, `state`, `failed`. The main thread belongs to
the sensor.
Source of the contract: st2reactor/container/sensor_wrapper.py of StackStorm 3.9.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import logging
import os
import signal
import sys
import threading
import traceback
from _thread import (
    allocate_lock,
)  # Taken before a sensor can patch it: the engine's answer comes in a real thread.
from queue import Empty, SimpleQueue
from typing import Any, Dict, List, Optional

from .loading import sensor_class, without_host_frames
from .services import DatastoreService, EngineError, answer_of, join_engine
from .wire import Message, Wire, die_with_parent

_SETUP_PATIENCE_SECONDS = 5.0
"""How long existing triggers wait for `setup()`: some sensors do their work in it and never return.
"""


def main(fd: int, parent_pid: int) -> None:
    """Run the sensor that the first message names, to its end."""
    die_with_parent(parent_pid, adopt=False)
    wire = Wire(fd)
    message = wire.receive()
    if message is None:
        return
    _Host(wire, message["start"]).run()


class _Stopped(SystemExit):
    """The engine asked the sensor to stop."""


class _Host:
    def __init__(self, wire: Wire, start: Dict[str, Any]) -> None:
        self._wire = wire
        self._start = start
        self._instance: Any = None
        self._cleaned = threading.Lock()
        # SimpleQueue and plain locks only: Event, Condition and Queue make locks while they wait,
        # and would make green ones in our threads once a sensor has called eventlet.monkey_patch().
        self._made: SimpleQueue[bool] = SimpleQueue()
        self._set_up: SimpleQueue[bool] = SimpleQueue()
        self._changes: SimpleQueue[Dict[str, List[Any]]] = SimpleQueue()
        self.name = "SensorWrapper.{}.{}".format(start["pack"], start["class_name"])
        self.logger = logging.getLogger("st2." + self.name)
        self.link = _Link(wire)
        join_engine(self.link.call)

    def run(self) -> None:
        _log_to_engine(self._wire, self._start.get("log_level", "INFO"))
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Before the sensor's module is loaded: many call eventlet.monkey_patch(), and these must
        # stay real threads.
        threading.Thread(target=self._read, name="stormcell-read", daemon=True).start()
        threading.Thread(target=self._apply_changes, name="stormcell-triggers", daemon=True).start()
        try:
            self._instance = self._make()
            atexit.register(self._cleanup)
            self._made.put(True)
            self._wire.send({"state": "setup"})
            self._instance.setup()
            self._set_up.put(True)
            self._wire.send({"state": "running"})
            self._instance.run()
        except _Stopped:
            self._end(0)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else (0 if error.code is None else 1)
            self._end(code)
        except BaseException as error:  # noqa: BLE001 - the outer loop of the sensor: report, then end
            self._report(error)
            self._end(1)
        # run() returned: the process ends once the sensor's own threads have, as any program's
        # does.

    def _make(self) -> Any:
        start = self._start
        cls = sensor_class(start["file"], start["class_name"])
        arguments: Dict[str, Any] = {
            "sensor_service": SensorService(self),
            "config": start["config"],
        }
        if start.get("poll_interval") and hasattr(cls, "poll"):
            arguments["poll_interval"] = start["poll_interval"]
        return cls(**arguments)

    def _read(self) -> None:
        while True:
            message = self._wire.receive()
            if message is None:
                self.link.close()
                os.kill(os.getpid(), signal.SIGTERM)  # The engine is gone: stop as if it had asked.
                return
            if "ping" in message:
                self._send_quietly({"pong": True})
            elif "triggers" in message:
                self._changes.put(message["triggers"])
            else:
                self.link.settle(message)

    def _apply_changes(self) -> None:
        self._made.get()
        with contextlib.suppress(Empty):
            self._set_up.get(timeout=_SETUP_PATIENCE_SECONDS)
        while True:
            changes = self._changes.get()
            for kind in ("add", "update", "remove"):
                for trigger in changes.get(kind, ()):
                    try:
                        getattr(self._instance, kind + "_trigger")(trigger)
                    except Exception as error:
                        self.logger.exception(
                            "%s_trigger failed for %s: %s", kind, trigger.get("ref"), error
                        )
            self._wire.send({"applied": changes.get("number")})

    def _report(self, error: BaseException) -> None:
        trace = "".join(traceback.format_exception(type(error), error, without_host_frames(error)))
        line = traceback.format_exception_only(type(error), error)[-1].strip()
        self._send_quietly({"failed": {"error": line, "traceback": trace}})

    def _send_quietly(self, message: Message) -> None:
        with contextlib.suppress(OSError):
            self._wire.send(message)

    def _end(self, code: int) -> None:
        self._cleanup()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)

    def _cleanup(self) -> None:
        if self._instance is None or not self._cleaned.acquire(blocking=False):
            return
        try:
            self._instance.cleanup()
        except Exception as error:
            self.logger.exception("cleanup failed: %s", error)


def _stop(_number: int, _frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped(0)


class _Link:
    """Dispatches and questions of all the sensor's threads, each waiting for its own answer."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._numbers = itertools.count(1)
        self._waiting: Dict[int, _Waiter] = {}
        self._own = threading.local()
        self._closed = False

    def dispatch(self, trigger: Any, payload: Any, trace_context: Optional[Dict[str, Any]]) -> None:
        """Return when the trigger instance is on disk. Raises EngineError when it could not be
        stored.
        """
        message: Message = {"trigger": trigger, "payload": payload}
        if trace_context:
            message["trace_context"] = trace_context
        answer_of(self._exchange("dispatch", message))

    def call(self, method: str, arguments: Dict[str, Any]) -> Any:
        return answer_of(self._exchange("ask", {"method": method, "arguments": arguments}))

    def _exchange(self, kind: str, message: Message) -> Message:
        waiter: Optional[_Waiter] = getattr(self._own, "waiter", None)
        if waiter is None:
            waiter = self._own.waiter = _Waiter()
        number = next(self._numbers)
        waiter.answer = None
        self._waiting[number] = waiter
        message[kind] = number
        try:
            self._wire.send_encoded(
                json.dumps(message, separators=(",", ":"), default=_json_text).encode()
            )
            if self._closed:
                raise EngineError("The engine has gone.")
            waiter.wait()
        except OSError as error:
            raise EngineError("The engine has gone.") from error
        finally:
            self._waiting.pop(number, None)
        return waiter.answer or {"error": "The engine has gone."}

    def settle(self, message: Message) -> None:
        """Wake those whom a message answers. `ack` names many dispatches that are on disk."""
        for number in message.get("ack", ()):
            self._wake(number, {"value": None})
        if "reply" in message:
            self._wake(message["reply"], message)

    def close(self) -> None:
        self._closed = True
        for waiter in list(self._waiting.values()):
            waiter.wake({"error": "The engine has gone."})

    def _wake(self, number: int, answer: Message) -> None:
        waiter = self._waiting.get(number)
        if waiter is not None:
            waiter.wake(answer)


class _Waiter:
    """One thread's place to wait; used again and again, as making an Event for each dispatch costs
    more than it.
    """

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()
        self.answer: Optional[Message] = None

    def wait(self) -> None:
        self._lock.acquire()

    def wake(self, answer: Message) -> None:
        if self.answer is None:
            self.answer = answer
            self._lock.release()


class SensorService:
    """`self.sensor_service` of a sensor."""

    def __init__(self, host: _Host) -> None:
        self._host = host
        self._link = host.link
        self._logger = host.logger
        start = host._start
        self.datastore_service = DatastoreService(
            host.link.call, start["pack"], start["class_name"], host.logger
        )
        self.get_user_info = self.datastore_service.get_user_info
        self.list_values = self.datastore_service.list_values
        self.get_value = self.datastore_service.get_value
        self.set_value = self.datastore_service.set_value
        self.delete_value = self.datastore_service.delete_value

    def get_logger(self, name: str) -> logging.Logger:
        """Return a logger whose lines appear in the engine's log."""
        return logging.getLogger(f"{self._logger.name}.{name}")

    def dispatch(self, trigger: Any, payload: Any = None, trace_tag: Optional[str] = None) -> None:
        """Dispatch a trigger (a ref, or a mapping with `type` and `parameters`); it is on disk when
        this returns.

        A payload that does not fit the type's schema is dropped with a warning in the log, as in
        StackStorm.
        """
        self._link.dispatch(trigger, payload, {"trace_tag": trace_tag} if trace_tag else None)

    def dispatch_with_context(
        self, trigger: Any, payload: Any = None, trace_context: Any = None
    ) -> None:
        """The same with a trace context: a mapping, or StackStorm's object."""
        if trace_context is not None and not isinstance(trace_context, dict):
            trace_context = dict(vars(trace_context))
        self._link.dispatch(trigger, payload, trace_context)


class _EngineHandler(logging.Handler):
    """Sends log records to the engine."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry: Dict[str, Any] = {
                "level": record.levelno,
                "logger": record.name,
                "message": record.getMessage(),
            }
            if record.exc_info:
                entry["traceback"] = logging.Formatter().formatException(record.exc_info)
            self._wire.send({"log": entry})
        except Exception:  # noqa: BLE001 - logging must not break what logs
            self.handleError(record)


def _log_to_engine(wire: Wire, level: str) -> None:
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [_EngineHandler(wire)]
    root.setLevel(level)


def _json_text(value: Any) -> Any:
    isoformat = getattr(value, "isoformat", None)
    if callable(isoformat):
        return isoformat()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)
