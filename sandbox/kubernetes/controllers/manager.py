"""Starts all controllers and the pretend kubelet in one thread with one event loop."""

from __future__ import annotations

import asyncio

from sandbox.kubernetes.client.api import Api
from sandbox.kubernetes.client.background import Background
from sandbox.kubernetes.controllers.deployments import Deployments
from sandbox.kubernetes.controllers.jobs import Jobs
from sandbox.kubernetes.controllers.namespaces import Namespaces
from sandbox.kubernetes.controllers.replica_sets import ReplicaSets
from sandbox.kubernetes.controllers.services import Services
from sandbox.kubernetes.controllers.stateful_sets import StatefulSets
from sandbox.kubernetes.controllers.world import World
from sandbox.kubernetes.kubelet import READY_DELAY_SECONDS, NodeKeeper, PodRunner


class Controllers(Background):
    """Makes Deployments, ReplicaSets, StatefulSets, Jobs, Services and pods of one API behave.
    `start`, `stop`, `with`.

    They are clients like any other, so `url` may be the sandbox's API or a real one without
    kube-controller-manager. `ca` is PEM text. What becomes of a pod stands in
    `sandbox.kubernetes.podlife`.
    """

    def __init__(
        self,
        url: str,
        token: str,
        ca: str | None,
        *,
        ready_delay_seconds: float = READY_DELAY_SECONDS,
        kill_delay_seconds: float = 0.0,
    ) -> None:
        """Pods become ready `ready_delay_seconds` after they are bound, and linger so long when
        they are deleted.
        """
        super().__init__("controllers")
        self._server = (url, token, ca)
        self._ready_delay_seconds = ready_delay_seconds
        self._kill_delay_seconds = kill_delay_seconds

    async def _main(self) -> None:
        async with Api(*self._server) as api, asyncio.TaskGroup() as tasks:
            world = World(api, tasks)
            controllers = [
                Namespaces(world, self._server[2]),
                Deployments(world),
                ReplicaSets(world),
                StatefulSets(world),
                Jobs(world),
                Services(world),
            ]
            PodRunner(
                api,
                world.pods,
                tasks,
                ready_delay_seconds=self._ready_delay_seconds,
                kill_delay_seconds=self._kill_delay_seconds,
            )
            node = NodeKeeper(api)
            await node.register()
            tasks.create_task(node.keep_alive())
            # Caches first: a controller that sees half the world makes what is already there.
            for informer in world.informers():
                tasks.create_task(informer.run())
            for informer in world.informers():
                await informer.synced.wait()
            for controller in controllers:
                tasks.create_task(controller.run())
            self._ready.set()
