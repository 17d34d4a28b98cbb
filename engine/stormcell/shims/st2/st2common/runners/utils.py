"""Helpers of the base class: the pack's configuration, and the action's logger."""

from __future__ import annotations

import logging as stdlib_logging
from typing import Any, Dict

from st2common import log as logging

__all__ = ["PackConfigDict", "get_action_class_instance", "get_logger_for_python_runner_action"]


class PackConfigDict(Dict[str, Any]):
    """A pack's configuration, which says what to do when a key is missing."""

    def __init__(self, pack_name: str, *args: Any) -> None:
        super().__init__(*args)
        self._pack_name = pack_name

    def __getitem__(self, key: str) -> Any:
        try:
            return super().__getitem__(key)
        except KeyError:
            raise ValueError(
                f'Config for pack "{self._pack_name}" is missing key "{key}". Add it to the pack\'s file in the '
                f"configs folder ({self._pack_name}.yaml), or give it a default in config.schema.yaml."
            ) from None


def get_logger_for_python_runner_action(action_name: str, log_level: str = "debug") -> Any:
    """Return the action's logger, which writes to stderr."""
    logger = logging.getLogger(f"actions.python.{action_name}")
    if not logger.handlers:
        level = getattr(stdlib_logging, log_level.upper(), stdlib_logging.DEBUG)
        console = stdlib_logging.StreamHandler()
        console.setLevel(level)
        console.setFormatter(stdlib_logging.Formatter("%(name)-12s: %(levelname)-8s %(message)s"))
        logger.addHandler(console)
        logger.setLevel(level)
    return logger


def get_action_class_instance(
    action_cls: Any, config: Any = None, action_service: Any = None
) -> Any:
    """Make an action; for packs that run one action from another, and for their tests."""
    return action_cls(config=config, action_service=action_service)
