"""Harbor, in its own format and as CloudEvents.

Source: Harbor's docs, "Configure webhook notifications", and src/pkg/notifier/formats of
goharbor/harbor.
"""

from __future__ import annotations

from typing import Any, List, Mapping

from kubestorm.core.image_names import DIGEST, split_reference
from kubestorm.core.times import parse_timestamp
from kubestorm.sources.registry.pushed import PushedImage, identity, listed, mapping, text

PUSHED = ("PUSH_ARTIFACT", "pushImage")
"""The second is that of Harbor 1.x."""
PUSHED_EVENT = "harbor.artifact.pushed"


def read(headers: Mapping[str, str], body: Any) -> List[PushedImage]:
    """One event with one or several resources."""
    body = mapping(body)
    if "specversion" in body:
        if text(body, "type", required=True) != PUSHED_EVENT:
            return []
        data, when, number = (
            mapping(body, "data"),
            body.get("time"),
            text(body, "id", required=True),
        )
    else:
        if text(body, "type", required=True) not in PUSHED:
            return []
        data, when, number = mapping(body, "event_data"), body.get("occur_at"), ""
    repository = text(data, "repository", "repo_full_name", required=True)
    actor = text(body, "operator")
    return [
        _image(resource, repository, when, number, actor) for resource in listed(data, "resources")
    ]


def _image(resource: Any, repository: str, when: Any, number: str, actor: str) -> PushedImage:
    resource = mapping(resource, what="object among its resources")
    tag, digest = text(resource, "tag"), text(resource, "digest")
    if DIGEST.fullmatch(tag):  # what was pushed without a tag
        tag = ""
    name, _, _ = split_reference(text(resource, "resource_url"))
    return PushedImage(
        registry=name.partition("/")[0],
        repository=repository,
        tag=tag,
        digest=digest,
        pushed_at=parse_timestamp(when),
        actor=actor,
        event_id=identity("harbor", number or str(when), repository, tag, digest),
    )
