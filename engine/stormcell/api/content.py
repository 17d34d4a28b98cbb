"""`/v1/actions`, `rules`, `triggertypes`, `triggers`, `sensortypes`, `packs`, `runnertypes`: what is installed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api import documents
from stormcell.api.answers import answer, listing, page_of, shaped
from stormcell.content.registry import Content
from stormcell.engine import Engine
from stormcell.errors import NotFoundError

Handler = Callable[[Request], Awaitable[Response]]
Source = Callable[[], Iterable[dict[str, Any]]]
_FILTERS: dict[str, tuple[str, ...]] = {
    "actions": ("pack", "name", "runner_type"),
    "rules": ("pack", "name", "action", "trigger", "enabled"),
    "triggertypes": ("pack", "name"),
    "triggers": ("pack", "name", "type"),
    "sensortypes": ("pack", "name", "enabled", "trigger"),
    "packs": ("name", "ref"),
    "runnertypes": ("name",),
}


def routes(engine: Engine) -> list[Route]:
    found: list[Route] = []
    for kind, source in _sources(engine).items():
        get_list, get_one = _handlers(kind, source)
        if kind in ("rules", "actions"):
            found.append(Route(f"/v1/{kind}/views", get_list, methods=["GET"]))
            found.append(Route(f"/v1/{kind}/views/overview", get_list, methods=["GET"]))
            found.append(Route(f"/v1/{kind}/views/overview/{{id}}", get_one, methods=["GET"]))
        found.append(Route(f"/v1/{kind}", get_list, methods=["GET"]))
        found.append(Route(f"/v1/{kind}/{{id}}", get_one, methods=["GET"]))
    return found


def _sources(engine: Engine) -> dict[str, Source]:
    def content() -> Content:
        return engine.catalog.content

    return {
        "actions": lambda: map(documents.action_document, content().actions.values()),
        "rules": lambda: map(documents.rule_document, content().rules.values()),
        "triggertypes": lambda: map(documents.trigger_type_document, content().trigger_types.values()),
        "triggers": lambda: map(documents.trigger_document, engine.catalog.triggers.values()),
        "sensortypes": lambda: (
            documents.sensor_document(sensor, content().packs.get(sensor.pack)) for sensor in content().sensors.values()
        ),
        "packs": lambda: map(documents.pack_document, content().packs.values()),
        "runnertypes": lambda: map(documents.runner_document, content().runner_types.values()),
    }


def _handlers(kind: str, source: Source) -> tuple[Handler, Handler]:
    async def get_list(request: Request) -> Response:
        page = page_of(request, default=-1)
        wanted = {name: request.query_params[name] for name in _FILTERS[kind] if name in request.query_params}
        found = sorted((item for item in source() if _fits(item, wanted)), key=_place)
        part: Sequence[dict[str, Any]] = found[page.offset :]
        if page.limit >= 0:
            part = part[: page.limit]
        return listing([shaped(request, document) for document in part], len(found), page)

    async def get_one(request: Request) -> Response:
        wanted = request.path_params["id"]
        for document in source():
            if wanted in (document["id"], document.get("ref"), document.get("name")):
                return answer(shaped(request, document))
        raise NotFoundError(f'Resource with a reference or id "{wanted}" not found')

    return get_list, get_one


def _place(document: dict[str, Any]) -> str:
    return str(document.get("ref") or document["name"])


def _fits(document: dict[str, Any], wanted: dict[str, str]) -> bool:
    return all(_value(document, name) == value for name, value in wanted.items())


def _value(document: dict[str, Any], name: str) -> str:
    found = document.get(name)
    if name == "trigger" and "trigger_types" in document:
        return ",".join(document["trigger_types"])
    if isinstance(found, dict):
        found = found.get("ref") or found.get("type")
    return str(found).lower() if isinstance(found, bool) else str(found)
