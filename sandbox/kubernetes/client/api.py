"""Calls of a Kubernetes API over one asynchronous HTTP client, in plain dicts: verbs, errors, watch
lines.
"""

from __future__ import annotations

import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

REQUEST_TIMEOUT_SECONDS = 30.0
# The server ends a watch after this; a client that waits a little longer knows a stalled stream
# from a quiet one.
WATCH_SECONDS = 240
WATCH_GRACE_SECONDS = 30
MERGE_PATCH = "application/merge-patch+json"

Manifest = dict[str, Any]


class ApiError(Exception):
    """The server refused a call; `code` is the HTTP status, `reason` the one word of its Status
    object.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message

    @property
    def is_conflict(self) -> bool:
        """Somebody changed the object first, or made it first; read again and decide again."""
        return self.code == httpx.codes.CONFLICT

    @property
    def is_missing(self) -> bool:
        """The object, or its kind, is not there."""
        return self.code == httpx.codes.NOT_FOUND


@dataclass(frozen=True)
class Resource:
    """A kind as it stands in URLs, such as `Resource("apis/apps/v1", "deployments")`."""

    prefix: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """`v1` or `group/version`, as manifests say it."""
        return self.prefix.split("/", 1)[1]

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The URL path of the collection, the object or one of its subresources."""
        parts = [self.prefix]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(parts)

    def path_of(self, manifest: Manifest, subresource: str | None = None) -> str:
        """The URL path of this object."""
        metadata = manifest["metadata"]
        return self.path(metadata.get("namespace"), metadata["name"], subresource)


NAMESPACES = Resource("api/v1", "namespaces", "Namespace")
NODES = Resource("api/v1", "nodes", "Node")
PODS = Resource("api/v1", "pods", "Pod")
SERVICES = Resource("api/v1", "services", "Service")
SECRETS = Resource("api/v1", "secrets", "Secret")
SERVICE_ACCOUNTS = Resource("api/v1", "serviceaccounts", "ServiceAccount")
CONFIG_MAPS = Resource("api/v1", "configmaps", "ConfigMap")
ENDPOINTS = Resource("api/v1", "endpoints", "Endpoints")
EVENTS = Resource("api/v1", "events", "Event")
DEPLOYMENTS = Resource("apis/apps/v1", "deployments", "Deployment")
REPLICA_SETS = Resource("apis/apps/v1", "replicasets", "ReplicaSet")
STATEFUL_SETS = Resource("apis/apps/v1", "statefulsets", "StatefulSet")
JOBS = Resource("apis/batch/v1", "jobs", "Job")
LEASES = Resource("apis/coordination.k8s.io/v1", "leases", "Lease")
# discovery.k8s.io/v1 came with 1.21; what runs here may be older.
ENDPOINT_SLICES = Resource("apis/discovery.k8s.io/v1", "endpointslices", "EndpointSlice")
ENDPOINT_SLICES_BETA = Resource("apis/discovery.k8s.io/v1beta1", "endpointslices", "EndpointSlice")


class Api:
    """One server and one identity. Use as an asynchronous context manager, in one event loop."""

    def __init__(self, url: str, token: str, ca: str | None) -> None:
        """`ca` is the authority's certificate as PEM text; None trusts what the machine trusts."""
        self._client = httpx.AsyncClient(
            base_url=url,
            verify=ssl.create_default_context(cadata=ca) if ca else True,
            headers={"Authorization": f"Bearer {token}", "User-Agent": "kubestorm-sandbox"},
            timeout=REQUEST_TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str, **parameters: Any) -> Manifest:
        """Read an object or a list."""
        return await self._call("GET", path, parameters=parameters)

    async def create(self, path: str, body: Manifest) -> Manifest:
        """POST to a collection or a subresource such as `binding`."""
        return await self._call("POST", path, body)

    async def replace(self, path: str, body: Manifest) -> Manifest:
        """PUT; refused with 409 if the body's resourceVersion is no longer the newest."""
        return await self._call("PUT", path, body)

    async def merge(self, path: str, body: Manifest) -> Manifest:
        """JSON merge patch (RFC 7386)."""
        return await self._call("PATCH", path, body, content_type=MERGE_PATCH)

    async def delete(self, path: str, options: Manifest | None = None) -> Manifest:
        """Delete; answers the object while it lingers, else a Status."""
        return await self._call(
            "DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **(options or {})}
        )

    async def serves(self, resource: Resource) -> bool:
        """Whether discovery lists the resource."""
        try:
            listed = await self.get("/" + resource.prefix)
        except ApiError as error:
            if error.is_missing:
                return False
            raise
        return any(entry["name"] == resource.plural for entry in listed["resources"])

    async def watch(self, path: str, **parameters: Any) -> AsyncIterator[Manifest]:
        """Yield watch events (`{"type": ..., "object": ...}`) until the server ends the watch.

        Raises ApiError for an ERROR event too, so that 410 has one form, and httpx.HTTPError when
        the stream breaks.
        """
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            **parameters,
        }
        timeout = httpx.Timeout(REQUEST_TIMEOUT_SECONDS, read=WATCH_SECONDS + WATCH_GRACE_SECONDS)
        async with self._client.stream("GET", path, params=parameters, timeout=timeout) as response:
            if response.is_error:
                raise _error(response.status_code, await response.aread())
            async for line in response.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(
                        event["object"].get("code", 500), json.dumps(event["object"]).encode()
                    )
                yield event

    async def _call(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        *,
        content_type: str = "application/json",
        parameters: dict[str, Any] | None = None,
    ) -> Manifest:
        response = await self._client.request(
            method,
            path,
            params=parameters,
            content=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content_type} if body is not None else None,
        )
        if response.is_error:
            raise _error(response.status_code, response.content)
        return response.json()


def _error(code: int, content: bytes) -> ApiError:
    try:
        status = json.loads(content)
        return ApiError(code, status.get("reason", ""), status.get("message", ""))
    except (ValueError, AttributeError):
        return ApiError(code, "", "the server's answer is no Status object")


def timestamp(moment: dt.datetime | None = None) -> str:
    """A moment, by default now, as `metav1.Time` writes it: UTC, whole seconds."""
    return (moment or utc_now()).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp() -> str:
    """Now as `metav1.MicroTime` writes it (leases, events)."""
    return utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str) -> dt.datetime:
    """The moment that `metav1.Time` text names."""
    return dt.datetime.fromisoformat(text)


def utc_now() -> dt.datetime:
    """Now, aware of its zone."""
    return dt.datetime.now(dt.UTC)
