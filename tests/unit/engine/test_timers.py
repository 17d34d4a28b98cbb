"""Timers by a clock that the test holds: when they fire, what they say, what happens to ticks that
were missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stormcell.catalog import Trigger, trigger_for
from stormcell.errors import TemporaryError
from stormcell.timers import CRON, DATE, INTERVAL, Timers

START = datetime(2026, 3, 27, 23, 59, 30, tzinfo=UTC)  # a Friday


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at


class Sent:
    """Takes dispatches in; refuses the first `refusals` of them as a full disk would."""

    def __init__(self, refusals: int = 0) -> None:
        self.events: list[tuple[Mapping[str, Any], dict[str, Any], str]] = []
        self.refusals = refusals

    async def __call__(
        self, trigger: Mapping[str, Any], payload: dict[str, Any], trace: str
    ) -> None:
        if self.refusals:
            self.refusals -= 1
            raise TemporaryError("The disk is full.")
        self.events.append((trigger, payload, trace))


def _fired(trigger: Trigger, *, steps: int) -> list[datetime]:
    """The instants at which a timer fires when the clock is moved to each next one."""

    async def play() -> list[datetime]:
        clock, sent, found = Clock(), Sent(), []
        timers = Timers(sent, clock=clock)
        timers.set_triggers([trigger])
        for _ in range(steps):
            if timers.next_at is None:
                break
            clock.at = timers.next_at.astimezone(UTC)
            await timers.fire_due()
            found.append(clock.at)
        assert len(sent.events) == len(found)
        return found

    return asyncio.run(play())


@pytest.mark.parametrize(
    "kind, parameters, expected",
    [
        (
            INTERVAL,
            {"unit": "seconds", "delta": 30},
            ["03-28 00:00:00", "03-28 00:00:30", "03-28 00:01:00"],
        ),
        (
            INTERVAL,
            {"unit": "weeks", "delta": 1},
            ["04-03 23:59:30", "04-10 23:59:30", "04-17 23:59:30"],
        ),
        (
            CRON,
            {"timezone": "UTC", "minute": "*/20", "second": 0},
            ["03-28 00:00:00", "03-28 00:20:00"],
        ),
        (
            CRON,
            {"timezone": "UTC", "day_of_week": 0, "hour": 4},
            ["03-30 04:00:00", "04-06 04:00:00"],
        ),
        (
            CRON,
            {"timezone": "UTC", "day_of_week": "sun", "hour": 1},
            ["03-29 01:00:00", "04-05 01:00:00"],
        ),
        # Berlin's clocks go forward on 2026-03-29: nine in the morning there is an hour earlier
        # from then on.
        (
            CRON,
            {"timezone": "Europe/Berlin", "hour": 9},
            ["03-28 08:00:00", "03-29 07:00:00", "03-30 07:00:00"],
        ),
        (DATE, {"timezone": "UTC", "date": "2026-03-28 06:00:00"}, ["03-28 06:00:00"]),
        (DATE, {"date": "2026-03-28T06:00:00+02:00"}, ["03-28 04:00:00"]),
        (DATE, {"timezone": "UTC", "date": "2026-03-27 23:59:29"}, []),
    ],
    ids=[
        "interval",
        "weeks",
        "minutes",
        "monday",
        "sunday-by-name",
        "summer-time",
        "date",
        "date-with-zone",
        "past-date",
    ],
)
def test_timers_fire_when_their_parameters_say(
    kind: str, parameters: dict[str, Any], expected: list[str]
) -> None:
    """APScheduler's meaning of interval, cron (Monday is 0) and date, in the timer's own zone."""
    fired = _fired(trigger_for(kind, parameters), steps=3)
    shown = [f"{instant:%m-%d %H:%M:%S}" for instant in fired]
    assert shown == expected if kind == DATE else shown[: len(expected)] == expected


def test_a_tick_says_when_and_by_which_schedule() -> None:
    """The payload has `executed_at` as StackStorm writes it, and the trigger's parameters as
    `schedule`.
    """

    async def play() -> None:
        clock, sent = Clock(), Sent()
        timers = Timers(sent, clock=clock)
        parameters = {"unit": "minutes", "delta": 1}
        timers.set_triggers([trigger_for(INTERVAL, parameters)])
        clock.at += timedelta(minutes=1)
        await timers.fire_due()
        (event,) = sent.events
        assert event[0] == {"type": INTERVAL, "parameters": parameters}
        assert event[1] == {"executed_at": "2026-03-28 00:00:30+00:00", "schedule": parameters}
        assert event[2].startswith("st2.IntervalTimer-")

    asyncio.run(play())


def test_ticks_that_were_missed_are_not_made_up_for() -> None:
    """After a long gap nothing is sent for it; after a short one the ticks in it are one."""

    async def play() -> None:
        clock, sent = Clock(), Sent()
        timers = Timers(sent, clock=clock)
        timers.set_triggers([trigger_for(INTERVAL, {"unit": "seconds", "delta": 10})])
        clock.at += timedelta(seconds=35)
        await timers.fire_due()
        assert len(sent.events) == 1
        assert timers.next_at == START + timedelta(seconds=40)
        clock.at += timedelta(hours=3)
        await timers.fire_due()
        assert len(sent.events) == 1
        assert timers.next_at == clock.at + timedelta(seconds=5)

    asyncio.run(play())


def test_a_refused_tick_is_sent_again() -> None:
    """What the database did not take is due until it has."""

    async def play() -> None:
        clock, sent = Clock(), Sent(refusals=2)
        timers = Timers(sent, clock=clock)
        timers.set_triggers([trigger_for(DATE, {"timezone": "UTC", "date": "2026-03-28 00:00:00"})])
        clock.at += timedelta(seconds=30)
        assert [await timers.fire_due() for _ in range(4)] == [False, False, True, True]
        assert len(sent.events) == 1

    asyncio.run(play())


def test_timers_come_and_go_with_rules() -> None:
    """A timer that stays keeps its rhythm through a reload; one that is gone fires no more; a wrong
    one is left out.
    """

    async def play() -> None:
        clock, sent = Clock(), Sent()
        timers = Timers(sent, clock=clock)
        slow = trigger_for(INTERVAL, {"unit": "seconds", "delta": 20})
        fast = trigger_for(INTERVAL, {"unit": "seconds", "delta": 5})
        timers.set_triggers([slow, fast, trigger_for(CRON, {"hour": "tea time"})])
        assert timers.next_at == START + timedelta(seconds=5)
        clock.at += timedelta(seconds=1)
        timers.set_triggers([slow])
        assert timers.next_at == START + timedelta(seconds=20)
        timers.set_triggers([])
        assert timers.next_at is None

    asyncio.run(play())


def test_started_timers_fire_by_themselves() -> None:
    """The running timer dispatches without being asked, also for a trigger that comes while it
    sleeps.
    """

    async def play() -> None:
        arrived = asyncio.Event()

        async def take(trigger: Mapping[str, Any], payload: dict[str, Any], trace: str) -> None:
            arrived.set()

        timers = Timers(take)
        timers.start()
        await asyncio.sleep(0)
        soon = datetime.now(UTC) + timedelta(milliseconds=50)
        timers.set_triggers([trigger_for(DATE, {"date": soon.isoformat()})])
        async with asyncio.timeout(30):
            await arrived.wait()
        await timers.stop()

    asyncio.run(play())
