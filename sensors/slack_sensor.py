"""Takes slash commands, mentions and clicks from Slack and dispatches `kubestorm.slack_command`."""

from kubestorm.settings import load_settings
from kubestorm.slack.credentials import Credentials
from kubestorm.slack.inbox import Inbox
from kubestorm.slack.listening import SlackGate
from kubestorm.slack.settings import SlackSettings
from st2reactor.sensor.base import Sensor


class SlackSensor(Sensor):
    """A listener or a connection of Socket Mode: the work is in kubestorm.slack."""

    def setup(self):
        settings = SlackSettings.from_config(self.config or {})
        log = self.sensor_service.get_logger(name=self.__class__.__name__)
        credentials = Credentials.of(load_settings(self.config))
        inbox = Inbox(
            self.sensor_service,
            lambda trigger, payload: self.sensor_service.dispatch(trigger=trigger, payload=payload),
            log,
            credentials.bot_token,
            settings.teams,
        )
        self._gate = SlackGate(settings, credentials, inbox, log)
        self._gate.start()

    def run(self):
        self._gate.wait_until_stopped()

    def cleanup(self):
        self._gate.stop()

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
