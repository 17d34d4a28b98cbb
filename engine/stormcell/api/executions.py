"""`/v1/executions`: list, get, run, cancel, pause, resume, re-run, output.

Source of behaviour: st2api/controllers/v1/actionexecutions.py of StackStorm 3.9.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from stormcell.api.access import caller_of
from stormcell.api.answers import (
    answer,
    fault,
    filters_of,
    flag,
    listing,
    newest_first,
    page_of,
    read_body,
    shaped,
    whole_number,
)
from stormcell.api.documents import execution_document
from stormcell.api.permissions import (
    action_uids,
    check_parameters_of,
    named,
    require,
    shows_secrets,
    speaks_for_others,
    user_to_run_as,
)
from stormcell.engine import Engine
from stormcell.errors import ConflictError, InvalidInputError, NotFoundError
from stormcell.running import NAMED_BY, STARTED_BY
from stormcell.statuses import ExecutionStatus
from stormcell.store import Execution

_FILTERS = (
    "status",
    "action",
    "pack",
    "rule",
    "runner",
    "trigger_instance",
    "user",
    "timestamp_gt",
    "timestamp_lt",
)
_IDLE_SECONDS = 5.0
_LONGEST_DELAY_MILLISECONDS = 100 * 365 * 86_400 * 1000
_SSE_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def routes(engine: Engine) -> list[Route]:
    api = _Executions(engine)
    return [
        Route("/v1/executions", api.find_many, methods=["GET"]),
        Route("/v1/executions", api.run, methods=["POST"]),
        Route("/v1/executions/{id}", api.get, methods=["GET"]),
        Route("/v1/executions/{id}", api.cancel, methods=["DELETE"]),
        Route("/v1/executions/{id}", api.change, methods=["PUT"]),
        Route("/v1/executions/{id}/re_run", api.rerun, methods=["POST"]),
        Route("/v1/executions/{id}/children", api.children, methods=["GET"]),
        Route("/v1/executions/{id}/output", api.output, methods=["GET"]),
        Route("/v1/executions/{id}/result", api.result, methods=["GET"]),
        Route("/v1/executions/{id}/attribute/{name}", api.attribute, methods=["GET"]),
    ]


class _Executions:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._core = engine.core

    async def find_many(self, request: Request) -> Response:
        page = page_of(request)
        filters: dict[str, str | None] = dict(filters_of(request, _FILTERS))
        if "trigger_instance" not in filters and "trigger_instance.id" in request.query_params:
            filters["trigger_instance"] = request.query_params["trigger_instance.id"]
        parent = request.query_params.get("parent")
        if parent is not None:
            filters["parent"] = None if parent in ("null", "None", "") else parent
        by_default = not flag(request, "sort_asc") and not (
            "timestamp_gt" in filters and not flag(request, "sort_desc")
        )
        order = newest_first(request, "start_timestamp", default=by_default)
        self._core.store.writer.flush()
        found, total = self._core.store.executions.find(
            filters, limit=page.limit, offset=page.offset, newest_first=order
        )
        return listing(self._documents(request, found), total, page)

    async def get(self, request: Request) -> Response:
        execution = self._find(request)
        return answer(self._documents(request, [execution])[0])

    async def run(self, request: Request) -> Response:
        body = await read_body(request)
        parameters = body.get("parameters") or {}
        if not isinstance(body.get("action"), str) or not isinstance(parameters, dict):
            raise InvalidInputError('The body must be {"action": "pack.name", "parameters": {…}}.')
        require(self._engine, request, "action_execute", *action_uids(body["action"]))
        user = user_to_run_as(request, body.get("user"))
        execution = await self._engine.request(
            body["action"],
            parameters,
            user=user,
            context={**self._traced(_context(request, body)), **named(request, user)},
            delay_seconds=_delay_seconds(body),
            templates=check_parameters_of(self._engine, request, body["action"], parameters),
        )
        return answer(execution_document(execution, self._core), 201)

    def _traced(self, context: dict[str, Any]) -> dict[str, Any]:
        """A run may be added to a trace there is by its id: it gets that one's tag."""
        trace = context.get("trace_context")
        if not isinstance(trace, dict) or not trace.get("id_"):
            return context
        found = self._core.store.traces.get(str(trace["id_"]))
        if found is None:
            raise InvalidInputError(f"There is no trace {trace['id_']} to add the execution to.")
        return {**context, "trace_context": {**trace, "trace_tag": found.tag}}

    async def cancel(self, request: Request) -> Response:
        execution_id = self._find(request).id
        try:
            execution = self._engine.trees.cancel(execution_id)
        except ConflictError as error:
            return fault(200, str(error))  # StackStorm answers so
        await self._core.store.writer.settled()
        return answer(execution_document(execution, self._core))

    async def change(self, request: Request) -> Response:
        body = await read_body(request)
        execution_id = self._find(request).id
        status = body.get("status")
        if status in (ExecutionStatus.PAUSING, ExecutionStatus.PAUSED):
            execution = self._engine.trees.pause(execution_id)
        elif status in (ExecutionStatus.RESUMING, ExecutionStatus.RUNNING):
            execution = self._engine.trees.resume(execution_id)
        elif status in (ExecutionStatus.CANCELING, ExecutionStatus.CANCELED):
            execution = self._engine.trees.cancel(execution_id)
        else:
            raise InvalidInputError(
                f'The status cannot be set to "{status}". Use pausing, resuming or canceled.'
            )
        await self._core.store.writer.settled()
        return answer(execution_document(execution, self._core))

    async def rerun(self, request: Request) -> Response:
        body = await read_body(request)
        earlier = self._find(request)
        tasks, reset = body.get("tasks") or [], body.get("reset") or []
        parameters = body.get("parameters") or {}
        if not (_are_names(tasks) and _are_names(reset) and isinstance(parameters, dict)):
            raise InvalidInputError("tasks and reset must be lists of names, parameters an object.")
        if parameters and tasks:
            raise InvalidInputError(
                "Parameters override is not supported when re-running task(s) for a workflow."
            )
        user = user_to_run_as(request, body.get("user"))
        execution = await self._engine.rerun(
            earlier.id,
            parameters,
            user=user,
            context=named(request, user),
            tasks=tasks,
            reset=reset,
            merge=not flag(request, "no_merge"),
            delay_seconds=_delay_seconds(body),
            templates=check_parameters_of(self._engine, request, earlier.action_ref, parameters),
        )
        return answer(execution_document(execution, self._core), 201)

    async def children(self, request: Request) -> Response:
        """Everything below an execution, depth first, as deep as `depth` says; -1 is all. Source:
        get_descendants in st2common/services/executions.py of StackStorm 3.9."""
        depth = whole_number(request, "depth", -1)
        found: list[Execution] = []
        self._descend(self._find(request).id, depth, found)
        return answer(self._documents(request, found))

    def _descend(self, execution_id: str, depth: int, found: list[Execution]) -> None:
        for child in self._core.store.executions.children(execution_id):
            found.append(child)
            if depth != 1:
                self._descend(child.id, depth - 1, found)

    async def attribute(self, request: Request) -> Response:
        document = execution_document(self._find(request), self._core)
        name = request.path_params["name"]
        if name not in document:
            raise NotFoundError(f'The execution has no attribute "{name}".')
        return answer(document[name])

    async def result(self, request: Request) -> Response:
        """The result alone, which the client asks for where it is large; null before there is one."""
        return answer(execution_document(self._find(request), self._core).get("result"))

    async def output(self, request: Request) -> Response:
        execution = self._find(request)
        wanted = request.query_params.get("output_type")
        return StreamingResponse(
            self._follow(execution, wanted), media_type="text/event-stream", headers=_SSE_HEADERS
        )

    async def _follow(self, execution: Execution, wanted: str | None) -> AsyncIterator[str]:
        """What was written so far, then what comes, until the execution has ended."""
        after = 0
        with self._core.stream.listening() as listener:
            events = listener.events(idle_seconds=_IDLE_SECONDS)
            while True:
                self._core.store.writer.flush()
                ended = self._engine.trees.find(execution.id).is_finished
                for chunk_id, stream, at, data in self._core.store.executions.output(
                    execution.id, after=after
                ):
                    after = chunk_id
                    if wanted in (None, "all", stream):
                        await asyncio.sleep(0)  # else nobody notices that the client has left
                        yield _chunk(execution, chunk_id, stream, at, data)
                if ended:
                    break
                if await anext(events, _closed) is _closed:
                    return
        yield "event: EOF\ndata: ''\n\n"

    def _find(self, request: Request) -> Execution:
        return self._engine.trees.find(request.path_params["id"])

    def _documents(self, request: Request, executions: list[Execution]) -> list[dict[str, Any]]:
        children = self._core.store.executions.child_ids([execution.id for execution in executions])
        return [
            shaped(
                request,
                execution_document(
                    execution,
                    self._core,
                    children.get(execution.id),
                    show_secrets=shows_secrets(self._engine, request),
                ),
            )
            for execution in executions
        ]


_closed: Any = object()


def _chunk(execution: Execution, number: int, stream: str, at: str, data: str) -> str:
    document = {
        "id": str(number),
        "execution_id": execution.id,
        "action_ref": execution.action_ref,
        "runner_ref": execution.runner_type,
        "timestamp": at,
        "output_type": stream,
        "data": data,
    }
    return (
        f"event: st2.execution.output__create\ndata: {msgspec.json.encode(document).decode()}\n\n"
    )


def _context(request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller adds to the context: the body's, and the header st2-context that actions of
    StackStorm send.
    """
    header = request.headers.get("st2-context")
    try:
        sent = msgspec.json.decode(header) if header else {}
    except msgspec.DecodeError as error:
        raise InvalidInputError("The header st2-context is not JSON.") from error
    given = body.get("context") or {}
    if not isinstance(sent, dict) or not isinstance(given, dict):
        raise InvalidInputError("The context must be an object.")
    # The engine's own keys decide what an execution hangs on and may do; no caller sets them.
    own = {"trigger_instance", "rule", "parent", "user", "pack", "re-run", "chain", "orquesta"}
    own |= {"notify", "policies", "action_alias_ref", NAMED_BY, STARTED_BY}
    if not speaks_for_others(request):
        own |= {"api_user", "source_channel", "inquiry"}
    context = {key: value for key, value in {**given, **sent}.items() if key not in own}
    asking = caller_of(request).execution_id
    return {**context, STARTED_BY: asking} if asking else context


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _delay_seconds(body: Mapping[str, Any]) -> float:
    """StackStorm's delay is in milliseconds."""
    delay = body.get("delay") or 0
    if not isinstance(delay, int) or not 0 <= delay <= _LONGEST_DELAY_MILLISECONDS:
        raise InvalidInputError(
            "delay must be a number of milliseconds, at least 0 and at most 100 years."
        )
    return delay / 1000
