"""`from st2common import log as logging`, as packs write it: the standard library's, with
StackStorm's additions.
"""

from __future__ import annotations

import logging as _logging
from typing import Any, Optional

globals().update({name: getattr(_logging, name) for name in _logging.__all__})

AUDIT = _logging.CRITICAL + 10
_logging.addLevelName(AUDIT, "AUDIT")
_logging.AUDIT = AUDIT  # type: ignore[attr-defined]


def _audit(self: _logging.Logger, message: str, *args: Any, **kwargs: Any) -> None:
    if self.isEnabledFor(AUDIT):
        self._log(AUDIT, message, args, **kwargs)


_logging.Logger.audit = _audit  # type: ignore[attr-defined]


def getLogger(name: Optional[str] = None) -> _logging.Logger:
    """Return the logger `st2.NAME`."""
    if name and not name.startswith("st2"):
        name = "st2." + name
    return _logging.getLogger(name)
