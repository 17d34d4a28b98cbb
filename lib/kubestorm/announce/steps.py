"""Telling: news into the outbox, and out of it what is due. The effects around `outbox.decide`."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from typing import Any, Dict, List, NamedTuple, Optional

from kubestorm.announce.channels import channel_of
from kubestorm.announce.keep import Keep
from kubestorm.announce.news import INFO, News, news_of
from kubestorm.announce.outbox import Message, decide, new_item
from kubestorm.announce.posting import EnginePoster, Poster
from kubestorm.announce.settings import AUTO, CHATOPS, OFF, SLACK, AnnounceSettings
from kubestorm.errors import Error, NotFoundError, PermanentError, TemporaryError
from kubestorm.kube import Resource
from kubestorm.lease import LeaseLock
from kubestorm.naming import Identity
from kubestorm.resource import NAMESPACES
from kubestorm.services import Services

LEASE = "kubestorm-announcements"
LEASE_TRIES, LEASE_PAUSE_SECONDS = 4, 0.4
Result = Dict[str, Any]


class Notice(NamedTuple):
    """A sentence that somebody else has made: drift, an approval that runs out, a rule of the
    operator's own.
    """

    namespace: str
    sentence: str
    topic: str = "notices"
    tone: str = INFO
    subject: str = ""
    state: str = ""


def tell(
    services: Services,
    keep: Keep,
    run_id: str,
    *,
    about: Optional[Identity] = None,
    notice: Optional[Notice] = None,
) -> Result:
    """Take up what there is to tell, then post all that is due. `posts` is left to the workflow."""
    settings = AnnounceSettings.from_config(services.settings.raw)
    if way(settings, services) == OFF:
        return {"told": "", "posts": [], "message": "Announcements are off."}
    news = _news(services, about) if about is not None else None
    if notice is not None and notice.sentence:
        news = _from_notice(notice, services.now())
    taken = ""
    if news is not None:
        taken = _take_up(services, keep, news, settings)
    return {"told": taken, **flush(services, keep, run_id, settings)}


def way(settings: AnnounceSettings, services: Services) -> str:
    """How messages go out: slack, chatops or off."""
    if settings.through != AUTO:
        return settings.through
    slack = services.settings.raw.get("slack") or {}
    return SLACK if slack.get("bot_token_file") or slack.get("bot_token_vault") else CHATOPS


def flush(services: Services, keep: Keep, run_id: str, settings: AnnounceSettings) -> Result:
    """Post what is due, unless another run is at it: the sensor comes back to what is left."""
    lease = LeaseLock(services.kube, LEASE, holder=run_id, now=services.now)
    for attempt in range(LEASE_TRIES):
        if lease.acquire():
            break
        if attempt + 1 == LEASE_TRIES:
            return {"posts": [], "posted": 0, "refused": [], "message": "Another run is posting."}
        # It may have read what waits before this run added to it; a post takes a fraction of a
        # second.
        time.sleep(LEASE_PAUSE_SECONDS)
    try:
        return _flush(services, keep, settings)
    finally:
        with contextlib.suppress(Error):
            lease.release()


def _flush(services: Services, keep: Keep, settings: AnnounceSettings) -> Result:
    items = keep.waiting()
    now = services.now()
    recent = keep.recent({item.channel for item in items})
    decision = decide(items, keep.told(items), recent, settings, now)
    poster = _poster(services, settings)
    refused: List[str] = []
    posted = 0
    for message in decision.messages:
        try:
            thread = poster.post(message)
        except TemporaryError as error:
            refused.append(str(error))
            break
        except PermanentError as error:
            refused.append(str(error))
            keep.remove(message.items)
            continue
        posted += 1
        _remember(keep, message, thread, recent, settings, now)
    keep.remove(decision.dropped)
    posts = poster.posts if isinstance(poster, EnginePoster) else []
    return {
        "posts": posts,
        "route": settings.route,
        "posted": posted,
        "refused": refused,
        "message": _sentence(posted, len(items), refused),
    }


def _remember(
    keep: Keep,
    message: Message,
    thread: str,
    recent: Dict[str, List[dt.datetime]],
    settings: AnnounceSettings,
    now: dt.datetime,
) -> None:
    for item in message.items:
        keep.remember(item, thread if len(message.items) == 1 else "")
    times = recent.setdefault(message.channel, [])
    times.append(now)
    keep.note(message.channel, times, settings.window_seconds)
    keep.remove(message.items)


def _news(services: Services, about: Identity) -> Optional[News]:
    resource = Resource(about.group, about.version, about.plural)
    try:
        obj = services.kube.get(resource, about.name, about.namespace)
    except NotFoundError:
        return None
    return news_of(about.plural, obj) if obj["metadata"].get("uid") == about.uid else None


def _from_notice(notice: Notice, now: dt.datetime) -> News:
    # Without a subject of its own every notice is a subject: it is told, however often the same
    # words come.
    subject = notice.subject or f"notice/{notice.namespace}/{now.isoformat()}/{notice.sentence}"
    return News(
        subject,
        notice.state or notice.sentence,
        notice.topic,
        notice.tone,
        notice.namespace,
        notice.subject,
        notice.sentence,
    )


def _take_up(services: Services, keep: Keep, news: News, settings: AnnounceSettings) -> str:
    channel = channel_of(
        news.namespace, namespace_object(services, news.namespace, settings), settings
    )
    if not channel:
        return ""
    now = services.now()
    item = new_item(keep.key_for(news, channel, now), channel, news, settings, now)
    if item is None:
        return ""
    keep.put(item)
    return news.sentence


def namespace_object(
    services: Services, name: str, settings: AnnounceSettings
) -> Optional[Dict[str, Any]]:
    """The Namespace, where what it says of channels is followed."""
    if not name or not settings.by_namespace:
        return None
    try:
        return services.kube.get(NAMESPACES, name)
    except (NotFoundError, PermanentError):
        return None


def _poster(services: Services, settings: AnnounceSettings) -> Poster:
    if way(settings, services) == SLACK:
        from kubestorm.slack.posting import SlackPoster

        return SlackPoster.of(services)
    return EnginePoster()


def _sentence(posted: int, items: int, refused: List[str]) -> str:
    if refused:
        return refused[0]
    return f"{posted} messages posted, {items} pieces of news looked at."
