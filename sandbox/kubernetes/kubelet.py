"""A pretend kubelet: one node on which every pod is said to run, on any Kubernetes API.

It registers the node, renews its Lease and Ready condition, binds pods that no scheduler has bound,
reports each pod's life as `sandbox.kubernetes.podlife` decrees, and really removes pods that are
being deleted. No process is started. Works on the sandbox's API and on a real control plane without
nodes (`sandbox.realkube`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs

import httpx

from sandbox.kubernetes.client.api import (
    LEASES,
    NODES,
    PODS,
    Api,
    ApiError,
    Manifest,
    micro_timestamp,
    timestamp,
)
from sandbox.kubernetes.client.background import Background
from sandbox.kubernetes.client.events import EventRecorder
from sandbox.kubernetes.client.informer import Informer
from sandbox.kubernetes.podlife import (
    DELAY_ANNOTATION,
    FATE_ANNOTATION,
    TERMINAL_PHASES,
    Stage,
    life_of,
    pod_status,
)
from sandbox.kubernetes.pulling import Puller
from sandbox.kubernetes.subresources import LOG_ANNOTATION
from sandbox.serving import Server, make_certificate

NODE_NAME = "pretend-node"
NODE_VERSION = "v1.20.2"
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
HEARTBEAT_SECONDS = 10.0
RETRY_SECONDS = 0.5
READY_DELAY_SECONDS = 0.3

log = logging.getLogger(__name__)


class PodRunner:
    """Leads every pod on the node through its life, one task per pod that has something to come."""

    def __init__(
        self,
        api: Api,
        pods: Informer,
        tasks: asyncio.TaskGroup,
        *,
        ready_delay_seconds: float = READY_DELAY_SECONDS,
        kill_delay_seconds: float = 0.0,
        node: str = NODE_NAME,
        binds_pods: bool = True,
    ) -> None:
        """`kill_delay_seconds` is how long a pod lingers when deleted, at most its grace period."""
        self._api = api
        self._tasks = tasks
        self._events = EventRecorder(api, tasks, "kubelet")
        self._ready_delay_seconds = ready_delay_seconds
        self._kill_delay_seconds = kill_delay_seconds
        self._node = node
        self._binds_pods = binds_pods
        self._pods = pods
        self._puller = Puller(api)
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._dying: set[str] = set()
        self._addresses = (
            f"10.200.{high}.{low}" for high in itertools.count() for low in range(1, 251)
        )
        pods.handlers.append(self._on_change)

    def _on_change(self, before: Manifest | None, after: Manifest | None) -> None:
        if after is None:
            if before:
                self._end(before["metadata"]["uid"])
                self._dying.discard(before["metadata"]["uid"])
            return
        uid, node = after["metadata"]["uid"], after["spec"].get("nodeName")
        if node and node != self._node:
            return
        if after["metadata"].get("deletionTimestamp"):
            if uid not in self._dying:
                self._dying.add(uid)
                self._begin(uid, self._kill(after))
        elif not node:
            if self._binds_pods and before is None:
                self._begin(uid, self._bind(after))
        elif _starts_anew(before, after):
            self._begin(uid, self._live(after))

    def _begin(self, uid: str, life: Coroutine[Any, Any, None]) -> None:
        self._end(uid)
        task = self._tasks.create_task(life)
        self._lives[uid] = task
        task.add_done_callback(
            lambda done: self._lives.pop(uid, None) if self._lives.get(uid) is done else None
        )

    def _end(self, uid: str) -> None:
        if task := self._lives.pop(uid, None):
            task.cancel()

    async def _bind(self, pod: Manifest) -> None:
        metadata = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self._node},
        }
        await self._insist(pod, lambda: self._api.create(PODS.path_of(pod, "binding"), binding))

    async def _kill(self, pod: Manifest) -> None:
        grace = pod["metadata"].get("deletionGracePeriodSeconds") or 0
        await asyncio.sleep(min(self._kill_delay_seconds, grace))
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        await self._insist(pod, lambda: self._api.delete(PODS.path_of(pod), options))

    async def _live(self, pod: Manifest) -> None:
        if FATE_ANNOTATION not in (pod["metadata"].get("annotations") or {}):
            decreed = await self._puller.look(pod)
            if decreed:
                body = {"metadata": {"uid": pod["metadata"]["uid"], "annotations": decreed}}
                await self._insist(pod, lambda: self._api.merge(PODS.path_of(pod), body))
                if FATE_ANNOTATION in decreed:
                    return  # the changed pod begins its life anew, with that fate
        for step in life_of(pod, self._ready_delay_seconds):
            await asyncio.sleep(step.after_seconds)
            newest = self._pods.get(pod["metadata"]["namespace"], pod["metadata"]["name"])
            if not newest or newest["metadata"]["uid"] != pod["metadata"]["uid"]:
                return
            await self._report(newest, step.stage)

    async def _report(self, pod: Manifest, stage: Stage) -> None:
        status = pod_status(pod, stage, timestamp(), next(self._addresses))
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        answer = await self._insist(pod, lambda: self._api.merge(PODS.path_of(pod, "status"), body))
        if answer:
            self._pods.remember(answer)
            self._tell(pod, stage, status)

    def _tell(self, pod: Manifest, stage: Stage, status: Manifest) -> None:
        """The events a person finds in `kubectl describe pod`."""
        for container in status["containerStatuses"]:
            waiting = container["state"].get("waiting") or {}
            image, reason = container["image"], waiting.get("reason")
            if reason == "ErrImagePull":
                self._events.warning(
                    pod, "Failed", f'Failed to pull image "{image}": {waiting["message"]}'
                )
            elif reason == "ImagePullBackOff":
                self._events.normal(pod, "BackOff", waiting["message"])
                self._events.warning(pod, "Failed", "Error: ImagePullBackOff")
            elif reason == "CrashLoopBackOff":
                self._events.warning(pod, "BackOff", "Back-off restarting failed container")
            elif stage == Stage.RUNNING:
                self._events.normal(
                    pod, "Pulled", f'Container image "{image}" already present on machine'
                )
                self._events.normal(pod, "Started", f"Started container {container['name']}")
                if not container["ready"]:
                    self._events.warning(
                        pod, "Unhealthy", "Readiness probe failed: the image says unready"
                    )

    async def _insist(
        self, pod: Manifest, call: Callable[[], Awaitable[Manifest]]
    ) -> Manifest | None:
        """Call until the server answers; None where it refuses because the pod is gone or was
        changed.
        """
        while True:
            try:
                return await call()
            except ApiError as error:
                if error.code < 500 and error.code != httpx.codes.TOO_MANY_REQUESTS:
                    if not (error.is_missing or error.is_conflict):
                        log.warning(
                            "kubelet.refused",
                            extra={"pod": pod["metadata"]["name"], "error": str(error)},
                        )
                    return None
            except httpx.HTTPError as error:
                log.debug("kubelet.unreachable", extra={"error": type(error).__name__})
            await asyncio.sleep(RETRY_SECONDS)


def _starts_anew(before: Manifest | None, after: Manifest) -> bool:
    """Whether the pod begins a life: just bound, first seen, or its images or fate were changed in
    place.
    """
    if (after.get("status") or {}).get("phase") in TERMINAL_PHASES:
        return False
    return (
        before is None or not before["spec"].get("nodeName") or _decrees(before) != _decrees(after)
    )


def _decrees(pod: Manifest) -> tuple[object, ...]:
    annotations = pod["metadata"].get("annotations") or {}
    images = tuple(
        (container["name"], container["image"]) for container in pod["spec"]["containers"]
    )
    return (*images, annotations.get(FATE_ANNOTATION), annotations.get(DELAY_ANNOTATION))


class NodeKeeper:
    """Registers the node and keeps it Ready."""

    def __init__(self, api: Api, node: str = NODE_NAME, *, port: int = 0) -> None:
        """`port` is where the node serves logs; 0 where it serves none."""
        self._port = port
        self._api = api
        self._node = node
        self._since = timestamp()

    async def register(self) -> None:
        """Make the node or take over the one of that name. Safe to repeat."""
        labels = {
            "kubernetes.io/hostname": self._node,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
        }
        manifest = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._node, "labels": labels},
        }
        try:
            await self._api.create(NODES.path(), manifest)
        except ApiError as error:
            if not error.is_conflict:
                raise
        capacity = {"cpu": "64", "memory": "256Gi", "pods": "5000", "ephemeral-storage": "1Ti"}
        versions = dict.fromkeys(
            ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage"), "pretend"
        )
        info = {
            **versions,
            "architecture": "amd64",
            "operatingSystem": "linux",
            "containerRuntimeVersion": "pretend://0",
            "kubeletVersion": NODE_VERSION,
            "kubeProxyVersion": NODE_VERSION,
        }
        # No Hostname: the API server would look it up in DNS when asked for logs.
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
        status = {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": addresses,
            "nodeInfo": info,
        }
        if self._port:
            status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": self._port}}
        await self._beat({**status, "conditions": self._conditions()})
        # Admission marks every new node not-ready until a controller has looked; there may be no
        # controller.
        await self._api.merge(NODES.path(name=self._node), {"spec": {"taints": None}})

    async def keep_alive(self) -> None:
        """Renew the Lease and the conditions until cancelled; an outage is waited out."""
        while True:
            try:
                await self._renew_lease()
                await self._beat({"conditions": self._conditions()})
            except (ApiError, httpx.HTTPError) as error:
                log.debug("kubelet.heartbeat_failed", extra={"error": str(error)})
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _beat(self, status: Manifest) -> None:
        await self._api.merge(NODES.path(name=self._node, subresource="status"), {"status": status})

    async def _renew_lease(self) -> None:
        spec = {
            "holderIdentity": self._node,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": micro_timestamp(),
        }
        try:
            await self._api.merge(LEASES.path(LEASE_NAMESPACE, self._node), {"spec": spec})
        except ApiError as error:
            if not error.is_missing:
                raise
            metadata = {"name": self._node, "namespace": LEASE_NAMESPACE}
            lease = {
                "apiVersion": LEASES.api_version,
                "kind": "Lease",
                "metadata": metadata,
                "spec": spec,
            }
            await self._api.create(LEASES.path(LEASE_NAMESPACE), lease)

    def _conditions(self) -> list[Manifest]:
        beat = {"lastHeartbeatTime": timestamp(), "lastTransitionTime": self._since}
        trouble = ("MemoryPressure", "DiskPressure", "PIDPressure")
        calm = [
            {"type": kind, "status": "False", "reason": f"KubeletHasNo{kind}", **beat}
            for kind in trouble
        ]
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "all is pretended",
            **beat,
        }
        return [*calm, ready]


class Logs:
    """What a kubelet serves of its pods' logs, as an ASGI application:
    `/containerLogs/NAMESPACE/POD/CONTAINER`.

    No container runs, so a log is what stands in the pod's annotation (`sandbox.kubestorm.io/log`).
    """

    def __init__(self, pods: Informer) -> None:
        self._pods = pods

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        parts = scope["path"].strip("/").split("/")
        pod = (
            self._pods.get(parts[1], parts[2])
            if len(parts) == 4 and parts[0] == "containerLogs"
            else None
        )
        body = b"" if pod is None else self._tail(pod, scope["query_string"].decode())
        head = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
        await send(
            {"type": "http.response.start", "status": 404 if pod is None else 200, "headers": head}
        )
        await send({"type": "http.response.body", "body": body})

    @staticmethod
    def _tail(pod: Manifest, query: str) -> bytes:
        text = str((pod["metadata"].get("annotations") or {}).get(LOG_ANNOTATION, ""))
        lines = text.splitlines(keepends=True)
        asked = parse_qs(query).get("tailLines", [""])[0]
        return "".join(lines[-int(asked) :] if asked.isdigit() and int(asked) else lines).encode()


class Kubelet(Background):
    """The pretend kubelet alone, for a control plane that has its own controllers. `start`, `stop`,
    or `with`.
    """

    def __init__(
        self,
        url: str,
        token: str,
        ca: str | None,
        *,
        ready_delay_seconds: float = READY_DELAY_SECONDS,
        kill_delay_seconds: float = 0.0,
        binds_pods: bool = True,
    ) -> None:
        """`ca` is PEM text. Without `binds_pods` a real scheduler is expected to bind pods to the
        node.
        """
        super().__init__("pretend-kubelet")
        self._server = (url, token, ca)
        self._ready_delay_seconds = ready_delay_seconds
        self._kill_delay_seconds = kill_delay_seconds
        self._binds_pods = binds_pods

    async def _main(self) -> None:
        async with Api(*self._server) as api, asyncio.TaskGroup() as tasks:
            pods = Informer(api, PODS)
            PodRunner(
                api,
                pods,
                tasks,
                ready_delay_seconds=self._ready_delay_seconds,
                kill_delay_seconds=self._kill_delay_seconds,
                binds_pods=self._binds_pods,
            )
            # The API server asks the node for logs over TLS, and takes any certificate where it
            # knows no authority.
            with Server(Logs(pods), certificate=make_certificate(NODE_NAME)) as logs:
                node = NodeKeeper(api, port=logs.port)
                await node.register()
                beats = tasks.create_task(node.keep_alive())
                tasks.create_task(pods.run())
                await pods.synced.wait()
                self._ready.set()
                await beats
