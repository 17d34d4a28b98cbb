"""What lies below a pod, a namespace and a service account: log, binding, eviction, finalize,
token.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from sandbox.kubernetes import errors
from sandbox.kubernetes.auth import DEFAULT_TOKEN_SECONDS, Authenticator
from sandbox.kubernetes.registry import Registry, Target
from sandbox.kubernetes.requests import Query

Json = dict[str, Any]
Answer = tuple[int, bytes, str]

# No container runs, so a pod's log is what its pretend kubelet writes here.
LOG_ANNOTATION = "sandbox.kubestorm.io/log"


class Subresources:
    """Answers for subresources other than status and scale, as (status code, body, content type)."""

    def __init__(self, registry: Registry, authenticator: Authenticator) -> None:
        self._registry = registry
        self._authenticator = authenticator

    def answer(self, method: str, target: Target, body: Any, query: Query) -> Answer:
        if target.subresource == "log" and method == "GET":
            return 200, self._log(target, query), "text/plain"
        if target.subresource == "finalize" and method == "PUT":
            return _json(200, self._registry.update(target, body))
        if method != "POST":
            raise errors.method_not_allowed()
        if target.subresource == "binding":
            return _json(201, self._bind(target, body))
        if target.subresource == "eviction":
            self._registry.delete(_whole(target), body.get("deleteOptions") or {})
            return _json(201, _success())
        if target.subresource == "token":
            return _json(201, self._token(target, body))
        raise errors.method_not_allowed()

    def _log(self, target: Target, query: Query) -> bytes:
        pod = self._registry.entry(_whole(target)).obj
        lines = str((pod["metadata"].get("annotations") or {}).get(LOG_ANNOTATION, "")).splitlines(
            keepends=True
        )
        tail = query.number("tailLines", -1)
        return "".join(lines[-tail:] if tail > 0 else [] if tail == 0 else lines).encode()

    def _bind(self, target: Target, body: Json) -> Json:
        whole = _whole(target)
        pod = self._registry.entry(whole).obj
        if pod["spec"].get("nodeName"):
            why = f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise errors.conflict("", "pods/binding", target.name, why)
        node = str((body.get("target") or {}).get("name", ""))
        now = self._registry.clock()
        scheduled = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": now,
        }
        status = pod.get("status") or {}
        others = [c for c in status.get("conditions") or [] if c["type"] != "PodScheduled"]
        bound = {
            **pod, "metadata": dict(pod["metadata"]), "spec": {**pod["spec"], "nodeName": node},
            "status": {**status, "conditions": [*others, scheduled]},
        }  # fmt: skip
        if not target.dry_run:
            self._registry.store.put(target.resource.bucket, whole.key, bound)
        return _success()

    def _token(self, target: Target, body: Json) -> Json:
        account = self._registry.entry(_whole(target)).obj
        spec = body.get("spec") or {}
        seconds = int(spec.get("expirationSeconds") or DEFAULT_TOKEN_SECONDS)
        token, end = self._authenticator.issue(
            target.namespace, target.name, account["metadata"]["uid"], seconds
        )
        until = dt.datetime.fromtimestamp(end, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": target.name, "namespace": target.namespace, "creationTimestamp": self._registry.clock()
            },
            "spec": {**spec, "expirationSeconds": seconds}, "status": {"token": token, "expirationTimestamp": until},
        }  # fmt: skip


def _whole(target: Target) -> Target:
    return Target(**{**target.__dict__, "subresource": ""})


def _json(code: int, body: Json) -> Answer:
    return code, msgspec.json.encode(body), "application/json"


def _success() -> Json:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
