"""Calls that change content: register, rules made by hand, actions, rules and sensors switched on and off."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.answers import answer, read_body
from stormcell.api.content_documents import action_document, content_id, rule_document, sensor_document
from stormcell.contents import Contents, Kind
from stormcell.engine import Engine
from stormcell.errors import InvalidInputError, NotFoundError


def routes(engine: Engine, contents: Contents) -> list[Route]:
    api = _Changes(engine, contents)
    return [
        Route("/v1/packs/register", api.register, methods=["POST"]),
        Route("/v1/rules", api.create_rule, methods=["POST"]),
        Route("/v1/rules/{id}", api.change_rule, methods=["PUT"]),
        Route("/v1/rules/{id}", api.delete_rule, methods=["DELETE"]),
        Route("/v1/actions/{id}", api.change_action, methods=["PUT"]),
        Route("/v1/sensortypes/{id}", api.change_sensor, methods=["PUT"]),
    ]


class _Changes:
    def __init__(self, engine: Engine, contents: Contents) -> None:
        self._engine = engine
        self._contents = contents

    async def register(self, request: Request) -> Response:
        return answer(await self._contents.reload())

    async def create_rule(self, request: Request) -> Response:
        rule = await self._contents.put_rule(await read_body(request), must_be_new=True)
        return answer(rule_document(rule), 201)

    async def change_rule(self, request: Request) -> Response:
        """The whole body, as StackStorm takes it. Where only `enabled` differs a pack's rule stays its files'."""
        rule = self._find("rules", request)
        body = await read_body(request)
        present = rule_document(rule)
        changed = {name for name, value in body.items() if name in present and present[name] != value}
        if changed <= {"enabled", "id", "uid", "metadata_file"}:
            await self._contents.set_enabled("rules", rule.ref, bool(body.get("enabled", rule.enabled)))
        else:
            await self._contents.put_rule({**present, **body}, must_be_new=False)
        return answer(rule_document(self._engine.catalog.content.rules[rule.ref]))

    async def delete_rule(self, request: Request) -> Response:
        await self._contents.delete_rule(self._find("rules", request))
        return Response(status_code=204)

    async def change_action(self, request: Request) -> Response:
        action = self._find("actions", request)
        await self._switch("actions", action, request)
        return answer(action_document(self._engine.catalog.content.actions[action.ref]))

    async def change_sensor(self, request: Request) -> Response:
        sensor = self._find("sensors", request)
        await self._switch("sensors", sensor, request)
        content = self._engine.catalog.content
        return answer(sensor_document(content.sensors[sensor.ref], content.packs.get(sensor.pack)))

    async def _switch(self, kind: Kind, item: Any, request: Request) -> None:
        enabled = (await read_body(request)).get("enabled")
        if not isinstance(enabled, bool):
            raise InvalidInputError(
                "Only enabled (true or false) can be changed here; the rest is in the pack's files."
            )
        await self._contents.set_enabled(kind, item.ref, enabled)

    def _find(self, kind: Kind, request: Request) -> Any:
        wanted = request.path_params["id"]
        items: dict[str, Any] = getattr(self._engine.catalog.content, kind)
        word = {"actions": "action", "rules": "rule", "sensors": "sensor"}[kind]
        for ref, item in items.items():
            if wanted in (ref, content_id(word, ref)):
                return item
        raise NotFoundError(f'Resource with a reference or id "{wanted}" not found')
