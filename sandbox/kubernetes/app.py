"""The ASGI application: a request is authenticated, authorized, and handed to the registry, a list
or a watch.

Written against raw ASGI: the paths are regular, and a watch needs no more than `send`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, MutableMapping
from typing import Any

import msgspec

from sandbox.faults import FaultMiddleware, Faults
from sandbox.kubernetes import (
    discovery,
    errors,
    lists,
    openapi,
    patches,
    proxying,
    rbac,
    reviews,
    schema,
    tables,
    watching,
)
from sandbox.kubernetes.auth import Authenticator, User
from sandbox.kubernetes.errors import ApiError
from sandbox.kubernetes.janitor import Janitor
from sandbox.kubernetes.rbac import Attributes, Authorizer
from sandbox.kubernetes.registry import Registry, Target
from sandbox.kubernetes.requests import MAX_BODY_BYTES, Location, Query, decode, locate
from sandbox.kubernetes.resources import REVIEWS, Catalog
from sandbox.kubernetes.store import DEFAULT_WINDOW, ExpiredVersionError, Store
from sandbox.kubernetes.subresources import Subresources

Json = dict[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[..., Any]

log = logging.getLogger(__name__)

_JSON = "application/json"
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_CORE_PATCHES = [
    patches.JSON_PATCH,
    patches.MERGE_PATCH,
    patches.STRATEGIC_PATCH,
    patches.APPLY_PATCH,
]
_CUSTOM_PATCHES = [patches.JSON_PATCH, patches.MERGE_PATCH, patches.APPLY_PATCH]
DEFAULT_WATCH_SECONDS = 1800
DEFAULT_BOOKMARK_SECONDS = 60.0


class Request:
    """What a handler needs of a request."""

    def __init__(self, scope: Message, body: bytes, receive: Send, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query = Query(scope.get("query_string", b"").decode("latin-1"))
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.body = body
        self.receive = receive
        self._send = send
        self.has_begun = False
        self.warnings: list[str] = []

    async def send(self, message: Message) -> None:
        self.has_begun = True
        await self._send(message)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def decoded(self) -> Any:
        return decode(self.body, self.content_type)

    def manager(self) -> str:
        """The field manager: the one named, else the program's name in User-Agent."""
        return (
            self.query.text("fieldManager")
            or self.headers.get("user-agent", "unknown").split("/")[0][:128]
        )


