"""The `announcements` section of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Mapping, Tuple

from kubestorm.core.errors import DefinitionError

AUTO, SLACK, CHATOPS, OFF = "auto", "slack", "chatops", "off"
WAYS = (AUTO, SLACK, CHATOPS, OFF)
DRIFT = "drift"
TELL = ("applications", "databases", "imagebuilds", "rollouts", DRIFT)


@dataclass(frozen=True)
class ChannelRule:
    """The channel of some namespaces."""

    namespaces: Tuple[str, ...]
    """Shell patterns; the first entry with one that fits counts."""
    channel: str


@dataclass(frozen=True)
class AnnounceSettings:
    through: str = AUTO
    """`slack` (Web API), `chatops` (the engine's announcements, for Hubot and err-stackstorm),
    `off`; `auto` is Slack where a bot token is configured, else chatops."""
    route: str = "chatops"
    """The route of announcements for `chatops`: `chatops` for Hubot, `errbot` for err-stackstorm.
    """
    tell: Tuple[str, ...] = TELL
    """What is told: kinds by their plural, and `drift`."""
    channel: str = ""
    """For namespaces that nothing else says a channel for; empty says nothing there."""
    channels: Tuple[ChannelRule, ...] = ()
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
        section = dict(config.get("announcements") or {})
        known = {item.name: item.default for item in fields(cls)}
        values = {}
        for key, value in section.items():
            if key not in known:
                raise _wrong(key, "is not a setting")
            if value is None or value == [] or value == {}:
                continue
            values[key] = _read(key, value, known[key])
        settings = cls(**values)
        if settings.through not in WAYS:
            raise _wrong("through", f"must be one of {', '.join(WAYS)}")
        return settings

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


def _read(key: str, value: Any, default: Any) -> Any:
    if key == "channels":
        return tuple(_channel(index, item) for index, item in enumerate(value))
    if key == "tell":
        if isinstance(value, str) or not set(value) <= set(TELL):
            raise _wrong(key, f"must be a list of {', '.join(TELL)}")
        return tuple(value)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise _wrong(key, "must be true or false")
    elif isinstance(default, (int, float)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise _wrong(key, "must be a number of 0 or more")
    elif not isinstance(value, str):
        raise _wrong(key, "must be a string")
    return value


def _channel(index: int, item: Any) -> ChannelRule:
    field = f"channels[{index}]"
    if (
        not isinstance(item, Mapping)
        or not isinstance(item.get("channel"), str)
        or not item["channel"]
    ):
        raise _wrong(field, "needs `channel`, for example #team-shop")
    namespaces = item.get("namespaces") or ["*"]
    if isinstance(namespaces, str) or not all(isinstance(one, str) for one in namespaces):
        raise _wrong(field, "needs `namespaces`, a list of shell patterns")
    return ChannelRule(tuple(namespaces), item["channel"])


def _wrong(key: str, what: str) -> DefinitionError:
    return DefinitionError(
        f"announcements.{key} of the pack configuration {what}.", field=f"announcements.{key}"
    )
