"""The schema of the database as a list of steps, each committed together with its record.

A step that has been released is never edited: add another one. Times are ISO text (they sort), JSON
is a BLOB of UTF-8. `executions.log` is text, a line per change of status, so that a change appends
without reading.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from stormcell.errors import PermanentError
from stormcell.store.predicates import UNFINISHED, UNPROCESSED
from stormcell.times import now

_FIRST = (
    """CREATE TABLE trigger_instances (
        id TEXT PRIMARY KEY, trigger_ref TEXT NOT NULL, status TEXT NOT NULL, occurred_at TEXT NOT NULL,
        payload BLOB NOT NULL, trace TEXT NOT NULL DEFAULT '')""",
    f"CREATE INDEX trigger_instances_unfinished ON trigger_instances(id) WHERE {UNPROCESSED}",
    """CREATE TABLE rule_enforcements (
        id TEXT PRIMARY KEY, trigger_instance_id TEXT NOT NULL, rule_ref TEXT NOT NULL,
        execution_id TEXT, failure_reason TEXT, enforced_at TEXT NOT NULL)""",
    "CREATE INDEX rule_enforcements_instance ON rule_enforcements(trigger_instance_id)",
    """CREATE TABLE executions (
        id TEXT PRIMARY KEY, action_ref TEXT NOT NULL, runner_type TEXT NOT NULL, status TEXT NOT NULL,
        parent TEXT, root TEXT NOT NULL, task_key TEXT, started_at TEXT NOT NULL, ended_at TEXT, due_at REAL,
        trigger_instance_id TEXT, rule_ref TEXT, user TEXT NOT NULL DEFAULT '',
        parameters BLOB NOT NULL, context BLOB NOT NULL, result BLOB, log TEXT NOT NULL)""",
    "CREATE INDEX executions_parent ON executions(parent, id) WHERE parent IS NOT NULL",
    "CREATE INDEX executions_root ON executions(root) WHERE parent IS NOT NULL",
    f"CREATE INDEX executions_unfinished ON executions(status, runner_type, id) WHERE {UNFINISHED}",
    """CREATE TABLE workflow_state (
        execution_id TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (execution_id, key)) WITHOUT ROWID""",
    """CREATE TABLE execution_output (
        id INTEGER PRIMARY KEY, execution_id TEXT NOT NULL, stream TEXT NOT NULL, at TEXT NOT NULL,
        data TEXT NOT NULL)""",
    "CREATE INDEX execution_output_execution ON execution_output(execution_id, id)",
    """CREATE TABLE datastore (
        scope TEXT NOT NULL, user TEXT NOT NULL DEFAULT '', name TEXT NOT NULL, value TEXT NOT NULL,
        secret INTEGER NOT NULL DEFAULT 0, expires_at REAL,
        PRIMARY KEY (scope, user, name)) WITHOUT ROWID""",
    "CREATE INDEX datastore_expiry ON datastore(expires_at) WHERE expires_at IS NOT NULL",
    """CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, key_hash TEXT NOT NULL UNIQUE, user TEXT NOT NULL, metadata BLOB NOT NULL,
        enabled INTEGER NOT NULL DEFAULT 1, created_at TEXT NOT NULL)""",
    """CREATE TABLE overrides (
        kind TEXT NOT NULL, ref TEXT NOT NULL, enabled INTEGER, document BLOB,
        PRIMARY KEY (kind, ref)) WITHOUT ROWID""",
)

# The status is left out: a change from one unfinished status to another need not touch the index.
_UNFINISHED_BY_RUNNER = (
    "DROP INDEX executions_unfinished",
    f"CREATE INDEX executions_unfinished ON executions(runner_type, id) WHERE {UNFINISHED}",
)

# What is read of traces (stormcell.store.traces): events with a tag, and runs that somebody asked
# for.
_TRACES = (
    """CREATE INDEX trigger_instances_trace ON trigger_instances(trace, occurred_at, id) WHERE trace <> ''""",
    """CREATE INDEX executions_trace ON executions(
            nullif(json_extract(CAST(context AS TEXT), '$.trace_context.trace_tag'), ''), started_at, id)
        WHERE parent IS NULL AND trigger_instance_id IS NULL""",
)

# The user a key belongs to is an entry of the file of users, not a name: a name that is given to
# somebody else later does not bring the keys of the first.
_KEYS_OF_ACCOUNTS = ("ALTER TABLE api_keys ADD COLUMN account TEXT NOT NULL DEFAULT ''",)

MIGRATIONS: Sequence[tuple[str, Sequence[str]]] = (
    ("first tables", _FIRST),
    ("unfinished executions by runner", _UNFINISHED_BY_RUNNER),
    ("traces by tag", _TRACES),
    ("keys of accounts", _KEYS_OF_ACCOUNTS),
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema to the newest step. Safe to repeat; a crash leaves whole steps only."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations ("
        "number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL)"
    )
    (done,) = connection.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()
    if done > len(MIGRATIONS):
        raise PermanentError(
            f"The database was written by a newer stormcell (schema {done}, this one knows {len(MIGRATIONS)}). "
            "Start that version, or restore a backup made before the upgrade."
        )
    for number, (name, statements) in enumerate(MIGRATIONS, start=1):
        if number <= done:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (number, name, now()))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
