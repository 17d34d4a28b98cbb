"""A small container registry in memory, for machines without docker-registry: push, pull, tags, and
webhooks on a push.

It speaks the parts of the OCI distribution specification that `sandbox.registry.push_image`, the
pack and the pretend node use, and reports pushes in CNCF distribution's own format. Where
docker-registry is installed, that is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import re
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.registry import Webhook
from sandbox.serving import Server

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
WEBHOOK_TIMEOUT_SECONDS = 5.0
EVENTS_TYPE = "application/vnd.docker.distribution.events.v1+json"


class PretendRegistry:
    """The registry on a loopback port, from `start` to `stop`. It asks nobody who they are, and
    keeps nothing.
    """

    def __init__(self, *, webhooks: Sequence[Webhook] = ()) -> None:
        self._webhooks = list(webhooks)
        self._blobs: dict[str, bytes] = {}
        self._manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        """(repository, tag or digest) -> (media type, content)."""
        self._telling: set[asyncio.Task[None]] = set()
        name = "/v2/{repository:path}"
        routes = [
            Route("/v2/", lambda _request: JSONResponse({})),
            Route(f"{name}/blobs/uploads/", self._begin_upload, methods=["POST"]),
            Route(f"{name}/blobs/uploads/{{upload}}", self._finish_upload, methods=["PUT"]),
            Route(f"{name}/blobs/{{digest}}", self._blob, methods=["GET", "HEAD"]),
            Route(f"{name}/manifests/{{reference}}", self._put_manifest, methods=["PUT"]),
            Route(f"{name}/manifests/{{reference}}", self._manifest, methods=["GET", "HEAD"]),
            Route(f"{name}/tags/list", self._tags),
        ]
        self._server = Server(Starlette(routes=routes))

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as image references begin."""
        return f"{self._server.host}:{self._server.port}"

    @property
    def url(self) -> str:
        """Root of its API, without a trailing slash."""
        return self._server.url

    def client(self) -> httpx.Client:
        """A client of its API. The caller closes it."""
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def start(self) -> Self:
        """Listen."""
        self._server.start()
        return self

    def stop(self) -> None:
        """End it. Safe to repeat."""
        self._server.stop()

    async def _begin_upload(self, request: Request) -> Response:
        repository = request.path_params["repository"]
        location = f"/v2/{repository}/blobs/uploads/{uuid.uuid4()}"
        return Response(status_code=202, headers={"Location": location})

    async def _finish_upload(self, request: Request) -> Response:
        content, digest = await request.body(), request.query_params.get("digest", "")
        if _digest(content) != digest:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self._blobs[digest] = content
        return Response(status_code=201, headers={"Docker-Content-Digest": digest})

    async def _blob(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        content = self._blobs.get(digest)
        if content is None:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {"Docker-Content-Digest": digest}
        return Response(content, headers=headers, media_type="application/octet-stream")

    async def _put_manifest(self, request: Request) -> Response:
        repository, reference = request.path_params["repository"], request.path_params["reference"]
        content, kind = await request.body(), request.headers.get("Content-Type", "")
        digest = _digest(content)
        if DIGEST.fullmatch(reference) and reference != digest:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        for key in (reference, digest):
            self._manifests[repository, key] = kind, content
        tag = "" if DIGEST.fullmatch(reference) else reference
        told = asyncio.create_task(self._tell(_event(repository, tag, digest, kind, len(content))))
        self._telling.add(told)
        told.add_done_callback(self._telling.discard)
        return Response(status_code=201, headers={"Docker-Content-Digest": digest})

    async def _manifest(self, request: Request) -> Response:
        found = self._manifests.get(
            (request.path_params["repository"], request.path_params["reference"])
        )
        if found is None:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        kind, content = found
        digest = _digest(content)
        headers = {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
        if request.headers.get("If-None-Match", "").strip('"') == digest:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=kind)

    async def _tags(self, request: Request) -> Response:
        repository = request.path_params["repository"]
        mine = [key for name, key in self._manifests if name == repository]
        if not mine:
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        tags = sorted(key for key in mine if not DIGEST.fullmatch(key))
        return JSONResponse({"name": repository, "tags": tags})

    async def _tell(self, event: dict[str, Any]) -> None:
        async with httpx.AsyncClient(timeout=WEBHOOK_TIMEOUT_SECONDS, trust_env=False) as http:
            for hook in self._webhooks:
                headers = {**hook.headers, "Content-Type": EVENTS_TYPE}
                for pause in (0.0, 1.0, 2.0):
                    await asyncio.sleep(pause)
                    with contextlib.suppress(httpx.HTTPError):
                        answer = await http.post(
                            hook.url, content=json.dumps({"events": [event]}), headers=headers
                        )
                        if answer.is_success:
                            break

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _event(repository: str, tag: str, digest: str, kind: str, size: int) -> dict[str, Any]:
    target = {
        "mediaType": kind,
        "digest": digest,
        "size": size,
        "length": size,
        "repository": repository,
    }
    return {
        "id": str(uuid.uuid4()),
        "timestamp": dt.datetime.now(dt.UTC).isoformat(),
        "action": "push",
        "target": {**target, **({"tag": tag} if tag else {})},
        "request": {"id": str(uuid.uuid4()), "method": "PUT"},
        "actor": {},
        "source": {"addr": "pretend"},
    }


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"errors": [{"code": code, "message": message}]}, status_code=status)
