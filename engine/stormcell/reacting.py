"""What an event leads to: the rules that match, and the rows and executions that follow.

Nothing here writes or starts anything. An event is taken in as a value, `Taken`, which its caller
commits in one transaction and acts upon after that: with an answer to a sender (`Engine.dispatch`)
or together with what the event tells of, such as the end of an execution (`Driver`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from stormcell.catalog import Trigger
from stormcell.content.models import Action, Rule
from stormcell.core import SYSTEM_USER, Core, move
from stormcell.errors import Error, InvalidInputError, NotFoundError
from stormcell.ids import new_id
from stormcell.rules.enforcing import render_action_parameters
from stormcell.statuses import ExecutionStatus, TriggerInstanceStatus
from stormcell.store import Enforcement, Execution, TriggerInstance
from stormcell.store.events import insert_enforcement_op, insert_instance_op, instance_status_op
from stormcell.store.executions import insert_op
from stormcell.store.writing import Op
from stormcell.times import now

log = logging.getLogger(__name__)


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its consequences: rows to commit together, and executions to start then."""

    instance: TriggerInstance
    ops: list[Op]
    executions: list[Execution]


class _NotRenderedError(InvalidInputError):
    """A rule's parameters failed to render; `execution` is the failed run to keep."""

    def __init__(self, message: str, execution: Execution | None) -> None:
        super().__init__(message)
        self.execution = execution


class Reactor:
    """Takes events through the rules of the present catalog."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def is_wanted(self, trigger_type: str) -> bool:
        """Whether an enabled rule asks for a trigger of this type; what nobody asks for need not be
        made.
        """
        return trigger_type in self._core.catalog.wanted_types

    def take_in(
        self, trigger: str | Mapping[str, Any], payload: Any, trace: str = "", at: str | None = None
    ) -> Taken | None:
        """None where there is no such trigger; NotFoundError, InvalidInputError as
        `Engine.dispatch` says. `at`: when it came in, by default now."""
        catalog = self._core.catalog
        found = catalog.resolve_trigger(trigger)
        if found is None:
            log.debug("trigger.unwanted", extra={"trigger": str(trigger)})
            return None
        catalog.check_payload(found.type, payload)
        instance = TriggerInstance(
            id=new_id(),
            trigger_ref=found.ref,
            status=TriggerInstanceStatus.PROCESSED,
            occurred_at=at or now(),
            payload=payload,
            trace=trace,
        )
        ops, executions = self._consequences(found, instance)
        return Taken(
            instance=instance, ops=[insert_instance_op(instance), *ops], executions=executions
        )

    def take_again(self, instance: TriggerInstance) -> Taken:
        """Take an instance through the rules that is committed already."""
        try:
            found = self._core.catalog.resolve_trigger(instance.trigger_ref)
        except NotFoundError:
            found = None
        ops, executions = list[Op](), list[Execution]()
        if found is None:
            instance.status = TriggerInstanceStatus.PROCESSING_FAILED
        else:
            instance.status = TriggerInstanceStatus.PROCESSED
            ops, executions = self._consequences(found, instance)
        return Taken(
            instance=instance,
            ops=[instance_status_op(instance.id, instance.status), *ops],
            executions=executions,
        )

    def _consequences(
        self, trigger: Trigger, instance: TriggerInstance
    ) -> tuple[list[Op], list[Execution]]:
        """What an instance leads to: rows to write with it, and executions to start then."""
        try:
            index = self._core.catalog.rule_index
            result = index.match(
                trigger.type, trigger.parameters, instance.payload, self._core.lookups
            )
        except Exception:
            # The event is kept and said to have failed; the next one must not suffer for it.
            log.exception("trigger_instance.failed", extra={"trigger_instance_id": instance.id})
            instance.status = TriggerInstanceStatus.PROCESSING_FAILED
            return [], []
        ops: list[Op] = []
        executions: list[Execution] = []
        for failure in result.failures:
            ops.append(self._failed_enforcement(failure.rule, instance, failure.reason))
        for rule in result.matched:
            try:
                execution = self._enforce(rule, instance)
            except Error as error:
                failed = error.execution if isinstance(error, _NotRenderedError) else None
                if failed is not None:
                    ops.append(insert_op(failed))
                reason = str(error)
                ops.append(self._failed_enforcement(rule, instance, reason, failed))
                continue
            ops.append(insert_op(execution))
            ops.append(_enforcement_op(rule, instance, execution.id, None))
            executions.append(execution)
            if log.isEnabledFor(logging.INFO):
                log.info(
                    "rule.matched",
                    extra={
                        "rule_ref": rule.ref,
                        "trigger_instance_id": instance.id,
                        "execution_id": execution.id,
                    },
                )
        return ops, executions

    def _enforce(self, rule: Rule, instance: TriggerInstance) -> Execution:
        action = self._core.catalog.runnable_action(rule.action.ref)
        context: dict[str, Any] = {
            "trigger_instance": {"id": instance.id, "name": None},
            "rule": {"id": rule.ref, "name": rule.name, "ref": rule.ref},
            "user": SYSTEM_USER,
            "pack": action.pack,
        }
        if instance.trace:
            context["trace_context"] = {"trace_tag": instance.trace}
        catalog = self._core.catalog
        live = catalog.fixed_parameters(rule, action)
        if live is None:
            try:
                live = render_action_parameters(
                    rule,
                    instance.payload,
                    schemas=catalog.schemas(action),
                    action_context=context,
                    lookups=self._core.lookups,
                )
            except InvalidInputError as error:
                failed = self._failed_run(rule, action, context, instance, str(error))
                raise _NotRenderedError(str(error), failed) from error
            catalog.check_parameters(action, live)
        return self._core.new_execution(action, live, context=context, at=instance.occurred_at)

    def _failed_run(
        self,
        rule: Rule,
        action: Action,
        context: dict[str, Any],
        instance: TriggerInstance,
        reason: str,
    ) -> Execution | None:
        """What StackStorm leaves of a run whose parameters failed to render: an execution that
        failed, with the parameters as the rule has them; nothing where they do not fit either.
        Source: _invoke_action in st2reactor/rules/enforcer.py of StackStorm 3.9, whose enforcement
        does not name that execution; ours does."""
        given = rule.action.parameters
        try:
            self._core.catalog.check_parameters(action, given)
        except InvalidInputError:
            return None
        execution = self._core.new_execution(
            action, given, context=context, at=instance.occurred_at
        )
        move(execution, ExecutionStatus.FAILED)
        execution.ended_at = now()
        execution.result = {"error": reason, "traceback": "None\n"}
        return execution

    def _failed_enforcement(
        self,
        rule: Rule,
        instance: TriggerInstance,
        reason: str,
        execution: Execution | None = None,
    ) -> Op:
        self._core.metrics.enforcements_failed.inc()
        log.warning(
            "rule.failed",
            extra={"rule_ref": rule.ref, "trigger_instance_id": instance.id, "reason": reason},
        )
        return _enforcement_op(rule, instance, execution.id if execution else None, reason)


def _enforcement_op(
    rule: Rule, instance: TriggerInstance, execution_id: str | None, reason: str | None
) -> Op:
    return insert_enforcement_op(
        Enforcement(
            id=new_id(),
            trigger_instance_id=instance.id,
            rule_ref=rule.ref,
            execution_id=execution_id,
            failure_reason=reason,
            enforced_at=instance.occurred_at,
        )
    )
