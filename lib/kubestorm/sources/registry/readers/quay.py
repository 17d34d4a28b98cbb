"""Quay's repo_push notification. It names no digest, no time and no id.

Source: Quay's docs, "Repository notifications".
"""

from __future__ import annotations

from typing import Any, List, Mapping

from kubestorm.core.errors import DefinitionError
from kubestorm.sources.registry.pushed import MAX_EVENTS, PushedImage, mapping, text


def read(headers: Mapping[str, str], body: Any) -> List[PushedImage]:
    """One image for each tag that moved. Its other notifications (builds, vulnerabilities) have no
    such list.
    """
    body = mapping(body)
    tags = body.get("updated_tags")
    if tags is None:
        return []
    if isinstance(tags, Mapping):  # as older releases write it: tag -> image id
        tags = list(tags)
    if (
        not isinstance(tags, list)
        or len(tags) > MAX_EVENTS
        or not all(isinstance(tag, str) and tag for tag in tags)
    ):
        raise DefinitionError("The event's updated_tags must be a list of strings.")
    host = text(body, "docker_url").partition("/")[0]
    repository = text(body, "repository", required=True)
    return [
        PushedImage(registry=host, repository=repository, tag=tag, digest="")
        for tag in dict.fromkeys(tags)
    ]
