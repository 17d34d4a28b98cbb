"""How log lines look: a constant event name and fields. For people on a terminal, as JSON for
machines.
"""

from __future__ import annotations

import logging
import sys
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, TextIO

import msgspec

from stormcell.times import from_timestamp

Format = Literal["text", "json"]
_BARE = logging.makeLogRecord({}).__dict__
_STANDARD = frozenset(_BARE) | {"message", "asctime", "taskName", "color_message"}
_COLORS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}


def set_up_logging(log_format: Format, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send the engine's log to `stream` (standard error by default)."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        JsonLines() if log_format == "json" else TextLines(colored=target.isatty())
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("stormcell").setLevel(level.upper())
    # Nothing of this is shown, and finding it out is half of what a line costs (see "Optimization"
    # in Python's logging HOWTO): where in the source, which thread, which process.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


@lru_cache(maxsize=8)
def _clock(seconds: int) -> str:
    """`12:00:00`, UTC; many lines share a second."""
    return from_timestamp(seconds)[11:19]


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What `extra` gave: it stands behind what every record has."""
    added = islice(record.__dict__.items(), len(_BARE), None)
    return {name: value for name, value in added if name not in _STANDARD}


class JsonLines(logging.Formatter):
    """One object a line: time, level, event, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": from_timestamp(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry, enc_hook=str).decode()


class TextLines(logging.Formatter):
    """`12:00:00.123 rule.matched  rule_ref=a.b execution_id=…`"""

    def __init__(self, *, colored: bool) -> None:
        super().__init__()
        self._colored = colored

    def format(self, record: logging.LogRecord) -> str:
        seconds, fraction = divmod(record.created, 1)
        time = f"{_clock(int(seconds))}.{int(fraction * 1000):03}"
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()} "
        fields = " ".join(f"{name}={_shown(value)}" for name, value in _fields(record).items())
        line = f"{time} {level}{record.getMessage()}  {fields}".rstrip()
        color = _COLORS.get(record.levelno)
        if self._colored and color:
            line = f"\033[{color}m{line}\033[0m"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _shown(value: Any) -> str:
    text = (
        value if type(value) is str else f"{value:.3f}" if isinstance(value, float) else str(value)
    )
    return repr(text) if " " in text or not text else text
