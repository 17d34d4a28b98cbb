"""The Endpoints controller: which pods stand behind a Service, as Endpoints and as an
EndpointSlice.
"""

from __future__ import annotations

from sandbox.kubernetes.client.api import (
    ENDPOINT_SLICES,
    ENDPOINT_SLICES_BETA,
    ENDPOINTS,
    ApiError,
    Manifest,
    Resource,
)
from sandbox.kubernetes.client.informer import Key
from sandbox.kubernetes.controllers.pods import is_ended, is_ready, matches
from sandbox.kubernetes.controllers.rollout import template_hash
from sandbox.kubernetes.controllers.world import Controller, World


class Services(Controller):
    """Keeps the endpoints of every Service that has a selector; others belong to their authors."""

    name = "endpoint"

    def __init__(self, world: World) -> None:
        super().__init__(world, world.services)
        self._slices: Resource | None = None
        self._asked = False
        self._written: dict[str, Manifest] = {}
        self.follow(world.pods, self._services_of)

    def _services_of(self, pod: Manifest) -> list[Key]:
        namespace, labels = pod["metadata"].get("namespace", ""), pod["metadata"].get("labels")
        return [
            (namespace, service["metadata"]["name"])
            for service in self.own.all(namespace)
            if matches(service["spec"].get("selector") or {}, labels)
        ]

    async def sync(self, key: Key) -> None:
        """Write the endpoints where they are not as they should be."""
        namespace, name = key
        service = self.own.get(namespace, name)
        if not service:
            await self._remove(ENDPOINTS.path(namespace, name))
            return
        selector = service["spec"].get("selector") or {}
        if not selector or service["metadata"].get("deletionTimestamp"):
            return
        pods = [
            pod
            for pod in self.world.pods.all(namespace)
            if matches(selector, pod["metadata"].get("labels"))
            and (pod.get("status") or {}).get("podIP")
            and not is_ended(pod)
            and not pod["metadata"].get("deletionTimestamp")
        ]
        pods.sort(key=lambda pod: pod["metadata"]["name"])
        labels = service["metadata"].get("labels") or {}
        await self._write(ENDPOINTS, endpoints_of(service, pods, labels))
        if not self._asked:
            self._slices = await self._served_slices()
            self._asked = True
        if self._slices:
            await self._write(self._slices, slice_of(service, pods, self._slices.api_version))

    async def _served_slices(self) -> Resource | None:
        for resource in (ENDPOINT_SLICES, ENDPOINT_SLICES_BETA):
            if await self.api.serves(resource):
                return resource
        return None

    async def _write(self, resource: Resource, wanted: Manifest) -> None:
        path = resource.path_of(wanted)
        if self._written.get(path) == wanted:
            return
        try:
            before = await self.api.get(path)
            wanted_metadata = {
                "resourceVersion": before["metadata"]["resourceVersion"],
                **wanted["metadata"],
            }
            await self.api.replace(path, {**wanted, "metadata": wanted_metadata})
        except ApiError as error:
            if not error.is_missing:
                raise
            await self.api.create(resource.path(wanted["metadata"]["namespace"]), wanted)
        self._written[path] = wanted

    async def _remove(self, path: str) -> None:
        self._written.pop(path, None)
        try:
            await self.api.delete(path)
        except ApiError as error:
            if not error.is_missing:
                raise


def target_port(pod: Manifest, port: Manifest) -> int | None:
    """The number of the pod's port that the Service's port leads to; None where a name is not
    found.
    """
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for offered in container.get("ports") or ():
            if offered.get("name") == target and offered.get("protocol", "TCP") == port.get(
                "protocol", "TCP"
            ):
                return offered["containerPort"]
    return None


def _reference(pod: Manifest) -> Manifest:
    metadata = pod["metadata"]
    return {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def _ports(service: Manifest, pod: Manifest) -> list[Manifest]:
    found = [(port, target_port(pod, port)) for port in service["spec"].get("ports") or ()]
    return [
        {
            **({"name": port["name"]} if port.get("name") else {}),
            "port": number,
            "protocol": port.get("protocol", "TCP"),
        }
        for port, number in found
        if number is not None
    ]


def endpoints_of(service: Manifest, pods: list[Manifest], labels: dict[str, str]) -> Manifest:
    """The Endpoints object of a Service: ready and other addresses; one subset, as all pods are of
    one template.
    """
    metadata = service["metadata"]
    ready = bool(service["spec"].get("publishNotReadyAddresses"))
    addresses: dict[str, list[Manifest]] = {"addresses": [], "notReadyAddresses": []}
    for pod in pods:
        kind = "addresses" if ready or is_ready(pod) else "notReadyAddresses"
        reference = {
            "ip": pod["status"]["podIP"],
            "nodeName": pod["spec"]["nodeName"],
            "targetRef": _reference(pod),
        }
        addresses[kind].append(reference)
    subset = {kind: found for kind, found in addresses.items() if found}
    subsets = [{**subset, "ports": _ports(service, pods[0])}] if pods else []
    made = {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        **({"labels": labels} if labels else {}),
    }
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": made, "subsets": subsets}


def slice_of(service: Manifest, pods: list[Manifest], api_version: str) -> Manifest:
    """The one EndpointSlice of a Service; its owner reference takes it away with the Service."""
    metadata = service["metadata"]
    owner = {
        "apiVersion": "v1",
        "kind": "Service",
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    endpoints = [
        {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {"ready": is_ready(pod)},
            "targetRef": _reference(pod),
        }
        for pod in pods
    ]
    return {
        "apiVersion": api_version,
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-{template_hash({'uid': metadata['uid']})[:5]}",
            "namespace": metadata["namespace"],
            "labels": {
                "kubernetes.io/service-name": metadata["name"],
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": _ports(service, pods[0]) if pods else [],
    }
