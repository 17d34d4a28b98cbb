"""`/v1/stream`: what happens, as server-sent events. Source: st2stream/controllers/v1/stream.py of
StackStorm 3.9.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from stormcell.api.documents import execution_document
from stormcell.engine import Engine
from stormcell.errors import NotFoundError
from stormcell.store import Execution
from stormcell.stream import (
    ANNOUNCEMENT_PREFIX,
    EXECUTION_UPDATED,
    LIVEACTION_OF,
    Dropped,
    Event,
)

log = logging.getLogger(__name__)

IDLE_SECONDS = 10.0
_SHARED_CHARACTERS = 16 * 1024
SSE_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
SSE_TYPE = "text/event-stream"
_DEFAULT_EVENTS = (f"{ANNOUNCEMENT_PREFIX}*", *LIVEACTION_OF, *LIVEACTION_OF.values())
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What one listener asked for; empty is no restriction. `events` are patterns such as
    `st2.announcement__*`.
    """

    events: tuple[str, ...] = _DEFAULT_EVENTS
    action_refs: tuple[str, ...] = ()
    execution_ids: tuple[str, ...] = ()
    end_event: str = ""
    end_execution_id: str = ""

    def takes(self, name: str, body: Any) -> bool:
        if not any(fnmatchcase(name, pattern) for pattern in self.events):
            return False
        action_ref, execution_id = _belongs_to(body)
        if self.action_refs and action_ref not in self.action_refs:
            return False
        return not self.execution_ids or execution_id in self.execution_ids

    def ends_with(self, name: str, body: Any) -> bool:
        """Whether this event is the last one: the end of the execution that was named."""
        ends = (EXECUTION_UPDATED, LIVEACTION_OF[EXECUTION_UPDATED])
        if (
            name != EXECUTION_UPDATED
            or (self.end_event or name) not in ends
            or not isinstance(body, Execution)
        ):
            return False
        return body.id == self.end_execution_id and body.is_finished


def wanted_of(request: Request) -> Wanted:
    query = request.query_params
    return Wanted(
        events=_names(query.get("events")) or _DEFAULT_EVENTS,
        action_refs=_names(query.get("action_refs")),
        execution_ids=_names(query.get("execution_ids")),
        end_event=query.get("end_event", ""),
        end_execution_id=query.get("end_execution_id", ""),
    )


def routes(engine: Engine) -> list[Route]:
    api = _Stream(engine)
    return [Route("/v1/stream", api.stream, methods=["GET"])]


class _Stream:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def stream(self, request: Request) -> Response:
        events = self._events(wanted_of(request))
        return StreamingResponse(events, media_type=SSE_TYPE, headers=SSE_HEADERS)

    async def _events(self, wanted: Wanted) -> AsyncIterator[str]:
        yield "\n"
        with self._engine.core.stream.listening() as listener:
            ended = self._already_ended(wanted.end_execution_id)
            if ended is not None:
                # StackStorm would wait for ever here; a client may always come too late.
                yield self._event(EXECUTION_UPDATED, ended)
                return
            async for event in listener.events(idle_seconds=IDLE_SECONDS):
                if event is None:
                    yield "\n"
                    continue
                if isinstance(event, Dropped):
                    log.warning("stream.dropped", extra={"events": event.count})
                    yield f": {event.count} events dropped, this client reads too slowly\n\n"
                    continue
                for told in (event.name, LIVEACTION_OF.get(event.name)):
                    if told is not None and wanted.takes(told, event.body):
                        yield self._shared(event, told)
                if wanted.ends_with(event.name, event.body):
                    return

    def _shared(self, event: Event, name: str) -> str:
        """The text of an event, made once for all clients; a large one is made for each, for it
        would be kept for as long as the slowest has not read it."""
        text = event.texts.get(name)
        if text is None:
            text = self._event(name, event.body)
            if len(text) <= _SHARED_CHARACTERS:
                event.texts[name] = text
        return text

    def _already_ended(self, execution_id: str) -> Execution | None:
        if not execution_id:
            return None
        try:
            found = self._engine.trees.find(execution_id)
        except NotFoundError:
            return None
        return found if found.is_finished else None

    def _event(self, name: str, body: Any) -> str:
        document = body
        if isinstance(body, Execution):
            document = execution_document(body, self._engine.core)
        if name in LIVEACTION_OF.values():
            document = _liveaction(document)
        return f"event: {name}\ndata: {_encode(document).decode()}\n\n"


def _liveaction(execution: dict[str, Any]) -> dict[str, Any]:
    """An execution as StackStorm's liveaction of it; what is empty is left out there, too."""
    names = ("status", "start_timestamp", "end_timestamp", "context", "result")
    return {
        **execution["liveaction"],
        **{name: execution[name] for name in names if name in execution},
    }


def _belongs_to(body: Any) -> tuple[str | None, str | None]:
    if isinstance(body, Execution):
        return body.action_ref, body.id
    if isinstance(body, dict):
        return body.get("action_ref"), body.get("execution_id")
    return None, None


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part for part in (text or "").split(",") if part)
