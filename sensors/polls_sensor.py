"""Looks from time to time at what nobody tells of, and dispatches a trigger for what is new."""

from kubestorm.entrypoints.sensors.polls import Polls
from st2reactor.sensor.base import Sensor


class PollsSensor(Sensor):
    """Everything that looks by time: the work is in kubestorm.sensing."""

    def __init__(self, sensor_service, config=None):
        super().__init__(sensor_service=sensor_service, config=config)
        log = sensor_service.get_logger(name=self.__class__.__name__)
        self._keeper = Polls(sensor_service, config, log).keeper

    def setup(self):
        pass

    def run(self):
        self._keeper.run()

    def cleanup(self):
        self._keeper.stop()

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
