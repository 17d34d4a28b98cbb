"""What was posted about a subject, in the engine's datastore: so that a retry posts nothing twice,
and later messages about it go to the thread of the first.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Optional, Protocol

PREFIX = "kubestorm.announce.told."
TOLD_SECONDS = 30 * 86400
SUMMARY_SECONDS = 3600
"""Longer than the retries of an action take; nothing belongs to the thread of a summary."""


class Datastore(Protocol):
    """The part of the datastore of `action_service` that is needed; with `local=False` the whole
    pack shares it.
    """

    def get_value(self, name: str, local: bool = ...) -> Any:
        """Text, or None."""

    def set_value(self, name: str, value: str, ttl: Optional[int] = ..., local: bool = ...) -> Any:
        """Write it; `ttl` in seconds."""


@dataclass(frozen=True)
class Told:
    """What a channel was last told about a subject, and the thread that began there."""

    state: str
    channel: str
    thread: str = ""


class ToldStore:
    """One key for each subject."""

    def __init__(self, store: Datastore) -> None:
        self._store = store

    def find(self, subject: str) -> Optional[Told]:
        """What was told, or None."""
        text = self._store.get_value(_key(subject), local=False)
        try:
            return Told(**json.loads(text)) if text else None
        except (TypeError, ValueError):
            return None

    def remember(self, subject: str, told: Told, seconds: int = TOLD_SECONDS) -> None:
        """Write it."""
        self._store.set_value(_key(subject), json.dumps(asdict(told)), ttl=seconds, local=False)


def _key(subject: str) -> str:
    return PREFIX + hashlib.sha256(subject.encode()).hexdigest()[:20]
