"""Docker Hub. Its events name no digest, and are sent once. Source: Docker's docs, "Webhooks"."""

from __future__ import annotations

from typing import Any, List, Mapping

from kubestorm.core.image_names import DOCKER_HUB
from kubestorm.core.times import parse_timestamp
from kubestorm.sources.registry.pushed import PushedImage, identity, mapping, text


def read(headers: Mapping[str, str], body: Any) -> List[PushedImage]:
    """Always one push of one tag."""
    pushed = mapping(body, "push_data")
    repository = text(body, "repository", "repo_name", required=True)
    tag, when = text(pushed, "tag", required=True), pushed.get("pushed_at")
    return [
        PushedImage(
            registry=DOCKER_HUB,
            repository=repository,
            tag=tag,
            digest="",
            pushed_at=parse_timestamp(when),
            actor=text(pushed, "pusher"),
            event_id=identity("dockerhub", repository, tag, str(when)),
        )
    ]
