"""From an event of a registry to triggers, once for each push.

The order is what makes it safe: the trigger is dispatched, then the push is remembered, then the
registry is answered. Before an answer of 2xx the registry sends again, and finds what was
remembered; after a crash within the seconds until that is written, the push is told again.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass, replace
from typing import Any, Callable, Mapping, Optional, Protocol

from kubestorm.core.errors import DefinitionError, Error, NotFoundError, TemporaryError
from kubestorm.core.image_names import ImageName, is_attached
from kubestorm.sources.dedup_store import DedupStore
from kubestorm.sources.listener.messages import Answer, Request
from kubestorm.sources.registry.pushed import PushedImage, checked, identity
from kubestorm.sources.registry.readers import TYPES
from kubestorm.sources.registry.readers.azure import validation_code
from kubestorm.sources.registry.settings import SourceSettings

TRIGGER = "kubestorm.image_pushed"
TOLD = "1"
"""What is remembered of a push with an id; of one without, it is the tag's digest."""

Dispatch = Callable[[str, Mapping[str, Any]], object]
Clock = Callable[[], dt.datetime]


class Resolver(Protocol):
    """What a tag points to; the pack's RegistryClient."""

    def resolve(self, image: ImageName, reference: str) -> str:
        """The digest of a tag or digest."""
        ...


@dataclass
class Tally:
    """What became of the pushes in one event."""

    accepted: int = 0
    repeated: int = 0
    gone: int = 0

    @property
    def outcome(self) -> str:
        """The word that is counted for the event."""
        if self.accepted:
            return "accepted"
        if self.repeated:
            return "repeated"
        return "gone" if self.gone else "ignored"


class PushReceiver:
    """Takes events of all sources. Safe for threads."""

    def __init__(
        self,
        remembered: DedupStore,
        dispatch: Dispatch,
        resolver: Resolver,
        log: logging.Logger,
        now: Clock,
    ) -> None:
        self._remembered, self._dispatch, self._resolver = remembered, dispatch, resolver
        self._log, self._now = log, now

    def answer(self, source: SourceSettings, request: Request) -> Answer:
        """For a posted event. Raises the pack's errors, which become 400 or 503."""
        if request.method == "OPTIONS":
            origin = request.headers.get("webhook-request-origin", "")
            return Answer(
                200,
                headers={"WebHook-Allowed-Origin": origin} if origin else {},
                outcome="validated",
            )
        body = request.json()
        code = validation_code(body) if source.type == "acr" else ""
        if code:
            return Answer.json(200, {"validationResponse": code}, outcome="validated")
        tally = self.take(source, request.headers, body)
        return Answer.json(200, vars(tally), outcome=tally.outcome)

    def take(self, source: SourceSettings, headers: Mapping[str, str], body: Any) -> Tally:
        """Dispatch what is new in an event. It can be taken again after an error: nothing is told
        twice.

        Raises DefinitionError for what is no event of this source, TemporaryError and others where
        the registry or the trigger cannot be reached.
        """
        images = [
            checked(image, registry=source.registry)
            for image in TYPES[source.type].read(headers, body)
        ]
        tally = Tally()
        for image in images:
            if source.takes(image.repository) and not is_attached(image.tag):
                self._tell(source, image, tally)
        return tally

    def _tell(self, source: SourceSettings, image: PushedImage, tally: Tally) -> None:
        key = push_key(source.name, image)
        with self._remembered.exclusive(key):
            if image.event_id and self._remembered.get(key) is not None:
                tally.repeated += 1
                return
            found = self._resolved(image)
            if found is None:
                tally.gone += 1
            elif self._remembered.get(key) == found.digest:
                tally.repeated += 1
            else:
                self._send(found.payload(source=source.name, now=self._now()))
                self._remembered.add(key, TOLD if image.event_id else found.digest)
                tally.accepted += 1

    def _resolved(self, image: PushedImage) -> Optional[PushedImage]:
        """The image with a digest; None where the tag is gone meanwhile."""
        if image.digest:
            return image
        try:
            digest = self._resolver.resolve(ImageName(image.registry, image.repository), image.tag)
        except NotFoundError as error:
            self._log.info("push.gone: %s", error)
            return None
        except DefinitionError as error:  # a setting of ours, and no fault of the sender's
            raise TemporaryError(str(error)) from error
        return replace(image, digest=digest)

    def _send(self, payload: Mapping[str, Any]) -> None:
        try:
            self._dispatch(TRIGGER, payload)
        except Error:
            raise
        except Exception as error:
            # Any message bus may raise anything; the registry is told to send again.
            raise TemporaryError(
                f"The push could not be handed over: {type(error).__name__}."
            ) from error
        # The trigger instance tells it already; a line for each would cost more than all the rest.
        self._log.debug(
            "push.told: %s/%s:%s@%s",
            payload["registry"],
            payload["repository"],
            payload["tag"],
            payload["digest"],
        )


def push_key(source: str, image: PushedImage) -> str:
    """What a push is remembered by: its event, or else its tag, whose last digest is kept then."""
    if image.event_id:
        return identity(source, image.event_id, *image.place, image.digest)
    return identity(source, *image.place)
