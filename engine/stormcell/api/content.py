"""What is installed: `/v1/actions`, `rules`, `triggertypes`, `triggers`, `timers`, `sensortypes`,
`packs`, `runnertypes`, `policies`, `policytypes`, `ruletypes`, `actionalias`; lists with filters,
and one by id or ref."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from stormcell.api import content_documents as documents
from stormcell.api.answers import answer, flag, listing, page_of, shaped
from stormcell.content.registry import Content
from stormcell.content.rules_of_kinds import POLICY_TYPES, RULE_TYPES
from stormcell.engine import Engine
from stormcell.errors import InvalidInputError, NotFoundError
from stormcell.timers import INTERVAL, TIMERS

Handler = Callable[[Request], Awaitable[Response]]
Source = Callable[[], Iterable[dict[str, Any]]]
FILTERS: dict[str, tuple[str, ...]] = {
    "actions": ("pack", "name", "runner_type", "enabled", "entry_point", "tags"),
    "rules": ("pack", "name", "action", "trigger", "enabled", "type"),
    "triggertypes": ("pack", "name", "tags"),
    "triggers": ("pack", "name", "type"),
    "timers": ("type", "timer_type"),
    "sensortypes": ("pack", "name", "enabled", "trigger"),
    "packs": ("name", "ref"),
    "runnertypes": ("name",),
    "policies": ("pack", "name", "resource_ref", "policy_type", "enabled"),
    "policytypes": ("resource_type", "name"),
    "ruletypes": ("name",),
    "actionalias": ("pack", "name", "enabled"),
}
_ORDERS = ("", "ref", "name", "pack")


def routes(engine: Engine) -> list[Route]:
    found: list[Route] = []
    for kind, source in _sources(engine).items():
        get_list, get_one = _handlers(kind, source)
        if kind in ("rules", "actions"):
            found.append(Route(f"/v1/{kind}/views", get_list, methods=["GET"]))
            found.append(Route(f"/v1/{kind}/views/overview", get_list, methods=["GET"]))
            found.append(Route(f"/v1/{kind}/views/overview/{{id}}", get_one, methods=["GET"]))
        if kind == "rules":
            found.append(Route("/v1/rules/views/{id}", get_one, methods=["GET"]))
        found.append(Route(f"/v1/{kind}", get_list, methods=["GET"]))
        found.append(Route(f"/v1/{kind}/{{id}}", get_one, methods=["GET"]))
    views = _Views(engine)
    found.append(Route("/v1/actions/views/parameters/{id}", views.parameters, methods=["GET"]))
    found.append(Route("/v1/actions/views/entry_point/{id}", views.entry_point, methods=["GET"]))
    return found


def _sources(engine: Engine) -> dict[str, Source]:
    def content() -> Content:
        return engine.catalog.content

    return {
        "actions": lambda: map(documents.action_document, content().actions.values()),
        "rules": lambda: map(documents.rule_document, content().rules.values()),
        "triggertypes": lambda: map(
            documents.trigger_type_document, content().trigger_types.values()
        ),
        "triggers": lambda: map(documents.trigger_document, engine.catalog.triggers.values()),
        "timers": lambda: map(documents.trigger_document, engine.catalog.asked_triggers(TIMERS)),
        "sensortypes": lambda: (
            {
                **documents.sensor_document(sensor, content().packs.get(sensor.pack)),
                "status": engine.sensor_status(sensor.ref),
            }
            for sensor in content().sensors.values()
        ),
        "packs": lambda: map(documents.pack_document, content().packs.values()),
        "runnertypes": lambda: map(documents.runner_document, content().runner_types.values()),
        "policies": lambda: map(documents.policy_document, content().policies.values()),
        "policytypes": lambda: (
            documents.policy_type_document(*item) for item in POLICY_TYPES.items()
        ),
        "ruletypes": lambda: map(documents.rule_type_document, RULE_TYPES),
        "actionalias": lambda: map(documents.alias_document, content().aliases.values()),
    }


def _handlers(kind: str, source: Source) -> tuple[Handler, Handler]:
    async def get_list(request: Request) -> Response:
        page = page_of(request, default=-1)
        wanted = {
            name: request.query_params[name]
            for name in FILTERS[kind]
            if name in request.query_params
        }
        if wanted.get("timer_type", INTERVAL) not in TIMERS:
            raise InvalidInputError(
                f"Timer type {wanted['timer_type']} not in supported types - {', '.join(sorted(TIMERS))}."
            )
        found = sorted((item for item in source() if _fits(item, wanted)), key=_place(request))
        if _descending(request):
            found.reverse()
        part: Sequence[dict[str, Any]] = found[page.offset :]
        if page.limit >= 0:
            part = part[: page.limit]
        return listing([shaped(request, document) for document in part], len(found), page)

    async def get_one(request: Request) -> Response:
        wanted = request.path_params["id"]
        for document in source():
            if wanted in (document["id"], document.get("ref")) or (
                "pack" not in document and wanted == document["name"]
            ):
                return answer(shaped(request, document))
        raise NotFoundError(f'Resource with a reference or id "{wanted}" not found')

    return get_list, get_one


def _place(request: Request) -> Callable[[dict[str, Any]], str]:
    """What a list is ordered by: `sort`, by default the ref."""
    field = request.query_params.get("sort", "").lstrip("+-")
    if field not in _ORDERS:
        raise InvalidInputError(
            f'The list cannot be sorted by "{field}". Use ref, name or pack, -ref for the reverse.'
        )
    return lambda document: str(
        (document.get(field) if field else None) or document.get("ref") or document["name"]
    )


def _descending(request: Request) -> bool:
    return request.query_params.get("sort", "").startswith("-") or flag(request, "sort_desc")


def _fits(document: dict[str, Any], wanted: dict[str, str]) -> bool:
    return all(value in _values(document, name) for name, value in wanted.items())


def _values(document: dict[str, Any], name: str) -> tuple[str, ...]:
    """What a filter is compared with; flags in both spellings that clients send."""
    found = document.get("type" if name == "timer_type" else name)
    if name == "trigger" and "trigger_types" in document:
        return tuple(document["trigger_types"])
    if isinstance(found, list):
        return tuple(str(item.get("name", "")) for item in found if isinstance(item, dict))
    if isinstance(found, bool):
        return (str(found), str(found).lower())
    if isinstance(found, dict):
        return tuple(str(found[key]) for key in ("ref", "type") if key in found)
    return (str(found),)


class _Views:
    """What a form for an action needs: all its parameters, and the text of its entry point."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def parameters(self, request: Request) -> Response:
        action = self._action(request)
        return answer({"parameters": self._engine.catalog.schemas(action)})

    async def entry_point(self, request: Request) -> Response:
        action = self._action(request)
        pack = self._engine.catalog.content.pack(action.pack)
        if not action.entry_point:
            raise NotFoundError(f"Action ref_or_id={action.ref} has no entry_point to output")
        file = Path(pack.path) / "actions" / action.entry_point
        try:
            return PlainTextResponse(file.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise NotFoundError(
                f"The entry point of {action.ref} cannot be read: {error.strerror}."
            ) from error

    def _action(self, request: Request) -> Any:
        wanted = request.path_params["id"]
        for action in self._engine.catalog.content.actions.values():
            if wanted in (action.ref, documents.content_id("action", action.ref)):
                return action
        raise NotFoundError(f'Action "{wanted}" cannot be found.')
