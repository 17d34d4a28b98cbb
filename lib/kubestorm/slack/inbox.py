"""From what Slack sent to a trigger, once: what was taken before is recognised, whoever sends it
again and why.

Slack repeats an event that was not answered within three seconds, and a signed request that
somebody has recorded can be sent again for five minutes. Nothing slow is done here: a look and two
writes in the engine's datastore, and one dispatch.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from typing import Any, Callable, Mapping, Protocol, Tuple

from kubestorm.secrets import Secret
from kubestorm.slack.proof import prove
from kubestorm.slack.requests import Asked, Ignored, payload

TRIGGER = "kubestorm.slack_command"
SEEN = "kubestorm.slack.seen."
REPLY = "kubestorm.slack.reply."
SEEN_SECONDS = 7200
REPLY_SECONDS = 1800
"""How long Slack takes an answer at a response_url."""
REMEMBERED = 5000

Dispatch = Callable[[str, Mapping[str, Any]], object]


class Datastore(Protocol):
    """The part of a sensor's datastore that is needed."""

    def get_value(self, name: str, local: bool = ...) -> Any:
        """Text, or None."""

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


class Inbox:
    """Safe for threads: requests come in several at once."""

    def __init__(
        self,
        store: Datastore,
        dispatch: Dispatch,
        log: logging.Logger,
        key: Callable[[], Secret],
        teams: Tuple[str, ...] = (),
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`key` is what proves to the actions that something came through here."""
        self._store, self._dispatch, self._log, self._teams = store, dispatch, log, teams
        self._key, self._clock = key, clock
        self._seen: OrderedDict[str, bool] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, asked: Asked) -> str:
        """Hand it over as a trigger, unless that was done: `taken`, `repeated` or `foreign`.

        Raises what the dispatch raises: Slack then sends it again.
        """
        if self._teams and asked.team not in self._teams:
            self._log.warning("slack.foreign_team: %s is not among slack.teams", asked.team)
            return "foreign"
        name = SEEN + hashlib.sha256(f"{asked.kind}\n{asked.id}".encode()).hexdigest()[:32]
        with self._lock:
            if name in self._seen:
                return "repeated"
            self._seen[name] = True
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        try:
            if self._was_taken(name):
                return "repeated"
            said = {**payload(asked, self._keep_reply(asked)), "at": str(int(self._clock()))}
            self._dispatch(TRIGGER, {**said, "proof": prove(said, self._key())})
        except BaseException:
            with self._lock:
                self._seen.pop(name, None)
            raise
        self._remember(name)
        return "taken"

    def _was_taken(self, name: str) -> bool:
        try:
            return bool(self._store.get_value(name, local=False))
        except Exception as error:  # noqa: BLE001 (any datastore: what is not known is taken, at worst twice)
            self._log.warning("slack.memory_unreadable: %s", type(error).__name__)
            return False

    def _remember(self, name: str) -> None:
        try:
            self._store.set_value(name, "1", ttl=SEEN_SECONDS, local=False)
        except Exception as error:  # noqa: BLE001 (it was dispatched; this process knows)
            self._log.warning("slack.memory_unwritable: %s", type(error).__name__)

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
