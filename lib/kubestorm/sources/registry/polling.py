"""Looking at repositories whose registry cannot call: which tags are new, which point elsewhere.

What was found is kept in the sensor's datastore, written after the dispatch: a crash in between
tells again, under the same event id. The first look at a repository has nothing to compare with. It
only writes down what it finds, but tells the one tag that the repository's `follow` chooses, where
it has one: an Application that has it already is not moved by it, and one that missed a push while
nobody looked gets it.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import random
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple

from kubestorm.core import untrusted
from kubestorm.core.errors import Error, NotFoundError, TemporaryError
from kubestorm.core.image_names import ImageName, is_attached
from kubestorm.core.tag_policy import (
    Candidate,
    Follow,
    matches,
    narrowed,
    needs_time,
    newest,
    parse_follow,
)
from kubestorm.core.times import format_time, parse_time
from kubestorm.sources.datastore import Store
from kubestorm.sources.poll_failures import PollFailures, delay_seconds
from kubestorm.sources.registry.pushed import PushedImage, identity
from kubestorm.sources.registry.receiving import TRIGGER, Dispatch
from kubestorm.sources.registry.settings import PolledSettings, PollingSettings

SOURCE = "polling"
MAX_TIMES = 20
"""Images whose time is asked for at one look; registries count these requests as pulls."""
_DIGITS = re.compile(r"(\d+)")


class Registry(Protocol):
    """The part of the pack's RegistryClient that is used."""

    def tags(self, image: ImageName) -> List[str]:
        """Every tag of an image."""
        ...

    def look(self, image: ImageName, reference: str, *, known: str = "") -> Any:
        """A tag's digest; `known` is the one that was seen last."""
        ...

    def image_created(self, image: ImageName, digest: str) -> Optional[dt.datetime]:
        """When an image was built; None where it does not say."""
        ...


@dataclass(frozen=True)
class Known:
    """What the last look at a repository found."""

    tags: Mapping[str, str]
    """Tag -> digest."""
    at: Optional[dt.datetime] = None


def differences(known: Mapping[str, str], found: Mapping[str, str]) -> List[str]:
    """The tags that are new or point elsewhere. Pure."""
    return [tag for tag, digest in found.items() if known.get(tag) != digest]


def looked_at(tags: Sequence[str], follow: Optional[Follow], most: int) -> List[str]:
    """The tags to look at: those that are followed, without it all of images, the highest of them
    where there are too many. Pure.
    """
    found = [
        tag
        for tag in dict.fromkeys(tags)
        if (matches(follow, tag) if follow else not is_attached(tag))
    ]
    return sorted(found, key=natural)[-most:]


def natural(tag: str) -> Tuple[Tuple[bool, int, str], ...]:
    """A key that sorts numbers within tags as numbers."""
    parts = [(untrusted.digits(part), part) for part in _DIGITS.split(tag) if part]
    return tuple((number is not None, number or 0, part) for number, part in parts)


