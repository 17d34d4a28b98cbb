"""`/v1/triggerinstances`, `/v1/ruleenforcements`, `/v1/webhooks`: what came in and what it led to."""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stormcell.api.access import BodyTooLargeError
from stormcell.api.answers import (
    answer,
    fault_of,
    filters_of,
    listing,
    newest_first,
    page_of,
    read_body,
    shaped,
)
from stormcell.api.content_documents import content_id
from stormcell.api.documents import enforcement_document, instance_document
from stormcell.api.permissions import require
from stormcell.catalog import WEBHOOK_TYPE
from stormcell.engine import Engine
from stormcell.errors import InvalidInputError, NotFoundError

_INSTANCE_FILTERS = ("trigger", "status", "timestamp_gt", "timestamp_lt")
_ENFORCEMENT_FILTERS = (
    "rule_ref",
    "execution",
    "trigger_instance",
    "enforced_at_gt",
    "enforced_at_lt",
)
_CREDENTIAL_HEADERS = frozenset({"st2-api-key", "x-auth-token", "authorization", "cookie"})
_ACCEPTED = 202
WEBHOOKS = "/v1/webhooks/"


def routes(engine: Engine) -> list[Route]:
    api = _Events(engine)
    return [
        Route("/v1/triggerinstances", api.instances, methods=["GET"]),
        Route("/v1/triggerinstances/{id}", api.instance, methods=["GET"]),
        Route("/v1/triggerinstances/{id}/re_emit", api.re_emit, methods=["POST"]),
        Route("/v1/ruleenforcements", api.enforcements, methods=["GET"]),
        Route("/v1/ruleenforcements/views", api.enforcements, methods=["GET"]),
        Route("/v1/ruleenforcements/{id}", api.enforcement, methods=["GET"]),
        Route("/v1/ruleenforcements/views/{id}", api.enforcement, methods=["GET"]),
        Route("/v1/webhooks", api.webhooks, methods=["GET"]),
        Route("/v1/webhooks/{name:path}", api.webhook, methods=["GET"]),
        Route("/v1/webhooks/st2", api.emit, methods=["POST"]),
        Route(f"{WEBHOOKS}{{name:path}}", api.receive, methods=["POST"]),
    ]


