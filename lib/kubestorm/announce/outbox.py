"""What is said now, what waits, what is forgotten: the decision about everything that is waiting to
be told. Pure.

Few messages go out at once, each on its own. Where more come to one channel within the window, what
is beyond the first few is collected until the window has passed since the oldest of it, and then
told in one message.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from kubestorm.announce.news import BAD, GOOD, INFO, WARNING, News
from kubestorm.announce.settings import AnnounceSettings

NAMES_IN_A_SUMMARY = 10
_WORST_FIRST = (BAD, WARNING, GOOD, INFO)


@dataclass(frozen=True)
class Item:
    """One piece of news on its way to a channel; `key` names it in the datastore, `at` is when it
    was put there.
    """

    key: str
    channel: str
    news: News
    at: dt.datetime
    not_before: Optional[dt.datetime] = None


@dataclass(frozen=True)
class Told:
    """What a channel was last told about a subject, and the thread it began there."""

    state: str
    channel: str = ""
    thread: str = ""


@dataclass(frozen=True)
class Message:
    """One message: a sentence, facts or lines below it. `thread` is where an earlier one about it
    began.
    """

    channel: str
    text: str
    tone: str = INFO
    facts: Tuple[Tuple[str, str], ...] = ()
    lines: Tuple[str, ...] = ()
    thread: str = ""
    items: Tuple[Item, ...] = ()
    """What is told by it."""


@dataclass(frozen=True)
class Decision:
    """Messages in the order to post them; items that need no telling; those that wait stay where
    they are.
    """

    messages: Tuple[Message, ...]
    dropped: Tuple[Item, ...]


def new_item(
    key: str, channel: str, news: News, settings: AnnounceSettings, now: dt.datetime
) -> Optional[Item]:
    """A piece of news for the outbox; None where it is too old to be news."""
    since = news.since or now
    if (now - since).total_seconds() > settings.fresh_seconds:
        return None
    wait = dt.timedelta(seconds=settings.trouble_seconds)
    return Item(key, channel, news, now, since + wait if news.passing else None)


def decide(
    items: Iterable[Item],
    told: Mapping[str, Told],
    recent: Mapping[str, Sequence[dt.datetime]],
    settings: AnnounceSettings,
    now: dt.datetime,
) -> Decision:
    """`told` by subject, `recent` the times of the latest messages by channel."""
    waiting, dropped = _latest(items, told)
    messages: List[Message] = []
    channels: Dict[str, List[Item]] = {}
    for item in waiting:
        if item.not_before is None or item.not_before <= now:
            channels.setdefault(item.channel, []).append(item)
    window = dt.timedelta(seconds=settings.window_seconds)
    for channel, due in channels.items():
        said = sum(1 for moment in recent.get(channel, ()) if now - moment < window)
        if said + len(due) <= settings.burst:
            messages += [_single(item, told) for item in due]
        elif min(item.at for item in due) + window <= now:
            messages.append(_single(due[0], told) if len(due) == 1 else summary(channel, due))
        elif not said and settings.burst:
            # The first of a storm go out at once: whoever waits for one of them need not wait for
            # the others.
            messages += [_single(item, told) for item in due[: settings.burst]]
    return Decision(tuple(messages), tuple(dropped))


def _latest(items: Iterable[Item], told: Mapping[str, Told]) -> Tuple[List[Item], List[Item]]:
    """Of each subject what was found last, unless that was told already; the others say what is no
    longer so.
    """
    latest: Dict[str, Item] = {}
    dropped: List[Item] = []
    for item in sorted(items, key=lambda one: (one.at, one.key)):
        before = latest.get(item.news.subject)
        if (
            before is not None
            and before.news.state == item.news.state
            and before.channel == item.channel
        ):
            # The same again does not begin its waiting anew.
            dropped.append(item)
            continue
        if before is not None:
            dropped.append(before)
        latest[item.news.subject] = item
    known = [item for item in latest.values() if _is_told(item, told)]
    return [item for item in latest.values() if not _is_told(item, told)], dropped + known


def _is_told(item: Item, told: Mapping[str, Told]) -> bool:
    before = told.get(item.news.subject)
    return before is not None and before.state == item.news.state and before.channel == item.channel


def _single(item: Item, told: Mapping[str, Told]) -> Message:
    before = told.get(item.news.subject)
    thread = before.thread if before is not None and before.channel == item.channel else ""
    news = item.news
    return Message(item.channel, news.sentence, news.tone, news.facts, thread=thread, items=(item,))


def summary(channel: str, items: Sequence[Item]) -> Message:
    """One message of many: a line for each topic in each namespace, and the reasons of what failed."""
    groups: Dict[Tuple[str, str], List[Item]] = {}
    for item in items:
        groups.setdefault((item.news.topic, item.news.namespace), []).append(item)
    ordered = sorted(groups.values(), key=lambda group: _WORST_FIRST.index(group[0].news.tone))
    lines: List[str] = []
    for group in ordered:
        lines.append(_line(group))
        if group[0].news.tone in (BAD, WARNING):
            lines += [f"• {item.news.sentence}" for item in group[:NAMES_IN_A_SUMMARY]]
    worst = ordered[0][0].news.tone
    if len(ordered) == 1:
        return Message(channel, lines[0], worst, lines=tuple(lines[1:]), items=tuple(items))
    return Message(
        channel, f"{len(items)} things happened:", worst, lines=tuple(lines), items=tuple(items)
    )


def _line(group: Sequence[Item]) -> str:
    news = group[0].news
    if len(group) == 1:
        return news.sentence
    names = sorted({item.news.name for item in group})
    shown = ", ".join(names[:NAMES_IN_A_SUMMARY])
    more = len(names) - NAMES_IN_A_SUMMARY
    where = f" in {news.namespace}" if news.namespace else ""
    return f"{len(group)} {news.topic}{where}: {shown}{f' and {more} more' if more > 0 else ''}."


def item_to_json(item: Item) -> Dict[str, Any]:
    """An item as it is kept."""
    news = item.news._asdict()
    news["since"] = _text(item.news.since)
    news["facts"] = [list(fact) for fact in item.news.facts]
    return {
        "channel": item.channel,
        "news": news,
        "at": _text(item.at),
        "not_before": _text(item.not_before),
    }


def item_from_json(key: str, data: Any) -> Item:
    """Read it back; ValueError where it is none."""
    try:
        news = dict(data["news"])
        news["since"] = _moment(news.get("since"))
        news["facts"] = tuple((str(label), str(value)) for label, value in news.get("facts") or ())
        at = _moment(data["at"])
        if at is None:
            raise ValueError("an item without a time")
        return Item(key, str(data["channel"]), News(**news), at, _moment(data.get("not_before")))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{key} holds no announcement") from error


def _text(moment: Optional[dt.datetime]) -> Optional[str]:
    return moment.isoformat() if moment else None


def _moment(text: Any) -> Optional[dt.datetime]:
    return dt.datetime.fromisoformat(text) if text else None
