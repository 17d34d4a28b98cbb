"""CNCF distribution (docker-registry), and GitLab's registry, which is one of its kind.

Source: distribution's docs, "Work with notifications"; GitLab's docs, "Container registry
notifications".
"""

from __future__ import annotations

from typing import Any, List, Mapping, Optional

from kubestorm.core.times import parse_timestamp
from kubestorm.sources.registry.pushed import PushedImage, is_manifest, listed, mapping, text

CONTENT_TYPES = (
    "application/vnd.docker.distribution.events.v1+json",
    "application/vnd.docker.distribution.events.v2+json",
)


def read(headers: Mapping[str, str], body: Any) -> List[PushedImage]:
    """An envelope of events: each has its own id, which stays the same when it is sent again."""
    found = (image_of(event) for event in listed(body, "events"))
    return [image for image in found if image is not None]


def image_of(event: Any) -> Optional[PushedImage]:
    """One event as an image, None where it is no push of a manifest."""
    event = mapping(event, what="object among its events")
    if text(event, "action") != "push":
        return None
    target = mapping(event, "target")
    media_type, tag = text(target, "mediaType"), text(target, "tag")
    if not is_manifest(media_type) and (media_type or not tag):
        return None
    return PushedImage(
        registry=text(event, "request", "host"),
        repository=text(target, "repository", required=True),
        tag=tag,
        digest=text(target, "digest"),
        media_type=media_type,
        pushed_at=parse_timestamp(event.get("timestamp")),
        actor=text(event, "actor", "name"),
        event_id=text(event, "id"),
    )
