"""`/healthz`, `/metrics`, `/v1/stream`, `/v1/why`, `/v1/prune` and who one is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from stormcell.api.answers import answer, read_body
from stormcell.api.documents import execution_document
from stormcell.engine import Engine
from stormcell.errors import InvalidInputError
from stormcell.explaining import explain
from stormcell.store import Execution
from stormcell.times import format_instant, parse_instant

_IDLE_SECONDS = 15.0
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_encode = msgspec.json.Encoder(enc_hook=str).encode


def routes(engine: Engine) -> list[Route]:
    api = _System(engine)
    return [
        Route("/healthz", api.health, methods=["GET"]),
        Route("/metrics", api.metrics, methods=["GET"]),
        Route("/v1/stream", api.stream, methods=["GET"]),
        Route("/v1/why/{id}", api.why, methods=["GET"]),
        Route("/v1/prune", api.prune, methods=["POST"]),
    ]


class _System:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def health(self, request: Request) -> Response:
        stopping = self._engine.core.stopping
        return answer({"status": "stopping" if stopping else "ok"}, 503 if stopping else 200)

    async def metrics(self, request: Request) -> Response:
        return Response(self._engine.core.metrics.render(), media_type=_PROMETHEUS)

    async def why(self, request: Request) -> Response:
        return answer(explain(self._engine, request.path_params["id"]))

    async def prune(self, request: Request) -> Response:
        """`{"before": instant}`: remove what ended before it."""
        body = await read_body(request)
        try:
            before = format_instant(parse_instant(str(body.get("before"))))
        except ValueError as error:
            raise InvalidInputError('The body must be {"before": "2026-01-31T00:00:00Z"}.') from error
        return answer(self._engine.store.prune(before=before))

    async def stream(self, request: Request) -> Response:
        wanted = {part for part in request.query_params.get("events", "").split(",") if part}
        return StreamingResponse(
            self._events(wanted), media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )

    async def _events(self, wanted: set[str]) -> AsyncIterator[str]:
        yield "\n"
        with self._engine.core.stream.listening() as listener:
            async for event in listener.events(idle_seconds=_IDLE_SECONDS):
                if event is None:
                    yield ": still here\n\n"
                elif not wanted or event[0] in wanted:
                    yield f"event: {event[0]}\ndata: {_encode(self._document(event[1]())).decode()}\n\n"

    def _document(self, body: Any) -> Any:
        return execution_document(body, self._engine.core) if isinstance(body, Execution) else body
