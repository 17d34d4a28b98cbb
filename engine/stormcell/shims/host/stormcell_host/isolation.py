"""Put a worker back as it was before a run, so that no action finds what another left behind.

What is restored: working directory, environment, import path and import machinery, arguments,
logging, warnings, signal handlers and timers, locale and time zone, umask, standard streams,
built-ins, socket timeout, TLS defaults, random state, recursion limit, hooks; and modules that came
from the pack's folder are forgotten. Modules from elsewhere stay loaded: that is what makes a warm
worker fast. What cannot be undone (running threads, child processes, resource limits) is reported
instead, and the worker is replaced.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # The public getsignal makes an enum of each of sixty answers.
import builtins
import contextlib
import gc
import importlib
import io
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
import warnings
from typing import Any, Dict, List, Optional, Tuple

_SIGNALS = [int(s) for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)]
_MOST_BYTES = 192 * 1024 * 1024
"""A worker that has more memory than this after a run is replaced."""
_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]


class Snapshot:
    """The state of the process before any pack code ran. Made once; `restore` is called after each
    run.
    """

    def __init__(self) -> None:
        self._out, self._err = os.dup(1), os.dup(2)
        self.open_streams()
        self._cwd = os.getcwd()  # noqa: PTH109
        self._environ = dict(os.environ)
        self._path = list(sys.path)
        self._argv = list(sys.argv)
        self._meta_path, self._path_hooks = list(sys.meta_path), list(sys.path_hooks)
        self._modules = set(sys.modules)
        self._umask = _umask()
        self._locale = locale.setlocale(locale.LC_ALL)
        self._signals = {number: _signal.getsignal(number) for number in _SIGNALS}
        self._limits = {number: resource.getrlimit(number) for number in _LIMITS}
        self._builtins = dict(vars(builtins))
        self._warnings = list(warnings.filters)
        self._showwarning = warnings.showwarning
        self._recursion = sys.getrecursionlimit()
        self._hooks = (sys.excepthook, sys.displayhook, threading.excepthook)
        self._write_bytecode = sys.dont_write_bytecode
        self._switch = sys.getswitchinterval()
        self._logging = _LoggingState()

    def open_streams(self) -> None:
        """Give the process fresh standard streams on its original descriptors: unbuffered text in
        UTF-8.
        """
        os.dup2(self._out, 1)
        os.dup2(self._err, 2)
        sys.stdout = sys.__stdout__ = _text_stream(1)  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = _text_stream(2)  # type: ignore[misc]

    def restore(self, pack_paths: List[str]) -> None:
        """Undo what a run did. Raises whatever stands in the way; the process must not be used
        again then.
        """
        self._interpreter()  # First: the rest needs the built-ins.
        self._process()
        self._logging.restore()
        self._libraries()
        self._forget_modules(pack_paths)

    def blocker(self) -> Optional[str]:
        """Return what a run left that cannot be undone, or None."""
        others = [t for t in threading.enumerate() if t is not threading.main_thread()]
        if others:
            return "threads are left: {}".format(", ".join(thread.name for thread in others))
        if has_children():
            return "child processes are left"
        for number, limits in self._limits.items():
            if resource.getrlimit(number) != limits:
                return "a resource limit was changed"
        used = _resident_bytes()
        if used > _MOST_BYTES:
            return f"it has grown to {used >> 20} MB"
        return None

    def _process(self) -> None:
        os.chdir(self._cwd)
        os.umask(self._umask)
        self._environment()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in self._signals.items():
            if _signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if locale.setlocale(locale.LC_ALL) != self._locale:
            locale.setlocale(locale.LC_ALL, self._locale)
        self.open_streams()
        sys.stdin = sys.__stdin__

    def _environment(self) -> None:
        now = dict(os.environ)
        if now == self._environ:
            return
        for name in now:
            if name not in self._environ:
                del os.environ[name]
        for name, value in self._environ.items():
            if now.get(name) != value:
                os.environ[name] = value
        if now.get("TZ") != self._environ.get("TZ"):
            time.tzset()

    def _interpreter(self) -> None:
        sys.path[:] = self._path
        sys.argv[:] = self._argv
        sys.meta_path[:] = [f for f in sys.meta_path if f in self._meta_path or _from_installed(f)]
        sys.path_hooks[:] = self._path_hooks
        for name, value in self._builtins.items():
            if vars(builtins).get(name) is not value:
                setattr(builtins, name, value)
        for name in [name for name in vars(builtins) if name not in self._builtins]:
            delattr(builtins, name)
        warnings.filters[:] = self._warnings  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]
        warnings.showwarning = self._showwarning
        if sys.getrecursionlimit() != self._recursion:
            sys.setrecursionlimit(self._recursion)
        sys.excepthook, sys.displayhook, threading.excepthook = self._hooks
        sys.dont_write_bytecode = self._write_bytecode
        sys.setswitchinterval(self._switch)
        sys.settrace(None)
        sys.setprofile(None)
        gc.enable()

    def _libraries(self) -> None:
        socket.setdefaulttimeout(None)
        random.seed()
        ssl = sys.modules.get("ssl")
        if ssl is not None:
            ssl._create_default_https_context = ssl.create_default_context  # type: ignore[attr-defined]
        boto3 = sys.modules.get("boto3")
        if boto3 is not None:
            boto3.DEFAULT_SESSION = None  # type: ignore[attr-defined]  # it holds credentials
        decimal = sys.modules.get("decimal")
        if decimal is not None:
            decimal.setcontext(decimal.Context())
        asyncio = sys.modules.get("asyncio")
        if asyncio is not None:
            asyncio.events._set_running_loop(None)
            policy = getattr(asyncio.events, "_event_loop_policy", None)
            if policy is not None:
                policy.set_event_loop(None)

    def _forget_modules(self, pack_paths: List[str]) -> None:
        for name in [name for name in sys.modules if name not in self._modules]:
            if _is_from(sys.modules.get(name), pack_paths):
                del sys.modules[name]
            else:
                self._modules.add(name)  # Not the pack's, and so never to be asked about again.
        for path in [path for path in sys.path_importer_cache if _is_below(path, pack_paths)]:
            del sys.path_importer_cache[path]
        importlib.invalidate_caches()


def _resident_bytes() -> int:
    """The memory of this process as Linux counts it; 0 elsewhere."""
    try:
        # Not by `open`, which the action may have replaced.
        descriptor = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return 0
    try:
        return int(os.read(descriptor, 100).split()[1]) * resource.getpagesize()
    finally:
        os.close(descriptor)


def has_children() -> bool:
    """Tell whether child processes are alive. Buries those that have ended."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def wait_for_threads() -> None:
    """Wait for threads that are not daemons, as the end of a Python program does."""
    while True:
        alive = [
            t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()
        ]
        if not alive:
            return
        for thread in alive:
            thread.join()


