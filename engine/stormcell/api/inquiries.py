"""`/v1/inquiries`: what waits for a person's answer. Source: st2api/controllers/v1/inquiries.py of
StackStorm 3.9.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.access import user_of
from stormcell.api.answers import answer, listing, page_of, read_body, shaped
from stormcell.engine import Engine
from stormcell.errors import InvalidInputError
from stormcell.store.sealing import mask


def routes(engine: Engine) -> list[Route]:
    api = _Inquiries(engine)
    return [
        Route("/v1/inquiries", api.list, methods=["GET"]),
        Route("/v1/inquiries/{id}", api.get, methods=["GET"]),
        Route("/v1/inquiries/{id}", api.respond, methods=["PUT"]),
    ]


class _Inquiries:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(self, request: Request) -> Response:
        """Newest first, as all records of StackStorm."""
        page = page_of(request)
        found = [
            msgspec.to_builtins(inquiry) for inquiry in reversed(self._engine.inquiries.waiting())
        ]
        part = found[page.offset : None if page.limit < 0 else page.offset + page.limit]
        return listing([shaped(request, mask(document)) for document in part], len(found), page)

    async def get(self, request: Request) -> Response:
        found = msgspec.to_builtins(self._engine.inquiries.get(request.path_params["id"]))
        return answer(shaped(request, mask(found)))

    async def respond(self, request: Request) -> Response:
        """`{"id": …, "response": {…}}`; the answer repeats what was accepted."""
        body = await read_body(request)
        response = body.get("response")
        if not isinstance(response, dict):
            raise InvalidInputError(
                'The body must be {"response": {…}}, by the schema of the inquiry.'
            )
        inquiry_id = request.path_params["id"]
        execution = await self._engine.inquiries.respond(inquiry_id, response, user_of(request))
        accepted = (mask(execution.result) or {}).get("response", {})
        return answer({"id": inquiry_id, "response": accepted})
