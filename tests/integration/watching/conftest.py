"""What the tests of watching share: a recorder in StackStorm's place, a proxy that misbehaves, a
kind of our own.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import urllib3
from kubestorm.clients.kube import KubeClient, KubeSettings, Resource, connect
from kubestorm.core.errors import ConflictError
from kubestorm.sources.watching.settings import LoopSettings, ResyncSettings, WatchSettings
from kubestorm.sources.watching.watch_manager import WatchManager

from tests.kube_fixtures import Kube, eventually

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
WAIT_SECONDS = 120.0


class Recorder:
    """What StackStorm's sensor service did for a sensor, remembered: dispatches, datastore, log."""

    def __init__(self, values: dict[str, str] | None = None) -> None:
        self.values: dict[str, str] = dict(values or {})
        self.payloads: list[dict[str, Any]] = []
        self.triggers: list[dict[str, Any]] = []
        self.fail_next = 0
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._log = logging.Logger("recorder")
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        self._log.addHandler(handler)

    def dispatch(self, trigger: dict[str, Any], payload: dict[str, Any]) -> None:
        with self._changed:
            if self.fail_next:
                self.fail_next -= 1
                raise ConnectionError("the message bus is away")
            self.triggers.append(trigger)
            self.payloads.append(json.loads(json.dumps(payload)))
            self._changed.notify_all()

    def get_logger(self, name: str) -> logging.Logger:
        return self._log

    def get_value(self, name: str) -> str | None:
        return self.values.get(name)

    def set_value(self, name: str, value: str) -> bool:
        self.values[name] = value
        return True

    def delete_value(self, name: str) -> bool:
        return self.values.pop(name, None) is not None

    @property
    def told(self) -> list[tuple[str, str]]:
        """(change, name) of every dispatch, in order."""
        return [(payload["change"], payload["name"]) for payload in self.payloads]

    def wait(self, done: Callable[[], bool], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(done, WAIT_SECONDS), (
                f"not seen: {what}; told {self.told}; log {self.lines}"
            )

    def wait_told(self, *expected: tuple[str, str]) -> None:
        """Wait until as many were told, and compare: nothing more, nothing in another order."""
        self.wait(lambda: len(self.payloads) >= len(expected), f"{expected}")
        assert self.told == list(expected)

    def wait_line(self, text: str) -> None:
        eventually(
            lambda: any(text in line for line in list(self.lines)), f"a log line with {text}"
        )


@dataclass(frozen=True)
class Widgets:
    """A kind in a namespace of the test's own, on one API server."""

    client: KubeClient
    resource: Resource
    namespace: str

    @property
    def parameters(self) -> dict[str, Any]:
        return {**self.resource._asdict(), "namespace": self.namespace}

    def make(
        self, name: str, spec: dict[str, Any] | None = None, **metadata: Any
    ) -> dict[str, Any]:
        body = {
            "apiVersion": self.resource.api_version,
            "kind": "Widget",
            "metadata": {"name": name, **metadata},
            "spec": spec or {"size": 1},
        }
        return self.client.create(self.resource, body, self.namespace)

    def change(self, name: str, **spec: Any) -> None:
        self.client.patch(self.resource, name, {"spec": spec}, self.namespace)

    def report(self, name: str, status: dict[str, Any]) -> None:
        self.client.patch_status(self.resource, name, status, self.namespace)

    def annotate(self, name: str, **annotations: str) -> None:
        self.client.patch(
            self.resource, name, {"metadata": {"annotations": annotations}}, self.namespace
        )

    def delete(self, name: str) -> None:
        self.client.delete(self.resource, name, self.namespace)

    def release(self, name: str) -> None:
        self.client.patch(self.resource, name, {"metadata": {"finalizers": None}}, self.namespace)


def widget_crd(group: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": "widgets",
                "singular": "widget",
                "kind": "Widget",
                "listKind": "WidgetList",
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def define(client: KubeClient, group: str) -> Resource:
    """Make the CRD, and return once the API serves it."""
    with contextlib.suppress(ConflictError):  # an earlier test of this session made it
        client.create(CRDS, widget_crd(group))

    def established() -> bool:
        status = client.get(CRDS, f"widgets.{group}").get("status") or {}
        return any(
            one["type"] == "Established" and one["status"] == "True"
            for one in status.get("conditions") or []
        )

    eventually(established, f"widgets.{group} is served")
    return Resource(group, "v1", "widgets")


@pytest.fixture
def client(kube: Kube) -> Iterator[KubeClient]:
    """The pack's own client, as administrator."""
    made = connect(KubeSettings(kubeconfig=str(kube.kubeconfig)))
    yield made
    made.close()


@pytest.fixture
def widgets(client: KubeClient, namespace: str) -> Widgets:
    """A defined kind and an empty namespace for it."""
    return Widgets(client, define(client, "watching.example.org"), namespace)


def watch_settings(**changes: Any) -> WatchSettings:
    """Short waits, so that tests end; no resync unless asked."""
    loop = {
        "backoff_initial_seconds": 0.02,
        "backoff_max_seconds": 0.2,
        "absent_seconds": 0.1,
        "forbidden_seconds": 0.1,
        "record_seconds": 0.01,
        "timeout_seconds": 60,
        **changes.pop("watch", {}),
    }
    return WatchSettings(
        cluster="dev",
        watch=LoopSettings(**loop),
        resync=ResyncSettings(**{"all_seconds": 0, "jitter": 0.0, **changes.pop("resync", {})}),
    )


StartWatching = Callable[..., WatchManager]


@pytest.fixture
def start_watching() -> Iterator[StartWatching]:
    """Start a hub for triggers with these parameters; all are stopped at the test's end."""
    hubs: list[WatchManager] = []

    def start(
        client: KubeClient,
        recorder: Recorder,
        *parameters: dict[str, Any],
        settings: WatchSettings | None = None,
    ) -> WatchManager:
        hub = WatchManager(recorder, recorder.dispatch, log=recorder.get_logger("test"))
        hubs.append(hub)
        for number, one in enumerate(parameters):
            hub.add(trigger(f"kubestorm.t{number}", one))
        hub.start(settings or watch_settings(), client)
        return hub

    yield start
    for hub in hubs:
        hub.stop()


def trigger(ref: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A trigger as StackStorm hands it to a sensor."""
    return {"ref": ref, "type": "kubestorm.resource_event", "parameters": parameters}


@dataclass
class Fault:
    """What the proxy does to a request whose path and query hold `match`: answer `status`, or be
    `silent`.
    """

    match: str
    status: int = 0
    silent: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class FaultProxy:
    """A plain HTTP proxy before an API server, which passes everything on but what `faults` names,
    one use each.
    """

    def __init__(self, kube: Kube) -> None:
        self.faults: deque[Fault] = deque()
        self.requests: list[str] = []
        self.hit = threading.Event()
        self._released = threading.Event()
        pool = urllib3.PoolManager(ca_certs=str(kube.ca_file), maxsize=32, retries=False)
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.requests.append(self.path)
                fault = next((one for one in proxy.faults if one.match in self.path), None)
                if fault is not None:
                    proxy.faults.remove(fault)
                    self._misbehave(fault)
                    return
                headers = {
                    "Authorization": self.headers["Authorization"],
                    "Accept": "application/json",
                }
                upstream = pool.request(
                    "GET", kube.url + self.path, headers=headers, preload_content=False
                )
                self.send_response(upstream.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    for chunk in upstream.stream(65536):
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                        self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")
                except (OSError, urllib3.exceptions.HTTPError):
                    self.close_connection = True
                finally:
                    upstream.close()

            def _misbehave(self, fault: Fault) -> None:
                if fault.silent:
                    self.send_response(200)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    proxy.hit.set()
                    proxy._released.wait(WAIT_SECONDS)
                    self.close_connection = True
                    return
                if not fault.status:
                    self.connection.close()
                    self.close_connection = True
                    proxy.hit.set()
                    return
                body = json.dumps(
                    {
                        "kind": "Status",
                        "apiVersion": "v1",
                        "status": "Failure",
                        "code": fault.status,
                        "message": "x",
                    }
                ).encode()
                self.send_response(fault.status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in fault.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                proxy.hit.set()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away is what these tests are about."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def proxy(kube: Kube) -> Iterator[FaultProxy]:
    """A proxy before `kube` that does as told."""
    made = FaultProxy(kube)
    yield made
    made.stop()


ConnectAs = Callable[[str, str, str], KubeClient]


@pytest.fixture
def connect_as(tmp_path: Any) -> ConnectAs:
    """A client for any address, token and authority, by a kubeconfig of its own."""

    def connect_to(url: str, token: str, ca_file: str = "") -> KubeClient:
        cluster = {"server": url, **({"certificate-authority": ca_file} if ca_file else {})}
        path = tmp_path / f"kubeconfig-{secrets.token_hex(4)}"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "c", "user": {"token": token}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                }
            )
        )
        return connect(KubeSettings(kubeconfig=str(path)))

    return connect_to


@pytest.fixture
def plain_client(
    client: KubeClient, kube: Kube, namespace: str, connect_as: ConnectAs
) -> KubeClient:
    """A client for a service account, `plain` in the test's namespace, that nothing has been
    granted.
    """
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "plain"}}
    client.create(Resource("", "v1", "serviceaccounts"), account, namespace)
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/plain/token"
    wanted = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    token = client.request("POST", path, body=wanted)["status"]["token"]
    return connect_as(kube.url, token, str(kube.ca_file))


def unique(word: str) -> str:
    """A name that no other test has."""
    return f"{word}-{secrets.token_hex(3)}-{int(time.time())}"
