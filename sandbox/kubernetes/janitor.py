"""The controllers that no API server is complete without: garbage collection by owner, emptying
namespaces and deleted CustomResourceDefinitions, the default service account of a namespace, tokens
for token secrets.

They react to the store's changes: a change queues work, and the work is done right after the
request that caused it, on the same thread. Deployments, Jobs, Pods and the like are not here: their
controllers are clients of the API, as in a real cluster.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from sandbox.kubernetes import crds
from sandbox.kubernetes.auth import Authenticator
from sandbox.kubernetes.registry import Registry, Target
from sandbox.kubernetes.resources import Resource
from sandbox.kubernetes.store import BucketKey, Event

Json = dict[str, Any]

_NAMESPACES: BucketKey = ("", "namespaces")
_CRDS: BucketKey = (crds.GROUP, crds.PLURAL)
_ACCOUNTS: BucketKey = ("", "serviceaccounts")
_SECRETS: BucketKey = ("", "secrets")
_TOKEN_SECRET = "kubernetes.io/service-account-token"
_BATCH = 500


class Place(NamedTuple):
    """Where an object is stored."""

    bucket: BucketKey
    key: str


class Janitor:
    """Does what follows from a change; `run` does all that is queued."""

    def __init__(self, registry: Registry, authenticator: Authenticator) -> None:
        self._registry = registry
        self._store = registry.store
        self._catalog = registry.catalog
        self._authenticator = authenticator
        self._queue: deque[tuple[Callable[[Place], None], Place]] = deque()
        self._queued: set[tuple[str, Place]] = set()
        self._by_uid: dict[str, Place] = {}
        self._dependents: dict[str, set[Place]] = {}
        self._is_scheduled = False
        self._store.listeners.append(self._observe)

    # --- the queue
    # ---------------------------------------------------------------------------------------------

    def _enqueue(self, work: Callable[[Place], None], place: Place) -> None:
        if (work.__name__, place) not in self._queued:
            self._queued.add((work.__name__, place))
            self._queue.append((work, place))
        if not self._is_scheduled:
            try:
                asyncio.get_running_loop().call_soon(self._run_batch)
            except RuntimeError:
                return  # no server runs yet (objects made at the start): `run` is called by hand
            self._is_scheduled = True

    def run(self) -> None:
        """Do everything that is queued, and what follows from it."""
        while self._queue:
            self._next()

    def _run_batch(self) -> None:
        """A slice of the queue, so that requests are answered while a large namespace is emptied."""
        self._is_scheduled = False
        for _ in range(_BATCH):
            if not self._queue:
                return
            self._next()
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._run_batch)

    def _next(self) -> None:
        work, place = self._queue.popleft()
        self._queued.discard((work.__name__, place))
        work(place)

    # --- what a change asks for
    # ----------------------------------------------------------------------------------

    def _observe(self, bucket: BucketKey, event: Event) -> None:
        place = Place(bucket, event.key)
        obj = event.entry.obj
        metadata = obj["metadata"]
        self._index(place, event)
        if bucket == _NAMESPACES:
            self._enqueue(
                self._empty_namespace if metadata.get("deletionTimestamp") else self._add_account,
                place,
            )
        elif bucket == _CRDS:
            self._serve(event)
            if metadata.get("deletionTimestamp"):
                self._enqueue(self._empty_definition, place)
        elif bucket == _SECRETS and obj.get("type") == _TOKEN_SECRET and event.kind == "ADDED":
            self._enqueue(self._fill_token, place)
        if event.kind == "DELETED":
            self._after_removal(bucket, metadata)
        elif metadata.get("deletionTimestamp"):
            self._enqueue(self._finish_owner, place)

    def _after_removal(self, bucket: BucketKey, metadata: Json) -> None:
        for dependent in self._dependents.get(metadata["uid"], ()):
            self._enqueue(self._check_owners, dependent)
        for reference in metadata.get("ownerReferences") or []:
            owner = self._by_uid.get(reference.get("uid", ""))
            if owner:
                self._enqueue(self._finish_owner, owner)
        namespace = metadata.get("namespace")
        found = self._store.get(_NAMESPACES, namespace) if namespace else None
        if found and found.obj["metadata"].get("deletionTimestamp"):
            self._enqueue(self._empty_namespace, Place(_NAMESPACES, str(namespace)))
        for place in self._definition_of(bucket):
            self._enqueue(self._empty_definition, place)

    def _definition_of(self, bucket: BucketKey) -> list[Place]:
        key = f"{bucket[1]}.{bucket[0]}"
        found = self._store.get(_CRDS, key)
        return (
            [Place(_CRDS, key)] if found and found.obj["metadata"].get("deletionTimestamp") else []
        )

    def _index(self, place: Place, event: Event) -> None:
        metadata = event.entry.obj["metadata"]
        before = event.previous.obj["metadata"].get("ownerReferences") if event.previous else None
        after = metadata.get("ownerReferences") if event.kind != "DELETED" else None
        if event.kind == "DELETED":
            self._by_uid.pop(metadata["uid"], None)
        else:
            self._by_uid[metadata["uid"]] = place
        if before == after:
            return
        for reference in before or []:
            self._dependents.get(reference["uid"], set()).discard(place)
        for reference in after or []:
            self._dependents.setdefault(reference["uid"], set()).add(place)
        if after:
            self._enqueue(self._check_owners, place)

    # --- garbage collection
    # --------------------------------------------------------------------------------------

    def _target(self, place: Place) -> Target | None:
        row = next(
            (
                row
                for row in self._catalog.rows()
                if row.bucket == place.bucket and row.storage_group is None
            ),
            None,
        )
        if row is None:
            return None
        namespace, _, name = place.key.rpartition("/")
        return Target(
            resource=row,
            version=row.stored_version,
            namespace=namespace,
            name=name,
            manager="garbage-collector",
        )

    def _delete(self, place: Place, policy: str | None) -> None:
        target = self._target(place)
        if target and self._store.get(place.bucket, place.key):
            self._registry.delete(target, {"propagationPolicy": policy} if policy else {})

    def _check_owners(self, place: Place) -> None:
        """Delete an object none of whose owners exists; drop the references to those that are gone."""
        entry = self._store.get(place.bucket, place.key)
        if entry is None:
            return
        references = entry.obj["metadata"].get("ownerReferences") or []
        live = [
            reference for reference in references if self._exists(reference, entry.obj["metadata"])
        ]
        if not references or len(live) == len(references):
            return
        if not live:
            if not entry.obj["metadata"].get("deletionTimestamp"):
                self._delete(
                    place, None if entry.obj["metadata"].get("finalizers") else "Background"
                )
            return
        self._set_metadata(place, ownerReferences=live)

    def _exists(self, reference: Json, dependent: Json) -> bool:
        owner = self._by_uid.get(reference["uid"])
        if owner is None:
            return False
        namespace, _, _name = owner.key.rpartition("/")
        return not namespace or namespace == dependent.get("namespace")

    def _set_metadata(self, place: Place, **fields: Any) -> None:
        """Change metadata; goes through removal when nothing holds a deleted object any more."""
        entry = self._store.get(place.bucket, place.key)
        if entry is None:
            return
        metadata = {
            k: v for k, v in {**entry.obj["metadata"], **fields}.items() if v or k not in fields
        }
        obj = {**entry.obj, "metadata": metadata}
        held = (obj.get("spec") or {}).get("finalizers") if place.bucket == _NAMESPACES else None
        pending = metadata.get("finalizers") or held or metadata.get("deletionGracePeriodSeconds")
        if metadata.get("deletionTimestamp") and not pending:
            self._store.remove(place.bucket, place.key, obj)
        else:
            self._store.put(place.bucket, place.key, obj)

    def _finish_owner(self, place: Place) -> None:
        """Foreground: delete the dependents, then let the owner go. Orphan: free them, then let the
        owner go.
        """
        entry = self._store.get(place.bucket, place.key)
        if entry is None:
            return
        metadata = entry.obj["metadata"]
        finalizers = metadata.get("finalizers") or []
        if "orphan" in finalizers:
            self._orphan(metadata["uid"])
            self._set_metadata(place, finalizers=[name for name in finalizers if name != "orphan"])
        elif "foregroundDeletion" in finalizers:
            if self._delete_dependents(metadata["uid"]):
                return
            self._set_metadata(
                place, finalizers=[name for name in finalizers if name != "foregroundDeletion"]
            )

    def _orphan(self, uid: str) -> None:
        for place in list(self._dependents.get(uid, ())):
            entry = self._store.get(place.bucket, place.key)
            if entry:
                references = entry.obj["metadata"].get("ownerReferences") or []
                self._set_metadata(
                    place, ownerReferences=[r for r in references if r.get("uid") != uid]
                )

    def _delete_dependents(self, uid: str) -> bool:
        """Delete what an owner owns; returns whether something that blocks the owner's deletion is
        still there.
        """
        for place in list(self._dependents.get(uid, ())):
            entry = self._store.get(place.bucket, place.key)
            if entry and not entry.obj["metadata"].get("deletionTimestamp"):
                self._delete(place, "Foreground")
        return any(self._blocks(place, uid) for place in self._dependents.get(uid, ()))

    def _blocks(self, place: Place, uid: str) -> bool:
        entry = self._store.get(place.bucket, place.key)
        references = (entry.obj["metadata"].get("ownerReferences") or []) if entry else []
        return any(r.get("uid") == uid and r.get("blockOwnerDeletion") for r in references)

    # --- namespaces
    # ----------------------------------------------------------------------------------------------

    def _empty_namespace(self, place: Place) -> None:
        """Delete everything in a namespace that is being deleted; then the namespace, or say what
        is left.
        """
        entry = self._store.get(place.bucket, place.key)
        if entry is None:
            return
        remaining: list[tuple[Resource, list[Json]]] = []
        for row in self._catalog.rows():
            if row.namespaced and row.storage_group is None:
                left = self._delete_all(row, f"{place.key}/")
                if left:
                    remaining.append((row, left))
        entry = self._store.get(place.bucket, place.key)
        if entry is None:
            return
        if remaining:
            self._report_remaining(place, entry.obj, remaining)
        elif (entry.obj.get("spec") or {}).get("finalizers") and not remaining:
            obj = {
                **entry.obj,
                "metadata": dict(entry.obj["metadata"]),
                "spec": {**entry.obj["spec"], "finalizers": []},
            }
            if obj["metadata"].get("finalizers"):
                self._store.put(place.bucket, place.key, obj)
            else:
                self._store.remove(place.bucket, place.key, obj)

    def _delete_all(self, row: Resource, prefix: str) -> list[Json]:
        for entry_key in list(self._store.bucket(row.bucket).keys(prefix)):
            entry = self._store.get(row.bucket, entry_key)
            if entry and not entry.obj["metadata"].get("deletionTimestamp"):
                self._delete(Place(row.bucket, entry_key), "Background")
        return [entry.obj for entry in self._store.snapshot(row.bucket, prefix)]

    def _report_remaining(
        self, place: Place, namespace: Json, remaining: list[tuple[Resource, list[Json]]]
    ) -> None:
        kinds = [
            f"{row.plural}.{row.group or ''} has {len(left)} resource instances"
            for row, left in remaining
        ]
        counts: dict[str, int] = {}
        for _row, left in remaining:
            for obj in left:
                for name in obj["metadata"].get("finalizers") or []:
                    counts[name] = counts.get(name, 0) + 1
        held = [f"{name} in {count} resource instances" for name, count in sorted(counts.items())]
        status = namespace.get("status") or {}
        before = {c["type"]: c for c in status.get("conditions") or []}
        content = (
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            "Some resources are remaining: " + ", ".join(kinds),
        )
        finalizers = "Some content in the namespace has finalizers remaining: " + ", ".join(held)
        wanted = [content, ("NamespaceFinalizersRemaining", "SomeFinalizersRemain", finalizers)][
            : 2 if held else 1
        ]
        conditions = [_calm(kind, why, before, self._registry.clock()) for kind, why in _CALM]
        for kind, reason, message in wanted:
            conditions.append(
                _condition(kind, "True", reason, message, before, self._registry.clock())
            )
        if status.get("conditions") != conditions:
            status = {**status, "phase": "Terminating", "conditions": conditions}
            self._store.put(
                place.bucket,
                place.key,
                {**namespace, "metadata": dict(namespace["metadata"]), "status": status},
            )

    def _add_account(self, place: Place) -> None:
        if self._store.get(_NAMESPACES, place.key) and not self._store.get(
            _ACCOUNTS, f"{place.key}/default"
        ):
            target = self._target(Place(_ACCOUNTS, f"{place.key}/default"))
            if target:
                self._registry.create(target, {"metadata": {"name": "default"}})

    # --- definitions
    # ---------------------------------------------------------------------------------------------

    def _serve(self, event: Event) -> None:
        """Begin, change or end serving what a CustomResourceDefinition describes."""
        crd = event.entry.obj
        if event.kind == "DELETED":
            self._catalog.remove(crd["spec"]["group"], crd["spec"]["names"]["plural"])
        elif crds.is_established(crd):
            self._catalog.add(crds.to_resource(crd))

    def _empty_definition(self, place: Place) -> None:
        entry = self._store.get(place.bucket, place.key)
        if entry is None:
            return
        row = self._catalog.by_plural(
            entry.obj["spec"]["group"], entry.obj["spec"]["names"]["plural"]
        )
        if row and self._delete_all(row, ""):
            return
        finalizers = entry.obj["metadata"].get("finalizers") or []
        if crds.CLEANUP in finalizers:
            self._set_metadata(
                place, finalizers=[name for name in finalizers if name != crds.CLEANUP]
            )

    # --- service accounts
    # ----------------------------------------------------------------------------------------

    def _fill_token(self, place: Place) -> None:
        """Put a token into a secret that asks for one by its type and annotation."""
        entry = self._store.get(place.bucket, place.key)
        if entry is None:
            return
        metadata = entry.obj["metadata"]
        name = (metadata.get("annotations") or {}).get("kubernetes.io/service-account.name", "")
        account = self._store.get(_ACCOUNTS, f"{metadata['namespace']}/{name}")
        if account is None:
            return
        uid = account.obj["metadata"]["uid"]
        token, _end = self._authenticator.issue(metadata["namespace"], name, uid, None)
        fields = {"token": token, "namespace": metadata["namespace"]}
        data = {k: base64.b64encode(v.encode()).decode() for k, v in fields.items()}
        self._store.put(
            place.bucket,
            place.key,
            {
                **entry.obj,
                "metadata": dict(metadata),
                "data": {**(entry.obj.get("data") or {}), **data},
            },
        )


_CALM = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions"),
    ("NamespaceDeletionContentFailure", "ContentDeleted"),
)


def _calm(kind: str, reason: str, before: dict[str, Json], now: str) -> Json:
    messages = {
        "ResourcesDiscovered": "All resources successfully discovered",
        "ParsedGroupVersions": "All legacy kube types successfully parsed",
        "ContentDeleted": "All content successfully deleted, may be waiting on finalization",
    }
    return _condition(kind, "False", reason, messages[reason], before, now)


def _condition(
    kind: str, status: str, reason: str, message: str, before: dict[str, Json], now: str
) -> Json:
    old = before.get(kind)
    since = old["lastTransitionTime"] if old and old["status"] == status else now
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }
