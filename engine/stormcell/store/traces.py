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
# Everything that begins a trace: an event, or a run that neither an event nor another run led to.
# Where nobody gave a tag it has the one StackStorm would make, and is a trace alone. Those of one
# tag are one trace, which began with the first of them. Each of the three is read by an index of
# its own, and of the untagged no more than a page needs.
_TAGGED = f"""
    SELECT min(id) AS id, tag, min(at) AS at FROM (
        SELECT id, trace AS tag, occurred_at AS at FROM trigger_instances WHERE trace <> ''
        UNION ALL
        SELECT id, {_TAG_OF_RUN}, started_at FROM {_RUNS} AND {_TAG_OF_RUN} IS NOT NULL
    ) GROUP BY tag
"""  # noqa: S608 - constants
_UNTAGGED_EVENTS = "SELECT id, 'trigger_instance-' || id AS tag, occurred_at AS at FROM trigger_instances WHERE trace = ''"
_UNTAGGED_RUNS = (
    f"SELECT id, 'execution-' || id AS tag, started_at AS at FROM {_RUNS} AND {_TAG_OF_RUN} IS NULL"  # noqa: S608
)
_COUNT = f"""
    SELECT (SELECT count(*) FROM trigger_instances) - (SELECT count(*) FROM trigger_instances WHERE trace <> '')
        + (SELECT count(*) FROM {_RUNS} AND {_TAG_OF_RUN} IS NULL) + (SELECT count(*) FROM ({_TAGGED}))
"""  # noqa: S608


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
        """The trace that began with this event or run."""
        tag = self._tag_of_event(trace_id) or self._tag_of_run(trace_id)
        found = self._by_tag(tag) if tag else None
        return found if found is not None and found.id == trace_id else None

    def find(
        self, filters: Mapping[str, str], *, limit: int, offset: int = 0, newest_first: bool = True
    ) -> tuple[list[Beginning], int]:
        """A page of traces and the count of all; filters `trace_tag`, `execution`, `rule`,
        `trigger_instance` (ids, for a rule its ref)."""
        if filters:
            fitting = [item for item in self._candidates(filters) if self._fits(item, filters)]
            if not newest_first:
                fitting.reverse()
            return fitting[offset : None if limit < 0 else offset + limit], len(fitting)
        (total,) = self._connection.execute(_COUNT).fetchone()
        return self._page(limit, offset, "DESC" if newest_first else "ASC"), int(total)

    def _page(self, limit: int, offset: int, order: str) -> list[Beginning]:
        enough = -1 if limit < 0 else limit + offset
        rows = self._connection.execute(
            f"SELECT * FROM ({_TAGGED}) "  # noqa: S608
            f"UNION ALL SELECT * FROM ({_UNTAGGED_EVENTS} ORDER BY rowid {order} LIMIT ?) "
            f"UNION ALL SELECT * FROM ({_UNTAGGED_RUNS} ORDER BY started_at {order}, id {order} LIMIT ?) "
            f"ORDER BY at {order}, id {order} LIMIT ? OFFSET ?",
            (enough, enough, limit, offset),
        )
        return [_read(row) for row in rows]

    def _candidates(self, filters: Mapping[str, str]) -> list[Beginning]:
        """Traces that may fit, newest first: the one that a filter names, or all, where only a rule
        is named.
        """
        if "trace_tag" in filters:
            tag: str | None = filters["trace_tag"]
        elif "trigger_instance" in filters:
            tag = self._tag_of_event(filters["trigger_instance"])
        elif "execution" in filters:
            tag = self._tag_of_tree(filters["execution"])
        else:
            return self._page(-1, 0, "DESC")
        found = self._by_tag(tag) if tag else None
        return [] if found is None else [found]

    def _by_tag(self, tag: str) -> Beginning | None:
        rows = self._connection.execute(
            "SELECT min(id), tag, min(at) FROM ("  # noqa: S608
            "SELECT id, trace AS tag, occurred_at AS at FROM trigger_instances WHERE trace = ?1 AND trace <> '' "
            f"UNION ALL SELECT id, {_TAG_OF_RUN}, started_at FROM {_RUNS} AND {_TAG_OF_RUN} = ?1 "
            f"UNION ALL SELECT * FROM ({_UNTAGGED_EVENTS} AND id = ?2) "
            f"UNION ALL SELECT * FROM ({_UNTAGGED_RUNS} AND id = ?3)) GROUP BY tag",
            (tag, tag.removeprefix("trigger_instance-"), tag.removeprefix("execution-")),
        )
        return next((found for found in map(_read, rows) if found.tag == tag), None)

    def _tag_of_event(self, instance_id: str) -> str | None:
        row = self._connection.execute(
            "SELECT trace FROM trigger_instances WHERE id = ?", (instance_id,)
        ).fetchone()
        return None if row is None else str(row[0] or f"trigger_instance-{instance_id}")

    def _tag_of_run(self, execution_id: str) -> str | None:
        row = self._connection.execute(
            f"SELECT {_TAG_OF_RUN} FROM {_RUNS} AND id = ?",  # noqa: S608
            (execution_id,),
        ).fetchone()
        return None if row is None else str(row[0] or f"execution-{execution_id}")

    def _tag_of_tree(self, execution_id: str) -> str | None:
        """The tag of what led to an execution, or to the root of its tree."""
        root = self._root_of(execution_id)
        row = self._connection.execute(
            "SELECT trigger_instance_id FROM executions WHERE id = ?", (root,)
        ).fetchone()
        if row is None:
            return None
        return self._tag_of_event(row[0]) if row[0] else self._tag_of_run(str(root))

    def _fits(self, beginning: Beginning, filters: Mapping[str, str]) -> bool:
        if filters.get("trace_tag", beginning.tag) != beginning.tag:
            return False
        if "trigger_instance" in filters and filters["trigger_instance"] not in self._instance_ids(
            beginning
        ):
            return False
        if "rule" in filters and filters["rule"] not in [
            item.rule_ref for item in self.enforcements(beginning)
        ]:
            return False
        return "execution" not in filters or self._root_of(filters["execution"]) in self.roots(
            beginning
        )

    def instances(self, beginning: Beginning) -> list[TriggerInstance]:
        """The events of a trace, oldest first."""
        found = (
            self._events.instance(instance_id) for instance_id in self._instance_ids(beginning)
        )
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
            "SELECT id FROM trigger_instances WHERE trace = ? AND trace <> '' "
            "UNION ALL SELECT id FROM trigger_instances WHERE id = ? AND trace = '' ORDER BY id",
            (beginning.tag, beginning.tag.removeprefix("trigger_instance-")),
        )
        return [row[0] for row in rows]

    def _asked_for(self, beginning: Beginning) -> list[str]:
        rows = self._connection.execute(
            f"SELECT id FROM {_RUNS} AND {_TAG_OF_RUN} = ? "  # noqa: S608
            f"UNION ALL SELECT id FROM {_RUNS} AND id = ? AND {_TAG_OF_RUN} IS NULL ORDER BY id",
            (beginning.tag, beginning.tag.removeprefix("execution-")),
        )
        return [row[0] for row in rows]

    def _root_of(self, execution_id: str) -> str | None:
        row = self._connection.execute(
            "SELECT root FROM executions WHERE id = ?", (execution_id,)
        ).fetchone()
        return None if row is None else str(row[0])


def _read(row: tuple[Any, ...]) -> Beginning:
    return Beginning(id=row[0], tag=row[1], at=row[2])
