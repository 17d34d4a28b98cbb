"""Requests through the API server to pods and Services (`.../pods/NAME/proxy/PATH`), answered as
their programs would.

No program runs, so the answer is made up: 200 with a small JSON document that names pod, image and
path, or 500 where the pod's fate is `unwell` (`sandbox.kubernetes.podlife`). A Service without
ready pods gives the API server's own 503.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from sandbox.kubernetes import errors
from sandbox.kubernetes.podlife import UNWELL, decreed_for
from sandbox.kubernetes.registry import Registry, Target

PATH = re.compile(r"^/api/v1/namespaces/([^/]+)/(pods|services)/([^/]+)/proxy(/.*)?$")
Json = dict[str, Any]


class Proxied(NamedTuple):
    """What is asked of whom; `name` is without scheme and port."""

    namespace: str
    plural: str
    name: str
    path: str


def parse(path: str) -> Proxied | None:
    """Read a path; None where it is no proxy's. `http:NAME:PORT` and `NAME:PORT` are names too."""
    found = PATH.match(path)
    if not found:
        return None
    parts = found[3].split(":")
    name = parts[1] if parts[0] in ("http", "https") and len(parts) > 1 else parts[0]
    return Proxied(found[1], found[2], name, found[4] or "/")


def answer(registry: Registry, asked: Proxied) -> tuple[int, bytes]:
    """Status and body (JSON). Raises ApiError where there is nobody to ask."""
    obj = registry.read(_target(registry, asked.plural, asked.namespace, asked.name))
    if asked.plural == "services":
        obj = _ready_pod(registry, asked, obj)
    image = (obj["spec"].get("containers") or [{}])[0].get("image", "")
    if UNWELL in decreed_for(obj, image):
        return 500, b"unwell\n"
    document = {"pod": obj["metadata"]["name"], "image": image, "path": asked.path, "ok": True}
    return 200, json.dumps(document).encode()


def _ready_pod(registry: Registry, asked: Proxied, service: Json) -> Json:
    selector = service["spec"].get("selector") or {}
    bucket = _target(registry, "pods", asked.namespace, "").resource.bucket
    for entry in registry.store.snapshot(bucket, f"{asked.namespace}/", "", None):
        pod = entry.obj
        labels = pod["metadata"].get("labels") or {}
        conditions = (pod.get("status") or {}).get("conditions") or ()
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        if (
            selector
            and selector.items() <= labels.items()
            and ready
            and not pod["metadata"].get("deletionTimestamp")
        ):
            return pod
    why = f'no endpoints available for service "{asked.name}"'
    raise errors.ApiError(503, "ServiceUnavailable", why, {})


def _target(registry: Registry, plural: str, namespace: str, name: str) -> Target:
    row = registry.catalog.find("", "v1", plural)
    if row is None:
        raise errors.no_such_path()
    return Target(resource=row, version="v1", namespace=namespace, name=name)
