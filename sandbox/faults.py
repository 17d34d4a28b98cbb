"""Faults on demand, in front of any server of the sandbox: what networks and services do on a bad
day, exactly when a test asks.

    faults.add(path="/v1/secret/.*", times=2, status=503)
    faults.add(method="GET", path=".*watch=.*", silent=True)

A path is matched with its query. Generic ASGI: nothing here knows Kubernetes, Vault or Consul.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

SILENCE_POLL_SECONDS = 0.05

Message = MutableMapping[str, Any]
AsgiApp = Callable[..., Any]


@dataclass
class Fault:
    """What happens to matching requests, `times` times (None: until removed); `hits` counts how
    often it has.
    """

    method: re.Pattern[str]
    path: re.Pattern[str]
    times: int | None = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_seconds: float = 0.0
    drop: bool = False
    drop_mid_body: bool = False
    silent: bool = False
    after: int = 0
    held: bool = False
    applied: bool = False
    hits: int = 0
    ended: bool = False

    def fits(self, method: str, path: str) -> bool:
        return bool(self.method.fullmatch(method) and self.path.fullmatch(path))


class Faults:
    """The faults that wait for a request. Safe to use from any thread."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(
        self,
        *,
        method: str = ".*",
        path: str = ".*",
        times: int | None = 1,
        status: int | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | str = b"",
        delay_seconds: float = 0.0,
        drop: bool = False,
        drop_mid_body: bool = False,
        silent: bool = False,
        after: int = 0,
        held: bool = False,
        applied: bool = False,
    ) -> Fault:
        """Let matching requests fail: answer `status`, wait `delay_seconds` first, `drop` the
        connection (before the answer, or in the middle of its body), say nothing more in a
        streamed answer (`silent`, also one already open; `times` then counts what was not said),
        or be slow (`held`): the request is carried out, its answer comes when the fault is removed.
        With `applied` the request is carried out before `status` is answered.

        A fault of delay alone lets the request through afterwards, also when the client has gone
        meanwhile. The first `after` matching requests are spared.
        """
        data = body.encode() if isinstance(body, str) else body
        fault = Fault(
            re.compile(method), re.compile(path), times, status, dict(headers or {}), data, delay_seconds, drop,
            drop_mid_body, silent, after, held, applied,
        )  # fmt: skip
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """End a fault. Safe to repeat."""
        fault.ended = True
        with self._lock:
            self._faults = [other for other in self._faults if other is not fault]

    def clear(self) -> None:
        """End all faults."""
        for fault in tuple(self._faults):
            self.remove(fault)

    def take(self, method: str, path: str) -> Fault | None:
        """The first fault for a request, counted as used."""
        with self._lock:
            for fault in self._faults:
                if not fault.silent and fault.fits(method, path):
                    if fault.after:
                        fault.after -= 1
                        continue
                    self._use(fault)
                    return fault
        return None

    def is_silenced(self, method: str, path: str) -> bool:
        """Whether a streamed answer must say nothing now; counted, as something was to be said."""
        with self._lock:
            for fault in self._faults:
                if fault.silent and fault.fits(method, path):
                    self._use(fault)
                    return True
        return False

    def has_silence(self, method: str, path: str) -> bool:
        """Whether a fault keeps such an answer silent."""
        return any(fault.silent and fault.fits(method, path) for fault in tuple(self._faults))

    def _use(self, fault: Fault) -> None:
        fault.hits += 1
        if fault.times is not None and fault.hits >= fault.times:
            self._faults = [other for other in self._faults if other is not fault]


class FaultMiddleware:
    """An ASGI application with faults in front of it."""

    def __init__(self, app: AsgiApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Message, receive: AsgiApp, send: AsgiApp) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        query = scope.get("query_string", b"").decode("latin-1")
        path = f"{scope['path']}?{query}" if query else scope["path"]
        fault = self._faults.take(scope["method"], path)
        if fault is not None and fault.delay_seconds and fault.status is None and not fault.drop:
            receive = await _received(receive)
        if fault is not None and fault.applied:
            await self._app(scope, receive, _unheard)
        if fault is None or not await _happens(fault, send):
            await self._app(scope, receive, self._guarded(scope["method"], path, send, fault))

    def _guarded(self, method: str, path: str, send: AsgiApp, fault: Fault | None) -> AsgiApp:
        silenced = False

        async def guarded(message: Message) -> None:
            nonlocal silenced
            while fault and fault.held and not fault.ended:
                await asyncio.sleep(SILENCE_POLL_SECONDS)
            if message["type"] == "http.response.body":
                more = bool(message.get("more_body"))
                # What was swallowed is never followed by what came after it: no connection loses a
                # part in the middle.
                silenced = silenced or (more and self._faults.is_silenced(method, path))
                if silenced:
                    if not more:
                        await self._stay_silent(method, path, send)
                    return
                if fault and fault.drop_mid_body and message.get("body"):
                    half = message["body"][: len(message["body"]) // 2]
                    await send({"type": "http.response.body", "body": half, "more_body": True})
                    _abort(send)
                    return
            await send(message)

        return guarded

    async def _stay_silent(self, method: str, path: str, send: AsgiApp) -> None:
        """Not even say that it is over, until the fault ends or the other side has given up."""
        cycle = getattr(send, "__self__", None)
        while self._faults.has_silence(method, path) and not getattr(cycle, "disconnected", True):
            await asyncio.sleep(SILENCE_POLL_SECONDS)
        _abort(send)


async def _unheard(_: Message) -> None:
    """An answer that nobody gets."""


async def _received(receive: AsgiApp) -> AsgiApp:
    """The whole request, read now: it is carried out later also when the client has gone by then."""
    messages: list[Message] = []
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return again


async def _happens(fault: Fault, send: AsgiApp) -> bool:
    """Let a fault happen; returns whether the request was answered (or ended) by it."""
    if fault.delay_seconds:
        await asyncio.sleep(fault.delay_seconds)
    if fault.drop:
        _abort(send)
        return True
    if fault.status is None:
        return False
    headers = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
    headers.append((b"content-length", str(len(fault.body)).encode()))
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": fault.body})
    return True


def _abort(send: AsgiApp) -> None:
    """Close the connection without an answer. ASGI has no word for it, so this reaches for
    uvicorn's transport.
    """
    cycle = getattr(send, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:
        raise RuntimeError(
            "this server does not let a fault drop its connections; serve with sandbox.serving.Server"
        )
    cycle.disconnected = True  # type: ignore[union-attr]
    transport.abort()
