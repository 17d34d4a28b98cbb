"""What a person may ask of one Database without editing it: written on the object, and done by the journey.

Nothing here touches AWS or Vault: the wish is on the object, so it survives restarts and is carried out under the
object's Lease like everything else.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping

from kubestorm import naming
from kubestorm.conditions import format_time
from kubestorm.database.views import resource_of
from kubestorm.services import Services


def rotate(services: Services, namespace: str, name: str, request: str = "", kind: str = "") -> Mapping[str, Any]:
    """Ask for new credentials. Safe to repeat with the same `request`; without one, the time makes it a new one."""
    wish = request or format_time(services.now())
    done = _annotate(services, namespace, name, kind, naming.ROTATE_ANNOTATION, wish)
    return {
        **done,
        "request": wish,
        "follow": "The condition InstanceAvailable says RotatingCredentials until it is done.",
    }


def _annotate(services: Services, namespace: str, name: str, kind: str, key: str, value: str) -> Dict[str, Any]:
    resource = resource_of(services, kind)
    body = {"metadata": {"annotations": {key: value}}}
    written = services.kube.patch(resource, name, body, namespace)
    return {"namespace": namespace, "name": name, "uid": written["metadata"]["uid"], "annotation": f"{key}={value}"}
