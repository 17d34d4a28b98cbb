"""Timers: the triggers `core.st2.IntervalTimer`, `core.st2.CronTimer` and `core.st2.DateTimer` that
rules ask for.

What a schedule means is APScheduler's (as in st2reactor/timer/base.py of StackStorm 3.9); when to
look and what to dispatch is ours. Ticks that fell into a stop are not made up for, and a date that
has passed is not scheduled, both as in StackStorm; a tick that the database refuses is tried again
until it is `GRACE_SECONDS` late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from stormcell.catalog import Trigger
from stormcell.errors import DefinitionError, Error, TemporaryError

log = logging.getLogger(__name__)

INTERVAL = "core.st2.IntervalTimer"
CRON = "core.st2.CronTimer"
DATE = "core.st2.DateTimer"
TIMERS = frozenset({INTERVAL, CRON, DATE})
GRACE_SECONDS = 60.0
"""A tick that could not be dispatched for this long (a full disk, a machine that slept) is skipped.
"""
_RETRY_SECONDS = 1.0
_LONGEST_SLEEP_SECONDS = 30.0  # a clock that is set anew is noticed within this time

Dispatch = Callable[[Mapping[str, Any], dict[str, Any], str], Awaitable[Any]]
"""(trigger as `{type, parameters}`, payload, trace tag); returns once it is on disk, TemporaryError
where it is not.
"""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Timer:
    """One trigger and when it happens next (None: never again)."""

    def __init__(self, trigger: Trigger, now: datetime) -> None:
        self.trigger = trigger
        self._schedule = schedule_of(trigger, now)
        self.next_at: datetime | None = self._schedule.get_next_fire_time(None, now)

    def move_on(self, now: datetime) -> None:
        """Go to the first tick that lies ahead: several that were missed are one."""
        fired = self.next_at
        while self.next_at is not None and self.next_at <= now:
            self.next_at = self._schedule.get_next_fire_time(self.next_at, now)
        if self.trigger.type == DATE and fired is not None:
            self.next_at = None


class Timers:
    """Dispatches each timer's trigger when its time has come."""

    def __init__(self, dispatch: Dispatch, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._dispatch = dispatch
        self._clock = clock
        self._timers: dict[str, Timer] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def set_triggers(self, wanted: Iterable[Trigger]) -> None:
        """Keep the timers that are still wanted as they run, drop the others, schedule the new
        ones.
        """
        now = self._clock()
        timers: dict[str, Timer] = {}
        for trigger in wanted:
            kept = self._timers.get(trigger.ref)
            try:
                timers[trigger.ref] = kept or Timer(trigger, now)
            except DefinitionError as error:
                log.error("timer.refused", extra={"trigger": trigger.ref, "reason": str(error)})
                continue
            if kept is None:
                at = timers[trigger.ref].next_at
                if at is None:
                    log.warning(
                        "timer.expired",
                        extra={"trigger": trigger.ref, "parameters": trigger.parameters},
                    )
                else:
                    log.info("timer.scheduled", extra={"trigger": trigger.ref, "next_at": str(at)})
        self._timers = timers
        self._changed.set()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="timers")

    async def stop(self) -> None:
        """Safe to repeat."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    @property
    def next_at(self) -> datetime | None:
        """When the next timer is due; None where there is none."""
        return min(
            (timer.next_at for timer in self._timers.values() if timer.next_at is not None),
            default=None,
        )

    async def fire_due(self) -> bool:
        """Dispatch what is due by the clock; False where the database refused and it has to be
        tried again.
        """
        now = self._clock()
        due = [
            timer
            for timer in self._timers.values()
            if timer.next_at is not None and timer.next_at <= now
        ]
        all_taken = True
        for timer in sorted(due, key=lambda one: one.next_at or now):
            all_taken = await self._fire(timer, now) and all_taken
        return all_taken

    async def _fire(self, timer: Timer, now: datetime) -> bool:
        trigger, due_at = timer.trigger, timer.next_at or now
        fields = {"trigger": trigger.ref, "due_at": str(due_at)}
        if now - due_at > timedelta(seconds=GRACE_SECONDS):
            log.warning("timer.missed", extra=fields)
            timer.move_on(now)
            return True
        payload = {"executed_at": str(now), "schedule": dict(trigger.parameters)}
        trace = f"{trigger.type.partition('.')[2]}-{trigger.name}"
        try:
            await self._dispatch(
                {"type": trigger.type, "parameters": trigger.parameters}, payload, trace
            )
        except TemporaryError as error:
            log.warning("timer.put_off", extra={**fields, "reason": str(error)})
            return False
        except Error as error:
            log.error("timer.failed", extra={**fields, "reason": str(error)})
        timer.move_on(now)
        return True

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            wait = _LONGEST_SLEEP_SECONDS
            try:
                if not await self.fire_due():
                    wait = _RETRY_SECONDS
                elif self.next_at is not None:
                    wait = min(wait, (self.next_at - self._clock()).total_seconds())
            except Exception:
                # One broken schedule must not end all timers.
                log.exception("timers.broken")
                wait = _RETRY_SECONDS
            try:
                async with asyncio.timeout(max(0.0, wait)):
                    await self._changed.wait()
            except TimeoutError:
                continue


def schedule_of(trigger: Trigger, now: datetime) -> Any:
    """APScheduler's trigger for a timer's parameters. DefinitionError says what cannot be
    understood.
    """
    from apscheduler.triggers.cron import CronTrigger  # slow to import, for those who have timers
    from apscheduler.triggers.date import DateTrigger
    from apscheduler.triggers.interval import IntervalTrigger
    from apscheduler.util import astimezone
    from dateutil import parser as date_parser

    given = {name: value for name, value in trigger.parameters.items() if value is not None}
    try:
        zone = astimezone(given.pop("timezone", None))
        if trigger.type == INTERVAL:
            length = timedelta(**{given["unit"]: given["delta"]})
            if length <= timedelta(0):
                raise ValueError("delta must be 1 or more")
            return IntervalTrigger(
                seconds=length.total_seconds(), start_date=now + length, timezone=zone
            )
        if trigger.type == DATE:
            date = DateTrigger(date_parser.parse(given["date"]), timezone=zone)
            return _Never() if date.run_date < now else date
        return CronTrigger(**given, timezone=zone)
    except (KeyError, TypeError, ValueError, LookupError, OverflowError) as error:
        raise DefinitionError(
            f"the parameters {trigger.parameters} of {trigger.type} cannot be scheduled: {error}.",
            remedy="See parameters_schema of the trigger type.",
        ) from error


class _Never:
    """The schedule of a date that has passed."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        return None
