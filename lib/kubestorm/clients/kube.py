"""The pack's connection to a Kubernetes API: plain dictionaries in and out over the official
client's connection.

The official client brings kubeconfig, in-cluster accounts, exec plugins, token refresh and TLS. Its
typed models are not used: they refuse incomplete objects, know nothing of custom resources and cost
many times the parsing (decision 0060). Every error is translated once, by `kube_errors`. Leases are
in `lease`.
"""

from __future__ import annotations

import copy
import datetime as dt
import gc
import hashlib
import http.client
import json
import os
import socket
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import quote, urlencode

import urllib3
import urllib3.exceptions

from kubestorm.clients import kube_errors, kube_library, retrying
from kubestorm.clients.kube_errors import ExpiredError, ForbiddenError, Request, UnauthorizedError
from kubestorm.core import parts, untrusted
from kubestorm.core.errors import ConflictError, DefinitionError, NotFoundError, TemporaryError
from kubestorm.core.naming import GROUP, LABEL
from kubestorm.core.sections import invalid_setting, read_section, setting
from kubestorm.core.times import format_time

__all__ = [
    "ExpiredError",
    "ForbiddenError",
    "KubeClient",
    "KubeSettings",
    "Resource",
    "UnauthorizedError",
    "WatchStream",
    "connect",
]

FIELD_MANAGER = "kubestorm"
POOL_SIZE = 64
READ_SIZE = 65536
LARGE_BYTES = 65536
MAX_EVENT_MESSAGE = 1024
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_REPEATABLE_PATCHES = frozenset(_PATCH_TYPES[kind] for kind in ("merge", "strategic", "apply"))
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

Object = Dict[str, Any]


def _fastest_decoder() -> Callable[[bytes], Any]:
    """StackStorm ships orjson and stormcell msgspec; both read JSON several times faster than the
    standard library.
    """
    try:
        import orjson

        decode: Callable[[bytes], Any] = orjson.loads
        return decode
    except ImportError:
        pass
    try:
        import msgspec

        return msgspec.json.decode
    except ImportError:
        return json.loads


decode: Callable[[bytes], Any] = _fastest_decoder()


def decode_page(data: bytes) -> Any:
    """Decode without the cyclic garbage collector, which would go through the half-made page over
    and over.

    JSON has no cycles. It halves the time of a large list, and a page takes milliseconds.
    """
    if len(data) < LARGE_BYTES or not gc.isenabled():
        return decode(data)
    gc.disable()
    try:
        return decode(data)
    finally:
        gc.enable()


@dataclass(frozen=True)
class KubeSettings:
    """How the Kubernetes API is reached."""

    kubeconfig: str = ""
    """Path of a kubeconfig. Empty: the in-cluster account if there is one, else $KUBECONFIG or
    ~/.kube/config.
    """
    context: str = ""
    """Context within it; empty for its current one."""
    in_cluster: Optional[bool] = None
    """Use the pod's service account; not set: decided by the environment."""
    namespace: str = "kubestorm"
    """The pack's own namespace, where its Leases live."""
    namespaces: Tuple[str, ...] = ()
    """The namespaces that the pack serves; none: all of them. What would be listed or watched in
    all is then asked of each of these, so that no right beyond them is needed."""
    left_out: Tuple[str, ...] = setting((), internal=True)
    """Kinds of ours, by their plural, that the setting `parts` leaves out: none is asked for, and
    there seem to be no objects of them."""
    verify_tls: bool = True
    """Check the API server's certificate."""
    connect_timeout_seconds: float = 5.0
    """Seconds to wait for a connection."""
    read_timeout_seconds: float = 30.0
    """Seconds to wait for an answer."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> KubeSettings:
        """Read the pack configuration's `kubernetes` section; raises DefinitionError naming a key
        it does not know.
        """
        settings = read_section(cls, config.get("kubernetes"), "kubernetes")
        return replace(
            settings,
            namespaces=tuple(dict.fromkeys(settings.namespaces)),
            left_out=parts.left_out(config),
        )

    def validate(self, where: str) -> None:
        for one in self.namespaces:
            if not LABEL.fullmatch(one):
                raise invalid_setting(f"{where}.namespaces", "a list of names of namespaces", one)

    def places(self, namespace: str = "") -> Tuple[str, ...]:
        """Where to list and watch what is asked of one namespace, or (empty) of all: a tuple of
        namespaces, "" for the whole cluster.
        """
        return (namespace,) if namespace else self.namespaces or ("",)


class Resource(NamedTuple):
    """A kind of object by its place in the API; `group` is empty for the core group (`v1`)."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        """What an object's `apiVersion` says."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object (`name`), or of its `status`, `scale`
        ...
        """
        parts = [f"/apis/{self.group}" if self.group else "/api", self.version]
        if namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [self.plural]
        parts += [quote(part, safe=":") for part in (name, subresource) if part]
        return "/".join(parts)

    def __str__(self) -> str:
        return (
            f"{self.plural}.{self.version}.{self.group}"
            if self.group
            else f"{self.plural}.{self.version}"
        )


EVENTS = Resource("", "v1", "events")
LEASES = Resource("coordination.k8s.io", "v1", "leases")


class Answer(NamedTuple):
    """An HTTP response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """At most `untrusted.MAX_BODY_BYTES`, and as it was sent: not decompressed."""


