"""Watches the Kubernetes resources that rules ask for and dispatches `kubestorm.resource_event`."""

from kubestorm.entrypoints.sensors.resources import Resources
from st2reactor.sensor.base import Sensor


class ResourcesSensor(Sensor):
    """One sensor for every group, version and plural: the work is in kubestorm.sources.watching."""

    def __init__(self, sensor_service, config=None):
        super().__init__(sensor_service=sensor_service, config=config)
        log = sensor_service.get_logger(name=self.__class__.__name__)
        # Made here and not in setup: StackStorm sends the existing triggers around setup, not after
        # it.
        self._resources = Resources(sensor_service, config, log)

    def setup(self):
        pass

    def run(self):
        self._resources.supervisor.run()

    def cleanup(self):
        self._resources.supervisor.stop()

    def add_trigger(self, trigger):
        self._resources.add(trigger)

    def update_trigger(self, trigger):
        self._resources.add(trigger)

    def remove_trigger(self, trigger):
        self._resources.remove(trigger)
