"""`Action`, the base class of Python actions, as in StackStorm 3.9."""

from __future__ import annotations

import abc
from typing import Any

from st2common.runners.utils import PackConfigDict, get_logger_for_python_runner_action

__all__ = ["Action"]


class Action(abc.ABC):
    """A Python action: derive from it and define `run`."""

    description = None

    def __init__(self, config: Any = None, action_service: Any = None) -> None:
        wrapper = getattr(action_service, "_action_wrapper", None)
        self.action_service = action_service
        self.config = PackConfigDict(getattr(wrapper, "_pack", "unknown"), config or {})
        self.logger = get_logger_for_python_runner_action(
            action_name=type(self).__name__, log_level=getattr(wrapper, "_log_level", "debug")
        )

    @abc.abstractmethod
    def run(self, **kwargs: Any) -> Any:
        """Do the work; return a result, or a tuple of success and result."""