def read_answer(response: Any, timeout_seconds: float) -> Answer:
    """Read the beginning of an answer and give its connection up; a program that sends its answer
    byte by byte has `timeout_seconds` for all of it. Raises urllib3's errors and OSError."""
    ends = time.monotonic() + timeout_seconds
    body = bytearray()
    try:
        while len(body) < untrusted.MAX_BODY_BYTES:
            # No more than has arrived: a longer read waits anew for each of its pieces.
            piece = response._fp.read1(untrusted.MAX_BODY_BYTES - len(body))
            if not piece:
                break
            if time.monotonic() > ends:
                raise TimeoutError(f"the answer took longer than {timeout_seconds:g} s")
            body += piece
    except http.client.HTTPException as error:
        raise urllib3.exceptions.ProtocolError("the answer broke off", error) from error
    finally:
        response.close()
    found = {key.lower(): value for key, value in response.headers.items()}
    return Answer(response.status, found, bytes(body))


def connect(settings: KubeSettings, before_write: Callable[[], None] = lambda: None) -> KubeClient:
    """Read the credentials and make a client; no request is sent. Raises DefinitionError for an
    unusable kubeconfig.
    """
    # Only what talks to a cluster pays for the client's import.
    library = kube_library.load()
    config = library.config
    configuration = library.Configuration()
    in_cluster = settings.in_cluster
    if in_cluster is None:
        in_cluster = not settings.kubeconfig and bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
    try:
        if in_cluster:
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(
                config_file=os.path.expanduser(settings.kubeconfig) or None,  # noqa: PTH111 (the client wants text)
                context=settings.context or None,
                client_configuration=configuration,
                persist_config=False,
            )
    except config.ConfigException as error:
        where = (
            "the pod's service account"
            if in_cluster
            else settings.kubeconfig or "the default kubeconfig"
        )
        raise DefinitionError(
            f"cannot use {where}: {error}", field="kubernetes.kubeconfig"
        ) from error
    configuration.connection_pool_maxsize = POOL_SIZE
    if not settings.verify_tls:
        configuration.verify_ssl = False
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return KubeClient(library.ApiClient(configuration), settings, before_write)


