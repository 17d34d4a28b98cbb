"""Hears from git servers that a branch was pushed to and dispatches `kubestorm.source_pushed`."""

import threading

from kubestorm.building.following import PushEvents
from kubestorm.services import open_services
from st2reactor.sensor.base import Sensor


class GitPushSensor(Sensor):
    """Webhooks of all git servers: the work is in kubestorm.building."""

    def __init__(self, sensor_service, config=None):
        super().__init__(sensor_service=sensor_service, config=config)
        self._events = None
        self._stopped = threading.Event()

    def setup(self):
        self._events = PushEvents(
            open_services(self.config),
            lambda trigger, payload: self.sensor_service.dispatch(trigger=trigger, payload=payload),
            self.sensor_service.get_logger(name=self.__class__.__name__),
        )
        self._events.start()

    def run(self):
        self._events.wait_until_stopped()
        # Without a webhook there is nothing to do, and a sensor that ends is started again.
        self._stopped.wait()

    def cleanup(self):
        self._stopped.set()
        if self._events is not None:
            self._events.stop()

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