class _LoggingState:
    """Levels, handlers and filters of all loggers."""

    def __init__(self) -> None:
        self._factory = logging.getLogRecordFactory()
        self._class = logging.getLoggerClass()
        self._raise = logging.raiseExceptions
        self._loggers: Dict[str, Tuple[Any, ...]] = {
            name: _logger_state(logger)
            for name, logger in logging.Logger.manager.loggerDict.items()
            if isinstance(logger, logging.Logger)
        }
        self._root = _logger_state(logging.getLogger())

    def restore(self) -> None:
        logging.disable(logging.NOTSET)
        logging.captureWarnings(False)
        logging.setLogRecordFactory(self._factory)
        logging.setLoggerClass(self._class)
        logging.raiseExceptions = self._raise
        _set_logger(logging.getLogger(), self._root)
        for name, logger in logging.Logger.manager.loggerDict.items():
            if isinstance(logger, logging.Logger):
                _set_logger(logger, self._loggers.get(name))
        clear = getattr(logging.Logger.manager, "_clear_cache", None)
        if clear is not None:
            clear()


def _logger_state(logger: logging.Logger) -> Tuple[Any, ...]:
    return (
        logger.level,
        logger.propagate,
        logger.disabled,
        list(logger.handlers),
        list(logger.filters),
    )


def _set_logger(logger: logging.Logger, state: Optional[Tuple[Any, ...]]) -> None:
    if state is None:
        # First seen in the run. Libraries that stay loaded added their NullHandler on import: keep
        # that.
        kept = [handler for handler in logger.handlers if isinstance(handler, logging.NullHandler)]
        state = (logging.NOTSET, True, False, kept, [])
    logger.level, logger.propagate, logger.disabled = state[0], state[1], state[2]
    for handler in logger.handlers:
        if handler not in state[3]:
            _close(handler)
    logger.handlers[:] = state[3]
    logger.filters[:] = state[4]


def _close(handler: logging.Handler) -> None:
    with contextlib.suppress(
        Exception
    ):  # A pack's own handler may raise anything, and it is going away.
        handler.close()


def _umask() -> int:
    value = os.umask(0o077)
    os.umask(value)
    return value


def _text_stream(fd: int) -> io.TextIOWrapper:
    raw = open(fd, "wb", buffering=0, closefd=False)  # noqa: SIM115 - a descriptor, for the process's life
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)  # type: ignore[type-var,unused-ignore]


def _from_installed(finder: Any) -> bool:
    """Keep import hooks of installed libraries (six, distutils) that were loaded during a run."""
    module = sys.modules.get(getattr(finder, "__module__", None) or type(finder).__module__)
    return is_installed(getattr(module, "__file__", None) or "")


def is_installed(path: str) -> bool:
    return "site-packages" in path or "dist-packages" in path


def _is_below(path: str, pack_paths: List[str]) -> bool:
    """Tell whether a path is the pack's own. A virtualenv inside the pack's folder holds libraries,
    not pack code.
    """
    return path.startswith(tuple(pack_paths)) and not is_installed(path)


def _is_from(module: Any, pack_paths: List[str]) -> bool:
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return _is_below(file, pack_paths) or _is_below(os.path.realpath(file), pack_paths)
    try:
        places = [str(place) for place in getattr(module, "__path__", None) or ()]
    except Exception:  # noqa: BLE001 - namespace packages compute it, and may fail once their parent is gone
        return True
    return any(
        _is_below(place, pack_paths) or _is_below(os.path.realpath(place), pack_paths)
        for place in places
    )
