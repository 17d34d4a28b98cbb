"""What is posted now, what is held back and what is summarised. Pure.

Few messages go out at once, each on its own. Where more come to one channel within the window,
those beyond the first few are collected until the window has passed since the oldest of them, and
then posted as one message.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from kubestorm.people.notifications.notifications import BAD, GOOD, INFO, WARNING, News
from kubestorm.people.notifications.settings import AnnounceSettings

NAMES_IN_A_SUMMARY = 10
_WORST_FIRST = (BAD, WARNING, GOOD, INFO)


@dataclass(frozen=True)
class Item:
    """One piece of news for a channel; `at` is when it was seen, `not_before` when it may be
    posted.
    """

    channel: str
    news: News
    at: dt.datetime
    not_before: Optional[dt.datetime] = None


@dataclass(frozen=True)
class Message:
    """One message: a sentence, facts or lines below it."""

    channel: str
    text: str
    tone: str = INFO
    facts: Tuple[Tuple[str, str], ...] = ()
    lines: Tuple[str, ...] = ()
    subject: str = ""
    """What it is about; a digest for a summary, empty for what is not remembered."""
    state: str = ""
    """What it says of the subject: the same state of the same subject is posted once."""
    covers: Tuple[Tuple[str, str], ...] = ()
    """Subject and state of everything in a summary."""
    thread: str = ""
    """The thread in which the subject was told of before."""

    def to_payload(self) -> Dict[str, Any]:
        """The message in the payload of `kubestorm.news`; the thread is for the action to know."""
        return {
            "channel": self.channel,
            "text": self.text,
            "tone": self.tone,
            "facts": [list(fact) for fact in self.facts],
            "lines": list(self.lines),
            "subject": self.subject,
            "state": self.state,
            "covers": [list(pair) for pair in self.covers],
        }

    @classmethod
    def from_payload(cls, data: Mapping[str, Any]) -> Message:
        """Read it back."""
        return cls(
            channel=str(data["channel"]),
            text=str(data["text"]),
            tone=str(data.get("tone") or INFO),
            facts=_pairs(data.get("facts")),
            lines=tuple(str(line) for line in data.get("lines") or ()),
            subject=str(data.get("subject") or ""),
            state=str(data.get("state") or ""),
            covers=_pairs(data.get("covers")),
        )


def new_item(
    channel: str, news: News, settings: AnnounceSettings, now: dt.datetime
) -> Optional[Item]:
    """An item for news seen now; None where it is too old to be told."""
    since = news.since or now
    if (now - since).total_seconds() > settings.fresh_seconds:
        return None
    wait = dt.timedelta(seconds=settings.trouble_seconds)
    return Item(channel, news, now, since + wait if news.passing else None)


def decide(
    items: Iterable[Item],
    recent: Mapping[str, Sequence[dt.datetime]],
    settings: AnnounceSettings,
    now: dt.datetime,
) -> List[Tuple[Message, Tuple[Item, ...]]]:
    """The messages to post now, each with the items that it tells; all other items are held back.

    `items` has one for each subject; `recent` the times of the latest messages by channel.
    """
    found: List[Tuple[Message, Tuple[Item, ...]]] = []
    channels: Dict[str, List[Item]] = {}
    for item in sorted(items, key=lambda one: one.at):
        if item.not_before is None or item.not_before <= now:
            channels.setdefault(item.channel, []).append(item)
    window = dt.timedelta(seconds=settings.window_seconds)
    for channel, due in channels.items():
        posted = sum(1 for moment in recent.get(channel, ()) if now - moment < window)
        if posted + len(due) <= settings.burst:
            found += [(single(item), (item,)) for item in due]
        elif due[0].at + window <= now:
            found.append((single(due[0]) if len(due) == 1 else summary(channel, due), tuple(due)))
        elif not posted:
            # The first of a burst go out at once: whoever waits for one of them need not wait for
            # the others.
            found += [(single(item), (item,)) for item in due[: settings.burst]]
    return found


def single(item: Item) -> Message:
    """The message for one piece of news."""
    news = item.news
    return Message(
        item.channel, news.sentence, news.tone, news.facts, subject=news.subject, state=_state(news)
    )


def summary(channel: str, items: Sequence[Item]) -> Message:
    """One message for many items: a line for each topic in each namespace, and the reasons of what
    failed.
    """
    groups: Dict[Tuple[str, str], List[Item]] = {}
    for item in items:
        groups.setdefault((item.news.topic, item.news.namespace), []).append(item)
    ordered = sorted(groups.values(), key=lambda group: _WORST_FIRST.index(group[0].news.tone))
    lines: List[str] = []
    for group in ordered:
        lines.append(_line(group))
        if len(group) > 1 and group[0].news.tone in (BAD, WARNING):
            lines += [f"• {item.news.sentence}" for item in group[:NAMES_IN_A_SUMMARY]]
    covers = tuple((item.news.subject, _state(item.news)) for item in items)
    title, rest = (lines[0], lines[1:]) if len(ordered) == 1 else (f"{len(items)} changes:", lines)
    return Message(
        channel,
        title,
        ordered[0][0].news.tone,
        lines=tuple(rest),
        subject=f"summary/{_digest(covers)}",
        state="summary",
        covers=covers,
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


def _state(news: News) -> str:
    """With the time since when it is so: ready, in trouble and ready again are three states."""
    return f"{news.state} {news.since.isoformat()}" if news.since else news.state


def _digest(pairs: Sequence[Tuple[str, str]]) -> str:
    text = "\n".join(f"{subject} {state}" for subject, state in pairs)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _pairs(value: Any) -> Tuple[Tuple[str, str], ...]:
    return tuple((str(first), str(second)) for first, second in value or ())
