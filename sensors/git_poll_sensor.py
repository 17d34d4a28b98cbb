"""Looks at the branches that ImageBuilds follow and dispatches `kubestorm.source_pushed` for what
is new there.
"""

from kubestorm.building.following import BranchPoller
from kubestorm.building.settings import BuildSettings
from kubestorm.services import open_services
from st2reactor.sensor.base import PollingSensor

A_DAY = 86400


class GitPollSensor(PollingSensor):
    """A timer around the branches whose time has come: the work is in kubestorm.building."""

    def setup(self):
        settings = BuildSettings.from_config(self.config)
        self._wanted = bool(settings.source.poll.interval_seconds)
        self._poller = BranchPoller(
            settings,
            self.sensor_service,
            lambda trigger, payload: self.sensor_service.dispatch(trigger=trigger, payload=payload),
            self.sensor_service.get_logger(name=self.__class__.__name__),
        )
        self.set_poll_interval(self._poller.tick_seconds if self._wanted else A_DAY)

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
