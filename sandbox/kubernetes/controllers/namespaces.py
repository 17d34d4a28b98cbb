"""What every namespace gets: the service account `default` and the authority's certificate, for
pods to use.
"""

from __future__ import annotations

from sandbox.kubernetes.client.api import (
    CONFIG_MAPS,
    SERVICE_ACCOUNTS,
    ApiError,
    Manifest,
    Resource,
)
from sandbox.kubernetes.client.informer import Key
from sandbox.kubernetes.controllers.world import Controller, World

ACCOUNT_NAME = "default"
AUTHORITY_NAME = "kube-root-ca.crt"


class Namespaces(Controller):
    """Makes what is missing in active namespaces. Emptying a namespace is the API server's own
    business here.
    """

    name = "namespace"

    def __init__(self, world: World, ca: str | None) -> None:
        super().__init__(world, world.namespaces)
        self._ca = ca

    async def sync(self, key: Key) -> None:
        """Make what is missing; what is there stays as it is."""
        namespace = self.own.get(*key)
        if not namespace or namespace["metadata"].get("deletionTimestamp"):
            return
        name = namespace["metadata"]["name"]
        await self._ensure(SERVICE_ACCOUNTS, name, ACCOUNT_NAME, {})
        if self._ca:
            await self._ensure(CONFIG_MAPS, name, AUTHORITY_NAME, {"data": {"ca.crt": self._ca}})

    async def _ensure(
        self, resource: Resource, namespace: str, name: str, content: Manifest
    ) -> None:
        metadata = {"name": name, "namespace": namespace}
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": metadata,
            **content,
        }
        try:
            await self.api.create(resource.path(namespace), body)
        except ApiError as error:
            # There already, or the namespace began to go a moment ago.
            if not (error.is_conflict or error.code == 403):
                raise
