"""The engine: takes events in, matches rules, starts and steers executions; everything else hangs
on it.

An event is matched before it is committed and committed, with the executions it leads to, in one
transaction; a dispatch returns after that. So whatever is acknowledged is on disk together with its
consequences.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from stormcell.catalog import Catalog
from stormcell.configs import Configs
from stormcell.core import SYSTEM_USER, Core
from stormcell.errors import Error, InvalidInputError, NotFoundError, TemporaryError
from stormcell.expressions import budget
from stormcell.expressions.params import render_live_parameters
from stormcell.inquiries import Inquiries
from stormcell.lookups import EngineLookups
from stormcell.rbac import FOLDER, Roles
from stormcell.reacting import Reactor, Taken
from stormcell.runners.registry import Runners
from stormcell.store import Execution, Store, TriggerInstance
from stormcell.store.executions import insert_op
from stormcell.store.writing import by_statement
from stormcell.stream import EventStream
from stormcell.timers import TIMERS, Timers, utc_now
from stormcell.times import format_instant, now
from stormcell.trees import Trees

log = logging.getLogger(__name__)

_HOUSEKEEPING_SECONDS = 60.0
_PRUNING_SECONDS = 3600.0


class Engine:
    """Use it from one event loop. `start` after making it, `stop` before the loop ends."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        lookups: EngineLookups,
        runners: Runners,
        *,
        configs: Configs,
        stream: EventStream | None = None,
        concurrency: Mapping[str, int] | None = None,
        clock: Callable[[], datetime] = utc_now,
        keep_days: int | None = None,
        validate_output: bool = False,
    ) -> None:
        """`keep_days`: history that ended longer ago is removed, at the start and each hour; None
        keeps all.
        """
        self.roles = Roles(store.folder / FOLDER, report=_role_refused)
        self.core = Core(
            store, catalog, lookups, stream or EventStream(), validate_output=validate_output
        )
        self._reactor = Reactor(self.core)
        self.trees = Trees(self.core, self._reactor, runners, concurrency or {})
        self.inquiries = Inquiries(self.core, self.trees, self.roles)
        self.timers = Timers(self._on_timer, clock=clock)
        self.configs = configs
        self.sensor_status: Callable[[str], dict[str, Any] | None] = _unwatched
        """Sensor ref -> how it is, where sensors are watched over."""
        self._keep_days = keep_days
        self._runners = runners
        self._housekeeper: asyncio.Task[None] | None = None

    @property
    def store(self) -> Store:
        return self.core.store

    @property
    def catalog(self) -> Catalog:
        return self.core.catalog

    async def start(self) -> None:
        """Go on with what an earlier process left, then be ready."""
        budget.start()
        for instance in self.store.events.unfinished_instances():
            taken = self._reactor.take_again(instance)
            await self.store.writer.submit(taken.ops)
            self.trees.react(taken)
        recovered = self.trees.recover()
        if recovered:
            log.info("engine.recovered", extra={"executions": recovered})
        self.timers.set_triggers(self.catalog.asked_triggers(TIMERS))
        self.timers.start()
        self._housekeeper = asyncio.create_task(self._keep_house(), name="housekeeping")

    async def stop(self, *, grace_seconds: float = 10.0) -> None:
        """Take nothing more, let what runs finish for a while, and write down what there is."""
        self.core.stopping = True
        if self._housekeeper is not None:
            self._housekeeper.cancel()
        await self.timers.stop()
        await self.trees.leaves.stop(grace_seconds=grace_seconds)
        await self._runners.close()
        self.trees.stop()
        self.core.stream.close()
        self.store.writer.flush()
        budget.stop()

    # Events

    async def dispatch(
        self, trigger: str | Mapping[str, Any], payload: Any, *, trace: str = ""
    ) -> TriggerInstance | None:
        """Take an event in; returns when it is on disk with all it leads to.

        `trigger` is a ref or `{type, parameters}`. None where there is no such trigger (a type with
        parameters that no rule asks for). NotFoundError for an unknown name, InvalidInputError for
        a payload that does not fit, TemporaryError where it could not be written: nothing happened
        then, and it may be sent again.
        """
        taken = self._take_in(trigger, payload, trace)
        if taken is None:
            return None
        # Whoever asks may be gone before the write is done; what is written is acted upon anyway.
        await self.store.writer.submit(taken.ops, then=partial(self.trees.react, taken))
        return taken.instance

    async def dispatch_many(
        self, events: Iterable[tuple[str | Mapping[str, Any], Any, str]]
    ) -> None:
        """Take in what came together, (trigger, payload, trace) each, in one transaction: all or,
        where that cannot be written (TemporaryError), none. What does not fit is dropped with a
        warning, as in StackStorm."""
        batch: list[Taken] = []
        at = now()
        for trigger, payload, trace in events:
            try:
                taken = self._take_in(trigger, payload, trace, at)
            except (InvalidInputError, NotFoundError) as error:
                log.warning(
                    "trigger.dropped", extra={"trigger": str(trigger), "reason": str(error)}
                )
                continue
            if taken is not None:
                batch.append(taken)
        if batch:
            ops = by_statement(op for taken in batch for op in taken.ops)
            await self.store.writer.submit(ops, then=partial(self.trees.react, *batch))

    def _take_in(
        self, trigger: str | Mapping[str, Any], payload: Any, trace: str, at: str | None = None
    ) -> Taken | None:
        if self.core.stopping:
            raise TemporaryError(
                "stormcell is stopping; send the event again in a moment.", retry_after_seconds=1.0
            )
        return self._reactor.take_in(trigger, payload, trace, at)

    def reload(self, catalog: Catalog) -> None:
        """Go on with other content. What runs keeps the conductor it began with."""
        self.core.catalog = catalog
        self.timers.set_triggers(catalog.asked_triggers(TIMERS))
        self.trees.ask_policies_again()

    async def _on_timer(
        self, trigger: Mapping[str, Any], payload: dict[str, Any], trace: str
    ) -> None:
        await self.dispatch(trigger, payload, trace=trace)

    # Executions

    async def request(
        self,
        action_ref: str,
        parameters: Mapping[str, Any],
        *,
        user: str = SYSTEM_USER,
        context: Mapping[str, Any] | None = None,
        delay_seconds: float = 0.0,
        templates: bool = True,
        values: Mapping[str, Any] | None = None,
    ) -> Execution:
        """Ask for a run of an action; returns when that is on disk. InvalidInputError where
        parameters do not fit.

        Without `templates` the given parameters are values as they are, whatever they look like;
        those in `values` always are.
        """
        if self.core.stopping:
            raise TemporaryError(
                "stormcell is stopping; ask again in a moment.", retry_after_seconds=1.0
            )
        if action_ref not in self.catalog.content.actions:
            raise InvalidInputError(f'Action "{action_ref}" cannot be found.')
        action = self.catalog.runnable_action(action_ref)
        full: dict[str, Any] = {**(context or {}), "user": user, "pack": action.pack}
        if templates:
            schemas = self.catalog.schemas(action)
            kept = {name: value for name, value in (values or {}).items() if name not in parameters}
            rendered = render_live_parameters(
                schemas, parameters, action_context=full, lookups=self.core.lookups, additional=kept
            )
            live = {**kept, **rendered}
            self.catalog.check_parameters(action, live)
        else:
            live = self.core.plain_parameters(action, {**(values or {}), **parameters})
        due_at = time.time() + delay_seconds if delay_seconds > 0 else None
        execution = self.core.new_execution(action, live, context=full, due_at=due_at)
        await self.store.writer.submit(
            [insert_op(execution)], then=partial(self.trees.begin, execution)
        )
        return execution

    async def rerun(
        self,
        execution_id: str,
        parameters: Mapping[str, Any],
        *,
        user: str,
        context: Mapping[str, Any],
        tasks: list[str],
        reset: list[str],
        merge: bool = True,
        delay_seconds: float = 0.0,
        templates: bool = True,
    ) -> Execution:
        """Run an action again with the parameters of an earlier run, changed as asked; a workflow
        from some tasks.
        """
        earlier = self.trees.find(execution_id)
        if set(reset) - set(tasks):
            raise InvalidInputError("List of tasks to reset does not match the tasks to rerun.")
        if tasks and earlier.runner_type != "orquesta":
            raise InvalidInputError("Task option is only supported for Orquesta workflows.")
        again: dict[str, Any] = {"ref": execution_id}
        if tasks:
            again["tasks"] = tasks
        if reset:
            again["reset"] = reset
        # What was rendered then is a value now: it may hold what an outsider wrote, and is not
        # evaluated again.
        given = self.store.sealer.open(earlier.parameters) if merge else {}
        return await self.request(
            earlier.action_ref,
            parameters,
            values=given,
            user=user,
            context={**context, "re-run": again},
            delay_seconds=delay_seconds,
            templates=templates,
        )

    async def _keep_house(self) -> None:
        pruned_at = float("-inf")
        while True:
            if self._keep_days is not None and time.monotonic() - pruned_at >= _PRUNING_SECONDS:
                pruned_at = time.monotonic()
                self._prune(self._keep_days)
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            with contextlib.suppress(Error):  # the writer has said why
                await self.store.writer.record([self.store.datastore.expire_op()])
            self.core.metrics.write_failures.set(self.store.writer.failures)

    def _prune(self, days: int) -> None:
        try:
            counts = self.store.prune(
                before=format_instant(datetime.now(UTC) - timedelta(days=days))
            )
        except sqlite3.Error as error:
            log.error("history.not_pruned", extra={"error": str(error), "keep_days": days})
            return
        if any(counts.values()):
            log.info("history.pruned", extra={"keep_days": days, **counts})


def _role_refused(file: str, reason: str) -> None:
    log.error("rbac.refused", extra={"file": file, "reason": reason})


def _unwatched(ref: str) -> dict[str, Any] | None:
    return None
