"""Receives events of registries, git servers and Slack, and dispatches triggers."""

from kubestorm.entrypoints.sensors.listeners import Listeners
from st2reactor.sensor.base import Sensor


class ListenersSensor(Sensor):
    """Everything that listens: the work is in kubestorm.entrypoints.sensors."""

    def __init__(self, sensor_service, config=None):
        super().__init__(sensor_service=sensor_service, config=config)
        log = sensor_service.get_logger(name=self.__class__.__name__)
        self._supervisor = Listeners(sensor_service, config, log).supervisor

    def setup(self):
        pass

    def run(self):
        self._supervisor.run()

    def cleanup(self):
        self._supervisor.stop()

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
