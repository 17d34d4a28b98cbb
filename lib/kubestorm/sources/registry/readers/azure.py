"""Azure Container Registry, by its own webhooks and by Event Grid (Event Grid's schema, and
CloudEvents).

Source: Azure's docs, "Container Registry webhook reference" and "Azure Container Registry as an
Event Grid source".
"""

from __future__ import annotations

from typing import Any, List, Mapping, Optional

from kubestorm.core.errors import DefinitionError
from kubestorm.sources.registry.pushed import MAX_EVENTS, PushedImage, mapping, text
from kubestorm.sources.registry.readers.distribution import image_of

PUSHED = "Microsoft.ContainerRegistry.ImagePushed"
CLOUD_EVENTS = ("application/cloudevents+json", "application/cloudevents-batch+json")
METHODS = ("POST", "OPTIONS")
"""With the second, Event Grid asks for leave to send CloudEvents. Source: CloudEvents, "HTTP 1.1
Web Hooks", 4.
"""
VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


def read(headers: Mapping[str, str], body: Any) -> List[PushedImage]:
    """A webhook is one event of distribution's shape; Event Grid sends a list, each with such an
    event as its data.
    """
    if isinstance(body, Mapping) and "target" not in body and "action" in body:
        return []  # a ping
    events = body if isinstance(body, list) else [body]
    if len(events) > MAX_EVENTS:
        raise DefinitionError(f"The body has more than {MAX_EVENTS} events.")
    found = (_image(mapping(event)) for event in events)
    return [image for image in found if image is not None]


def validation_code(body: Any) -> str:
    """What Event Grid wants to hear back before it sends anything; empty for any other event."""
    for event in body if isinstance(body, list) else ():
        if isinstance(event, Mapping) and event.get("eventType") == VALIDATION:
            return text(event, "data", "validationCode", required=True)
    return ""


def _image(event: Mapping[str, Any]) -> Optional[PushedImage]:
    if "target" in event:
        return image_of(event)
    kind = text(event, "eventType") or text(event, "type", required=True)
    return image_of(mapping(event, "data")) if kind == PUSHED else None
