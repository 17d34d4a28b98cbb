"""`/v1/traces`: what belongs together, from the event or the request that began it to all that ran.

StackStorm writes a trace beside everything it does. Here nothing more is written: events,
enforcements and executions name each other already, and a trace is read from them. One begins with
a trigger instance, or with an execution that somebody asked for; its id is that one's. Those that
carry the same tag are one trace.
Source of the form: st2common/models/api/trace.py and services/trace.py of StackStorm 3.9.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stormcell.api.answers import answer, filters_of, flag, listing, page_of, shaped
from stormcell.api.content_documents import content_id
from stormcell.engine import Engine
from stormcell.errors import NotFoundError
from stormcell.store import Execution
from stormcell.store.traces import Beginning

_FILTERS = ("trace_tag", "execution", "rule", "trigger_instance")


def routes(engine: Engine) -> list[Route]:
    api = _Traces(engine)
    return [
        Route("/v1/traces", api.list, methods=["GET"]),
        Route("/v1/traces/{id}", api.get, methods=["GET"]),
    ]


class _Traces:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.store

    async def list(self, request: Request) -> Response:
        page = page_of(request)
        self._store.writer.flush()
        filters = filters_of(request, _FILTERS)
        if "rule" in filters:
            filters["rule"] = self._rule_ref(filters["rule"])
        found, total = self._store.traces.find(
            filters,
            limit=page.limit,
            offset=page.offset,
            newest_first=not flag(request, "sort_asc"),
        )
        return listing(
            [shaped(request, self._document(beginning)) for beginning in found], total, page
        )

    async def get(self, request: Request) -> Response:
        self._store.writer.flush()
        found = self._store.traces.get(request.path_params["id"])
        if found is None:
            raise NotFoundError(
                f'Unable to identify resource with id "{request.path_params["id"]}".'
            )
        return answer(shaped(request, self._document(found)))

    def _document(self, beginning: Beginning) -> dict[str, Any]:
        roots = [self._store.executions.tree(root) for root in self._store.traces.roots(beginning)]
        causes = self._store.traces.enforcements(beginning)
        rule_of = {item.execution_id: item for item in causes}
        return {
            "id": beginning.id,
            "uid": f"trace:{beginning.id}:{beginning.tag}",
            "trace_tag": beginning.tag,
            "start_timestamp": beginning.at,
            "trigger_instances": [
                _component(instance.id, instance.trigger_ref, instance.occurred_at, {})
                for instance in self._store.traces.instances(beginning)
            ],
            "rules": [
                _component(
                    _rule_id(item.rule_ref),
                    item.rule_ref,
                    item.enforced_at,
                    {"type": "trigger_instance", "id": item.trigger_instance_id},
                )
                for item in causes
                if item.execution_id
            ],
            "action_executions": [
                _component(
                    execution.id,
                    execution.action_ref,
                    execution.started_at,
                    self._cause(execution, rule_of),
                )
                for tree in roots
                for execution in tree
            ],
        }

    def _rule_ref(self, id_or_ref: str) -> str:
        refs = self._engine.catalog.content.rules
        return next((ref for ref in refs if _rule_id(ref) == id_or_ref), id_or_ref)

    def _cause(self, execution: Execution, rule_of: dict[str | None, Any]) -> dict[str, str]:
        if execution.parent:
            return {"type": "action_execution", "id": execution.parent}
        by = rule_of.get(execution.id)
        return (
            {}
            if by is None
            else {"type": "rule", "id": f"{_rule_id(by.rule_ref)}:{by.trigger_instance_id}"}
        )


def _component(object_id: str, ref: str, at: str, cause: dict[str, str]) -> dict[str, Any]:
    return {"object_id": object_id, "ref": ref, "updated_at": at, "caused_by": cause}


def _rule_id(ref: str) -> str:
    return content_id("rule", ref)
