"""For comparing what two Kubernetes API servers answer, without what differs on every call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

# What no two servers, and no two calls, agree on.
VOLATILE = frozenset(
    {"uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink", "time"}
)
WATCH_SECONDS = "5"


def stable(value: Any) -> Any:
    """The value without uids, versions, times and field ownership, so that whole answers can be
    compared.
    """
    if isinstance(value, dict):
        return {key: stable(item) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [stable(item) for item in value]
    return value


def status(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    """A failure as metav1.Status says it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    """A ConfigMap manifest."""
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
    }
    return made if data is None else {**made, "data": data}


def deployment(
    name: str, image: str = "shop:1", replicas: int | None = 1, **metadata: Any
) -> dict[str, Any]:
    """A Deployment manifest of one container."""
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": name}}, "template": template}
    if replicas is not None:
        spec["replicas"] = replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }


def names(answer: httpx.Response) -> list[str]:
    """The names in a list, in the server's order."""
    answer.raise_for_status()
    return [item["metadata"]["name"] for item in answer.json()["items"]]


def watch(http: httpx.Client, path: str, **parameters: str) -> Iterator[dict[str, Any]]:
    """The events of one watch until the server ends it, after five seconds at the latest."""
    query = {"watch": "true", "timeoutSeconds": WATCH_SECONDS, **parameters}
    with http.stream("GET", path, params=query) as answer:
        if answer.is_error:
            answer.read()
            raise AssertionError(f"the watch was refused: {answer.status_code} {answer.text}")
        for line in answer.iter_lines():
            yield json.loads(line)


def apply_patch(
    http: httpx.Client, path: str, body: dict[str, Any], manager: str, **query: str
) -> httpx.Response:
    """A server-side apply in the name of `manager`."""
    return http.patch(
        path,
        content=json.dumps(body),
        params={"fieldManager": manager, **query},
        headers={"Content-Type": "application/apply-patch+yaml"},
    )


def patch(http: httpx.Client, path: str, body: Any, kind: str, **query: str) -> httpx.Response:
    """A patch of one of the kinds `json`, `merge`, `strategic-merge`."""
    return http.patch(
        path,
        content=json.dumps(body),
        params=query,
        headers={"Content-Type": f"application/{kind}-patch+json"},
    )
