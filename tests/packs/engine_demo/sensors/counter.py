"""Counts its own starts in the datastore and tells each."""

from st2reactor.sensor.base import Sensor


class Counter(Sensor):
    def setup(self):
        self._starts = int(self.sensor_service.get_value("starts") or 0) + 1

    def run(self):
        self.sensor_service.dispatch("engine_demo.counted", {"start": self._starts})
        self.sensor_service.set_value("starts", str(self._starts))

    def cleanup(self):
        pass

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
