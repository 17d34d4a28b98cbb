"""Sensors import `sleep` from here: in stormcell threads are threads."""

from __future__ import annotations

import subprocess
import time
from types import ModuleType

__all__ = ["get_subprocess_module", "sleep"]

sleep = time.sleep


def get_subprocess_module() -> ModuleType:
    """Return the module to start programs with."""
    return subprocess
