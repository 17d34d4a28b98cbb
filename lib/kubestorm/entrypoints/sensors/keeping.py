"""Keeps the parts of a sensor's process running, as the configuration asks for them.

StackStorm starts a sensor that exits twice again and then leaves it dead. So nothing here ends the
process: what cannot begin (no configuration yet, a wrong one, a port that is taken) is said once
and tried again; when the configuration changes, the parts end and begin anew.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Protocol, Sequence

from kubestorm.core.errors import Error

PACK = "kubestorm"
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 60.0
"""Between two tries of a part, and between two looks at the configuration; doubled each time."""
NOT_CONFIGURED = (
    "kubestorm is not configured: the pack configuration must name the cluster. Copy "
    "kubestorm.yaml.example to configs/kubestorm.yaml, change what is yours, and load it with "
    "st2ctl reload --register-configs. This sensor looks again every minute."
)

Config = Mapping[str, Any]


class Running(Protocol):
    """A part that has begun."""

    def stop(self) -> None:
        """End it. Safe to repeat."""


class Part(NamedTuple):
    """Something that a process does beside its other parts, none of which it can stop."""

    name: str
    begin: Callable[[Config], Optional[Running]]
    """None where the configuration does not ask for it. What it raises is said, and tried again."""


def present_config() -> Optional[Config]:
    """The pack's configuration as the engine has it now; None where it cannot be asked."""
    try:
        from st2common.util.config_loader import ContentPackConfigLoader
    except ImportError:
        return None
    found: Optional[Config] = ContentPackConfigLoader(pack_name=PACK).get_config()
    return found


@dataclass
class _State:
    """How a part is. `due`: when it is tried next; None where it runs or is not asked for."""

    due: Optional[float]
    running: Optional[Running] = None
    pause: float = FIRST_PAUSE_SECONDS
    said: str = ""


class Keeper:
    """All parts of one process. `run` belongs to one thread, `stop` to any."""

    def __init__(
        self,
        parts: Sequence[Part],
        config: Optional[Config],
        log: logging.Logger,
        *,
        present: Callable[[], Optional[Config]] = present_config,
        closing: Callable[[], None] = lambda: None,
    ) -> None:
        """`config` is what the engine gave at the start, `present` asks for it again; `closing` is
        called after the last part has ended.
        """
        self._parts, self._config, self._log = parts, dict(config or {}), log
        self._present, self._closing = present, closing
        self._states: Dict[str, _State] = {}
        self._config_due: Optional[float] = None
        self._config_pause = FIRST_PAUSE_SECONDS
        self._is_told = False
        """Whether it was said that there is no configuration."""
        self._unreadable = ""
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Keep the parts running until `stop`."""
        while not self._stopping.wait(self.look(time.monotonic())):
            pass

    def stop(self) -> None:
        """End all parts. Safe to repeat."""
        if not self._stopping.is_set():
            self._stopping.set()
            with self._lock:
                self._stop_parts()
            self._closing()

    def look(self, now: float) -> float:
        """Do what is due at a moment of the clock; the seconds until something is due again."""
        with self._lock:
            if self._stopping.is_set():
                return 0.0
            if self._config_due is None or now >= self._config_due:
                if self._config_due is not None:
                    self._look_at_configuration()
                self._config_due = now + self._config_pause
                self._config_pause = min(self._config_pause * 2, LONGEST_PAUSE_SECONDS)
            if not self._config.get("cluster"):
                if not self._is_told:
                    self._log.warning("sensor.not_configured: %s", NOT_CONFIGURED)
                self._is_told = True
                return self._config_due - now
            for part in self._parts:
                state = self._states.setdefault(part.name, _State(now))
                if state.due is not None and now >= state.due:
                    self._begin(part, state, now)
            due = [state.due for state in self._states.values() if state.due is not None]
            return min([self._config_due, *due]) - now

    def _begin(self, part: Part, state: _State, now: float) -> None:
        try:
            state.running = part.begin(self._config)
            state.due = None
        except Exception as error:  # noqa: BLE001 (the outer loop: whatever it was is tried again)
            state.due = now + state.pause
            state.pause = min(state.pause * 2, LONGEST_PAUSE_SECONDS)
            why = _why(error)
            if why != state.said:
                state.said = why
                unforeseen = None if isinstance(error, Error) else error
                self._log.warning("sensor.waiting: %s: %s", part.name, why, exc_info=unforeseen)
            return
        if state.running is not None:
            self._log.info("sensor.started: %s", part.name)

    def _look_at_configuration(self) -> None:
        try:
            found = self._present()
        except Exception as error:  # noqa: BLE001 (any engine, any database: what was known goes on)
            if _why(error) != self._unreadable:
                self._unreadable = _why(error)
                self._log.warning("sensor.configuration_unreadable: %s", self._unreadable)
            return
        self._unreadable = ""
        if found is None or found == self._config:
            return
        self._stop_parts()
        self._config, self._is_told = dict(found), False
        self._log.info("sensor.configured: the pack configuration has changed")

    def _stop_parts(self) -> None:
        states, self._states = self._states, {}
        for state in states.values():
            if state.running is not None:
                state.running.stop()


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"
