"""The `announcements` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Tuple

from kubestorm.core.sections import read_section, setting

AUTO, SLACK, CHATOPS, OFF = "auto", "slack", "chatops", "off"
WAYS = (AUTO, SLACK, CHATOPS, OFF)
DRIFT = "drift"
TELL = ("applications", "databases", "imagebuilds", "rollouts", DRIFT)


@dataclass(frozen=True)
class ChannelRule:
    """The channel of some namespaces."""

    channel: str
    """For instance "#team-shop"; "none" is silence."""
    namespaces: Tuple[str, ...] = ("*",)
    """Shell patterns; the first entry with one that fits counts."""


@dataclass(frozen=True)
class AnnounceSettings:
    """Who is notified of rollouts, builds, databases and drift."""

    through: str = setting(AUTO, one_of=WAYS)
    """`slack` (Web API), `chatops` (the engine's announcements, for Hubot and err-stackstorm),
    `off`; `auto` is Slack where a bot token is configured, else chatops."""
    route: str = "chatops"
    """The route of announcements for `chatops`: `chatops` for Hubot, `errbot` for err-stackstorm.
    """
    tell: Tuple[str, ...] = setting(TELL, one_of=TELL)
    """What is told: kinds by their plural, and `drift`."""
    channel: str = ""
    """For namespaces that nothing else says a channel for; empty says nothing there."""
    channels: Tuple[ChannelRule, ...] = ()
    """Channels by namespace; the first entry with a pattern that fits counts. The channel
    "none" is silence.
    """
    by_namespace: bool = True
    """Whether the label or annotation kubestorm.io/channel of a namespace is followed before the
    configuration.
    """
    burst: int = 3
    """Messages that one channel gets at once; what comes beyond is summarised."""
    window_seconds: float = 20.0
    """How long that beyond is collected."""
    fresh_seconds: float = 900.0
    """News older than this is not told: a new installation finds hundreds of databases that have
    long been ready.
    """
    trouble_seconds: float = 120.0
    """How long a service may be out of reach before it is told: most such trouble passes by itself.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AnnounceSettings:
        """Raises DefinitionError naming the key that is wrong."""
        return read_section(cls, config.get("announcements"), "announcements")

    @property
    def is_silent(self) -> bool:
        """Whether no namespace can have a channel."""
        return self.through == OFF or not (self.by_namespace or self.channel or self.channels)


def way(config: Mapping[str, Any]) -> str:
    """How messages go out: slack, chatops or off."""
    settings = AnnounceSettings.from_config(config)
    if settings.through != AUTO:
        return settings.through
    slack = config.get("slack") or {}
    return SLACK if slack.get("bot_token_file") or slack.get("bot_token_vault") else CHATOPS
