"""Keeps the components of a sensor's process running, as the configuration asks for them.

StackStorm restarts a sensor that exits twice and then leaves it dead. So nothing here ends the
process: a component that cannot start (no configuration yet, a wrong one, a port in use) is logged
once and retried; when the configuration changes, all components are restarted.
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
"""Between two tries of a component, and two reads of the configuration; doubled each time."""
NOT_CONFIGURED = (
    "kubestorm is not configured: the pack configuration must name the cluster. Copy "
    "kubestorm.yaml.example to configs/kubestorm.yaml, change what is yours, and load it with "
    "st2ctl reload --register-configs. This sensor checks again every minute."
)

Config = Mapping[str, Any]


class Running(Protocol):
    """A component that has started."""

    def stop(self) -> None:
        """End it. Safe to repeat."""


class Component(NamedTuple):
    """Something that a process does, independent of its other components."""

    name: str
    start: Callable[[Config], Optional[Running]]
    """None where the configuration does not ask for it. An error is logged, and retried."""


def current_config() -> Optional[Config]:
    """The pack's configuration as the engine has it now; None where it cannot be asked."""
    try:
        from st2common.util.config_loader import ContentPackConfigLoader
    except ImportError:
        return None
    found: Optional[Config] = ContentPackConfigLoader(pack_name=PACK).get_config()
    return found


@dataclass
class _State:
    """The state of a component. `due`: when it is tried next; None where it runs or is not asked
    for.
    """

    due: Optional[float]
    running: Optional[Running] = None
    pause: float = FIRST_PAUSE_SECONDS
    logged: str = ""


class Supervisor:
    """All components of one process. `run` belongs to one thread, `stop` to any."""

    def __init__(
        self,
        components: Sequence[Component],
        config: Optional[Config],
        log: logging.Logger,
        *,
        current: Callable[[], Optional[Config]] = current_config,
        report: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        """`config` is what the engine gave at the start, `current` reads it again; `report` is
        called about once a minute, `on_stop` after the last component has stopped.
        """
        self._components, self._config, self._log = components, dict(config or {}), log
        self._current, self._report, self._on_stop = current, report, on_stop
        self._states: Dict[str, _State] = {}
        self._config_due: Optional[float] = None
        self._config_pause = FIRST_PAUSE_SECONDS
        self._is_logged = False
        """Whether it was logged that there is no configuration."""
        self._unreadable = ""
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Keep the components running until `stop`."""
        while not self._stopping.wait(self.tick(time.monotonic())):
            pass

    def stop(self) -> None:
        """Stop all components. Safe to repeat."""
        if not self._stopping.is_set():
            self._stopping.set()
            with self._lock:
                self._stop_components()
            self._on_stop()

    def tick(self, now: float) -> float:
        """Do what is due at this time of the monotonic clock; the seconds until the next."""
        with self._lock:
            if self._stopping.is_set():
                return 0.0
            if self._config_due is None or now >= self._config_due:
                if self._config_due is not None:
                    self._check_configuration()
                    self._report()
                self._config_due = now + self._config_pause
                self._config_pause = min(self._config_pause * 2, LONGEST_PAUSE_SECONDS)
            if not self._config.get("cluster"):
                if not self._is_logged:
                    self._log.warning("sensor.not_configured: %s", NOT_CONFIGURED)
                self._is_logged = True
                return self._config_due - now
            for component in self._components:
                state = self._states.setdefault(component.name, _State(now))
                if state.due is not None and now >= state.due:
                    self._start_component(component, state, now)
            due = [state.due for state in self._states.values() if state.due is not None]
            return min([self._config_due, *due]) - now

    def _start_component(self, component: Component, state: _State, now: float) -> None:
        try:
            state.running = component.start(self._config)
            state.due = None
        except Exception as error:  # noqa: BLE001 (the outer loop: retried)
            state.due = now + state.pause
            state.pause = min(state.pause * 2, LONGEST_PAUSE_SECONDS)
            why = _why(error)
            if why != state.logged:
                state.logged = why
                unforeseen = None if isinstance(error, Error) else error
                self._log.warning(
                    "sensor.waiting: %s: %s", component.name, why, exc_info=unforeseen
                )
            return
        if state.running is not None:
            self._log.info("sensor.started: %s", component.name)

    def _check_configuration(self) -> None:
        try:
            found = self._current()
        except Exception as error:  # noqa: BLE001 (any engine, any database: the known configuration stays)
            if _why(error) != self._unreadable:
                self._unreadable = _why(error)
                self._log.warning("sensor.configuration_unreadable: %s", self._unreadable)
            return
        self._unreadable = ""
        if found is None or found == self._config:
            return
        self._stop_components()
        self._config, self._is_logged = dict(found), False
        self._log.info("sensor.configured: the pack configuration has changed")

    def _stop_components(self) -> None:
        states, self._states = self._states, {}
        for state in states.values():
            if state.running is not None:
                state.running.stop()


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"
