"""What the action announcement_tell does (post messages, each once), and news of sensors that see
everything at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from kubestorm.clients.services import Services
from kubestorm.core.dispatching import Dispatch
from kubestorm.core.errors import PermanentError, TemporaryError
from kubestorm.kinds.common.resource import NAMESPACES
from kubestorm.people.notifications.notifications import INFO, News
from kubestorm.people.notifications.observer import find_channel
from kubestorm.people.notifications.outbox import Item, Message, decide
from kubestorm.people.notifications.posted import SUMMARY_SECONDS, TOLD_SECONDS, Told, ToldStore
from kubestorm.people.notifications.posting import TRIGGER, EnginePoster, Poster, payloads
from kubestorm.people.notifications.settings import OFF, SLACK, AnnounceSettings, way

Result = Dict[str, Any]


class Notice(NamedTuple):
    """A sentence of an operator's own rule, for the channel of a namespace."""

    namespace: str
    sentence: str
    tone: str = INFO
    subject: str = ""
    state: str = ""


def tell(services: Services, store: ToldStore, messages: Sequence[Mapping[str, Any]]) -> Result:
    """Post the messages of a `kubestorm.news` event."""
    return _post_all(services, store, [Message.from_payload(one) for one in messages])


def tell_notice(services: Services, store: ToldStore, notice: Notice) -> Result:
    """Post a sentence; nothing where the namespace has no channel."""
    settings = AnnounceSettings.from_config(services.settings.raw)
    channel = channel_for(services, notice.namespace, settings) if notice.sentence else ""
    if not channel:
        return _result([], 0, "Nothing to post, or the namespace has no channel.")
    message = Message(
        channel,
        notice.sentence,
        notice.tone,
        subject=notice.subject,
        state=notice.state or notice.sentence,
    )
    return _post_all(services, store, [message])


def dispatch_news(
    services: Services, topic: str, found: Sequence[News], dispatch: Dispatch
) -> None:
    """Dispatch `kubestorm.news` for all that one look has found; many for a channel are one
    message.

    `topic` is what `announcements.tell` calls it. Raises what the dispatch and Kubernetes raise.
    """
    settings = AnnounceSettings.from_config(services.settings.raw)
    if settings.is_silent or topic not in settings.tell:
        return
    now = services.now()
    channels = {news.namespace: "" for news in found}
    for namespace in channels:
        channels[namespace] = channel_for(services, namespace, settings)
    items = [
        Item(channels[news.namespace], news, now) for news in found if channels[news.namespace]
    ]
    decided = decide(items, {}, replace(settings, window_seconds=0.0), now)
    messages = [message for message, _items in decided]
    for payload in payloads(messages, way(services.settings.raw), settings.route):
        dispatch(TRIGGER, payload)


def channel_for(services: Services, namespace: str, settings: AnnounceSettings) -> str:
    """The channel of a namespace; empty for none, or where announcements are off."""
    if settings.is_silent:
        return ""
    return find_channel(namespace, settings, lambda name: services.kube.get(NAMESPACES, name))


def poster_of(services: Services) -> Optional[Poster]:
    """The configured way to chat; None where it is off."""
    through = way(services.settings.raw)
    if through == OFF:
        return None
    if through == SLACK:
        from kubestorm.people.notifications.slack_posting import SlackPoster

        return SlackPoster.of(services)
    return EnginePoster(AnnounceSettings.from_config(services.settings.raw).route)


def _post_all(services: Services, store: ToldStore, messages: Sequence[Message]) -> Result:
    """What is refused for good keeps nothing else from being posted; where chat does not answer,
    the rest is left to a retry.
    """
    poster = poster_of(services)
    if poster is None:
        return _result([], 0, "Announcements are off.")
    refused: List[str] = []
    posted = 0
    for message in messages:
        told = store.find(message.subject) if message.subject else None
        known = told if told is not None and told.channel == message.channel else None
        if known is not None and known.state == message.state:
            continue
        thread = known.thread if known is not None else ""
        try:
            thread = poster.post(replace(message, thread=thread))
            posted += 1
        except TemporaryError as error:
            refused.append(str(error))
            break
        except PermanentError as error:
            refused.append(str(error))
        _remember(store, message, thread)
    return _result(refused, posted, refused[0] if refused else f"{posted} posted.")


def _remember(store: ToldStore, message: Message, thread: str) -> None:
    if not message.subject:
        return
    seconds = SUMMARY_SECONDS if message.covers else TOLD_SECONDS
    store.remember(message.subject, Told(message.state, message.channel, thread), seconds)
    for subject, state in message.covers:
        told = store.find(subject)
        if told is not None:
            store.remember(subject, replace(told, state=state))


def _result(refused: List[str], posted: int, message: str) -> Result:
    return {"posted": posted, "refused": refused, "message": message}
