"""From what Slack sent to a trigger, once: what was taken before is recognised, whoever sends it
again and why.

Slack repeats an event that was not answered within three seconds, and a signed request that
somebody has recorded can be sent again for five minutes. Nothing slow is done here: one dispatch,
and where an address for answers came along, one write in the engine's datastore before it.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from typing import Any, Callable, Mapping, Protocol, Set, Tuple

from kubestorm.core.secrets import Secret
from kubestorm.people.slack.proof import prove
from kubestorm.people.slack.requests import Asked, Ignored, payload
from kubestorm.sources.datastore import Store
from kubestorm.sources.dedup_store import DedupStore

TRIGGER = "kubestorm.slack_command"
REPLY = "kubestorm.slack.reply."
REPLY_SECONDS = 1800
"""How long Slack takes an answer at a response_url."""
SEEN, SEEN_SHARDS = "slack", 4
"""What was taken is remembered under this name; the last 500."""

Dispatch = Callable[[str, Mapping[str, Any]], object]


class Datastore(Protocol):
    """The part of a sensor's datastore that is needed."""

    def set_value(
        self,
        name: str,
        value: str,
        ttl: int = ...,
        local: bool = ...,
        scope: str = ...,
        encrypt: bool = ...,
    ) -> Any:
        """Write it."""


def taken_before(store: Store) -> DedupStore:
    """What was taken, also by processes before this one."""
    return DedupStore(store, SEEN, shards=SEEN_SHARDS)


class Inbox:
    """Safe for threads: requests come in several at once."""

    def __init__(
        self,
        store: Datastore,
        taken: DedupStore,
        dispatch: Dispatch,
        log: logging.Logger,
        key: Callable[[], Secret],
        teams: Tuple[str, ...] = (),
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`key` is what proves to the actions that something came through here."""
        self._store, self._dispatch, self._log, self._teams = store, dispatch, log, teams
        self._taken, self._key, self._clock = taken, key, clock
        self._under_way: Set[str] = set()
        self._lock = threading.Lock()

    def take(self, asked: Asked) -> str:
        """Hand it over as a trigger, unless that was done: `taken`, `repeated` or `foreign`.

        Raises what the dispatch raises: Slack then sends it again.
        """
        if self._teams and asked.team not in self._teams:
            self._log.warning("slack.foreign_team: %s is not among slack.teams", asked.team)
            return "foreign"
        key = hashlib.sha256(f"{asked.kind}\n{asked.id}".encode()).hexdigest()[:32]
        with self._lock:
            if key in self._under_way or self._taken.get(key) is not None:
                return "repeated"
            self._under_way.add(key)
        try:
            said = {**payload(asked, self._keep_reply(asked)), "at": str(int(self._clock()))}
            self._dispatch(TRIGGER, {**said, "proof": prove(said, self._key())})
            self._taken.add(key, "1")
        finally:
            with self._lock:
                self._under_way.discard(key)
        return "taken"

    def _keep_reply(self, asked: Asked) -> str:
        """Where the response_url is kept; empty where it cannot be, and then answers go to the
        channel.
        """
        if asked.response_url is None:
            return ""
        name = REPLY + hashlib.sha256(asked.id.encode()).hexdigest()[:32]
        try:
            self._store.set_value(
                name, asked.response_url.reveal(), ttl=REPLY_SECONDS, local=False, encrypt=True
            )
        except Exception as error:  # noqa: BLE001 (an engine without a key for encryption; never in clear)
            self._log.warning("slack.reply_not_kept: %s", type(error).__name__)
            return ""
        return name


def ignored(log: logging.Logger, found: Ignored) -> None:
    """What was not for us is no news, but can be looked for."""
    log.debug("slack.ignored: %s", found.reason)
