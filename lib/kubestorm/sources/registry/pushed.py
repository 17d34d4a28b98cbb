"""A push as one value, whoever told of it, and the words all readers of events share. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import DIGEST, TAG, is_name
from kubestorm.core.times import format_time

MAX_EVENTS = 1000
"""Of one body; registries send one or a few."""
MAX_TEXT = 256


@dataclass(frozen=True)
class PushedImage:
    """One manifest that was pushed under one tag, or under none."""

    registry: str
    """Empty where the event does not say it: the source's setting does."""
    repository: str
    tag: str
    digest: str
    """Empty where the event does not say it: the registry is asked."""
    media_type: str = ""
    pushed_at: Optional[dt.datetime] = None
    actor: str = ""
    event_id: str = ""
    """The same for every delivery of one push. Empty where the event has nothing that tells it from
    an earlier one: then a push of what the tag holds already is taken for a repetition."""

    def payload(self, *, source: str, now: dt.datetime) -> Dict[str, Any]:
        """What `kubestorm.image_pushed` carries."""
        return {
            "registry": self.registry,
            "repository": self.repository,
            "tag": self.tag,
            "digest": self.digest,
            "media_type": self.media_type,
            "pushed_at": format_time(self.pushed_at or now, "auto"),
            "actor": self.actor,
            "source": source,
            "event_id": self.event_id
            or identity(source, *self.place, self.digest, format_time(now, "auto")),
        }

    @property
    def place(self) -> Sequence[str]:
        return self.registry, self.repository, self.tag


def identity(*parts: str) -> str:
    """A short word that is the same for the same parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def checked(image: PushedImage, *, registry: Optional[str]) -> PushedImage:
    """The image with the registry's name as the operator wants it. Raises DefinitionError for what
    is no image.
    """
    found = replace(
        image, registry=(registry or image.registry).lower(), actor=image.actor[:MAX_TEXT]
    )
    if not found.registry:
        raise DefinitionError("The event does not name the registry: set `registry` of the source.")
    if not is_name(found.registry, found.repository):
        raise DefinitionError("The event names a registry or repository that cannot be.")
    if found.tag and not TAG.fullmatch(found.tag):
        raise DefinitionError("The event names a tag that cannot be.")
    if found.digest and not DIGEST.fullmatch(found.digest):
        raise DefinitionError("The event names a digest that cannot be.")
    if not found.tag and not found.digest:
        raise DefinitionError("The event names neither tag nor digest.")
    return found


def is_manifest(media_type: str) -> bool:
    """Whether a media type is that of a manifest or an index, and not of a layer or a config."""
    return media_type.startswith(
        (
            "application/vnd.oci.image.manifest.",
            "application/vnd.oci.image.index.",
            "application/vnd.oci.artifact.manifest.",
            "application/vnd.docker.distribution.manifest.",
        )
    )


def mapping(document: Any, *keys: Union[str, int], what: str = "") -> Mapping[str, Any]:
    """The object at a path in a document. Raises DefinitionError where there is none."""
    found = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise DefinitionError(f"The event has no {what or '.'.join(map(str, keys)) or 'object'}.")
    return found


def listed(document: Any, key: str) -> List[Any]:
    """The list under a key. Raises DefinitionError where there is none, or a longer one than any
    registry sends.
    """
    found = mapping(document).get(key)
    if not isinstance(found, list):
        raise DefinitionError(f"The event has no list {key}.")
    if len(found) > MAX_EVENTS:
        raise DefinitionError(f"The event's list {key} has more than {MAX_EVENTS} entries.")
    return found


def text(document: Any, *keys: str, required: bool = False) -> str:
    """The text at a path, empty where there is none. Raises DefinitionError where it is required,
    or no text.
    """
    found = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if found is None or found == "":
        if required:
            raise DefinitionError(f"The event has no {'.'.join(keys)}.")
        return ""
    if not isinstance(found, str):
        raise DefinitionError(f"The event's {'.'.join(keys)} must be a string.")
    return found
