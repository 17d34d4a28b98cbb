"""Opens the data folder: its lock, its database, its key; and holds the parts that read and write
it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import IO, Literal

from stormcell.errors import ConflictError, PermanentError
from stormcell.ids import new_id
from stormcell.store.access import ApiKeys, Overrides
from stormcell.store.datastore import Datastore
from stormcell.store.events import Events
from stormcell.store.executions import Executions
from stormcell.store.migrations import migrate
from stormcell.store.sealing import Sealer, load_key
from stormcell.store.traces import Traces
from stormcell.store.writing import GroupCommit

Sync = Literal["normal", "full"]
DATABASE = "stormcell.db"
KEY = "datastore-key"
_LOCK = "lock"
_BUSY_SECONDS = 1.0


class Store:
    """One data folder, held by one process. Use it from the thread of one event loop."""

    def __init__(
        self, folder: Path, lock: IO[str], connection: sqlite3.Connection, sealer: Sealer
    ) -> None:
        self.folder = folder
        self.session = new_id()
        """Names this time that the folder is open."""
        self.sealer = sealer
        self._lock = lock
        self._connection = connection
        self.writer = GroupCommit(connection, folder / DATABASE)
        self.executions = Executions(connection, sealer)
        self.events = Events(connection)
        self.traces = Traces(connection, self.events)
        self.datastore = Datastore(connection, self.writer, sealer)
        self.api_keys = ApiKeys(connection, self.writer)
        self.overrides = Overrides(connection, self.writer)

    def prune(self, *, before: str) -> dict[str, int]:
        """Remove trees that ended and processed trigger instances that occurred before an instant
        (ISO text); return counts by table."""
        roots = (
            "SELECT id FROM executions WHERE parent IS NULL AND ended_at < ? "
            "AND status IN ('succeeded', 'failed', 'timeout', 'abandoned', 'canceled')"
        )
        gone = f"SELECT id FROM executions WHERE root IN ({roots})"  # noqa: S608 - constants
        statements = {
            "execution_output": f"DELETE FROM execution_output WHERE execution_id IN ({gone})",  # noqa: S608
            "workflow_state": f"DELETE FROM workflow_state WHERE execution_id IN ({gone})",  # noqa: S608
            "executions": f"DELETE FROM executions WHERE root IN ({roots})",  # noqa: S608
            "rule_enforcements": "DELETE FROM rule_enforcements WHERE enforced_at < ?",
            "trigger_instances": "DELETE FROM trigger_instances WHERE occurred_at < ? "
            "AND status IN ('processed', 'processing_failed')",
        }
        self.writer.flush()
        self.writer.check_file()
        counts = {}
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for table, statement in statements.items():
                counts[table] = self._connection.execute(statement, (before,)).rowcount
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return counts

    def close(self) -> None:
        """Commit what waits and let go of the folder. Safe to repeat."""
        if self._lock.closed:
            return
        self.writer.flush()
        self._connection.close()
        self._lock.close()


def open_store(folder: Path, *, sync: Sync = "normal") -> Store:
    """Open (making it at first) a data folder. ConflictError where another process has it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _take_lock(folder)
    try:
        _check_present(folder)
        connection = _connect(folder / DATABASE, sync)
        migrate(connection)
        sealer = Sealer(load_key(folder / KEY))
    except sqlite3.DatabaseError as error:
        lock.close()
        raise PermanentError(
            f"{folder / DATABASE} cannot be opened: {error}. Restore a backup, or name another folder with --data."
        ) from error
    except BaseException:
        lock.close()
        raise
    return Store(folder, lock, connection, sealer)


def _check_present(folder: Path) -> None:
    """A folder that was used has a database: its key is made after it."""
    database = folder / DATABASE
    if (folder / KEY).exists() and not (database.exists() and database.stat().st_size):
        raise PermanentError(
            f"{database} is missing, but {folder} was in use. Restore a backup of the database "
            f"there; to begin with an empty one, remove {folder / KEY} too: secrets that were kept "
            "can then no longer be read."
        )


def backup(folder: Path, target: Path) -> None:
    """Copy the database as of this moment into a new file (0600), while the engine runs. The key is
    not copied.
    """
    source_file = folder / DATABASE
    if not source_file.exists():
        raise PermanentError(
            f"There is no database in {folder}. Name the folder that was given to serve as --data."
        )
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with (
        closing(sqlite3.connect(f"file:{source_file}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)


def _take_lock(folder: Path) -> IO[str]:
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    lock = os.fdopen(descriptor, "r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise ConflictError(
            f"{folder} is in use by another stormcell (process {holder}). Stop that one, or give another --data."
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _connect(file: Path, sync: Sync) -> sqlite3.Connection:
    if not file.exists():
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        file, timeout=_BUSY_SECONDS, isolation_level=None, cached_statements=256
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {sync}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -16000")
    return connection
