"""Dispatches `kubestorm.announcements_due` when news that was held back is to be told."""

from kubestorm.announce.settings import OFF, AnnounceSettings
from kubestorm.announce.waiting import OutboxWatch, utc_now
from st2reactor.sensor.base import PollingSensor


class AnnouncementSensor(PollingSensor):
    """A timer around one look: the work is in kubestorm.announce."""

    def setup(self):
        settings = AnnounceSettings.from_config(self.config or {})
        self._wanted = settings.through != OFF
        self._watch = OutboxWatch(
            self.sensor_service,
            lambda trigger, payload: self.sensor_service.dispatch(trigger=trigger, payload=payload),
            self.sensor_service.get_logger(name=self.__class__.__name__),
            window_seconds=settings.window_seconds,
            interval_seconds=self.get_poll_interval(),
            now=utc_now,
        )

    def poll(self):
        if self._wanted:
            self._watch.poll()

    def cleanup(self):
        pass

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
