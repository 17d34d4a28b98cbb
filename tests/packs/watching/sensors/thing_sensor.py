import threading

from st2reactor.sensor.base import Sensor

import helper


class ThingSensor(Sensor):
    """Dispatches an event for whatever happens to it."""

    def __init__(self, sensor_service, config=None):
        super(ThingSensor, self).__init__(sensor_service=sensor_service, config=config)
        self._stopped = threading.Event()
        self._logger = self.sensor_service.get_logger(__name__)

    def setup(self):
        self._logger.info("set up as %s", helper.name())
        self._tell("setup", config=self.config.get("greeting"))

    def run(self):
        self.sensor_service.set_value("cursor", 17)
        self._tell(
            "run",
            cursor=self.sensor_service.get_value("cursor"),
            names=[pair.name for pair in self.sensor_service.list_values()],
        )
        threads = [threading.Thread(target=self._many, args=(n,)) for n in range(self.config.get("threads", 0))]
        for thread in threads:
            thread.start()
        self._stopped.wait()

    def _many(self, number):
        for index in range(self.config["each"]):
            self._tell("many", thread=number, index=index)

    def cleanup(self):
        self._tell("cleanup")

    def add_trigger(self, trigger):
        self._tell("add", trigger=trigger)

    def update_trigger(self, trigger):
        self._tell("update", trigger=trigger)

    def remove_trigger(self, trigger):
        self._tell("remove", trigger=trigger)

    def _tell(self, name, **rest):
        self.sensor_service.dispatch(trigger="watching.thing_seen", payload=dict(rest, name=name), trace_tag=name)
