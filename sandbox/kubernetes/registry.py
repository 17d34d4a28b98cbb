"""What a create, an update, a patch or a delete does to the store: the rules that hold for every
kind.

Follows k8s.io/apiserver/pkg/registry (rest/create.go, rest/update.go, generic/registry/store.go).
No HTTP here; what is wrong with a request is raised as ApiError.
"""

from __future__ import annotations

import copy
import datetime as dt
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.kubernetes import conversion, crds, defaults, errors, ownership, patches, schema
from sandbox.kubernetes.addresses import Addresses
from sandbox.kubernetes.errors import Cause, wrong
from sandbox.kubernetes.resources import Catalog, Resource
from sandbox.kubernetes.shapes import AnyShape, SchemaShape, Shape
from sandbox.kubernetes.store import Entry, Store

Json = dict[str, Any]

_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_CRD = "CustomResourceDefinition"
# Kinds whose update must name the version it read; the other core kinds may be overwritten blindly.
_CONDITIONAL_ONLY = frozenset({_CRD, "PodDisruptionBudget", "PriorityClass", "EndpointSlice"})


def utc_now() -> str:
    """The time as Kubernetes writes it, to the second."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a request is about, and who makes it."""

    resource: Resource
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    manager: str = "unknown"
    dry_run: bool = False

    @property
    def key(self) -> str:
        return self.resource.key(self.namespace, self.name)

    @property
    def api_version(self) -> str:
        return self.resource.api_version(self.version)


