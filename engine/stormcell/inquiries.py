"""Inquiries: executions that wait for a person's answer (`core.ask`, runner `inquirer`).

An inquiry is an execution with status `pending` whose result says what is asked and of whom; an
answer that fits ends it as succeeded, and whatever conducts it goes on. Its time to live is kept by
`Driver`.
Source of behaviour and of the sentences: st2common/services/inquiry.py and exceptions/inquiry.py of
StackStorm 3.9.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stormcell.core import SYSTEM_USER, Core
from stormcell.errors import ForbiddenError, InvalidInputError, NotFoundError
from stormcell.expressions.schemas import validate_object
from stormcell.rbac import Roles
from stormcell.running import RunResult
from stormcell.statuses import ExecutionStatus
from stormcell.store import Execution
from stormcell.trees import Trees

RUNNER = "inquirer"


class Inquiry(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, and of whom; the fields StackStorm's API answers with."""

    id: str
    """The execution's id."""
    route: str
    ttl: int
    """Minutes from the asking until it times out; 0 or less is never."""
    users: list[str]
    roles: list[str]
    schema: dict[str, Any]
    """JSON schema of the answer, in StackStorm's dialect."""


class Inquiries:
    """Finds and answers inquiries."""

    def __init__(self, core: Core, trees: Trees, roles: Roles) -> None:
        self._core = core
        self._trees = trees
        self._roles = roles

    def waiting(self) -> list[Inquiry]:
        """All that wait for an answer, oldest first."""
        store = self._core.store
        store.writer.flush()
        found = store.executions.unfinished([ExecutionStatus.PENDING])
        return [self._inquiry(execution) for execution in found if execution.runner_type == RUNNER]

    def get(self, inquiry_id: str) -> Inquiry:
        """One that waits. NotFoundError for no execution; InvalidInputError for one that is no
        inquiry or does not wait any more (StackStorm's API answers 400 to both)."""
        return self._inquiry(self._waiting(inquiry_id))

    async def respond(self, inquiry_id: str, response: Any, user: str) -> Execution:
        """Answer an inquiry; returns when that is on disk. ForbiddenError where it asks others,
        InvalidInputError where the answer does not fit its schema, and the errors of `get`."""
        execution = self._waiting(inquiry_id)
        inquiry = self._inquiry(execution)
        self._check_user(inquiry, user or SYSTEM_USER)
        try:
            if not isinstance(response, dict):
                raise InvalidInputError(f"{response!r} is not of type 'object'")
            validate_object(response, inquiry.schema)
        except InvalidInputError as error:
            raise InvalidInputError(
                f'Response for inquiry "{inquiry_id}" did not pass schema validation. {error}'
            ) from error
        # What the schema marks as secret is sealed like any other secret, and goes on into the
        # workflow sealed.
        sealer = self._core.store.sealer
        sealed = sealer.seal_by(inquiry.schema, response)
        result = {**(execution.result or {}), "response": sealed}
        context = {"inquiry": {"answered_by": user or SYSTEM_USER}}
        self._trees.ended(
            execution, RunResult(status=ExecutionStatus.SUCCEEDED, result=result, context=context)
        )
        await self._core.store.writer.settled()
        return execution

    def _waiting(self, inquiry_id: str) -> Execution:
        execution = self._trees.find(inquiry_id)
        if execution.runner_type != RUNNER:
            raise InvalidInputError(f'Action execution "{inquiry_id}" is not an inquiry.')
        if execution.status is ExecutionStatus.TIMEOUT:
            raise InvalidInputError(f'Inquiry "{inquiry_id}" timed out and cannot be responded to.')
        if execution.is_finished:
            raise InvalidInputError(f'Inquiry "{inquiry_id}" has already been responded to.')
        if execution.status is not ExecutionStatus.PENDING:
            raise NotFoundError(
                f'Inquiry "{inquiry_id}" is not asked yet; it is {execution.status}.'
            )
        return execution

    def _inquiry(self, execution: Execution) -> Inquiry:
        result = self._core.store.sealer.open(execution.result) or {}
        return Inquiry(
            id=execution.id,
            route=str(result.get("route") or ""),
            ttl=ttl_minutes(result),
            users=list(result.get("users") or []),
            roles=list(result.get("roles") or []),
            schema=dict(result.get("schema") or {}),
        )

    def _check_user(self, inquiry: Inquiry, user: str) -> None:
        allowed = not inquiry.users or user in inquiry.users
        if inquiry.roles:
            allowed = allowed and not self._roles.of(user).isdisjoint(inquiry.roles)
        if not allowed:
            raise ForbiddenError(
                f'User "{user}" does not have permission to respond to inquiry "{inquiry.id}".'
            )


def ttl_minutes(result: Any) -> int:
    """The time to live in an inquiry's result."""
    ttl = result.get("ttl") if isinstance(result, dict) else None
    return ttl if isinstance(ttl, int) else 0
