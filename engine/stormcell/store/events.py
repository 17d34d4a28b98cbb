"""SQL of trigger instances and rule enforcements."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from stormcell.statuses import TriggerInstanceStatus
from stormcell.store.encoding import decoded, encoded
from stormcell.store.predicates import UNPROCESSED
from stormcell.store.records import Enforcement, TriggerInstance
from stormcell.store.writing import Op

_INSTANCE = "SELECT id, trigger_ref, status, occurred_at, payload, trace FROM trigger_instances"
_ENFORCEMENT = "SELECT id, trigger_instance_id, rule_ref, execution_id, failure_reason, enforced_at FROM rule_enforcements"
_INSTANCE_FILTERS = {
    "trigger": "trigger_ref = ?",
    "status": "status = ?",
    "timestamp_gt": "occurred_at > ?",
    "timestamp_lt": "occurred_at < ?",
}
_ENFORCEMENT_FILTERS = {
    "rule_ref": "rule_ref = ?",
    "execution": "execution_id = ?",
    "trigger_instance": "trigger_instance_id = ?",
    "enforced_at_gt": "enforced_at > ?",
    "enforced_at_lt": "enforced_at < ?",
}


def insert_instance_op(instance: TriggerInstance) -> Op:
    """InvalidInputError for a payload that cannot be kept."""
    return (
        "INSERT INTO trigger_instances VALUES (?, ?, ?, ?, ?, ?)",
        (
            instance.id,
            instance.trigger_ref,
            instance.status.value,
            instance.occurred_at,
            encoded(instance.payload, "The payload"),
            instance.trace,
        ),
    )


def instance_status_op(instance_id: str, status: TriggerInstanceStatus) -> Op:
    return "UPDATE trigger_instances SET status = ? WHERE id = ?", (status.value, instance_id)


def insert_enforcement_op(enforcement: Enforcement) -> Op:
    return (
        "INSERT INTO rule_enforcements VALUES (?, ?, ?, ?, ?, ?)",
        (
            enforcement.id,
            enforcement.trigger_instance_id,
            enforcement.rule_ref,
            enforcement.execution_id,
            enforcement.failure_reason,
            enforcement.enforced_at,
        ),
    )


class Events:
    """Reads trigger instances and enforcements."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def instance(self, instance_id: str) -> TriggerInstance | None:
        row = self._connection.execute(f"{_INSTANCE} WHERE id = ?", (instance_id,)).fetchone()
        return None if row is None else _read_instance(row)

    def unfinished_instances(self) -> list[TriggerInstance]:
        """Instances that were committed but not yet taken through the rules, oldest first."""
        rows = self._connection.execute(f"{_INSTANCE} WHERE {UNPROCESSED} ORDER BY +rowid")
        return [_read_instance(row) for row in rows]

    def find_instances(
        self, filters: Mapping[str, str], *, limit: int, offset: int = 0, newest_first: bool = True
    ) -> tuple[list[TriggerInstance], int]:
        """Those that fit, and the count of all of them."""
        select = (_INSTANCE, _INSTANCE_FILTERS)
        rows, total = self._find("trigger_instances", *select, filters, limit, offset, newest_first)
        return [_read_instance(row) for row in rows], total

    def enforcement(self, enforcement_id: str) -> Enforcement | None:
        row = self._connection.execute(f"{_ENFORCEMENT} WHERE id = ?", (enforcement_id,)).fetchone()
        return None if row is None else _read_enforcement(row)

    def find_enforcements(
        self, filters: Mapping[str, str], *, limit: int, offset: int = 0, newest_first: bool = True
    ) -> tuple[list[Enforcement], int]:
        """Those that fit, and the count of all of them."""
        select = (_ENFORCEMENT, _ENFORCEMENT_FILTERS)
        rows, total = self._find("rule_enforcements", *select, filters, limit, offset, newest_first)
        return [_read_enforcement(row) for row in rows], total

    def _find(
        self,
        table: str,
        select: str,
        known: Mapping[str, str],
        filters: Mapping[str, str],
        limit: int,
        offset: int,
        newest_first: bool,
    ) -> tuple[list[Any], int]:
        where = " AND ".join(known[name] for name in filters)
        clause = f" WHERE {where}" if where else ""
        values = tuple(filters.values())
        (total,) = self._connection.execute(
            f"SELECT count(*) FROM {table}{clause}",  # noqa: S608
            values,
        ).fetchone()
        order = "DESC" if newest_first else "ASC"
        rows = self._connection.execute(
            f"{select}{clause} ORDER BY rowid {order} LIMIT ? OFFSET ?", (*values, limit, offset)
        )
        return rows.fetchall(), int(total)


def _read_instance(row: tuple[Any, ...]) -> TriggerInstance:
    return TriggerInstance(
        id=row[0],
        trigger_ref=row[1],
        status=TriggerInstanceStatus(row[2]),
        occurred_at=row[3],
        payload=decoded(row[4]),
        trace=row[5],
    )


def _read_enforcement(row: tuple[Any, ...]) -> Enforcement:
    return Enforcement(
        id=row[0],
        trigger_instance_id=row[1],
        rule_ref=row[2],
        execution_id=row[3],
        failure_reason=row[4],
        enforced_at=row[5],
    )