class Registry:
    """Every write of the API, over one store and one catalog."""

    def __init__(self, store: Store, catalog: Catalog, clock: Callable[[], str] = utc_now) -> None:
        self.store = store
        self.catalog = catalog
        self.clock = clock
        self.addresses = Addresses()

    # --- reading
    # ---------------------------------------------------------------------------------------------

    def entry(self, target: Target) -> Entry:
        found = self.store.get(target.resource.bucket, target.key)
        if found is None:
            raise errors.not_found(target.resource.group, target.resource.plural, target.name)
        return found

    def read(self, target: Target) -> Json:
        """The object in the version asked for."""
        return self.served(target, self.entry(target).obj)

    def served(self, target: Target, obj: Json) -> Json:
        return conversion.to_version(target.resource, obj, target.version)

    # --- create
    # ----------------------------------------------------------------------------------------------

    def create(self, target: Target, body: Json) -> Json:
        """Store a new object; returns it as stored."""
        resource = target.resource
        obj = self._decoded(target, body)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        self._place(target, metadata)
        self._check_namespace(target, str(metadata.get("name", "")))
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = str(metadata["generateName"])[:58] + _random_suffix()
        for field in (
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "managedFields",
        ):
            metadata.pop(field, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self.clock()
        if resource.generation:
            metadata["generation"] = 1
        if resource.has("status", target.version):
            obj.pop("status", None)
        key = resource.key(target.namespace, str(metadata.get("name", "")))
        if self.store.get(resource.bucket, key):
            raise errors.already_exists(resource.group, resource.plural, str(metadata["name"]))
        obj = self._finished(target, obj, None)
        manager = ownership.Manager(
            target.manager, "Update", target.api_version, target.subresource
        )
        owners = ownership.owned_after_update(None, obj, manager, self._shape(target))
        return self._insert(target, key, obj, owners)

    def _insert(self, target: Target, key: str, obj: Json, owners: ownership.Ownership) -> Json:
        ownership.write_ownership(obj, owners, None, self.clock())
        stored = conversion.to_storage(target.resource, obj)
        if target.dry_run:
            return self.served(target, stored)
        if target.resource.kind == "Service":
            self.addresses.assign(stored)
        self.store.put(target.resource.bucket, key, stored)
        return self.served(target, stored)

    def _decoded(self, target: Target, body: Any) -> Json:
        """A body as an object of the target's kind, with metadata of its own."""
        if not isinstance(body, dict):
            raise errors.bad_request(
                "the object provided is unrecognized (must be of type Object): expected a JSON object"
            )
        resource = target.resource
        if not body.get("kind") or not body.get("apiVersion"):
            body = {"apiVersion": target.api_version, "kind": resource.kind, **body}
        if body["apiVersion"] != target.api_version and resource.group != "":
            asked, expected = body["apiVersion"], target.api_version
            raise errors.bad_request(
                f"the API version in the data ({asked}) does not match the expected API version ({expected})"
            )
        if body["kind"] != resource.kind:
            self._refuse_kind(target, body)
        metadata = body.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise errors.bad_request(
                "the object provided is unrecognized: metadata must be an object"
            )
        ordered = {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": _without_nulls(metadata or {}),
        }
        # These three first: list answers rely on it to leave the type out of each item.
        return {
            **ordered,
            **copy.deepcopy({key: value for key, value in body.items() if key not in ordered}),
        }

    def _refuse_kind(self, target: Target, body: Json) -> None:
        resource, kind = target.resource, str(body["kind"])
        if resource.is_custom:
            name = str((body.get("metadata") or {}).get("name", ""))
            raise errors.invalid(
                resource.group, kind, name, [wrong("kind", kind, f"must be {resource.kind}")]
            )
        given, wanted = body["apiVersion"], resource.kind
        raise errors.bad_request(
            f'{kind} in version "{given}" cannot be handled as a {wanted}: unknown conversion'
        )

    def _place(self, target: Target, metadata: Json) -> None:
        if not target.resource.namespaced:
            metadata.pop("namespace", None)
            return
        given = metadata.get("namespace") or target.namespace
        if given != target.namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = target.namespace

    def _check_namespace(self, target: Target, name: str) -> None:
        if not target.resource.namespaced:
            return
        namespace = self.store.get(("", "namespaces"), target.namespace)
        if namespace is None:
            raise errors.not_found("", "namespaces", target.namespace)
        if namespace.obj["metadata"].get("deletionTimestamp"):
            text = f"namespace {target.namespace} is being terminated"
            why = f"unable to create new content in namespace {target.namespace} because it is being terminated"
            causes = [
                {"reason": "NamespaceTerminating", "message": text, "field": "metadata.namespace"}
            ]
            raise errors.forbidden(target.resource.group, target.resource.plural, name, why, causes)

    # --- update
    # ----------------------------------------------------------------------------------------------

    def update(self, target: Target, body: Json) -> Json:
        """Replace an object (or its status, or its scale); returns it as stored."""
        old = self.read(target)
        if target.subresource == "scale":
            return self._rescale(target, old, body)
        obj = self._decoded(target, body)
        self._check_update(target, obj, old)
        return self._replace(target, obj, old, "Update")

    def _check_update(self, target: Target, obj: Json, old: Json) -> None:
        resource, metadata = target.resource, obj["metadata"]
        name = metadata.get("name") or target.name
        if name != target.name:
            raise errors.bad_request(
                f"the name of the object ({name}) does not match the name on the URL ({target.name})"
            )
        self._place(target, metadata)
        version = str(metadata.get("resourceVersion") or "")
        if version and version != old["metadata"]["resourceVersion"]:
            raise errors.conflict(resource.group, resource.plural, target.name)
        if not version and (resource.is_custom or resource.kind in _CONDITIONAL_ONLY):
            cause = Cause(
                "metadata.resourceVersion",
                "FieldValueInvalid",
                "Invalid value: 0x0: must be specified for an update",
            )
            raise errors.invalid(resource.group, resource.plural, target.name, [cause])
        uid = metadata.get("uid")
        if uid and uid != old["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise errors.conflict(resource.group, resource.plural, target.name, why)

    def _replace(
        self,
        target: Target,
        obj: Json,
        old: Json,
        operation: str,
        owners: ownership.Ownership | None = None,
    ) -> Json:
        """Store the next state of an object, whose body has been read and whose version has been
        checked.
        """
        resource = target.resource
        obj = self._with_kept_parts(target, obj, old)
        obj = self._finished(target, obj, old)
        if resource.generation and self._bumps_generation(resource, target, obj, old):
            obj["metadata"]["generation"] = int(old["metadata"].get("generation", 0)) + 1
        if owners is None:
            manager = ownership.Manager(
                target.manager, operation, target.api_version, target.subresource
            )
            owners = ownership.owned_after_update(old, obj, manager, self._shape(target))
        ownership.write_ownership(obj, owners, old, self.clock())
        if _same(obj, old):
            return old
        return self._store_next(target, obj, old)

    def _store_next(self, target: Target, obj: Json, old: Json) -> Json:
        resource = target.resource
        stored = conversion.to_storage(resource, obj)
        if target.dry_run:
            return self.served(target, stored)
        if resource.kind == "Service":
            self.addresses.assign(stored, old)
        metadata = stored["metadata"]
        if metadata.get("deletionTimestamp") and self._is_ready_to_go(resource, stored):
            gone = self.store.remove(resource.bucket, target.key, stored)
            return self.served(target, gone.obj)
        self.store.put(resource.bucket, target.key, stored)
        return self.served(target, stored)

    @staticmethod
    def _is_ready_to_go(resource: Resource, obj: Json) -> bool:
        """Whether an object that is being deleted has nothing left that holds it."""
        metadata = obj["metadata"]
        if metadata.get("finalizers"):
            return False
        if resource.kind == "Namespace" and resource.group == "":
            return not (obj.get("spec") or {}).get("finalizers")
        return int(metadata.get("deletionGracePeriodSeconds") or 0) == 0

    def _with_kept_parts(self, target: Target, obj: Json, old: Json) -> Json:
        """The body with everything this endpoint may not change put back to what it was."""
        kept = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
                "resourceVersion", "name", "namespace", "generateName")  # fmt: skip
        metadata = {k: v for k, v in obj["metadata"].items() if k not in kept}
        metadata.update({k: old["metadata"][k] for k in kept if k in old["metadata"]})
        if target.subresource == "status":
            return self._status_only(target, obj, old, metadata)
        obj = {**obj, "metadata": metadata}
        if target.resource.kind == "Namespace" and target.subresource != "finalize":
            obj["spec"] = {
                **(obj.get("spec") or {}),
                "finalizers": (old.get("spec") or {}).get("finalizers", []),
            }
        if target.resource.has("status", target.version):
            obj.pop("status", None)
            if "status" in old:
                obj["status"] = old["status"]
        return obj

    @staticmethod
    def _status_only(target: Target, obj: Json, old: Json, metadata: Json) -> Json:
        result = {k: v for k, v in old.items() if k != "status"}
        if target.resource.is_custom:
            metadata = dict(old["metadata"])
        else:
            metadata = {**metadata, "labels": old["metadata"].get("labels")}
            metadata = {k: v for k, v in metadata.items() if v is not None}
        result["metadata"] = metadata
        if "status" in obj:
            result["status"] = obj["status"]
        return result

    def _bumps_generation(self, resource: Resource, target: Target, obj: Json, old: Json) -> bool:
        if resource.is_custom:
            ignored = (
                {"metadata", "status"} if resource.custom[target.version].status else {"metadata"}
            )
            return {k: v for k, v in obj.items() if k not in ignored} != {
                k: v for k, v in old.items() if k not in ignored
            }
        if obj.get("spec") != old.get("spec"):
            return True
        # A Deployment's controller reads annotations as well, so they count.
        counts = resource.kind == "Deployment" and target.subresource != "status"
        return bool(
            counts and obj["metadata"].get("annotations") != old["metadata"].get("annotations")
        )

    def _finished(self, target: Target, obj: Json, old: Json | None) -> Json:
        """An object with defaults, without unknown fields, checked. Raises 422 with every cause."""
        resource = target.resource
        if resource.is_custom:
            return self._finished_custom(target, obj, old)
        try:
            if resource.kind == _CRD:
                crds.set_defaults(obj, deleting=bool(obj["metadata"].get("deletionTimestamp")))
                causes = defaults.check_metadata(resource.kind, obj) + crds.check(obj)
            else:
                defaults.set_defaults(resource.kind, obj)
                causes = defaults.check_metadata(resource.kind, obj)
                if target.subresource != "status":
                    causes += defaults.check(resource.kind, obj, old)
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            kind, version = resource.kind, target.version
            what = f"a field has a value of another type ({error})"
            raise errors.bad_request(
                f'{kind} in version "{version}" cannot be handled as a {kind}: {what}'
            ) from error
        causes += _check_finalizers(obj, old)
        if causes:
            raise errors.invalid(
                resource.group, resource.kind, str(obj["metadata"].get("name", "")), causes
            )
        if resource.kind == _CRD and target.subresource != "status":
            if old and "status" in old:
                obj["status"] = old["status"]
            obj["status"] = crds.established(obj, self.clock(), self.catalog.rows())
        return obj

    def _finished_custom(self, target: Target, obj: Json, old: Json | None) -> Json:
        resource = target.resource
        rules = resource.custom[target.version].schema
        obj = schema.prune(obj, rules, root=True)
        schema.apply_defaults(obj, rules)
        causes = defaults.check_metadata(resource.kind, obj)
        body = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")}
        named = {k: v for k, v in rules.items() if k != "required"}
        wanted = [
            name
            for name in rules.get("required") or []
            if name not in ("apiVersion", "kind", "metadata")
        ]
        causes += schema.validate(body, {**named, "required": wanted})
        causes += _check_finalizers(obj, old)
        if causes:
            raise errors.invalid(
                resource.group, resource.kind, str(obj["metadata"].get("name", "")), causes
            )
        return obj

    def _shape(self, target: Target) -> AnyShape:
        if target.resource.is_custom:
            return SchemaShape(target.resource.custom[target.version].schema)
        return Shape()

    # --- patch
    # -----------------------------------------------------------------------------------------------

    def patch(self, target: Target, kind: str, patch: Any) -> Json:
        """Apply a JSON, merge or strategic patch to the present state."""
        old = self.read(target)
        if target.subresource == "scale":
            scale = self.scale(target)
            return self._rescale(target, old, self._patched(target, kind, scale, patch, Shape()))
        obj = self._patched(target, kind, old, patch, self._shape(target))
        obj = self._decoded(target, obj)
        self._check_update(target, obj, old)
        return self._replace(target, obj, old, "Update")

    @staticmethod
    def _patched(target: Target, kind: str, old: Json, patch: Any, shape: AnyShape) -> Any:
        if kind == patches.JSON_PATCH:
            return patches.json_patch(old, patch)
        if not isinstance(patch, dict):
            raise errors.bad_request(
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
            )
        if kind == patches.STRATEGIC_PATCH:
            return patches.strategic_merge(old, patch, shape)
        return patches.merge_patch(old, patch)

    def exists(self, target: Target) -> bool:
        """Whether there is such an object."""
        return self.store.get(target.resource.bucket, target.key) is not None

    def apply(self, target: Target, wanted: Any, *, force: bool) -> tuple[Json, bool]:
        """Server-side apply; returns the object and whether it was made by this call."""
        if isinstance(wanted, dict) and (wanted.get("metadata") or {}).get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        body = self._decoded(target, wanted)
        resource, shape = target.resource, self._shape(target)
        manager = ownership.Manager(target.manager, "Apply", target.api_version, target.subresource)
        body["metadata"].setdefault("name", target.name)
        current = self.store.get(resource.bucket, target.key)
        if current is None:
            if body["metadata"].get("uid"):
                uid = body["metadata"]["uid"]
                why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                raise errors.conflict(resource.group, resource.plural, target.name, why)
            if target.subresource:
                raise errors.not_found(resource.group, resource.plural, target.name)
            return self._apply_new(target, body, manager, shape), True
        old = self.served(target, current.obj)
        self._check_apply(target, body, old)
        applied = ownership.apply(old, body, manager, shape, force=force)
        return self._replace(
            target, copy.deepcopy(applied.obj), old, "Apply", applied.owners
        ), False

    def _check_apply(self, target: Target, body: Json, old: Json) -> None:
        probe = {
            **body,
            "metadata": {"resourceVersion": old["metadata"]["resourceVersion"], **body["metadata"]},
        }
        self._check_update(target, probe, old)

    def _apply_new(
        self, target: Target, body: Json, manager: ownership.Manager, shape: AnyShape
    ) -> Json:
        resource = target.resource
        wanted_fields = ownership.leaves_of(body, shape)
        self._place(target, body["metadata"])
        self._check_namespace(target, target.name)
        body["metadata"].update(uid=str(uuid.uuid4()), creationTimestamp=self.clock())
        if resource.generation:
            body["metadata"]["generation"] = 1
        if resource.has("status", target.version):
            body.pop("status", None)
        obj = self._finished(target, body, None)
        return self._insert(target, target.key, obj, {manager: wanted_fields})

    # --- scale
    # -----------------------------------------------------------------------------------------------

    def scale(self, target: Target) -> Json:
        """The Scale of an object."""
        obj = self.read(target)
        spec_path, status_path, selector_path = self._scale_paths(target)
        metadata = {
            k: obj["metadata"][k]
            for k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        }
        status: Json = {"replicas": _at(obj, status_path) or 0}
        selector = _at(obj, selector_path) if selector_path else None
        if isinstance(selector, dict):
            selector = ",".join(
                f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or selector).items())
            )
        if selector:
            status["selector"] = selector
        spec = {"replicas": _at(obj, spec_path) or 0}
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }

    @staticmethod
    def _scale_paths(target: Target) -> tuple[str, str, str]:
        if not target.resource.is_custom:
            return ".spec.replicas", ".status.replicas", ".spec.selector"
        rules = target.resource.custom[target.version].scale or {}
        return (
            rules.get("specReplicasPath", ""),
            rules.get("statusReplicasPath", ""),
            rules.get("labelSelectorPath", ""),
        )

    def _rescale(self, target: Target, old: Json, scale: Any) -> Json:
        count = ((scale.get("spec") or {}) if isinstance(scale, dict) else {}).get("replicas", 0)
        if not isinstance(count, int) or count < 0:
            cause = wrong("spec.replicas", count, "must be greater than or equal to 0")
            raise errors.invalid("autoscaling", "Scale", target.name, [cause])
        version = ((scale.get("metadata") or {}).get("resourceVersion")) or ""
        if version and version != old["metadata"]["resourceVersion"]:
            raise errors.conflict(target.resource.group, target.resource.plural, target.name)
        obj = copy.deepcopy(old)
        *parents, last = self._scale_paths(target)[0].strip(".").split(".")
        node = obj
        for word in parents:
            node = node.setdefault(word, {})
        node[last] = count
        whole = Target(**{**target.__dict__, "subresource": ""})
        managed = Target(**{**whole.__dict__, "manager": target.manager})
        self._replace(managed, obj, old, "Update")
        return self.scale(whole) if not target.dry_run else scale

    # --- delete
    # ----------------------------------------------------------------------------------------------

    def delete(self, target: Target, options: Json) -> tuple[Json, bool]:
        """Delete an object, or mark it so when something holds it; returns its last state and
        whether it is gone.
        """
        resource = target.resource
        obj = self.entry(target).obj
        self._check_preconditions(target, options.get("preconditions") or {}, obj["metadata"])
        metadata = dict(obj["metadata"])
        finalizers = self._deletion_finalizers(metadata, options)
        grace = self._grace_seconds(resource, obj, options)
        marked = {**obj, "metadata": metadata}
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
        held_by_namespace = resource.kind == "Namespace" and bool(
            (obj.get("spec") or {}).get("finalizers")
        )
        gone = not finalizers and grace == 0 and not held_by_namespace
        if target.dry_run:
            return self.served(target, obj), gone
        if gone:
            return self.served(
                target, self.store.remove(resource.bucket, target.key, marked).obj
            ), True
        changed = finalizers != (obj["metadata"].get("finalizers") or [])
        if not metadata.get("deletionTimestamp"):
            self._mark(marked, grace)
        elif grace < int(metadata.get("deletionGracePeriodSeconds") or 0):
            metadata["deletionGracePeriodSeconds"] = grace
        elif not changed:
            return self.served(target, obj), False
        if held_by_namespace:
            marked["status"] = {**(marked.get("status") or {}), "phase": "Terminating"}
        self.store.put(resource.bucket, target.key, marked)
        return self.served(target, marked), False

    def _mark(self, obj: Json, grace: int) -> None:
        metadata = obj["metadata"]
        when = dt.datetime.fromisoformat(self.clock().replace("Z", "+00:00")) + dt.timedelta(
            seconds=grace
        )
        metadata["deletionTimestamp"] = when.strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1

    def _check_preconditions(self, target: Target, wanted: Json, metadata: Json) -> None:
        resource = target.resource
        kind = resource.kind if resource.is_custom else resource.plural
        where = "The object might have been deleted and then recreated"
        if wanted.get("uid") and wanted["uid"] != metadata["uid"]:
            uid = metadata["uid"]
            why = f"the UID in the precondition ({wanted['uid']}) does not match the UID in record ({uid}). {where}"
            raise errors.conflict(resource.group, kind, target.name, why)
        version = wanted.get("resourceVersion")
        if version and version != metadata["resourceVersion"]:
            why = (
                f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
                f"({metadata['resourceVersion']}). The object might have been modified"
            )
            raise errors.conflict(resource.group, kind, target.name, why)

    @staticmethod
    def _deletion_finalizers(metadata: Json, options: Json) -> list[str]:
        """The finalizers with what the propagation policy adds (orphan, foreground) or takes away."""
        policy = options.get("propagationPolicy")
        if options.get("orphanDependents") is True:
            policy = "Orphan"
        finalizers = list(metadata.get("finalizers") or [])
        if policy is None:
            return finalizers
        finalizers = [name for name in finalizers if name not in ("orphan", "foregroundDeletion")]
        added = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}.get(policy)
        return [*finalizers, added] if added else finalizers

    @staticmethod
    def _grace_seconds(resource: Resource, obj: Json, options: Json) -> int:
        """Only a pod that was given to a node waits, for the kubelet to end it and delete it with
        no grace.
        """
        if resource.kind != "Pod" or resource.group != "":
            return 0
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
            return 0
        asked = options.get("gracePeriodSeconds")
        return int(spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked)


def _without_nulls(metadata: Json) -> Json:
    """Metadata without what is null or (as its lists and maps are left out when empty) empty."""
    return {
        key: copy.deepcopy(value)
        for key, value in metadata.items()
        if value not in (None, [], {}, "")
    }


def _random_suffix() -> str:
    return "".join(random.choices(_NAME_LETTERS, k=5))  # noqa: S311 (a name, not a secret)


def _same(new: Json, old: Json) -> bool:
    """Whether nothing changed, so that nothing is written and the version stays."""
    return new == old


def _check_finalizers(obj: Json, old: Json | None) -> list[Cause]:
    if old is None or not old["metadata"].get("deletionTimestamp"):
        return []
    before = old["metadata"].get("finalizers") or []
    added = [name for name in obj["metadata"].get("finalizers") or [] if name not in before]
    if not added:
        return []
    found = ", ".join(f'"{name}"' for name in added)
    why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{found}}}"
    return [errors.refused("metadata.finalizers", why)]


def _at(obj: Any, path: str) -> Any:
    for word in path.strip(".").split("."):
        obj = obj.get(word) if isinstance(obj, dict) else None
    return obj
