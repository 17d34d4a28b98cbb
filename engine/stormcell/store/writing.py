"""The one writer: whatever is handed in during a turn of the event loop is committed as one
transaction.

Two kinds of write differ in what a failure means. A *request* (`submit`) may be refused: its caller
is told and says so to whoever asked. A *fact* (`record`) has happened, such as the end of an
execution, and is kept, in order, and tried again until the disk takes it. SQLite runs on the loop's
own thread: see docs/decisions/0050.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from stormcell.errors import ConflictError, InvalidInputError, TemporaryError

log = logging.getLogger(__name__)

Op = tuple[str, tuple[Any, ...]]
_OF_VALUES = (UnicodeError, OverflowError, sqlite3.ProgrammingError, sqlite3.DataError)
"""What is wrong with a value rather than with the disk: trying again does not help."""
_SQL, _VALUES = itemgetter(0), itemgetter(1)
_FIRST_RETRY_SECONDS = 0.1
_LAST_RETRY_SECONDS = 5.0


def by_statement(ops: Iterable[Op]) -> list[Op]:
    """Bring together what has the same statement, for rows whose order among tables means nothing:
    `GroupCommit` writes what follows one another in the same words in one call."""
    groups: dict[str, list[Op]] = {}
    for op in ops:
        groups.setdefault(op[0], []).append(op)
    return [op for group in groups.values() for op in group]


class _Unit:
    """Operations that are committed together or not at all."""

    __slots__ = ("future", "is_fact", "ops", "then")

    def __init__(
        self,
        ops: Sequence[Op],
        future: asyncio.Future[None] | None,
        *,
        is_fact: bool,
        then: Callable[[], None] | None = None,
    ) -> None:
        self.ops = ops
        self.future = future
        self.is_fact = is_fact
        self.then = then


class GroupCommit:
    """Collects units and commits them in the order they came."""

    def __init__(self, connection: sqlite3.Connection, file: Path | None = None) -> None:
        """`file`: the database's, which has to stay where it is; None for one in memory."""
        self._connection = connection
        self._file = file
        self._identity = None if file is None else _identity(file)
        self._failure = ""
        self._pending: list[_Unit] = []
        self._scheduled: asyncio.Handle | None = None
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self.failures = 0
        self.commits = 0

    @property
    def failure(self) -> str:
        """Why nothing can be written at the moment; empty while it can."""
        try:
            self.check_file()
        except sqlite3.Error as error:
            return str(error)
        return self._failure

    def check_file(self) -> None:
        """OperationalError where the file is no longer the one that was opened: SQLite would go on
        to write to it, for nobody to read."""
        if self._file is not None and _identity(self._file) != self._identity:
            raise sqlite3.OperationalError(
                f"{self._file} was removed or replaced while stormcell was running. "
                "Put the file back, or stop stormcell and restore a backup"
            )

    def submit(
        self, ops: Sequence[Op], *, then: Callable[[], None] | None = None
    ) -> asyncio.Future[None]:
        """Ask for a write. The future raises TemporaryError (disk full, locked), ConflictError
        (exists already) or InvalidInputError (a value that SQLite does not take). `then` is called
        once it is on disk, whether or not anybody waits for the future any more."""
        return self._add(ops, is_fact=False, then=then)

    def record(self, ops: Sequence[Op]) -> asyncio.Future[None]:
        """Write down what has happened; waits for as long as the disk refuses."""
        return self._add(ops, is_fact=True)

    async def settled(self) -> None:
        """Return once all that was handed in so far is on disk: what an answer may promise."""
        await self.record(())

    def _add(
        self, ops: Sequence[Op], *, is_fact: bool, then: Callable[[], None] | None = None
    ) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._pending.append(_Unit(ops, future, is_fact=is_fact, then=then))
        if self._scheduled is None:
            self._scheduled = loop.call_soon(self.flush)
        return future

    def write_now(self, ops: Sequence[Op]) -> None:
        """Commit at once (start-up, tests, small requests); what waits is committed first."""
        self.flush()
        if self._pending:
            raise TemporaryError(
                "The database cannot be written at the moment; see the log for why. Try again later."
            )
        try:
            self._run([_Unit(ops, None, is_fact=False)])
        except sqlite3.IntegrityError as error:
            raise ConflictError(str(error)) from error
        except _OF_VALUES as error:
            raise InvalidInputError(f"A value cannot be kept: {error}") from error
        except sqlite3.Error as error:
            self._failure = str(error)
            raise _refused(error) from error

    def flush(self) -> None:
        """Commit all that waits."""
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        units, self._pending = self._pending, []
        if not units:
            return
        try:
            self._run(units)
        except (sqlite3.IntegrityError, *_OF_VALUES):
            self._run_one_by_one(units)
        except sqlite3.Error as error:
            self._put_off(units, error)
        else:
            self._retry_seconds = _FIRST_RETRY_SECONDS
            for unit in units:
                _resolve(unit)

    def _run(self, units: Sequence[_Unit]) -> None:
        execute: Callable[..., Any] = self._connection.execute
        many: Callable[..., Any] = self._connection.executemany
        self.check_file()
        execute("BEGIN IMMEDIATE")
        try:
            for sql, same in groupby(chain.from_iterable(unit.ops for unit in units), _SQL):
                many(sql, map(_VALUES, same))
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        self.commits += 1
        self._failure = ""

    def _run_one_by_one(self, units: Sequence[_Unit]) -> None:
        """One unit breaks a constraint or has a value that cannot be written; find it, so that the others do not suffer for it."""
        for position, unit in enumerate(units):
            try:
                self._run([unit])
            except sqlite3.IntegrityError as error:
                _fail(unit, ConflictError(f"The database refused a row: {error}"))
            except _OF_VALUES as error:
                _fail(unit, InvalidInputError(f"A value cannot be kept: {error}"))
            except sqlite3.Error as error:
                self._put_off(units[position:], error)
                return
            else:
                _resolve(unit)

    def _put_off(self, units: Sequence[_Unit], error: sqlite3.Error) -> None:
        self.failures += 1
        self._failure = str(error)
        facts = [unit for unit in units if unit.is_fact]
        log.error(
            "store.write_failed",
            extra={"error": str(error), "kept": len(facts), "refused": len(units) - len(facts)},
        )
        for unit in units:
            if not unit.is_fact:
                _fail(unit, _refused(error))
        if facts:
            self._pending = facts + self._pending
            self._scheduled = asyncio.get_running_loop().call_later(self._retry_seconds, self.flush)
            self._retry_seconds = min(self._retry_seconds * 2, _LAST_RETRY_SECONDS)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _refused(error: sqlite3.Error) -> TemporaryError:
    return TemporaryError(
        f"The database cannot be written: {error}. Make room or release the lock; nothing was recorded, ask again.",
        retry_after_seconds=1.0,
    )


def _resolve(unit: _Unit) -> None:
    if unit.future is not None and not unit.future.done():
        unit.future.set_result(None)
    if unit.then is not None:
        try:
            unit.then()
        except Exception:
            log.exception("effect.failed")


def _fail(unit: _Unit, error: Exception) -> None:
    if unit.future is not None and not unit.future.done():
        unit.future.set_exception(error)
