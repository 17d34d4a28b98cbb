"""`/healthz`, `/metrics`, `/v1`, `/v1/why` and `/v1/prune`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.answers import answer, read_body
from stormcell.engine import Engine
from stormcell.errors import InvalidInputError
from stormcell.explaining import explain
from stormcell.times import format_instant, parse_instant

_STACKSTORM = "3.9.0"
"""The version whose API this is."""
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def routes(engine: Engine) -> list[Route]:
    api = _System(engine)
    return [
        Route("/healthz", api.health, methods=["GET"]),
        Route("/metrics", api.metrics, methods=["GET"]),
        Route("/v1", api.index, methods=["GET"]),
        Route("/v1/why/{id}", api.why, methods=["GET"]),
        Route("/v1/prune", api.prune, methods=["POST"]),
    ]


class _System:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def health(self, request: Request) -> Response:
        """Open to all, so it names what is wrong, such as packs with a wrong configuration, and
        leaves the sentences to the log; 503 while nothing can be written.
        """
        if self._engine.core.stopping:
            return answer({"status": "stopping"}, 503)
        wrong: dict[str, Any] = {
            "wrong_configuration": sorted(self._engine.configs.faulty),
            "wrong_roles": sorted(self._engine.roles.faults),
        }
        wrong = {name: found for name, found in wrong.items() if found}
        if self._engine.store.writer.failure:
            wrong["database"] = "cannot be written"
        status = "degraded" if wrong else "ok"
        return answer({"status": status, **wrong}, 503 if "database" in wrong else 200)

    async def metrics(self, request: Request) -> Response:
        return Response(self._engine.core.metrics.render(), media_type=_PROMETHEUS)

    async def index(self, request: Request) -> Response:
        """Where err-stackstorm tries its key. Source: st2api/controllers/root.py of StackStorm 3.9."""
        return answer(
            {"version": _STACKSTORM, "docs_url": f"https://docs.stackstorm.com/{_STACKSTORM[:3]}"}
        )

    async def why(self, request: Request) -> Response:
        return answer(explain(self._engine, request.path_params["id"]))

    async def prune(self, request: Request) -> Response:
        """`{"before": instant}`: remove what ended before it."""
        body = await read_body(request)
        try:
            before = format_instant(parse_instant(str(body.get("before"))))
        except ValueError as error:
            raise InvalidInputError(
                'The body must be {"before": "2026-01-31T00:00:00Z"}.'
            ) from error
        return answer(self._engine.store.prune(before=before))