class _Events:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.store

    async def instances(self, request: Request) -> Response:
        page = page_of(request)
        self._store.writer.flush()
        found, total = self._store.events.find_instances(
            filters_of(request, _INSTANCE_FILTERS),
            limit=page.limit,
            offset=page.offset,
            newest_first=newest_first(request, "occurrence_time"),
        )
        return listing(
            [shaped(request, instance_document(instance)) for instance in found], total, page
        )

    async def instance(self, request: Request) -> Response:
        found = self._store.events.instance(request.path_params["id"])
        if found is None:
            raise NotFoundError(f"Trigger instance {request.path_params['id']} cannot be found.")
        return answer(shaped(request, instance_document(found)))

    async def re_emit(self, request: Request) -> Response:
        earlier = self._store.events.instance(request.path_params["id"])
        if earlier is None:
            raise NotFoundError(f"Trigger instance {request.path_params['id']} cannot be found.")
        payload = earlier.payload
        if isinstance(payload, dict):
            payload = {**payload, "__context": {"original_id": earlier.id}}
        again = await self._engine.dispatch(earlier.trigger_ref, payload, trace=earlier.trace)
        # StackStorm says only "re-sent"; which instance it became is what a person asks for next.
        body = {
            "message": f"Trigger instance {earlier.id} successfully re-sent.",
            "payload": payload,
        }
        return answer({**body, "trigger_instance_id": again.id if again else None}, _ACCEPTED)

    async def enforcements(self, request: Request) -> Response:
        page = page_of(request)
        self._store.writer.flush()
        found, total = self._store.events.find_enforcements(
            filters_of(request, _ENFORCEMENT_FILTERS),
            limit=page.limit,
            offset=page.offset,
            newest_first=newest_first(request, "enforced_at"),
        )
        return listing([shaped(request, enforcement_document(item)) for item in found], total, page)

    async def enforcement(self, request: Request) -> Response:
        found = self._store.events.enforcement(request.path_params["id"])
        if found is None:
            raise NotFoundError(f"Rule enforcement {request.path_params['id']} cannot be found.")
        return answer(enforcement_document(found))

    async def emit(self, request: Request) -> Response:
        """`{trigger, payload}` by hand; the answer repeats it with the id of the trigger instance."""
        body = await read_body(request)
        trigger, payload = body.get("trigger"), body.get("payload")
        if not isinstance(trigger, str | dict) or not isinstance(payload, dict):
            raise InvalidInputError('The body must be {"trigger": "pack.type", "payload": {…}}.')
        instance = await self._engine.dispatch(trigger, payload, trace=_trace(request, "st2"))
        if instance is None:
            raise InvalidInputError(
                f"There is no trigger for {trigger}: the type takes parameters, and no rule asks for these. "
                'Name it as {"type": …, "parameters": {…}} as a rule does.'
            )
        headers = {"X-Trigger-Instance-Id": instance.id}
        return answer({"trigger": trigger, "payload": payload}, _ACCEPTED, headers)

    async def receive(self, request: Request) -> Response:
        name = request.path_params["name"]
        return await _received(self._engine, name, request)

    async def webhooks(self, request: Request) -> Response:
        documents = [self._document(name) for name in sorted(self._engine.catalog.webhooks)]
        return listing(documents, len(documents), page_of(request))

    async def webhook(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._engine.catalog.webhooks:
            raise NotFoundError(f'Webhook "{name}" not found.')
        return answer(self._document(name))

    def _document(self, name: str) -> dict[str, Any]:
        return {
            "id": content_id("webhook", name),
            "name": name,
            "url": name,
            "type": {"ref": WEBHOOK_TYPE},
            "parameters": {"url": name},
        }


class WebhookCalls:
    """POST /v1/webhooks/NAME as a bare ASGI application, past the routes: whole registries call
    here, and finding the way through a hundred routes costs more than taking the event in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @staticmethod
    def takes(scope: Scope) -> bool:
        path: str = scope["path"]
        return scope["method"] == "POST" and path.startswith(WEBHOOKS) and path != f"{WEBHOOKS}st2"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await _received(self._engine, scope["path"][len(WEBHOOKS) :], request)
        except BodyTooLargeError:
            raise
        except Exception as error:  # noqa: BLE001 - as at the routes: each becomes an answer
            response = fault_of(error)
        await response(scope, receive, send)


async def _received(engine: Engine, name: str, request: Request) -> Response:
    require(engine, request, "webhook_send", f"webhook:{name}")
    triggers = engine.catalog.webhooks.get(name)
    if not triggers:
        raise NotFoundError(
            f'Webhook "{name}" not found. A rule with trigger {WEBHOOK_TYPE} and its url makes one.'
        )
    body = await _webhook_body(request)
    headers = {
        key: value for key, value in request.headers.items() if key not in _CREDENTIAL_HEADERS
    }
    payload: dict[str, Any] = {
        "headers": {_title(key): value for key, value in headers.items()},
        "headers_lower": headers,
    }
    payload["body"] = body
    trace, instances = _trace(request, name), []
    for trigger in triggers:
        instances.append(await engine.dispatch(trigger.ref, payload, trace=trace))
    answered = {"X-Trigger-Instance-Id": ",".join(one.id for one in instances if one)}
    return answer(body, _ACCEPTED, answered)


async def _webhook_body(request: Request) -> Any:
    kind = request.headers.get("content-type", "application/json").split(";")[0].strip()
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
    if kind != "application/json" and not kind.endswith("+json"):
        raise InvalidInputError(f'Webhooks take application/json or form data, not "{kind}".')
    return await read_body(request, kind=object)


def _trace(request: Request, hook: str) -> str:
    """The caller's tag, or one of its own. Source: _create_trace_context in
    st2api/controllers/v1/webhooks.py of StackStorm 3.9."""
    return request.headers.get("st2-trace-tag") or f"webhook-{hook}-{uuid.uuid4().hex}"


@lru_cache(maxsize=1024)
def _title(header: str) -> str:
    return "-".join(part.capitalize() for part in header.split("-"))