class RegistryPoller:
    """Polls repositories. Raises nothing: the next poll tries again."""

    def __init__(
        self,
        settings: PollingSettings,
        store: Store,
        dispatch: Dispatch,
        log: logging.Logger,
        *,
        share: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311 (spreads load, guards nothing)
    ) -> None:
        self._settings, self._store, self._dispatch, self._log, self._share = (
            settings,
            store,
            dispatch,
            log,
            share,
        )
        self._due: Dict[ImageName, dt.datetime] = {}
        self._failures = PollFailures(log, "polling")

    @property
    def tick_seconds(self) -> float:
        """How often `poll` is worth calling."""
        intervals = [self._interval(each) for each in self._settings.repositories]
        return max(1.0, min([15.0, *(interval / 4 for interval in intervals)]))

    def poll(self, registry: Registry, now: dt.datetime) -> None:
        """Look at the repositories whose time has come."""
        for polled in self._settings.repositories:
            image = polled.image
            if now >= self._due.get(image, now):
                self._due[image] = now + dt.timedelta(
                    seconds=self._look(registry, polled, image, now)
                )

    def _look(
        self, registry: Registry, polled: PolledSettings, image: ImageName, now: dt.datetime
    ) -> float:
        """Look at one repository; return the seconds until it is looked at again."""
        error = self._failures.run(str(image), lambda: self._compare(registry, polled, image, now))
        retry_after = error.retry_after_seconds if isinstance(error, TemporaryError) else None
        return delay_seconds(
            self._interval(polled),
            self._failures.count(str(image)),
            self._settings,
            self._share(),
            retry_after,
        )

    def _compare(
        self, registry: Registry, polled: PolledSettings, image: ImageName, now: dt.datetime
    ) -> None:
        follow = parse_follow(polled.follow) if polled.follow else None
        known = self._load(image)
        before = known.tags if known else {}
        found: Dict[str, str] = {}
        for tag in looked_at(registry.tags(image), follow, self._settings.max_tags):
            try:
                found[tag] = registry.look(image, tag, known=before.get(tag, "")).digest
            except NotFoundError:
                continue  # deleted since the list was made
        if known is None:
            tags = self._chosen(registry, image, follow, found)
        else:
            tags = differences(before, found)
        times = self._times(registry, image, {tag: found[tag] for tag in tags})
        since = known.at if known and known.at else None
        for tag in sorted(
            tags,
            key=lambda each: times.get(each) or dt.datetime.min.replace(tzinfo=dt.timezone.utc),
        ):
            pushed_at = pushed_between(times.get(tag), since, now)
            self._tell(image, tag, found[tag], before.get(tag, ""), pushed_at, now)
        if known is None or tags or found.keys() != before.keys():
            self._save(image, Known(found, now))

    def _chosen(
        self,
        registry: Registry,
        image: ImageName,
        follow: Optional[Follow],
        found: Mapping[str, str],
    ) -> List[str]:
        if follow is None:
            return []
        tags = narrowed(follow, found)
        times = (
            self._times(registry, image, {tag: found[tag] for tag in tags})
            if needs_time(follow)
            else {}
        )
        chosen = newest(follow, (Candidate(tag, found[tag], times.get(tag)) for tag in tags))
        return [chosen.tag] if chosen else []

    def _times(
        self, registry: Registry, image: ImageName, found: Mapping[str, str]
    ) -> Dict[str, Optional[dt.datetime]]:
        """When images were made; of the last few only, and without those that are gone."""
        times: Dict[str, Optional[dt.datetime]] = {}
        for tag in list(found)[-MAX_TIMES:]:
            try:
                times[tag] = registry.image_created(image, found[tag])
            except Error as error:
                self._log.info("polling.no_time: %s:%s: %s", image, tag, error)
        return times

    def _tell(
        self,
        image: ImageName,
        tag: str,
        digest: str,
        before: str,
        pushed_at: dt.datetime,
        now: dt.datetime,
    ) -> None:
        pushed = PushedImage(
            registry=image.registry,
            repository=image.repository,
            tag=tag,
            digest=digest,
            pushed_at=pushed_at,
            event_id=identity(SOURCE, *image, tag, digest, before),
        )
        self._dispatch(TRIGGER, pushed.payload(source=SOURCE, now=now))
        self._log.info("polling.told: %s:%s@%s", image, tag, digest)

    def _interval(self, polled: PolledSettings) -> float:
        return polled.interval_seconds or self._settings.interval_seconds

    def _load(self, image: ImageName) -> Optional[Known]:
        try:
            found = json.loads(self._store.get_value(_name(image)) or "null")
            return Known(
                {str(k): str(v) for k, v in found["tags"].items()}, parse_time(found.get("at"))
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def _save(self, image: ImageName, known: Known) -> None:
        document = {
            "tags": dict(known.tags),
            "at": format_time(known.at, "auto") if known.at else None,
        }
        self._store.set_value(_name(image), json.dumps(document, separators=(",", ":")))


def pushed_between(
    made: Optional[dt.datetime], since: Optional[dt.datetime], now: dt.datetime
) -> dt.datetime:
    """When a push that was found now must have been: when it was made, within what lies between two
    looks. Pure.
    """
    if made is None:
        return now
    return min(now, max(made, since) if since else made)


def _name(image: ImageName) -> str:
    return f"polled.{identity(*image)}"
