"""A worker: runs actions one after another, and is as new after each.

Messages in: `{"run": {...}}`, and `{"preload": {...}}`, which `ready` answers. Messages out: `ask`
(see services), `done` with the outcome, then `ready` once the process is clean again; a worker that
cannot be cleaned says why in `done.retire` and ends. One whose cleaning fails ends without `ready`,
by the exception.
Source of the contract: contrib/runners/python_runner of StackStorm 3.9.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import os
import sys
import traceback
from typing import Any, Dict, List, Optional, Tuple

from .isolation import Snapshot, is_installed, wait_for_threads
from .loading import PackImports, action_class, without_host_frames
from .preloading import preload
from .results import encode_result
from .services import ActionService, Calls
from .wire import Wire, die_with_parent

INVALID_STATUS_EXIT_CODE = 220
_INVALID_STATUS = (
    "Status returned from the action run() method must either be True or False, got: %s\n"
    "Return a list, or a tuple whose first item is the status: (True, (item1, item2)).\n"
)


def main(fd: int, parent_pid: int) -> None:
    """Serve until the engine closes the connection."""
    die_with_parent(parent_pid, adopt=True)
    wire = Wire(fd)
    worker = _Worker(wire)
    wire.send({"ready": True})
    while True:
        message = wire.receive()
        if message is None:
            return
        if "run" in message and not worker.run(message["run"]):
            return
        if "preload" in message and not worker.preload(message["preload"]):
            return


class _Worker:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._call = Calls(wire)
        self._imports = PackImports()
        sys.path_hooks.insert(0, self._imports)
        self._snapshot = Snapshot()

    def run(self, job: Dict[str, Any]) -> bool:
        """Run one action. False when this process must not run another."""
        pack_paths = self._admit(job)
        outcome = contextvars.copy_context().run(self._outcome, job)
        exit_code, status, result = outcome
        wait_for_threads()
        _flush()
        retire = self._snapshot.blocker() if job.get("reuse", True) else "asked for a fresh process"
        done = {"exit_code": exit_code, "status": status, "retire": retire}
        # The result is JSON already, which must not be encoded again. It goes out before the
        # cleaning, so that nobody waits for that.
        text = f'{{"done":{json.dumps(done)},"result":{result}}}'
        self._wire.send_encoded(text.encode())
        if retire is not None:
            return False
        self._snapshot.restore(pack_paths)
        self._wire.send({"ready": True})
        return True

    def preload(self, job: Dict[str, Any]) -> bool:
        """Load the libraries of a pack's actions. False when that left something that cannot be
        undone.
        """
        pack_paths = self._admit(job)
        _extend_path(job)
        preload(job["files"], [path for path in job["path_first"] if not is_installed(path)])
        _flush()
        if self._snapshot.blocker() is not None:
            return False
        self._snapshot.restore(pack_paths)
        self._wire.send({"ready": True})
        return True

    def _admit(self, job: Dict[str, Any]) -> List[str]:
        """Take the pack's folders as those whose modules are its own."""
        pack_paths = [path.rstrip(os.sep) + os.sep for path in job["pack_paths"]]
        self._imports.folders = tuple(pack_paths)
        return pack_paths

    def _outcome(self, job: Dict[str, Any]) -> Tuple[int, Optional[bool], str]:
        """Return exit code, status (None where the action gave none) and the result as JSON."""
        try:
            return self._perform(job)
        except SystemExit as error:
            return _exit_code(error), None, '"None"'
        except BaseException as error:  # noqa: BLE001 - the end of the action's process, as it would be
            _print_exception(error)
            return 1, None, '"None"'

    def _perform(self, job: Dict[str, Any]) -> Tuple[int, Optional[bool], str]:
        os.environ.update(job["env"])
        _extend_path(job)
        cls = action_class(job["file"])
        output = self._instance(cls, job).run(**job["parameters"])
        if isinstance(output, tuple) and len(output) == 2:
            status, result = output
            if status is not None and not isinstance(status, bool):
                sys.stderr.write(_INVALID_STATUS % (status,))
                return INVALID_STATUS_EXIT_CODE, None, '"None"'
        else:
            status, result = None, output
        return 0, status, encode_result(result)

    def _instance(self, cls: Any, job: Dict[str, Any]) -> Any:
        name = f"st2.actions.python.{cls.__name__}"
        service = ActionService(
            self._call, job["pack"], cls.__name__, job["log_level"], logging.getLogger(name)
        )
        try:
            return cls(config=job["config"], action_service=service)
        except TypeError as error:
            if "unexpected keyword argument 'action_service'" not in str(error):
                raise
        instance = cls(config=job["config"])
        instance.action_service = service
        return instance


def _extend_path(job: Dict[str, Any]) -> None:
    sys.path[:0] = job["path_first"]
    sys.path += [path for path in job.get("path_last", ()) if path not in sys.path]


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


def _print_exception(error: BaseException) -> None:
    """Write the traceback as Python would, without the worker's own frames."""
    traceback.print_exception(type(error), error, without_host_frames(error), file=sys.stderr)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # The action may have closed or replaced it.
            stream.flush()
