"""AWS ECR, by EventBridge: from a queue (SQS, with or without SNS before it) or posted by an API
destination.

Source: the ECR user guide, "Amazon ECR events and EventBridge".
"""

from __future__ import annotations

from typing import Any, List, Mapping

from kubestorm.core.times import parse_timestamp
from kubestorm.sources.listener.messages import parse_json
from kubestorm.sources.registry.pushed import PushedImage, mapping, text

PUSHES = {
    "ECR Image Action": {"action-type": "PUSH", "result": "SUCCESS"},
    "ECR Replication Action": {"action-type": "REPLICATE", "result": "SUCCESS"},
    "ECR Pull Through Cache Action": {"sync-status": "SUCCESS"},
}
"""What says in the detail of each type of event that an image is there now. A replica and an image
from another registry are no image action; the account and region are those where they arrived.
"""


def read(headers: Mapping[str, str], body: Any) -> List[PushedImage]:
    """One event; what brought no image is passed over."""
    body = mapping(body)
    if body.get("Type") == "Notification" and isinstance(body.get("Message"), str):
        body = mapping(parse_json(body["Message"].encode()))
    said = PUSHES.get(text(body, "detail-type", required=True))
    if said is None:
        return []
    detail = mapping(body, "detail")
    if any(text(detail, key) != value for key, value in said.items()):
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
            pushed_at=parse_timestamp(body.get("time")),
            event_id=text(body, "id"),
        )
    ]
