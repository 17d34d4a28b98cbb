"""Calls that change content: register, rules and actions made by hand, and what is switched on and
off.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.answers import answer, read_body
from stormcell.api.content_documents import (
    action_document,
    content_id,
    rule_document,
    sensor_document,
)
from stormcell.api.permissions import action_uids, check_parameters_of, require
from stormcell.catalog import WEBHOOK_TYPE
from stormcell.content.models import Rule
from stormcell.content.registry import Content
from stormcell.content.rules_of_kinds import POLICY_TYPES, RULE_TYPES
from stormcell.contents import Contents, Kind, rule_of
from stormcell.engine import Engine
from stormcell.errors import InvalidInputError, NotFoundError


def routes(engine: Engine, contents: Contents) -> list[Route]:
    api = _Changes(engine, contents)
    return [
        Route("/v1/packs/register", api.register, methods=["POST"]),
        Route("/v1/rules", api.create_rule, methods=["POST"]),
        Route("/v1/rules/{id}", api.change_rule, methods=["PUT"]),
        Route("/v1/rules/{id}", api.delete_rule, methods=["DELETE"]),
        Route("/v1/actions", api.create_action, methods=["POST"]),
        Route("/v1/actions/{id}", api.change_action, methods=["PUT"]),
        Route("/v1/actions/{id}", api.delete_action, methods=["DELETE"]),
        Route("/v1/sensortypes/{id}", api.change_sensor, methods=["PUT"]),
    ]


class _Changes:
    def __init__(self, engine: Engine, contents: Contents) -> None:
        self._engine = engine
        self._contents = contents

    async def register(self, request: Request) -> Response:
        """Read the files again. `packs` and `types` narrow what is counted; what is read is always
        everything.
        """
        body = await read_body(request)
        packs, types = body.get("packs") or [], body.get("types") or []
        if not isinstance(packs, list) or not isinstance(types, list):
            raise InvalidInputError("packs and types must be lists of names.")
        await self._contents.reload()
        content = self._engine.catalog.content
        for ref in packs:
            if ref not in content.packs:
                raise InvalidInputError(
                    f'Pack "{ref}" not found on disk: serve was given {", ".join(content.packs)}.'
                )
        counts = _counts(content, [str(ref) for ref in packs])
        wanted = {f"{str(kind).rstrip('s')}s" if kind != "policy" else "policies" for kind in types}
        return answer(
            {kind: count for kind, count in counts.items() if not wanted or wanted & {kind, "alls"}}
        )

    async def create_rule(self, request: Request) -> Response:
        body = await read_body(request)
        made = rule_of(body)
        require(
            self._engine,
            request,
            "rule_create",
            f"rule:{made.pack}:{made.name}",
            f"pack:{made.pack}",
        )
        self._check_rule(request, made)
        rule = await self._contents.put_rule(body)
        return answer(rule_document(rule), 201)

    async def change_rule(self, request: Request) -> Response:
        """The whole body, as StackStorm takes it. Where only `enabled` differs a pack's rule stays
        its files'.
        """
        rule = self._find("rules", request)
        body = await read_body(request)
        present = rule_document(rule)
        if _only_switched(present, body):
            await self._contents.set_enabled(
                "rules", rule.ref, bool(body.get("enabled", rule.enabled))
            )
        else:
            body = {**present, **body}
            self._check_rule(request, rule_of(body))
            await self._contents.put_rule(body, instead_of=rule.ref)
        return answer(rule_document(self._engine.catalog.content.rules[rule.ref]))

    def _check_rule(self, request: Request, rule: Rule) -> None:
        """Whoever makes a rule has to have its webhook and its action: it does not run as them.
        Source: assert_user_has_rule_trigger_and_action_permission of st2rbac_backend/utils.py."""
        if rule.trigger.type == WEBHOOK_TYPE:
            url = str(rule.trigger.parameters.get("url", "")).strip("/")
            require(self._engine, request, "webhook_create", f"webhook:{url}")
        require(self._engine, request, "action_execute", *action_uids(rule.action.ref))
        check_parameters_of(self._engine, request, rule.action.ref, rule.action.parameters)

    async def delete_rule(self, request: Request) -> Response:
        await self._contents.delete("rules", self._find("rules", request))
        return Response(status_code=204)

    async def create_action(self, request: Request) -> Response:
        body = await read_body(request)
        pack, name = body.get("pack") or "default", body.get("name")
        require(self._engine, request, "action_create", f"action:{pack}:{name}", f"pack:{pack}")
        action = await self._contents.put_action(body)
        return answer(action_document(action), 201)

    async def change_action(self, request: Request) -> Response:
        action = self._find("actions", request)
        body = await read_body(request)
        present = action_document(action)
        if _only_switched(present, body):
            await self._contents.set_enabled(
                "actions", action.ref, bool(body.get("enabled", action.enabled))
            )
        else:
            await self._contents.put_action({**present, **body}, instead_of=action.ref)
        return answer(action_document(self._engine.catalog.content.actions[action.ref]))

    async def delete_action(self, request: Request) -> Response:
        """The files of a pack stay; `remove_files` of the body has nothing to remove for what the
        API made.
        """
        await self._contents.delete("actions", self._find("actions", request))
        return Response(status_code=204)

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


def _only_switched(present: dict[str, Any], body: dict[str, Any]) -> bool:
    changed = {name for name, value in body.items() if name in present and present[name] != value}
    if "enabled" in changed and not isinstance(body["enabled"], bool):
        raise InvalidInputError("enabled must be true or false.")
    return changed <= {"enabled", "id", "uid", "metadata_file"}


def _counts(content: Content, packs: list[str]) -> dict[str, int]:
    """How much was registered, by StackStorm's words for the kinds."""
    kinds: dict[str, dict[str, Any]] = {
        "actions": content.actions,
        "aliases": content.aliases,
        "policies": content.policies,
        "rules": content.rules,
        "sensors": content.sensors,
        "triggers": content.trigger_types,
    }
    counts = {
        kind: sum(1 for item in items.values() if not packs or item.pack in packs)
        for kind, items in kinds.items()
    }
    return {
        "runners": len(content.runner_types),
        "rule_types": len(RULE_TYPES),
        "policy_types": len(POLICY_TYPES),
        **counts,
    }
