"""AWS ECR, by EventBridge: from a queue (SQS, with or without SNS before it) or posted by an API
destination.

Source: the ECR user guide, "Amazon ECR events and EventBridge".
"""

from __future__ import annotations

from typing import Any, List, Mapping

from kubestorm.listener.messages import parse_json
from kubestorm.registry.pushed import PushedImage, mapping, text
from kubestorm.registry.times import parse_instant

DETAIL_TYPE = "ECR Image Action"


def read(headers: Mapping[str, str], body: Any) -> List[PushedImage]:
    """One event; what is no successful push is passed over."""
    body = mapping(body)
    if body.get("Type") == "Notification" and isinstance(body.get("Message"), str):
        body = mapping(parse_json(body["Message"].encode()))
    if text(body, "detail-type", required=True) != DETAIL_TYPE:
        return []
    detail = mapping(body, "detail")
    if text(detail, "action-type") != "PUSH" or text(detail, "result") != "SUCCESS":
        return []
    account, region = text(body, "account", required=True), text(body, "region", required=True)
    suffix = ".cn" if region.startswith("cn-") else ""
    return [
        PushedImage(
            registry=f"{account}.dkr.ecr.{region}.amazonaws.com{suffix}",
            repository=text(detail, "repository-name", required=True),
            tag=text(detail, "image-tag"),
            digest=text(detail, "image-digest"),
            media_type=text(detail, "manifest-media-type"),
            pushed_at=parse_instant(body.get("time")),
            event_id=text(body, "id"),
        )
    ]
