"""A sensor that ends at once."""

from __future__ import annotations

from typing import Any

from st2reactor.sensor.base import Sensor


class ShortSensor(Sensor):
    """Has nothing to do."""

    def setup(self) -> None:
        """Nothing."""

    def run(self) -> None:
        """Return at once."""

    def cleanup(self) -> None:
        """Nothing."""

    def add_trigger(self, trigger: dict[str, Any]) -> None:
        """Nothing."""

    def update_trigger(self, trigger: dict[str, Any]) -> None:
        """Nothing."""

    def remove_trigger(self, trigger: dict[str, Any]) -> None:
        """Nothing."""
