"""Looks at repositories whose registry cannot call and dispatches `kubestorm.image_pushed` for what
is new there.
"""

from kubestorm.registry.polling import RegistryPoller
from kubestorm.registry.settings import RegistrySettings
from kubestorm.services import open_services
from st2reactor.sensor.base import PollingSensor

A_DAY = 86400


class RegistryPollSensor(PollingSensor):
    """A timer around the repositories whose time has come: the work is in kubestorm.registry."""

    def setup(self):
        settings = RegistrySettings.from_config(self.config).polling
        self._poller = RegistryPoller(
            settings,
            self.sensor_service,
            lambda trigger, payload: self.sensor_service.dispatch(trigger=trigger, payload=payload),
            self.sensor_service.get_logger(name=self.__class__.__name__),
        )
        self._services = open_services(self.config)
        self.set_poll_interval(self._poller.tick_seconds if settings.repositories else A_DAY)

    def poll(self):
        self._poller.poll(self._services.registry, self._services.now())

    def cleanup(self):
        pass

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
