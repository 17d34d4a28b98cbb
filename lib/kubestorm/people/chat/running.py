"""Runs one of the pack's actions inside the execution that answers a command.

The action is the pack's own file, as `st2 run` would run it. It is not made an execution of its
own: its result would then travel as a parameter to whatever formats it, and StackStorm renders
parameters as templates and puts them on a command line (decision 0104).
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
import re
import sys
from pathlib import Path
from typing import Any, Mapping, Optional, Protocol, Tuple

from kubestorm.core.errors import DefinitionError, Error

log = logging.getLogger(__name__)
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,60}$")

Result = Tuple[bool, Any]


class Runner(Protocol):
    """Runs actions by name."""

    def run(self, action: str, parameters: Mapping[str, Any]) -> Result:
        """Whether it went well, and its result; an error is a result, too."""
        ...


class PackActions:
    """The actions in a folder, with the configuration and the service that the outer action was
    given.
    """

    def __init__(
        self, folder: Path, config: Optional[Mapping[str, Any]], action_service: Any = None
    ) -> None:
        self._folder = folder
        self._config = config
        self._service = action_service

    def run(self, action: str, parameters: Mapping[str, Any]) -> Result:
        """Run it. A fault of ours is logged with its trace, and is one sentence in the result."""
        try:
            return _pair(self._make(action).run(**parameters))
        except Error as error:
            return False, {
                "reason": type(error).__name__,
                "message": str(error),
                "service": error.service,
            }
        except Exception as error:
            log.exception("chat.action_failed", extra={"action": action})
            return False, {
                "reason": "Fault",
                "message": f"{action} has a fault ({type(error).__name__}).",
            }

    def _make(self, action: str) -> Any:
        file = self._folder / f"{action}.py"
        if not _NAME.match(action) or not file.is_file():
            raise DefinitionError(
                f"The pack has no action {action}; its installation is not complete."
            )
        name = f"kubestorm_action_{action}"
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise DefinitionError(
                f"{file} cannot be loaded; the pack's installation is not complete."
            )
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[name]
        kinds = [
            kind
            for _name, kind in inspect.getmembers(module, inspect.isclass)
            if kind.__module__ == name and hasattr(kind, "run")
        ]
        return kinds[0](config=self._config, action_service=self._service)


def _pair(result: Any) -> Result:
    if isinstance(result, tuple) and len(result) == 2:
        return bool(result[0]), result[1]
    return True, result
