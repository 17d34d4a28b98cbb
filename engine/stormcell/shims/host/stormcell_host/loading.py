"""Find the class in a pack's Python file, as st2common/util/loader.py of StackStorm 3.9 does.

The module is executed without a place in `sys.modules`, so that an action named `http.py` does not
hide the standard library's. Its folder goes to the end of `sys.path`.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from importlib.machinery import FileFinder, SourceFileLoader
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Dict, List, Optional, Tuple

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120


class LoadError(Exception):
    """The file holds no usable class."""


class CachingLoader(SourceFileLoader):
    """Keeps the compiled code of a pack's files, which are executed anew for each run, as long as
    they do not change.

    Byte-code files are neither read nor needed, so that this works as well for packs that lie on a
    read-only disk.
    """

    _codes: ClassVar[Dict[str, Tuple[Tuple[int, int], Any]]] = {}

    def get_code(self, fullname: str) -> Any:
        stat = os.stat(self.path)  # noqa: PTH116
        version = (stat.st_mtime_ns, stat.st_size)
        known = self._codes.get(self.path)
        if known is not None and known[0] == version:
            return known[1]
        code = self.source_to_code(self.get_data(self.path), self.path)
        self._codes[self.path] = (version, code)
        return code


class PackImports:
    """A path hook: imports from the packs' folders go through CachingLoader, all others the
    ordinary way.
    """

    def __init__(self) -> None:
        self.folders: Tuple[str, ...] = ()
        self._finder = FileFinder.path_hook((CachingLoader, [".py"]))

    def __call__(self, path: str) -> Any:
        if not path.startswith(self.folders) or self._has_other_kinds(path):
            raise ImportError
        return self._finder(path)

    @staticmethod
    def _has_other_kinds(path: str) -> bool:
        """Compiled extensions need the ordinary finder."""
        try:
            return any(name.endswith((".so", ".pyd", ".pyc")) for name in os.listdir(path))  # noqa: PTH208
        except OSError:
            return False


def load_module(path: str) -> ModuleType:
    """Execute a file as a module and return it. Raises whatever its code raises."""
    if not os.path.isfile(path):  # noqa: PTH113 - os.path is imported anyway, pathlib would not be
        raise LoadError(f'The file "{path}" does not exist.')
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120
    if folder not in sys.path:
        sys.path.append(folder)
    name = os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122
    loader = CachingLoader(name, path) if path.endswith(".py") else None
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise LoadError(f'The file "{path}" is not a Python file; its name must end in .py.')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def action_class(path: str) -> Any:
    """Return the alphabetically first class of the file that is defined there and has a `run`
    method.
    """
    module = load_module(path)
    classes: List[Any] = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__
    ]
    for candidate in classes:
        method = getattr(candidate, "run", None)
        if callable(method) and not getattr(method, "__isabstractmethod__", False):
            return candidate
    raise LoadError(
        f'Found no class with a "run" method in "{path}". An action is a class derived from '
        "st2common.runners.base_action.Action that defines run()."
    )


def sensor_class(path: str, class_name: str) -> Any:
    """Return the class of that name."""
    module = load_module(path)
    found = getattr(module, class_name, None)
    if found is None:
        raise LoadError(f'The file "{path}" has no class named "{class_name}".')
    abstract = [
        name
        for name in ("setup", "run", "cleanup", "add_trigger", "update_trigger", "remove_trigger")
        if not callable(getattr(found, name, None))
        or getattr(getattr(found, name), "__isabstractmethod__", False)
    ]
    if abstract:
        raise LoadError(
            'The sensor class "{}" does not define: {}.'.format(class_name, ", ".join(abstract))
        )
    return found


def without_host_frames(error: BaseException) -> Optional[TracebackType]:
    """Return the error's traceback from the first frame that is not ours: a pack's author looks for
    their own.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(
        (_HERE, "<frozen importlib")
    ):
        trace = trace.tb_next
    return trace
