"""What one evaluation may cost: processor time and memory, so that nothing that a person or a
payload brings can hold up the engine, which evaluates on the thread of its event loop.

Time: while an engine runs, a timer ticks with the processor time that the process uses. A tick
inside a `Scope` that is over its limit ends the evaluation; Python's own regular expressions and
large integers are interrupted too, as both look for signals. Where no time is used, nothing ticks.
Memory: `limited_memory` lowers the limit of the process's address space while it evaluates. See
docs/decisions/0129-expressions-have-a-budget.md for what was measured.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, ParamSpec, TypeVar

from stormcell.errors import InvalidInputError

log = logging.getLogger(__name__)

CRITERIA_SECONDS: Final = 0.5
"""For the criteria of one rule on one event."""
EXPRESSION_SECONDS: Final = 2.0
"""For one template, YAQL expression or schema."""
STEP_SECONDS: Final = 30.0
"""For one step of a workflow: all its expressions together, of up to thousands of items."""
MEMORY_BYTES: Final = 128 * 1024 * 1024
RESULT_CHARACTERS: Final = 16 * 1024 * 1024
"""What one expression may evaluate to, as the sum of its texts and 8 for any other value."""
_TICK_SECONDS: Final = 0.05
_OTHER_CHARACTERS: Final = 8

P = ParamSpec("P")
T = TypeVar("T")


class OverBudgetError(InvalidInputError):
    """An evaluation used more processor time or memory than it may; the message says which."""


class Interrupted(BaseException):
    """Raised by a tick; not an Exception, so that no expression can catch it. `Scope` turns it into
    OverBudgetError."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        super().__init__()


class Scope:
    """Processor time for what runs within `with`. OverBudgetError where it was not enough. Scopes
    nest; each has its own limit."""

    __slots__ = ("_ticks", "seconds", "spent")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.spent = 0
        """Ticks; set it to 0 to give the whole time anew."""
        self._ticks = round(seconds / _TICK_SECONDS)

    def __enter__(self) -> Scope:
        self.spent = 0
        _active.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        _active.pop()
        if isinstance(error, Interrupted) and error.scope is self:
            raise self.over() from None

    @property
    def is_over(self) -> bool:
        return self.spent > self._ticks

    def over(self) -> OverBudgetError:
        return OverBudgetError(
            f"it took more than {self.seconds:g} s of processor time and was stopped"
        )


_active: list[Scope] = []
_OWN_CODE = frozenset({Scope.__enter__.__code__, Scope.__exit__.__code__})
_users = 0


def start() -> None:
    """Let the timer tick; call it on the main thread. Counted: as many `stop` end it."""
    global _users
    if threading.current_thread() is not threading.main_thread():
        log.warning("budget.off", extra={"reason": "the engine does not run on the main thread"})
        return
    _users += 1
    if _users == 1:
        signal.signal(signal.SIGPROF, _tick)
        signal.setitimer(signal.ITIMER_PROF, _TICK_SECONDS, _TICK_SECONDS)


def stop() -> None:
    """End what `start` began."""
    global _users
    if threading.current_thread() is not threading.main_thread() or _users == 0:
        return
    _users -= 1
    if _users == 0:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)


@contextlib.contextmanager
def ticking() -> Iterator[None]:
    """Keep to time limits without an engine: for tests and tools."""
    start()
    try:
        yield
    finally:
        stop()


def _tick(_number: int, frame: Any) -> None:
    for scope in _active:
        scope.spent += 1
    # A scope that is being entered or left must not be torn apart; the next tick comes.
    if frame is not None and frame.f_code in _OWN_CODE:
        return
    for scope in _active:
        if scope.is_over:
            scope.spent = 0
            raise Interrupted(scope)


def limited(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function within the time and memory of one expression. OverBudgetError."""
    with Scope(EXPRESSION_SECONDS):
        return _limited_memory(function, *args, **kwargs)


def _limited_memory(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if _statm is None:
        return function(*args, **kwargs)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    present = int(os.pread(_statm, 32, 0).split(b" ", 1)[0]) * resource.getpagesize()
    wanted = present + MEMORY_BYTES
    if soft != resource.RLIM_INFINITY and soft <= wanted:
        return function(*args, **kwargs)
    try:
        # Within the `try`: a tick may come as soon as the limit is set.
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
        return function(*args, **kwargs)
    except MemoryError:
        raise OverBudgetError(
            f"it took more than {MEMORY_BYTES >> 20} MB of memory and was stopped"
        ) from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _open_statm() -> int | None:
    """Where Linux tells the size of this process; None elsewhere, where memory is not limited."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


_statm = _open_statm()


def checked_result(value: T) -> T:
    """Return what an expression evaluated to. OverBudgetError where it is too large to be kept:
    a list may name the same long text a million times and take no memory before it is written."""
    if isinstance(value, str):
        left = RESULT_CHARACTERS - len(value)
    elif isinstance(value, dict | list | tuple):
        left = _left(value, RESULT_CHARACTERS)
    else:
        return value
    if left < 0:
        raise OverBudgetError(
            f"it evaluates to more than {RESULT_CHARACTERS >> 20} million characters"
        )
    return value


def _left(value: Any, left: int) -> int:
    waiting = [value]
    while waiting and left >= 0:
        item = waiting.pop()
        if isinstance(item, str):
            left -= len(item)
        elif isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        left -= _OTHER_CHARACTERS
    return left
