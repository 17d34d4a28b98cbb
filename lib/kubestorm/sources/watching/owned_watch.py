"""Watches owned objects (Deployments, ReplicaSets, Pods, Jobs) and wakes their owner.

Nothing is dispatched and nothing is stored: an owner is woken when a relevant state changes while
it is watched; after a start, only owners that are not settled are.
"""

from __future__ import annotations

from typing import Any, Callable, Container, Dict, Sequence, Set

from kubestorm.sources.watching import change_detection
from kubestorm.sources.watching.api import Object, WatchKey
from kubestorm.sources.watching.list_watch import ListWatch
from kubestorm.sources.watching.owned_state import (
    GONE,
    NOTHING,
    SETTLED,
    OwnedState,
    Owner,
    owner_of,
    state_of,
    wakes_owner,
)

SELECTOR = "app.kubernetes.io/managed-by=kubestorm"
KINDS = {
    "Deployment": WatchKey("apps", "v1", "deployments", label_selector=SELECTOR),
    "ReplicaSet": WatchKey("apps", "v1", "replicasets", label_selector=SELECTOR),
    "Pod": WatchKey("", "v1", "pods", label_selector=SELECTOR),
    "Job": WatchKey("batch", "v1", "jobs", label_selector=SELECTOR),
}
BUILD_KINDS = ("Pod", "Job")


def owned_keys(
    watched: Container[str], places: Sequence[str], build_namespace: str
) -> Dict[WatchKey, str]:
    """What to watch while kinds of ours (by plural) are `watched`, and the kind that each is: what
    Applications become in the namespaces that are served, what ImageBuilds become in that of the
    builds (empty: none run in the cluster).
    """
    wanted: Dict[WatchKey, str] = {}
    if "applications" in watched or "rollouts" in watched:
        for place in places:
            wanted.update({key._replace(namespace=place): kind for kind, key in KINDS.items()})
    if "imagebuilds" in watched and build_namespace:
        for kind in BUILD_KINDS:
            if KINDS[kind] not in wanted:
                wanted[KINDS[kind]._replace(namespace=build_namespace)] = kind
    return wanted


class OwnedWatch(ListWatch):
    """One kind of owned objects. `wake` gets the owner, the kind that changed, and whether to wake
    only an owner that waits.
    """

    def __init__(
        self,
        kind: str,
        key: WatchKey,
        *arguments: Any,
        wake: Callable[[Owner, str, bool], None],
        **more: Any,
    ) -> None:
        super().__init__(key, *arguments, **more)
        self._kind, self._wake = kind, wake
        self._states: Dict[str, OwnedState] = {}
        self._is_first_list = True

    def _on_object(self, obj: Object) -> str:
        key = change_detection.key_of(obj)
        self._take(key, obj, state_of(self._kind, obj))
        return key

    def _on_delete(self, obj: Object) -> None:
        key = change_detection.key_of(obj)
        if self._kind in ("Deployment", "Job"):
            self._take(key, obj, OwnedState(GONE))
        self._states.pop(key, None)

    def _on_list(self, seen: Set[str]) -> None:
        self._is_first_list = False
        for key in set(self._states) - seen:
            del self._states[key]

    def _take(self, key: str, obj: Object, state: OwnedState) -> None:
        before = self._states.get(key, NOTHING)
        self._states[key] = state
        owner = owner_of(self._kind, obj) if wakes_owner(before, state) else None
        if owner is not None:
            # Pods that become ready matter only to an owner that waits: autoscalers do it all day.
            only_waiting = self._is_first_list or state.name == SETTLED
            self._wake(owner, self._kind.lower(), only_waiting)
