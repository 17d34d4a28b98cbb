"""SQL of executions and of the workflow state that hangs on them.

Functions named `*_op` return a write for `GroupCommit`; the class reads. Values that are secret
arrive here sealed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from stormcell.statuses import ExecutionStatus
from stormcell.store.encoding import STATE_LEVELS, decoded, encoded
from stormcell.store.predicates import UNFINISHED
from stormcell.store.records import Execution
from stormcell.store.sealing import Sealer
from stormcell.store.writing import Op

_decode = msgspec.json.Decoder().decode

_STEP = "#"  # no key of a conductor begins so
_COLUMNS = (
    "id, action_ref, runner_type, status, parent, root, task_key, started_at, ended_at, due_at, "
    "trigger_instance_id, rule_ref, user, parameters, context, result, log"
)
_INSERT = f"INSERT INTO executions ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 - constants
_SELECT = f"SELECT {_COLUMNS} FROM executions"  # noqa: S608 - constants
_FILTERS = {
    "status": "status = ?",
    "action": "action_ref = ?",
    "pack": "substr(action_ref, 1, instr(action_ref, '.') - 1) = ?",
    "parent": "parent = ?",
    "rule": "rule_ref = ?",
    "runner": "runner_type = ?",
    # Through the enforcements' index: one less to keep up with each execution.
    "trigger_instance": "id IN (SELECT execution_id FROM rule_enforcements WHERE trigger_instance_id = ?)",
    "user": "user = ?",
    "timestamp_gt": "started_at > ?",
    "timestamp_lt": "started_at < ?",
}


def insert_op(execution: Execution) -> Op:
    """InvalidInputError for parameters that cannot be kept."""
    return _INSERT, (
        execution.id,
        execution.action_ref,
        execution.runner_type,
        execution.status.value,
        execution.parent,
        execution.root,
        execution.task_key,
        execution.started_at,
        execution.ended_at,
        execution.due_at,
        execution.trigger_instance_id,
        execution.rule_ref,
        execution.user,
        encoded(execution.parameters, "Parameters"),
        encoded(execution.context, "The context"),
        None if execution.result is None else encoded(execution.result, "The result"),
        execution.log,
    )


def status_op(execution: Execution, *, log_added: str) -> Op:
    """Write the status alone."""
    return (
        "UPDATE executions SET status = ?, due_at = ?, log = log || ? WHERE id = ?",
        (execution.status.value, execution.due_at, log_added, execution.id),
    )


def outcome_op(execution: Execution, result: bytes | None, *, log_added: str) -> Op:
    """Write status, result, context and end. `result`: as `encoded` gives it."""
    return (
        "UPDATE executions SET status = ?, ended_at = ?, context = ?, result = ?, log = log || ? WHERE id = ?",
        (
            execution.status.value,
            execution.ended_at,
            encoded(execution.context, "The context"),
            result,
            log_added,
            execution.id,
        ),
    )


def step_op(sealer: Sealer, execution_id: str, number: int, changes: Mapping[str, Any]) -> Op:
    """Write what a step changed (None: the key is gone) behind the steps before it; numbers rise
    from 0. Encrypted whole: a workflow's state holds its inputs, secret ones too. InvalidInputError
    for a state that cannot be kept."""
    data = encoded(changes, "The workflow's state", levels=STATE_LEVELS)
    return (
        "INSERT INTO workflow_state VALUES (?, ?, ?)",
        (execution_id, f"{_STEP}{number:08x}", sealer.encrypt(data)),
    )


def output_op(execution_id: str, stream: str, at: str, data: str) -> Op:
    return (
        "INSERT INTO execution_output (execution_id, stream, at, data) VALUES (?, ?, ?, ?)",
        (execution_id, stream, at, data),
    )


def apply_changes(state: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Bring a state to where a step's changes leave it."""
    for key, value in changes.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value


