"""Announcements through Slack's Web API."""

from __future__ import annotations

from kubestorm.announce.outbox import Message
from kubestorm.announce.posting import COLOURS, as_text
from kubestorm.chat.formatting import slack_escape
from kubestorm.services import Services
from kubestorm.slack.blocks import announcement
from kubestorm.slack.credentials import Credentials
from kubestorm.slack.settings import SlackSettings
from kubestorm.slack.web import SlackWeb


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