class KubeClient:
    """Raw requests to one API server. Safe to share between threads. Every method raises the pack's
    errors only.

    `before_write` is called before each write but those of Leases, also before one is sent again;
    what it raises keeps the write from being sent.
    """

    def __init__(
        self,
        api_client: Any,
        settings: Optional[KubeSettings] = None,
        before_write: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings or KubeSettings()
        self._before_write = before_write
        self._retry_seconds = retrying.TOTAL_SECONDS
        self._api = api_client
        self._pool = api_client.rest_client.pool_manager
        self.host: str = api_client.configuration.host.rstrip("/")

    def with_timeout(self, seconds: float) -> KubeClient:
        """The same client, which waits no longer than this for an answer."""
        hurried = copy.copy(self)
        hurried.settings = replace(
            self.settings,
            connect_timeout_seconds=min(seconds, self.settings.connect_timeout_seconds),
            read_timeout_seconds=min(seconds, self.settings.read_timeout_seconds),
        )
        return hurried

    def without_retries(self) -> KubeClient:
        """The same client for a loop that tries again by itself, and can be told to stop."""
        once = copy.copy(self)
        once._retry_seconds = 0.0
        return once

    def get(
        self, resource: Resource, name: str, namespace: str = "", subresource: str = ""
    ) -> Object:
        """One object as it is now; NotFoundError when there is none."""
        asked = self._request(resource, "get", namespace, name, subresource)
        if self._is_left_out(resource):
            raise NotFoundError(
                f"{resource.plural} {namespace}/{name}: not served; the setting parts leaves "
                f"{resource.plural} out",
                service=kube_errors.SERVICE,
            )
        return self._send("GET", resource.path(namespace, name, subresource), asked)

    def list_page(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        limit: int = 0,
        continue_token: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> Object:
        """One page: `items` and `metadata.resourceVersion` / `metadata.continue`. ExpiredError:
        start over.
        """
        query = {
            "limit": limit or None,
            "continue": continue_token or None,
            "labelSelector": label_selector or None,
            "fieldSelector": field_selector or None,
            "resourceVersion": resource_version or None,
        }
        return self._send(
            "GET", resource.path(namespace), self._request(resource, "list", namespace), query=query
        )

    def list_all(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> Iterator[Object]:
        """Every object, page by page; for collections that need not be consistent as a whole.

        Without a namespace: of all namespaces that the pack serves.
        """
        for place in () if self._is_left_out(resource) else self.settings.places(namespace):
            token, is_first = "", True
            while token or is_first:
                page = self.list_page(
                    resource,
                    place,
                    limit=limit,
                    continue_token=token,
                    label_selector=label_selector,
                    field_selector=field_selector,
                )
                yield from page.get("items") or []
                token, is_first = (page.get("metadata") or {}).get("continue") or "", False

    def create(self, resource: Resource, body: Object, namespace: str = "") -> Object:
        """Make it; ConflictError when the name is taken."""
        asked = self._request(resource, "create", namespace)
        return self._send("POST", resource.path(namespace), asked, body=body)

    def update(
        self, resource: Resource, body: Object, namespace: str = "", subresource: str = ""
    ) -> Object:
        """Replace it; ConflictError when `metadata.resourceVersion` in the body is no longer the
        current one.
        """
        name = body["metadata"]["name"]
        asked = self._request(resource, "update", namespace, name, subresource)
        return self._send("PUT", resource.path(namespace, name, subresource), asked, body=body)

    def patch(
        self,
        resource: Resource,
        name: str,
        body: Any,
        namespace: str = "",
        *,
        kind: str = "merge",
        subresource: str = "",
        field_manager: str = FIELD_MANAGER,
        force: bool = False,
    ) -> Object:
        """Change a part; `kind` is merge, json (a list of operations), strategic, or apply
        (server-side, makes it too).

        `force` takes fields over from other managers and belongs to apply alone.
        """
        query = {
            "fieldManager": field_manager,
            "force": "true" if force and kind == "apply" else None,
        }
        asked = self._request(resource, "patch", namespace, name, subresource)
        path = resource.path(namespace, name, subresource)
        return self._send(
            "PATCH", path, asked, body=body, query=query, content_type=_PATCH_TYPES[kind]
        )

    def apply(
        self, resource: Resource, body: Object, namespace: str = "", *, force: bool = True
    ) -> Object:
        """Server-side apply: make it, or bring the body's fields to it. Safe to repeat."""
        return self.patch(
            resource, body["metadata"]["name"], body, namespace, kind="apply", force=force
        )

    def patch_status(
        self,
        resource: Resource,
        name: str,
        status: Object,
        namespace: str = "",
        *,
        resource_version: str = "",
    ) -> Object:
        """Merge into `status`; with `resource_version`, ConflictError when the object has changed
        since.
        """
        body: Object = {"status": status}
        if resource_version:
            body["metadata"] = {"resourceVersion": resource_version}
        return self.patch(resource, name, body, namespace, subresource="status")

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "Background",
    ) -> Object:
        """Ask for deletion; NotFoundError when it is gone, ConflictError when it is another object
        than `uid`, or another version of it.
        """
        body: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        expected = {"uid": uid, "resourceVersion": resource_version}
        expected = {key: value for key, value in expected.items() if value}
        if expected:
            body["preconditions"] = expected
        asked = self._request(resource, "delete", namespace, name)
        return self._send("DELETE", resource.path(namespace, name), asked, body=body)

    def request(
        self, method: str, path: str, *, query: Optional[Mapping[str, Any]] = None, body: Any = None
    ) -> Object:
        """Any other path of the API (`/version`, `/apis/GROUP/VERSION`), answered as JSON."""
        asked = Request(_VERBS.get(method, method.lower()), "", path, "", "")
        return self._send(method, path, asked, query=query, body=body)

    def read_text(
        self, path: str, asked: Request, *, query: Optional[Mapping[str, Any]] = None
    ) -> str:
        """What is served as text, like a pod's log; bytes that are no UTF-8 are replaced."""
        response = self._open(
            "GET", path, asked, query, None, "", self.settings.read_timeout_seconds, True
        )
        return bytes(response.data).decode("utf-8", "replace")

    def proxy(
        self,
        prefix: str,
        path: str,
        asked: Request,
        *,
        headers: Mapping[str, str],
        timeout_seconds: float,
    ) -> Answer:
        """GET something behind the API server: `path` (with its query) of the pod or the Service
        whose `proxy` subresource `prefix` is.

        Path and headers may be a developer's: both pass the trust boundary, since they travel with
        the pack's credentials. An answer of 400 or above is an answer, unless it is the API
        server's own: that raises the pack's errors.
        """
        sent = {**untrusted.check_headers(headers), "User-Agent": FIELD_MANAGER}
        url = self._url(f"{prefix}{untrusted.check_path(path)}", below=prefix)
        parameters: List[Any] = []
        try:
            self._api.update_params_for_auth(sent, parameters, ["BearerToken"])
            response = self._pool.request(
                "GET",
                url,
                headers=sent,
                timeout=urllib3.Timeout(
                    connect=self.settings.connect_timeout_seconds, read=timeout_seconds
                ),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            answer = read_answer(response, timeout_seconds)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise kube_errors.from_transport(error, asked, self.host) from error
        if answer.status >= 400 and kube_errors.is_status(answer.body):
            raise kube_errors.from_response(answer.status, answer.headers, answer.body, asked)
        return answer

    def stream_watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str,
        timeout_seconds: int,
        read_timeout_seconds: float,
        label_selector: str = "",
    ) -> WatchStream:
        """Open a watch with bookmarks; iterate the result for raw lines. ExpiredError when the
        version is too old.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": timeout_seconds,
            "labelSelector": label_selector or None,
        }
        asked = self._request(resource, "watch", namespace)
        response = self._open(
            "GET", resource.path(namespace), asked, query, None, "", read_timeout_seconds, False
        )
        return WatchStream(response, asked, self.host)

    def create_event(
        self,
        involved: Mapping[str, Any],
        *,
        reason: str,
        message: str,
        type: str = "Normal",
        component: str = FIELD_MANAGER,
        now: Optional[dt.datetime] = None,
    ) -> Object:
        """Leave a Kubernetes Event on an object, as `kubectl describe` shows it.

        `involved` is the object (apiVersion, kind, metadata). The same reason and message again
        raise the count of the one Event, as client-go's recorder does. `message` is cut to 1,024
        characters, the API's limit.
        """
        metadata = involved["metadata"]
        namespace = metadata.get("namespace") or "default"
        message = (
            message if len(message) <= MAX_EVENT_MESSAGE else message[: MAX_EVENT_MESSAGE - 1] + "…"
        )
        key = "\n".join((metadata.get("uid", ""), type, reason, message, component))
        name = f"{metadata['name'][:200]}.{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        stamp = format_time(now or dt.datetime.now(dt.timezone.utc))
        reference = {
            key: metadata[key]
            for key in ("name", "namespace", "uid", "resourceVersion")
            if key in metadata
        }
        body: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": involved["apiVersion"],
                "kind": involved["kind"],
                **reference,
            },
            "type": type,
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
        try:
            return self.create(EVENTS, body, namespace)
        except ConflictError:
            known = self.get(EVENTS, name, namespace)
        change = {"count": untrusted.integer(known.get("count"), 1) + 1, "lastTimestamp": stamp}
        return self.patch(EVENTS, name, change, namespace)

    def close(self) -> None:
        """Give up pooled connections; requests under way end by themselves."""
        self._pool.clear()

    def _is_left_out(self, resource: Resource) -> bool:
        return resource.group == GROUP and resource.plural in self.settings.left_out

    @staticmethod
    def _request(
        resource: Resource, verb: str, namespace: str = "", name: str = "", subresource: str = ""
    ) -> Request:
        kind = f"{resource.plural}/{subresource}" if subresource else resource.plural
        return Request(verb, resource.group, kind, namespace, name)

    def _send(
        self,
        method: str,
        path: str,
        asked: Request,
        *,
        query: Optional[Mapping[str, Any]] = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        timeout = self.settings.read_timeout_seconds
        response = self._open(method, path, asked, query, body, content_type, timeout, True)
        try:
            answer = decode_page(response.data)
        except ValueError as error:
            raise TemporaryError(
                f"the answer of {self.host} to {asked.verb} {asked.resource} is not JSON",
                service=kube_errors.SERVICE,
            ) from error
        return answer if isinstance(answer, dict) else {"items": answer}

    def _url(self, path: str, *, below: str) -> str:
        """The URL of a path. DefinitionError where urllib3, which resolves dot segments, would send
        it elsewhere than below what was meant: an object called `..` is another request."""
        url = f"{self.host}{path}"
        if not untrusted.is_below(url, f"{self.host}{below}"):
            raise DefinitionError(f"{untrusted.shown(path)} leads elsewhere; nothing was sent")
        return url

    def _open(
        self,
        method: str,
        path: str,
        asked: Request,
        query: Optional[Mapping[str, Any]],
        body: Any,
        content_type: str,
        read_timeout: float,
        preload: bool,
    ) -> Any:
        meant = self._url(path, below=path)
        headers: Dict[str, str] = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        parameters: List[Any] = [
            (key, value) for key, value in (query or {}).items() if value is not None
        ]
        try:
            # Refreshes an expired token first, where the kubeconfig says how.
            self._api.update_params_for_auth(headers, parameters, ["BearerToken"])
            if body is not None:
                headers["Content-Type"] = content_type
            url = f"{meant}{'?' + urlencode(parameters) if parameters else ''}"
            sent = None if body is None else json.dumps(body, separators=(",", ":")).encode()

            def once() -> Any:
                if method != "GET" and asked.resource != LEASES.plural:
                    self._before_write()
                return self._pool.request(
                    method,
                    url,
                    headers=headers,
                    body=sent,
                    timeout=urllib3.Timeout(
                        connect=self.settings.connect_timeout_seconds, read=read_timeout
                    ),
                    retries=False,
                    preload_content=preload,
                )

            response = retrying.send(
                method,
                once,
                lambda answer: int(answer.status),
                repeatable=content_type in _REPEATABLE_PATCHES,
                total_seconds=min(self._retry_seconds, read_timeout),
            )
            if response.status < 400:
                return response
            text = response.data
            if not preload:
                response.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise kube_errors.from_transport(error, asked, self.host) from error
        raise kube_errors.from_response(response.status, response.headers, text, asked)


class WatchStream:
    """An open watch: iterate for one `bytes` line per event; `close` may be called from any thread
    and ends it.

    Iteration ends when the server ends the watch. A connection that breaks, or is silent for longer
    than the read timeout, raises TemporaryError.
    """

    def __init__(self, response: Any, asked: Request, host: str) -> None:
        self._response, self._asked, self._host = response, asked, host
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        for lines in self.batches():
            yield from lines

    def batches(self) -> Iterator[List[bytes]]:
        """The same lines in the groups in which they arrived."""
        rest = b""
        try:
            for chunk in self._response.stream(READ_SIZE, decode_content=True):
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                whole = [line for line in lines if line]
                if whole:
                    yield whole
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # ValueError and AttributeError: what the ssl module makes of a socket closed under a
            # reader.
            if not self._closed:
                raise kube_errors.from_transport(error, self._asked, self._host) from error
        finally:
            self._response.close()

    def close(self) -> None:
        """End the iteration, wherever it waits. Safe to repeat."""
        self._closed = True
        connection = getattr(self._response, "connection", None) or getattr(
            self._response, "_connection", None
        )
        sock = getattr(connection, "sock", None)
        if sock is None:
            return
        # Closing a socket does not wake a thread that reads it; shutting it down does. The plain
        # socket's method, since the ssl module's own would pull the TLS state from under the
        # reader.
        try:
            if isinstance(sock, socket.socket):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            else:
                sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is gone already
