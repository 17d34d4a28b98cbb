"""Compares Databases with RDS, Vault and Consul from time to time and dispatches
`kubestorm.drift_detected`.
"""

from kubestorm.drift.poller import DriftPoller
from kubestorm.drift.settings import DriftSettings
from kubestorm.services import open_services
from st2reactor.sensor.base import PollingSensor

A_DAY = 86400


class DriftSensor(PollingSensor):
    """A timer around one look: the work is in kubestorm.drift."""

    def setup(self):
        interval = DriftSettings.from_config(self.config).interval_seconds
        self._wanted = bool(interval)
        self.set_poll_interval(interval or A_DAY)
        self._poller = DriftPoller(
            self.sensor_service,
            lambda trigger, payload: self.sensor_service.dispatch(trigger=trigger, payload=payload),
            self.sensor_service.get_logger(name=self.__class__.__name__),
            open_services(self.config).settings.cluster,
        )

    def poll(self):
        if not self._wanted:
            return
        # Opened anew for each look: tokens run out between two of them.
        services = open_services(self.config)
        self._poller.poll(services)
        services.close()

    def cleanup(self):
        pass

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
