"""Google's Artifact Registry, by Pub/Sub: pulled, pushed to the listener, or the message alone.

Source: Google's docs, "Configure Pub/Sub notifications" of Artifact Registry, and PubsubMessage of
Pub/Sub's reference.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, List, Mapping

from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import split_reference
from kubestorm.core.times import parse_timestamp
from kubestorm.sources.listener.messages import parse_json
from kubestorm.sources.registry.pushed import PushedImage, identity, mapping, text


def read(headers: Mapping[str, str], body: Any) -> List[PushedImage]:
    """One message; a deletion is passed over. A tag and its digest come as full image names."""
    body = mapping(body)
    number, when = "", None
    if "message" in body:
        message = mapping(body, "message")
        number = text(message, "messageId") or text(message, "message_id")
        when = parse_timestamp(message.get("publishTime") or message.get("publish_time"))
        body = mapping(parse_json(_decoded(text(message, "data", required=True))))
    if text(body, "action", required=True) != "INSERT":
        return []
    name, _, digest = split_reference(text(body, "digest"))
    tagged, tag, _ = split_reference(text(body, "tag"))
    host, _, repository = (name or tagged).partition("/")
    return [
        PushedImage(
            registry=host,
            repository=repository,
            tag=tag,
            digest=digest,
            pushed_at=when,
            event_id=identity("artifact_registry", number, host, repository, tag, digest)
            if number
            else "",
        )
    ]


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DefinitionError("The message's data must be base64.") from error
