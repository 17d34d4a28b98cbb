"""Watches the Kubernetes resources that rules ask for and dispatches `kubestorm.resource_event`."""

from kubestorm.kube import connect
from kubestorm.watching.hub import WatchHub
from kubestorm.watching.settings import WatchSettings
from st2reactor.sensor.base import Sensor


class CustomResourceSensor(Sensor):
    """One sensor for every group, version and plural: the work is in kubestorm.watching."""

    def __init__(self, sensor_service, config=None):
        super().__init__(sensor_service=sensor_service, config=config)
        # Made here and not in setup: StackStorm sends the existing triggers around setup, not after
        # it.
        self._hub = WatchHub(
            store=sensor_service,
            dispatch=lambda trigger, payload: sensor_service.dispatch(
                trigger=trigger, payload=payload
            ),
            log=sensor_service.get_logger(name=self.__class__.__name__),
        )

    def setup(self):
        settings = WatchSettings.from_config(self.config)
        self._hub.start(settings, connect(settings.kubernetes))

    def run(self):
        self._hub.wait_until_stopped()

    def cleanup(self):
        self._hub.stop()

    def add_trigger(self, trigger):
        self._hub.add(trigger)

    def update_trigger(self, trigger):
        self._hub.add(trigger)

    def remove_trigger(self, trigger):
        self._hub.remove(trigger)