class KubernetesApi:
    """A Kubernetes API server as an ASGI application, with its own in-memory store.

    `token` is the administrator's bearer token. `tokens` adds others. `faults` makes requests fail
    on purpose. `window` is how many changes of a resource a watch may resume over; `compact()`
    forgets them all, so that the next resume and the next page of a list are answered 410.
    `bookmark_seconds` is how often a watch that allows them gets a bookmark.
    """

    def __init__(
        self,
        *,
        token: str = "",
        tokens: dict[str, User] | None = None,
        window: int = DEFAULT_WINDOW,
        bookmark_seconds: float = DEFAULT_BOOKMARK_SECONDS,
    ) -> None:
        self.token = token or secrets.token_urlsafe(24)
        self.bookmark_seconds = bookmark_seconds
        self.store = Store(window)
        self.catalog = Catalog()
        self.registry = Registry(self.store, self.catalog)
        admin = User("kubernetes-admin", (rbac.MASTERS,))
        self.authenticator = Authenticator(self.store, {**(tokens or {}), self.token: admin})
        self.authorizer = Authorizer(self.store)
        self.faults = Faults()
        self._janitor = Janitor(self.registry, self.authenticator)
        self._subresources = Subresources(self.registry, self.authenticator)
        self._entry = FaultMiddleware(self._serve, self.faults)
        self._bootstrap()

    def compact(self) -> None:
        """Forget the past, as etcd does every few minutes: watches and pages from before now are
        answered 410.
        """
        self.store.compact()

    async def __call__(self, scope: Message, receive: Send, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await self._entry(scope, receive, send)

    def _bootstrap(self) -> None:
        def create(group: str, plural: str, obj: Json, namespace: str = "") -> None:
            row = self.catalog.by_plural(group, plural)
            if row is None:
                raise RuntimeError(f"the table of kinds has no {plural}")
            target = Target(
                resource=row,
                version=row.stored_version,
                namespace=namespace,
                manager="kube-apiserver",
            )
            self.registry.create(target, obj)

        for name in _NAMESPACES:
            create("", "namespaces", {"metadata": {"name": name}})
        for plural, obj in rbac.initial_objects():
            create("rbac.authorization.k8s.io", plural, obj)
        ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
        labels = {"component": "apiserver", "provider": "kubernetes"}
        service = {
            "metadata": {"name": "kubernetes", "labels": labels},
            "spec": {"clusterIP": "10.96.0.1", "ports": ports},
        }
        create("", "services", service, "default")
        self._janitor.run()

    # --- one request
    # ---------------------------------------------------------------------------------------------

    async def _serve(self, scope: Message, receive: Send, send: Send) -> None:
        try:
            request = Request(scope, await _read_body(receive), receive, send)
        except ApiError as error:
            await _send_json(send, error.code, error.status())
            return
        try:
            await self._dispatch(request)
        except ApiError as error:
            body = error.status()
            token = getattr(error, "continue_token", "")
            if token:
                body["metadata"]["continue"] = token
            await _send_json(send, error.code, body)
        except (
            Exception
        ) as error:  # the outer loop: one bad request must not look like a broken connection
            if request.has_begun:
                raise
            log.exception("request.failed", extra={"method": request.method, "path": request.path})
            why = f"Internal error occurred: {type(error).__name__}; the server's log has the traceback"
            await _send_json(send, 500, ApiError(500, "InternalError", why).status())

    async def _dispatch(self, request: Request) -> None:
        user = self.authenticator.user(request.headers.get("authorization", ""))
        if user is None:
            raise errors.unauthorized()
        proxied = proxying.parse(request.path)
        if proxied is not None:
            await self._proxy(request, user, proxied)
            return
        location = locate(request.path) if request.path.startswith(("/api/", "/apis/")) else None
        if location is None:
            self._authorize_path(request, user)
            await self._discovery(request)
            return
        await self._resource(request, user, location)

    async def _proxy(self, request: Request, user: User, asked: proxying.Proxied) -> None:
        self._authorize(
            user, Attributes("get", "", asked.plural, "proxy", asked.namespace, asked.name)
        )
        status, body = proxying.answer(self.registry, asked)
        await _send(
            request.send, status, body, _JSON if status == 200 else "text/plain; charset=utf-8"
        )

    def _authorize(self, user: User, asked: Attributes) -> None:
        if not self.authorizer.allows(user, asked):
            why = rbac.denial(user, asked)
            raise errors.forbidden(asked.group, asked.resource, asked.name, why)

    def _authorize_path(self, request: Request, user: User) -> None:
        asked = Attributes(_VERBS.get(request.method, request.method.lower()), path=request.path)
        if not self.authorizer.allows(user, asked):
            raise ApiError(403, "Forbidden", f"forbidden: {rbac.denial(user, asked)}", {})

    # --- discovery
    # -----------------------------------------------------------------------------------------------

    async def _discovery(self, request: Request) -> None:
        path = request.path.rstrip("/") or "/"
        if request.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed()
        if path in ("/healthz", "/livez", "/readyz", "/healthz/ping"):
            await _send(request.send, 200, b"ok", "text/plain; charset=utf-8")
        elif path.startswith("/openapi/"):
            await self._openapi(request, path)
        else:
            found = self._discovered(request, path)
            if found is None:
                await _send(request.send, 404, b"404 page not found\n", "text/plain; charset=utf-8")
                return
            await _send_json(request.send, 200, found)

    def _discovered(self, request: Request, path: str) -> Json | None:
        parts = path.strip("/").split("/")
        if path == "/":
            return {
                "paths": [
                    "/api",
                    "/api/v1",
                    "/apis",
                    "/healthz",
                    "/livez",
                    "/openapi/v2",
                    "/openapi/v3",
                    "/readyz",
                    "/version",
                ]
            }
        if path == "/version":
            return discovery.VERSION
        if path == "/api":
            return discovery.api_versions(request.headers.get("host", ""))
        if path == "/apis":
            return discovery.api_groups(self.catalog)
        if parts[0] == "api" and len(parts) == 2:
            return discovery.api_resources(self.catalog, "", parts[1])
        if parts[0] == "apis" and len(parts) == 2:
            return discovery.api_group(self.catalog, parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return discovery.api_resources(self.catalog, parts[1], parts[2])
        return None

    async def _openapi(self, request: Request, path: str) -> None:
        accept = request.headers.get("accept", "")
        if path == "/openapi/v2" and "protobuf" in accept:
            await _send(
                request.send, 200, openapi.v2_protobuf(self.catalog), openapi.PROTOBUF_ANSWER
            )
            return
        if path == "/openapi/v2":
            document: Json | None = openapi.v2(self.catalog)
        elif path == "/openapi/v3":
            document = openapi.v3_index(self.catalog)
        else:
            document = openapi.v3(self.catalog, path.removeprefix("/openapi/v3/"))
        if document is None:
            await _send(request.send, 404, b"404 page not found\n", "text/plain; charset=utf-8")
        else:
            await _send_json(request.send, 200, document)

    # --- resources
    # -----------------------------------------------------------------------------------------------

    async def _resource(self, request: Request, user: User, location: Location) -> None:
        verb = self._verb(request, location)
        within = location.namespace or (location.name if _is_namespace(location) else "")
        asked = Attributes(
            verb, location.group, location.plural, location.subresource, within, location.name
        )
        self._authorize(user, asked)
        row = self.catalog.find(location.group, location.version, location.plural)
        if row is None or (
            location.subresource and not row.has(location.subresource, location.version)
        ):
            if self._is_built_in(location):
                raise errors.no_such_path()
            await _send(request.send, 404, b"404 page not found\n", "text/plain; charset=utf-8")
            return
        if row.namespaced and not location.namespace and (location.name or verb == "create"):
            raise errors.no_such_path()
        target = Target(
            resource=row, version=location.version, namespace=location.namespace, name=location.name,
            subresource=location.subresource, manager=request.manager(), dry_run=_is_dry_run(request),
        )  # fmt: skip
        if location.plural in REVIEWS and row.verbs == ("create",):
            await self._review(request, user, target)
        elif location.subresource and location.subresource not in ("status", "scale"):
            body = request.decoded() if request.body else {}
            code, data, kind = self._subresources.answer(
                request.method, target, body, request.query
            )
            await _send(request.send, code, data, kind)
        else:
            await self._perform(request, verb, target, user)

    def _is_built_in(self, location: Location) -> bool:
        """A path within a core group is answered with a Status; any other unknown one in plain
        text.
        """
        rows = self.catalog.rows()
        return any(
            r.group == location.group and location.version in r.versions and not r.is_custom
            for r in rows
        )

    @staticmethod
    def _verb(request: Request, location: Location) -> str:
        verb = _VERBS.get(request.method)
        if verb is None:
            raise errors.method_not_allowed()
        if (
            verb == "get"
            and (location.watch or request.query.flag("watch"))
            and not location.subresource
        ):
            return "watch"
        if verb == "get" and not location.name:
            return "list"
        if verb == "delete" and not location.name:
            return "deletecollection"
        return verb

    async def _review(self, request: Request, user: User, target: Target) -> None:
        if request.method != "POST":
            raise errors.method_not_allowed()
        body = request.decoded()
        answer = reviews.answer(
            target.resource.kind, body, user, target.namespace, self.authenticator, self.authorizer
        )
        await _send_json(request.send, 201, answer)

    async def _perform(self, request: Request, verb: str, target: Target, user: User) -> None:
        if verb == "watch":
            await self._watch(request, target)
        elif verb == "list":
            form = lists.wanted_form(request.headers.get("accept", ""))
            await _send(
                request.send, 200, lists.answer(self.registry, target, request.query, form), _JSON
            )
        elif verb == "get":
            obj = (
                self.registry.scale(target)
                if target.subresource == "scale"
                else self.registry.read(target)
            )
            await self._answer(request, target, 200, obj)
        elif verb == "create":
            if target.name:
                raise errors.method_not_allowed()
            obj = self.registry.create(target, self._strict(request, target, request.decoded()))
            await self._answer(request, target, 201, obj)
        elif verb in ("update", "patch"):
            if not target.name:
                raise errors.method_not_allowed()
            await (
                self._update(request, target)
                if verb == "update"
                else self._patch(request, target, user)
            )
        elif verb == "delete":
            await self._delete(request, target)
        else:
            await self._delete_collection(request, target)

    async def _update(self, request: Request, target: Target) -> None:
        body = self._strict(request, target, request.decoded())
        await self._answer(request, target, 200, self.registry.update(target, body))

    async def _patch(self, request: Request, target: Target, user: User) -> None:
        kind = request.content_type.partition(";")[0].strip()
        accepted = _CUSTOM_PATCHES if target.resource.is_custom else _CORE_PATCHES
        if kind not in accepted:
            raise errors.unsupported_media_type(accepted)
        patch = request.decoded()
        if kind != patches.APPLY_PATCH:
            if kind == patches.MERGE_PATCH:
                self._strict(request, target, patch)
            await self._answer(request, target, 200, self.registry.patch(target, kind, patch))
            return
        if not request.query.text("fieldManager"):
            cause = errors.required("fieldManager", "is required for apply patch")
            raise errors.invalid("meta.k8s.io", "PatchOptions", "", [cause])
        patch = self._strict(request, target, patch)
        if not target.subresource and not self.registry.exists(target):
            row = target.resource
            asked = Attributes("create", row.group, row.plural, "", target.namespace, target.name)
            # Refused without a reason: apiserver/pkg/endpoints/handlers, withAuthorization.
            if not self.authorizer.allows(user, asked):
                raise errors.forbidden(row.group, row.plural, target.name, "")
        obj, made = self.registry.apply(target, patch, force=request.query.flag("force"))
        await self._answer(request, target, 201 if made else 200, obj)

    def _strict(self, request: Request, target: Target, body: Any) -> Any:
        """Fields that a custom resource's schema does not know: refused, warned of, or dropped, as
        `fieldValidation` says.
        """
        how = request.query.text("fieldValidation") or "Warn"
        if how == "Ignore" or not target.resource.is_custom or not isinstance(body, dict):
            return body
        unknown = schema.unknown_fields(body, target.resource.custom[target.version].schema)
        if unknown and how == "Strict":
            listed = ", ".join(f'unknown field "{path}"' for path in unknown)
            raise errors.bad_request(f"strict decoding error: {listed}")
        request.warnings += [f'unknown field "{path}"' for path in unknown]
        return body

    async def _delete(self, request: Request, target: Target) -> None:
        options = self._delete_options(request)
        obj, gone = self.registry.delete(target, options)
        if gone and target.resource.kind not in _RETURNED_WHEN_DELETED:
            await _send_json(request.send, 200, _deleted(target, obj))
            return
        waits = not gone and options.get("propagationPolicy") == "Foreground"
        await self._answer(request, target, 202 if waits else 200, obj)

    @staticmethod
    def _delete_options(request: Request) -> Json:
        body = request.decoded() if request.body else {}
        options: Json = dict(body) if isinstance(body, dict) else {}
        if request.query.text("propagationPolicy"):
            options["propagationPolicy"] = request.query.text("propagationPolicy")
        if request.query.text("gracePeriodSeconds"):
            options["gracePeriodSeconds"] = request.query.number("gracePeriodSeconds")
        if request.query.text("orphanDependents"):
            options["orphanDependents"] = request.query.flag("orphanDependents")
        return options

    async def _delete_collection(self, request: Request, target: Target) -> None:
        page = lists.Page(self.store, target, request.query)
        options = self._delete_options(request)
        items = []
        for entry in page.entries:
            metadata = entry.obj["metadata"]
            one = Target(
                **{
                    **target.__dict__,
                    "name": metadata["name"],
                    "namespace": metadata.get("namespace", ""),
                }
            )
            if self.store.get(one.resource.bucket, one.key):
                items.append(self.registry.delete(one, options)[0])
        kind = {"kind": target.resource.list_kind, "apiVersion": target.api_version}
        await _send_json(
            request.send,
            200,
            {**kind, "metadata": {"resourceVersion": str(self.store.version)}, "items": items},
        )

    async def _answer(self, request: Request, target: Target, code: int, obj: Json) -> None:
        form = lists.wanted_form(request.headers.get("accept", ""))
        headers = [(b"warning", f"299 - {json.dumps(text)}".encode()) for text in request.warnings]
        if form == "Table" and target.subresource != "scale":
            include = request.query.text("includeObject") or "Metadata"
            version = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            obj = tables.table(target.resource, target.version, [obj], include, version)
        elif form == "PartialObjectMetadata":
            obj = tables.partial(obj)
        data = msgspec.json.encode(obj)
        if request.query.flag("pretty"):
            data = msgspec.json.format(data, indent=2)
        await _send(request.send, code, data, _JSON, headers)

    # --- watch
    # ---------------------------------------------------------------------------------------------------

    async def _watch(self, request: Request, target: Target) -> None:
        query = request.query
        form = lists.wanted_form(request.headers.get("accept", ""))
        render = lists.renderer(target, form, query.text("includeObject") or "Metadata")
        bucket = self.store.bucket(target.resource.bucket)
        watch = watching.Watch(
            bucket, lists.prefix_of(target), lists.selection(target, query), render
        )
        self._catch_up(watch, target, query)
        seconds = query.number("timeoutSeconds") or DEFAULT_WATCH_SECONDS + secrets.randbelow(
            DEFAULT_WATCH_SECONDS
        )
        headers = [(b"content-type", _JSON.encode()), (b"cache-control", b"no-cache, private")]
        try:
            await request.send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._stream(request, target, watch, seconds)
            await request.send({"type": "http.response.body", "body": b""})
        finally:
            watch.close()

    def _catch_up(self, watch: watching.Watch, target: Target, query: Query) -> None:
        """Open a watch and queue what it starts with: the state now, or what changed since the
        version it names.
        """
        version = query.version()
        bucket = target.resource.bucket
        initial = query.flag("sendInitialEvents")
        if not version or initial:
            matches = lists.selection(target, query)
            for entry in self.store.snapshot(bucket, lists.prefix_of(target)):
                if matches(entry.obj):
                    watch.added(entry)
            if initial:
                watch.put(
                    watching.line(
                        "BOOKMARK", self._bookmark(target, {"k8s.io/initial-events-end": "true"})
                    )
                )
            watch.open()
            return
        try:
            for event in self.store.since(bucket, version):
                watch.push(event)
            watch.open()
        except ExpiredVersionError as error:
            watch.put(watching.line("ERROR", errors.expired(str(error)).status()))
            watch.is_over = True

    def _bookmark(self, target: Target, annotations: dict[str, str] | None = None) -> Json:
        metadata: Json = {"resourceVersion": str(self.store.version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        return {
            "kind": target.resource.kind,
            "apiVersion": target.api_version,
            "metadata": metadata,
        }

    async def _stream(
        self, request: Request, target: Target, watch: watching.Watch, seconds: float
    ) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        gone = asyncio.ensure_future(_disconnected(request.receive))
        gone.add_done_callback(lambda _task: watch.wake.set())
        bookmarks = request.query.flag("allowWatchBookmarks")
        alarms = [loop.call_at(end, watch.wake.set)]
        next_bookmark = loop.time() + self.bookmark_seconds if bookmarks else end + 1
        try:
            while True:
                if bookmarks and loop.time() >= next_bookmark:
                    watch.put(watching.line("BOOKMARK", self._bookmark(target)))
                    next_bookmark = loop.time() + self.bookmark_seconds
                data = watch.take()
                if data:
                    await request.send(
                        {"type": "http.response.body", "body": data, "more_body": True}
                    )
                    continue
                if watch.is_over or gone.done() or loop.time() >= end:
                    break
                if bookmarks:
                    alarms.append(loop.call_at(next_bookmark, watch.wake.set))
                watch.wake.clear()
                await watch.wake.wait()
            if bookmarks and not gone.done() and not watch.is_over:
                # The real server sends one shortly before it ends a watch, so that the next one
                # starts from here.
                last = watching.line("BOOKMARK", self._bookmark(target))
                await request.send({"type": "http.response.body", "body": last, "more_body": True})
        finally:
            gone.cancel()
            for alarm in alarms:
                alarm.cancel()


_RETURNED_WHEN_DELETED = frozenset(
    {"Pod", "Service", "PersistentVolumeClaim", "ServiceAccount", "ResourceQuota"}
)


def _deleted(target: Target, obj: Json) -> Json:
    details = {"name": target.name, "kind": target.resource.plural, "uid": obj["metadata"]["uid"]}
    if target.resource.group:
        details["group"] = target.resource.group
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def _is_namespace(location: Location) -> bool:
    return location.group == "" and location.plural == "namespaces"


def _is_dry_run(request: Request) -> bool:
    asked = request.query.text("dryRun")
    if asked and asked != "All":
        cause = errors.unsupported("dryRun", asked, ["All"])
        raise errors.invalid("meta.k8s.io", "CreateOptions", "", [cause])
    return asked == "All"


async def _disconnected(receive: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_body(receive: Send) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            why = f"Request entity too large: limit is {MAX_BODY_BYTES}"
            raise ApiError(413, "RequestEntityTooLarge", why)
        if not message.get("more_body"):
            return b"".join(parts)


async def _send_json(send: Send, code: int, body: Json) -> None:
    await _send(send, code, msgspec.json.encode(body), _JSON)


async def _send(
    send: Send, code: int, body: bytes, kind: str, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [
        (b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-cache, private"), *(more or []),
    ]  # fmt: skip
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Send, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