class Executions:
    """Reads executions. Each call is one short query on the calling thread."""

    def __init__(self, connection: sqlite3.Connection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer

    def get(self, execution_id: str) -> Execution | None:
        row = self._connection.execute(f"{_SELECT} WHERE id = ?", (execution_id,)).fetchone()
        return None if row is None else _read(row)

    def children(self, execution_id: str) -> list[Execution]:
        """Direct children in the order they were made."""
        rows = self._connection.execute(
            f"{_SELECT} WHERE parent = ? ORDER BY rowid", (execution_id,)
        )
        return [_read(row) for row in rows]

    def child_ids(self, execution_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the ids of the direct children of each."""
        found: dict[str, list[str]] = {}
        marks = ",".join("?" * len(execution_ids))
        query = f"SELECT parent, id FROM executions WHERE parent IN ({marks}) ORDER BY rowid"  # noqa: S608 - marks
        for parent, child in self._connection.execute(query, tuple(execution_ids)):
            found.setdefault(parent, []).append(child)
        return found

    def tree(self, root: str) -> list[Execution]:
        """The root and everything below it, parents before children."""
        rows = self._connection.execute(
            f"{_SELECT} WHERE id = ? OR (root = ? AND parent IS NOT NULL) ORDER BY rowid",
            (root, root),
        )
        return [_read(row) for row in rows]

    def unfinished(
        self, statuses: Iterable[ExecutionStatus], *, after: str = "", limit: int = -1
    ) -> list[Execution]:
        """Executions in these (not terminal) statuses, oldest first."""
        # The sign has SQLite sort the few rather than read the whole table in its order.
        wanted = [status.value for status in statuses]
        marks = ",".join("?" * len(wanted))
        rows = self._connection.execute(
            f"{_SELECT} WHERE status IN ({marks}) AND {UNFINISHED} AND id > ? "
            "ORDER BY +rowid LIMIT ?",
            (*wanted, after, limit),
        )
        return [_read(row) for row in rows]

    def count_unfinished(self) -> dict[str, int]:
        rows = self._connection.execute(
            f"SELECT status, count(*) FROM executions WHERE {UNFINISHED} GROUP BY status"  # noqa: S608
        )
        return {str(status): int(count) for status, count in rows}

    def requested(
        self, runner_type: str, *, limit: int, excluding: Iterable[str] = ()
    ) -> list[Execution]:
        """The oldest requested executions of a runner, for a queue that overflowed."""
        skipped = set(excluding)
        rows = self._connection.execute(
            f"{_SELECT} WHERE status = 'requested' AND runner_type = ? "
            f"AND {UNFINISHED} ORDER BY id LIMIT ?",
            (runner_type, limit + len(skipped)),
        )
        return [execution for execution in map(_read, rows) if execution.id not in skipped][:limit]

    def requested_runners(self) -> dict[str, int]:
        """How many executions wait, by runner."""
        rows = self._connection.execute(
            f"SELECT runner_type, count(*) FROM executions WHERE status = 'requested' "  # noqa: S608 - constants
            f"AND {UNFINISHED} GROUP BY runner_type"
        )
        return {str(runner_type): int(count) for runner_type, count in rows}

    def requested_children(self, runner_types: Sequence[str]) -> list[Execution]:
        """Requested executions of these runners that have a parent."""
        marks = ",".join("?" * len(runner_types))
        rows = self._connection.execute(
            f"{_SELECT} WHERE status = 'requested' AND {UNFINISHED} "
            f"AND runner_type IN ({marks}) AND parent IS NOT NULL ORDER BY rowid",
            tuple(runner_types),
        )
        return [_read(row) for row in rows]

    def find(
        self,
        filters: Mapping[str, str | None],
        *,
        limit: int,
        offset: int = 0,
        newest_first: bool = True,
    ) -> tuple[list[Execution], int]:
        """Return a page and the count of all that fit. A filter of None means `IS NULL` (of
        `parent` only).
        """
        clauses: list[str] = []
        values: list[str] = []
        for name, value in filters.items():
            if value is None:
                clauses.append("parent IS NULL")
            else:
                clauses.append(_FILTERS[name])
                values.append(value)
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        (total,) = self._connection.execute(
            f"SELECT count(*) FROM executions{where}",  # noqa: S608
            values,
        ).fetchone()
        order = "DESC" if newest_first else "ASC"
        rows = self._connection.execute(
            f"{_SELECT}{where} ORDER BY rowid {order} LIMIT ? OFFSET ?", (*values, limit, offset)
        )
        return [_read(row) for row in rows], int(total)

    def state(self, execution_id: str) -> tuple[dict[str, Any], int]:
        """The workflow state as the last committed step left it, and how many steps were written."""
        rows = self._connection.execute(
            "SELECT key, value FROM workflow_state WHERE execution_id = ? ORDER BY key",
            (execution_id,),
        ).fetchall()
        values = [(str(key), _decode(self._sealer.decrypt(value))) for key, value in rows]
        # Rows of earlier versions are one key each; steps go on from there.
        state = {key: value for key, value in values if not key.startswith(_STEP)}
        steps = [value for key, value in values if key.startswith(_STEP)]
        for changes in steps:
            apply_changes(state, changes)
        return state, len(steps)

    def output(self, execution_id: str, *, after: int = 0) -> list[tuple[int, str, str, str]]:
        """Chunks as (number, stream, instant, text), those after a number."""
        return self._connection.execute(
            "SELECT id, stream, at, data FROM execution_output WHERE execution_id = ? AND id > ? ORDER BY id",
            (execution_id, after),
        ).fetchall()


def _read(row: tuple[Any, ...]) -> Execution:
    return Execution(
        id=row[0],
        action_ref=row[1],
        runner_type=row[2],
        status=ExecutionStatus(row[3]),
        parent=row[4],
        root=row[5],
        task_key=row[6],
        started_at=row[7],
        ended_at=row[8],
        due_at=row[9],
        trigger_instance_id=row[10],
        rule_ref=row[11],
        user=row[12],
        parameters=decoded(row[13]),
        context=decoded(row[14]),
        result=None if row[15] is None else decoded(row[15]),
        log=row[16],
    )
