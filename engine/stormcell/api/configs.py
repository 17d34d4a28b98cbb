"""`/v1/configs` and `/v1/config_schemas`: packs' settings, shown with secrets masked, and written
to their files.

Source of behaviour: st2api/controllers/v1/{pack_configs,pack_config_schemas}.py of StackStorm 3.9.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.answers import answer, listing, page_of, read_body
from stormcell.api.content_documents import content_id
from stormcell.api.permissions import shows_secrets
from stormcell.content.models import Pack
from stormcell.contents import Contents
from stormcell.engine import Engine
from stormcell.errors import DefinitionError, NotFoundError


def routes(engine: Engine, contents: Contents) -> list[Route]:
    api = _Configs(engine, contents)
    return [
        Route("/v1/configs", api.list, methods=["GET"]),
        Route("/v1/configs/{pack}", api.get, methods=["GET"]),
        Route("/v1/configs/{pack}", api.put, methods=["PUT"]),
        Route("/v1/config_schemas", api.schemas, methods=["GET"]),
        Route("/v1/config_schemas/{pack}", api.schema, methods=["GET"]),
    ]


class _Configs:
    def __init__(self, engine: Engine, contents: Contents) -> None:
        self._engine = engine
        self._contents = contents

    async def list(self, request: Request) -> Response:
        page = page_of(request)
        packs = [pack for _, pack in sorted(self._engine.catalog.content.packs.items())]
        part = packs[page.offset : None if page.limit < 0 else page.offset + page.limit]
        return listing([self._document(pack) for pack in part], len(packs), page)

    async def get(self, request: Request) -> Response:
        in_clear = shows_secrets(self._engine, request)
        return answer(self._document(self._pack(request), in_clear=in_clear))

    async def put(self, request: Request) -> Response:
        """The body is the settings themselves; they are checked, written to the file of the pack,
        and in force then.
        """
        pack = self._pack(request)
        self._engine.configs.write(pack, await read_body(request))
        await self._contents.reload()
        return answer(self._document(self._engine.catalog.content.pack(pack.ref)))

    async def schemas(self, request: Request) -> Response:
        page = page_of(request)
        packs = [
            pack
            for _, pack in sorted(self._engine.catalog.content.packs.items())
            if pack.config_schema
        ]
        part = packs[page.offset : None if page.limit < 0 else page.offset + page.limit]
        return listing([_schema_document(pack) for pack in part], len(packs), page)

    async def schema(self, request: Request) -> Response:
        pack = self._pack(request)
        if not pack.config_schema:
            raise NotFoundError(f'Unable to identify resource with pack_ref "{pack.ref}".')
        return answer(_schema_document(pack))

    def _document(self, pack: Pack, *, in_clear: bool = False) -> dict[str, Any]:
        try:
            config = self._engine.configs.loaded(pack)
            values = config.values if in_clear else config.masked()
        except DefinitionError:
            values = {}  # told in the log at each use; a list of all must not fail for one
        return {"id": content_id("config", pack.ref), "pack": pack.ref, "values": values}

    def _pack(self, request: Request) -> Pack:
        ref = request.path_params["pack"]
        pack = self._engine.catalog.content.packs.get(ref)
        if pack is None:
            raise NotFoundError(f'Unable to identify resource with pack_ref "{ref}".')
        return pack


def _schema_document(pack: Pack) -> dict[str, Any]:
    return {
        "id": content_id("config_schema", pack.ref),
        "pack": pack.ref,
        "attributes": pack.config_schema,
    }
