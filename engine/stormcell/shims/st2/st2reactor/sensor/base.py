"""`Sensor` and `PollingSensor`, the base classes of sensors, as in StackStorm 3.9."""

from __future__ import annotations

import abc
import time
from typing import Any

__all__ = ["PollingSensor", "Sensor"]


class BaseSensor(abc.ABC):
    """What both kinds have; derive from one of those."""

    def __init__(self, sensor_service: Any, config: Any = None) -> None:
        self._sensor_service = sensor_service
        self.sensor_service = sensor_service
        self._config = config or {}
        self.config = self._config

    @abc.abstractmethod
    def setup(self) -> Any:
        """Get ready."""

    @abc.abstractmethod
    def run(self) -> Any:
        """Watch."""

    @abc.abstractmethod
    def cleanup(self) -> Any:
        """Let go."""

    @abc.abstractmethod
    def add_trigger(self, trigger: Any) -> Any:
        """A rule asks for this trigger."""

    @abc.abstractmethod
    def update_trigger(self, trigger: Any) -> Any:
        """The trigger has changed."""

    @abc.abstractmethod
    def remove_trigger(self, trigger: Any) -> Any:
        """No rule asks for this trigger any more."""


class Sensor(BaseSensor):
    """A sensor that waits for events by itself: `run` does not return."""


class PollingSensor(BaseSensor):
    """A sensor whose `poll` is called again and again."""

    def __init__(self, sensor_service: Any, config: Any = None, poll_interval: float = 5) -> None:
        super().__init__(sensor_service=sensor_service, config=config)
        self._poll_interval = poll_interval

    @abc.abstractmethod
    def poll(self) -> Any:
        """Look once."""

    def run(self) -> None:
        """Poll, wait, and so on."""
        while True:
            self.poll()
            time.sleep(self._poll_interval)

    def get_poll_interval(self) -> float:
        """Return the seconds between two polls."""
        return self._poll_interval

    def set_poll_interval(self, poll_interval: float) -> None:
        """Set the seconds between two polls; from the next wait on."""
        self._poll_interval = poll_interval
