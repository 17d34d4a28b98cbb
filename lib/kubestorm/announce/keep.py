"""What waits to be told and what was told, in the engine's datastore.

One key for each piece of news, so that actions at work at the same time do not overwrite each
other's; what was told is written by the one that holds the Lease. Everything here may be lost
without harm: at worst something is told twice, or an outcome begins a new thread.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any, Dict, Iterable, List, Optional, Protocol, Sequence, Tuple

from kubestorm.announce.news import News
from kubestorm.announce.outbox import Item, Told, item_from_json, item_to_json

PREFIX = "kubestorm.announce."
OUTBOX = PREFIX + "outbox."
TOLD = PREFIX + "told."
RECENT = PREFIX + "recent."
PAGE = 100
"""Keys that StackStorm gives at once."""
TOLD_SECONDS = 30 * 86400
OUTBOX_SECONDS = 86400


class Datastore(Protocol):
    """The datastore as `action_service` and `sensor_service` offer it; with `local=False` the whole
    pack shares it.
    """

    def get_value(self, name: str, local: bool = ...) -> Any:
        """Text, or None."""

    def set_value(self, name: str, value: str, ttl: Optional[int] = ..., local: bool = ...) -> Any:
        """Write it; `ttl` in seconds."""

    def delete_value(self, name: str, local: bool = ...) -> Any:
        """Take it away."""

    def list_values(
        self,
        local: bool = ...,
        prefix: Optional[str] = ...,
        limit: Optional[int] = ...,
        offset: int = ...,
    ) -> Sequence[Any]:
        """Objects with `name` and `value`."""


class Keep:
    """Announcements in a datastore."""

    def __init__(self, store: Datastore) -> None:
        self._store = store

    def key_for(self, news: News, channel: str, now: dt.datetime) -> str:
        """A name of its own for each piece of news; the same event in the same moment has the same."""
        digest = _digest(f"{channel}\n{news.subject}\n{news.state}\n{now.isoformat()}")
        return f"{OUTBOX}{int(now.timestamp() * 1000):014d}.{digest}"

    def put(self, item: Item) -> None:
        text = json.dumps(item_to_json(item), separators=(",", ":"))
        self._store.set_value(item.key, text, ttl=OUTBOX_SECONDS, local=False)

    def remove(self, items: Iterable[Item]) -> None:
        for item in items:
            self._store.delete_value(item.key, local=False)

    def waiting(self) -> List[Item]:
        """Everything that waits; what cannot be read is taken away."""
        found: List[Item] = []
        for name, value in self._rows(OUTBOX):
            try:
                found.append(item_from_json(name, json.loads(value)))
            except ValueError:
                self._store.delete_value(name, local=False)
        return found

    def told(self, items: Iterable[Item]) -> Dict[str, Told]:
        """What was told about the items' subjects."""
        found: Dict[str, Told] = {}
        for subject in {item.news.subject for item in items}:
            data = self._read(TOLD + _digest(subject))
            if isinstance(data, dict) and data.get("state"):
                found[subject] = Told(
                    str(data["state"]),
                    str(data.get("channel") or ""),
                    str(data.get("thread") or ""),
                )
        return found

    def remember(self, item: Item, thread: str) -> None:
        """It was told; `thread` is where, empty where there are no threads."""
        value = {"state": item.news.state, "channel": item.channel, "thread": thread}
        self._store.set_value(
            TOLD + _digest(item.news.subject), json.dumps(value), ttl=TOLD_SECONDS, local=False
        )

    def recent(self, channels: Iterable[str]) -> Dict[str, List[dt.datetime]]:
        """When the latest messages went to each channel."""
        found: Dict[str, List[dt.datetime]] = {}
        for channel in channels:
            data = self._read(RECENT + _digest(channel))
            times = data if isinstance(data, list) else []
            found[channel] = [
                dt.datetime.fromtimestamp(float(one), dt.timezone.utc) for one in times
            ]
        return found

    def note(self, channel: str, times: Sequence[dt.datetime], window_seconds: float) -> None:
        """Write when the latest messages went to a channel."""
        text = json.dumps([moment.timestamp() for moment in times][-20:])
        self._store.set_value(
            RECENT + _digest(channel), text, ttl=int(window_seconds) + 60, local=False
        )

    def _read(self, name: str) -> Any:
        text = self._store.get_value(name, local=False)
        try:
            return json.loads(text) if text else None
        except ValueError:
            return None

    def _rows(self, prefix: str) -> List[Tuple[str, str]]:
        rows: List[Tuple[str, str]] = []
        while True:
            page = list(
                self._store.list_values(local=False, prefix=prefix, limit=PAGE, offset=len(rows))
            )
            rows += [(str(row.name), str(row.value)) for row in page]
            if len(page) < PAGE:
                return rows


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]
