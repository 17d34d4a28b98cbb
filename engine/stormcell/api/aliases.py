"""`/v1/actionalias/match`, `/v1/actionalias/help` and `/v1/aliasexecution`: ChatOps and `st2
action-alias`.

Source of behaviour: st2api/controllers/v1/{actionalias,aliasexecution}.py of StackStorm 3.9.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.access import user_of
from stormcell.api.alias_formats import compiled, displays, matching, parameters_of, representations
from stormcell.api.answers import answer, read_body
from stormcell.api.content_documents import alias_document, content_id
from stormcell.api.documents import execution_document
from stormcell.api.permissions import action_uids, check_parameters_of, name_in_chat, named, require
from stormcell.content.models import ActionAlias
from stormcell.engine import Engine
from stormcell.errors import InvalidInputError, NotFoundError
from stormcell.expressions.budget import EXPRESSION_SECONDS, Scope
from stormcell.expressions.datastore import datastore_context
from stormcell.expressions.errors import ExpressionError
from stormcell.expressions.jinja import render_values

_CREATED = 201


def routes(engine: Engine) -> list[Route]:
    api = _Aliases(engine)
    return [
        Route("/v1/actionalias/match", api.match, methods=["POST"]),
        Route("/v1/actionalias/help", api.help, methods=["GET"]),
        Route("/v1/aliasexecution", api.execute, methods=["POST"]),
        Route("/v1/aliasexecution/match_and_execute", api.match_and_execute, methods=["POST"]),
    ]


class _Aliases:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def match(self, request: Request) -> Response:
        found = matching(_text(await read_body(request), "command"), self._aliases())
        document = alias_document(found.alias)
        return answer(
            {"actionalias": document, "display": found.display, "representation": found.text}
        )

    async def help(self, request: Request) -> Response:
        """`{available, helpstrings}`; `filter` is an expression on the line, `pack` one pack's,
        limit 0 is all.
        """
        query = request.query_params
        limit, offset = _count(query.get("limit")), _count(query.get("offset"))
        with Scope(EXPRESSION_SECONDS):
            try:
                wanted = re.compile(query.get("filter", ""), re.IGNORECASE)
            except (re.error, OverflowError) as error:
                raise InvalidInputError(
                    f"The filter is not a regular expression: {error}."
                ) from error
            lines = [
                {"pack": alias.pack, "display": display, "description": alias.description}
                for alias in self._aliases()
                if alias.enabled and query.get("pack") in (None, "", alias.pack)
                for display in displays(alias)
                if wanted.search(display)
            ]
        part = lines[offset : offset + limit if limit > 0 else None]
        return answer({"available": len(lines), "helpstrings": part})

    async def execute(self, request: Request) -> Response:
        """Hubot's call: `{name, format, command, user, source_channel, …}`."""
        body = await read_body(request)
        name = body.get("name")
        if not name:
            raise InvalidInputError('Alias execution "name" is required')
        alias = next((item for item in self._aliases() if name in (item.name, item.ref)), None)
        if alias is None:
            raise NotFoundError(f'Unable to identify action alias with name "{name}".')
        form = str(body.get("format") or "")
        if form not in [item.text for item in representations(alias)]:
            raise InvalidInputError(
                f'Format string "{form}" is not available on the alias "{alias.name}"'
            )
        results = await self._run(
            request, alias, form, _text(body, "command"), body, multiple=False
        )
        return answer(results[0], _CREATED)

    async def match_and_execute(self, request: Request) -> Response:
        body = await read_body(request)
        command = _text(body, "command")
        found = matching(command, self._aliases())
        results = await self._run(
            request, found.alias, found.text, command, body, multiple=found.match_multiple
        )
        return answer({"results": results}, _CREATED)

    async def _run(
        self,
        request: Request,
        alias: ActionAlias,
        form: str,
        command: str,
        body: dict[str, Any],
        *,
        multiple: bool,
    ) -> list[dict[str, Any]]:
        if not alias.enabled:
            raise InvalidInputError(f'Action alias with name "{alias.name}" is disabled.')
        require(self._engine, request, "action_execute", *action_uids(alias.action_ref))
        context = {
            "action_alias_ref": {"id": content_id("action_alias", alias.ref), "name": alias.name},
            "api_user": name_in_chat(request, body.get("user")),
            "user": user_of(request),
            "source_channel": body.get("source_channel"),
            **named(request, user_of(request)),
        }
        fixed = self._immutable(alias, context)
        results: list[dict[str, Any]] = []
        for given in parameters_of(form, command, match_multiple=multiple):
            beside = given.keys() - compiled(form).expression.groupindex.keys()
            check_parameters_of(self._engine, request, alias.action_ref, beside)
            overridden = sorted(fixed.keys() & given.keys())
            if overridden:
                raise InvalidInputError(
                    f"Immutable arguments cannot be overriden: {','.join(overridden)}"
                )
            execution = await self._engine.request(
                alias.action_ref,
                self._listed(alias, {**given, **fixed}),
                user=user_of(request),
                templates=False,  # as in StackStorm: what people type is no template
                context={**context, "notify": _notify(body)} if _route(body) else context,
            )
            document = execution_document(execution, self._engine.core)
            results.append(
                _acknowledged(alias, {"execution": document, "actionalias": alias_document(alias)})
            )
        return results

    def _immutable(self, alias: ActionAlias, context: dict[str, Any]) -> dict[str, Any]:
        if not alias.immutable_parameters:
            return {}
        scope = {
            "st2kv": datastore_context(self._engine.core.lookups, str(context["user"])),
            **context,
        }
        try:
            return render_values(alias.immutable_parameters, scope)
        except ExpressionError as error:
            raise InvalidInputError(str(error)) from error

    def _listed(self, alias: ActionAlias, given: dict[str, Any]) -> dict[str, Any]:
        """In an alias a list is typed as `a, b`; StackStorm parts it at the commas before anything
        else.
        """
        catalog = self._engine.catalog
        action = catalog.content.actions.get(alias.action_ref)
        schemas = catalog.schemas(action) if action is not None else {}
        return {
            name: [part.strip() for part in value.split(",")]
            if isinstance(value, str) and schemas.get(name, {}).get("type") == "array"
            else value
            for name, value in given.items()
        }

    def _aliases(self) -> list[ActionAlias]:
        return sorted(self._engine.catalog.content.aliases.values(), key=lambda alias: alias.ref)


def _acknowledged(alias: ActionAlias, result: dict[str, Any]) -> dict[str, Any]:
    """Add the `message` and `extra` that the alias's `ack` asks for; what cannot be rendered says
    so in its place.
    """
    for source, target in (("format", "message"), ("extra", "extra")):
        if source not in alias.ack:
            continue
        try:
            result[target] = render_values({"it": alias.ack[source]}, result)["it"]
        except ExpressionError as error:
            result[target] = f'Cannot render "{source}" in field "ack" for alias. {error}'
    return result


def _route(body: dict[str, Any]) -> Any:
    return body.get("notification_route") or body.get("notification_channel")


def _notify(body: dict[str, Any]) -> dict[str, Any]:
    """Who is told at the end: the part `on-complete` of a notify section."""
    data = {name: body.get(name) for name in ("user", "source_channel", "source_context")}
    return {"on-complete": {"routes": [_route(body)], "data": data}}


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(f'The body must have "{name}", what was typed.')
    return value


def _count(text: str | None) -> int:
    try:
        return max(0, int(text or 0))
    except ValueError as error:
        raise InvalidInputError(f'limit and offset must be whole numbers, not "{text}".') from error
