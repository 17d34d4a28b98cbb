"""Announcements through Slack's Web API."""

from __future__ import annotations

from kubestorm.clients.services import Services
from kubestorm.clients.slack.credentials import Credentials
from kubestorm.clients.slack.settings import SlackSettings
from kubestorm.clients.slack.web import SlackWeb
from kubestorm.people.chat.formatting import slack_escape
from kubestorm.people.notifications.outbox import Message
from kubestorm.people.notifications.posting import COLOURS, as_text
from kubestorm.people.notifications.slack_blocks import announcement


class SlackPoster:
    """Posts each message, later ones about the same thing in the thread of the first."""

    def __init__(self, web: SlackWeb) -> None:
        self._web = web

    @classmethod
    def of(cls, services: Services) -> SlackPoster:
        """With the configured bot token."""
        return cls(open_web(services))

    def post(self, message: Message) -> str:
        """The thread it began or belongs to."""
        ts = self._web.post(
            message.channel,
            slack_escape(as_text(message)),
            announcement(message),
            thread=message.thread,
            color=COLOURS[message.tone],
        )
        return message.thread or ts


def open_web(services: Services) -> SlackWeb:
    """The Web API by the pack's configuration."""
    return SlackWeb(
        SlackSettings.from_config(services.settings.raw),
        Credentials.of(services.settings).bot_token(),
    )
