"""SQL of traces, which are read from events and executions and kept nowhere else."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from stormcell.store.events import Events
from stormcell.store.records import Enforcement, TriggerInstance

_TAG_OF_RUN = "nullif(json_extract(CAST(context AS TEXT), '$.trace_context.trace_tag'), '')"
_RUNS = "executions WHERE parent IS NULL AND trigger_instance_id IS NULL"
# Everything that begins a trace: an event, or a run that neither an event nor another run led to. Where nobody gave
# a tag it has the one StackStorm would make. Those of one tag are one trace, which began with the first of them.
_BEGINNINGS = f"""
    SELECT min(id) AS id, tag, min(at) AS at FROM (
        SELECT id, coalesce(nullif(trace, ''), 'trigger_instance-' || id) AS tag, occurred_at AS at
        FROM trigger_instances
        UNION ALL
        SELECT id, coalesce({_TAG_OF_RUN}, 'execution-' || id), started_at FROM {_RUNS}
    ) GROUP BY tag
"""  # noqa: S608 - constants


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """What a trace began with."""

    id: str
    tag: str
    at: str


class Traces:
    """Reads traces."""

    def __init__(self, connection: sqlite3.Connection, events: Events) -> None:
        self._connection = connection
        self._events = events

    def get(self, trace_id: str) -> Beginning | None:
        rows = self._connection.execute(f"SELECT * FROM ({_BEGINNINGS}) WHERE id = ?", (trace_id,))  # noqa: S608
        return next((_read(row) for row in rows), None)

    def find(
        self, filters: Mapping[str, str], *, limit: int, offset: int = 0, newest_first: bool = True
    ) -> tuple[list[Beginning], int]:
        """A page of traces and the count of all; filters `trace_tag`, `execution`, `rule`, `trigger_instance` (ids, for
        a rule its ref)."""
        if filters:
            rows = self._connection.execute(f"{_BEGINNINGS} ORDER BY at DESC, id DESC").fetchall()
            fitting = [item for item in map(_read, rows) if self._fits(item, filters)]
            if not newest_first:
                fitting.reverse()
            return fitting[offset : None if limit < 0 else offset + limit], len(fitting)
        (total,) = self._connection.execute(f"SELECT count(*) FROM ({_BEGINNINGS})").fetchone()  # noqa: S608
        order = "DESC" if newest_first else "ASC"
        rows = self._connection.execute(
            f"{_BEGINNINGS} ORDER BY at {order}, id {order} LIMIT ? OFFSET ?", (limit, offset)
        ).fetchall()
        return [_read(row) for row in rows], int(total)

    def _fits(self, beginning: Beginning, filters: Mapping[str, str]) -> bool:
        if filters.get("trace_tag", beginning.tag) != beginning.tag:
            return False
        if "trigger_instance" in filters and filters["trigger_instance"] not in self._instance_ids(beginning):
            return False
        if "rule" in filters and filters["rule"] not in [item.rule_ref for item in self.enforcements(beginning)]:
            return False
        return "execution" not in filters or self._root_of(filters["execution"]) in self.roots(beginning)

    def instances(self, beginning: Beginning) -> list[TriggerInstance]:
        """The events of a trace, oldest first."""
        found = (self._events.instance(instance_id) for instance_id in self._instance_ids(beginning))
        return [instance for instance in found if instance is not None]

    def enforcements(self, beginning: Beginning) -> list[Enforcement]:
        found: list[Enforcement] = []
        for instance_id in self._instance_ids(beginning):
            found += self._events.find_enforcements({"trigger_instance": instance_id}, limit=-1)[0]
        return found

    def roots(self, beginning: Beginning) -> list[str]:
        """The ids of the executions that belong to a trace and have no parent."""
        led_to = [item.execution_id for item in self.enforcements(beginning) if item.execution_id]
        return [*led_to, *self._asked_for(beginning)]

    def _instance_ids(self, beginning: Beginning) -> list[str]:
        rows = self._connection.execute(
            "SELECT id FROM trigger_instances WHERE trace = ? OR (trace = '' AND id = ?) ORDER BY rowid",
            (beginning.tag, beginning.tag.removeprefix("trigger_instance-")),
        )
        return [row[0] for row in rows]

    def _asked_for(self, beginning: Beginning) -> list[str]:
        rows = self._connection.execute(
            f"SELECT id FROM {_RUNS} AND ({_TAG_OF_RUN} = ? OR ({_TAG_OF_RUN} IS NULL AND id = ?)) "  # noqa: S608
            "ORDER BY rowid",
            (beginning.tag, beginning.tag.removeprefix("execution-")),
        )
        return [row[0] for row in rows]

    def _root_of(self, execution_id: str) -> str | None:
        row = self._connection.execute("SELECT root FROM executions WHERE id = ?", (execution_id,)).fetchone()
        return None if row is None else str(row[0])


def _read(row: tuple[Any, ...]) -> Beginning:
    return Beginning(id=row[0], tag=row[1], at=row[2])
