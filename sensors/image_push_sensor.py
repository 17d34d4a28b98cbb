"""Hears from registries that an image was pushed and dispatches `kubestorm.image_pushed`."""

from kubestorm.registry.events import PushEvents
from kubestorm.services import open_services
from st2reactor.sensor.base import Sensor


class ImagePushSensor(Sensor):
    """Webhooks and queues of all registries: the work is in kubestorm.registry."""

    def __init__(self, sensor_service, config=None):
        super().__init__(sensor_service=sensor_service, config=config)
        self._events = None

    def setup(self):
        self._events = PushEvents(
            open_services(self.config),
            self.sensor_service,
            lambda trigger, payload: self.sensor_service.dispatch(trigger=trigger, payload=payload),
            self.sensor_service.get_logger(name=self.__class__.__name__),
        )
        self._events.start()

    def run(self):
        self._events.wait_until_stopped()

    def cleanup(self):
        if self._events is not None:
            self._events.stop()

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
