"""What people ask for without editing a file: create, resize, snapshot, rotate, delete, list, show.

A request is written on the object and nothing here changes AWS, Vault or Consul: it survives
restarts and is carried out by the object's next run, under its Lease. What cannot be done is
refused before anything is written. Who asked is in an annotation and in an Event.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional

from kubestorm.clients.kube import Resource
from kubestorm.clients.services import Services
from kubestorm.core import conditions, naming, untrusted
from kubestorm.core.errors import ConflictError, DefinitionError, Error, NotFoundError
from kubestorm.core.settings import KindMapping
from kubestorm.core.spec_reader import InvalidSpecError
from kubestorm.core.times import format_time
from kubestorm.kinds.database import plan_snapshot
from kubestorm.kinds.database.plan import plan_instance
from kubestorm.kinds.database.plan_changes import Refuse, refuse_shrinking
from kubestorm.kinds.database.plan_parameters import with_own_group
from kubestorm.kinds.database.spec import DELETE, RETAIN, DatabaseSpec, parse_database, policy_of
from kubestorm.kinds.database.spec_mapping import (
    as_database,
    get_path,
    in_their_words,
    patch_of,
    their_path,
)

NOBODY = "somebody (no name given)"
MAX_NAME = 128
# Tells these writes from those of the runs in metadata.managedFields.
FIELD_MANAGER = "kubestorm-requests"

DATABASES = Resource(naming.GROUP, naming.VERSION, "databases")

Answer = Dict[str, Any]


@dataclass(frozen=True)
class Target:
    """The object as it was read, and how to read its kind."""

    resource: Resource
    object: Mapping[str, Any]
    kind: Optional[KindMapping]

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.object["metadata"].get("namespace", ""))

    @property
    def is_deleting(self) -> bool:
        return bool(self.object["metadata"].get("deletionTimestamp"))

    def answer(self, message: str, **more: Any) -> Answer:
        """What an action returns."""
        uid = self.object["metadata"]["uid"]
        return {
            "namespace": self.namespace,
            "name": self.name,
            "uid": uid,
            "message": message,
            **more,
        }


def create(
    services: Services,
    namespace: str,
    name: str,
    *,
    engine: str,
    version: str = "",
    size: str = "",
    storage_gib: int = 0,
    deletion_policy: str = "",
    spec: Optional[Mapping[str, Any]] = None,
    requested_by: str = "",
) -> Answer:
    """Write a Database. One that exists with the same spec counts as done; another is not changed.
    Raises DefinitionError for what is not offered. Safe to repeat.
    """
    if not naming.LABEL.fullmatch(name):
        message = (
            f"{name!r} is not a valid name: lowercase letters, digits and hyphens, at most 63, no "
            "hyphen first or last."
        )
        raise DefinitionError(message, field="name")
    given = {
        "engine": engine,
        "version": version,
        "size": size,
        "storage.sizeGiB": storage_gib,
        "deletionPolicy": deletion_policy,
    }
    wanted = _merged(spec or {}, patch_of({path: value for path, value in given.items() if value}))
    who = _who(requested_by)
    body: Dict[str, Any] = {
        "apiVersion": DATABASES.api_version,
        "kind": "Database",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {naming.REQUESTED_BY_ANNOTATION: who},
        },
        "spec": wanted,
    }
    parse_database(body, services.settings.database)
    try:
        written = services.kube.create(DATABASES, body, namespace)
    except ConflictError:
        return _existing(services, namespace, name, wanted)
    except NotFoundError as error:
        message = f"Namespace {namespace} does not exist; create it first, or name another one."
        raise DefinitionError(message, field="namespace") from error
    target = Target(DATABASES, written, None)
    _leave_event(services, target, "Requested", f"{who} requested this Database.")
    return target.answer(
        f"Database {namespace}/{name} requested; it is usually Ready in 5 to 10 minutes.",
        changed=True,
    )


def resize(
    services: Services,
    namespace: str,
    name: str,
    *,
    size: str = "",
    storage_gib: int = 0,
    requested_by: str = "",
    kind: str = "",
) -> Answer:
    """Write another size, a larger disk, or both. Raises DefinitionError before anything is written
    where it cannot be done. Safe to repeat.
    """
    wanted = {
        path: value for path, value in (("size", size), ("storage.sizeGiB", storage_gib)) if value
    }
    if not wanted:
        raise DefinitionError("Give size, storage_gib, or both.", field="size")
    target = _target(services, namespace, name, kind)
    _refuse_deleting(target)
    now: Dict[str, Any] = {}
    paths: Dict[str, Any] = {}
    for ours, value in wanted.items():
        path = their_path(ours, target.kind)
        if path is None:
            message = (
                f"database.kinds in the pack's configuration has no field for {ours} of {kind}."
            )
            raise DefinitionError(message, field=f"spec.{ours}")
        now[path], paths[path] = get_path(target.object, path), value
    changed = {path: value for path, value in paths.items() if now[path] != value}
    values = " and ".join(f"{path} {value}" for path, value in paths.items())
    if not changed:
        return target.answer(
            f"{target.name} already has {values}; nothing was changed.", changed=False
        )
    body = patch_of(changed)
    _refuse_impossible(services, target, _merged(target.object, body), storage_gib)
    who = _who(requested_by)
    written = _patch(services, target, body, {naming.REQUESTED_BY_ANNOTATION: who})
    parts = [f"{path} {value} (was {now[path] or 'not stated'})" for path, value in changed.items()]
    _leave_event(services, written, "ResizeRequested", f"{who} requested {' and '.join(parts)}.")
    message = f"{target.name} now has {values}; if it comes from a file, change the file too."
    return target.answer(message, changed=True)


def snapshot(
    services: Services,
    namespace: str,
    name: str,
    *,
    snapshot: str = "",
    requested_by: str = "",
    kind: str = "",
) -> Answer:
    """Request a manual snapshot. Safe to repeat with the same word; without one, the time is used
    and each call is a new snapshot.
    """
    word = snapshot or services.now().strftime("%Y%m%dt%H%M%Sz")
    if not plan_snapshot.is_word(word):
        message = (
            f"{word!r} cannot be part of a snapshot's name; use letters, digits and single "
            "hyphens, "
            f"{plan_snapshot.WORD_LENGTH} at most, a letter or digit at both ends."
        )
        raise DefinitionError(message, field="snapshot")
    target = _target(services, namespace, name, kind)
    _refuse_deleting(target)
    instance = untrusted.status(target.object).get("instanceIdentifier")
    if not instance:
        message = f"{target.name} has no instance yet; there is nothing to snapshot."
        raise DefinitionError(message, field="name")
    who = _who(requested_by)
    annotations = {naming.SNAPSHOT_ANNOTATION: word, naming.REQUESTED_BY_ANNOTATION: who}
    written = _patch(services, target, {}, annotations)
    _leave_event(services, written, "SnapshotRequested", f"{who} requested snapshot {word}.")
    identifier = plan_snapshot.identifier(
        str(instance), str(target.object["metadata"]["uid"]), word
    )
    message = f"Snapshot of {instance} requested; see status.requestedSnapshot."
    return target.answer(message, request=word, snapshot=identifier)


def rotate(
    services: Services,
    namespace: str,
    name: str,
    request: str = "",
    kind: str = "",
    requested_by: str = "",
) -> Answer:
    """Request new credentials. Safe to repeat with the same `request`; without one, each call is a
    new rotation.
    """
    word = request or format_time(services.now())
    target = _target(services, namespace, name, kind)
    _refuse_deleting(target)
    who = _who(requested_by)
    annotations = {naming.ROTATE_ANNOTATION: word, naming.REQUESTED_BY_ANNOTATION: who}
    written = _patch(services, target, {}, annotations)
    _leave_event(
        services, written, "RotationRequested", f"{who} requested new credentials ({word})."
    )
    message = (
        "New credentials requested; InstanceAvailable has the reason RotatingCredentials until "
        "they are in use."
    )
    return target.answer(message, request=word)


def delete(
    services: Services,
    namespace: str,
    name: str,
    *,
    confirm: str = "",
    requested_by: str = "",
    kind: str = "",
) -> Answer:
    """Delete the object. `confirm`, its own name, is required by deletionPolicy Delete. Safe to
    repeat.
    """
    target = _target(services, namespace, name, kind)
    if confirm and confirm != name:
        message = (
            f"confirm is {confirm!r}; to destroy the data of {name}, it must be {name}. Nothing "
            "was changed."
        )
        raise DefinitionError(message, field="confirm")
    policy = policy_of(as_database(target.object, target.kind), services.settings.database)
    who = _who(requested_by)
    annotations = {naming.REQUESTED_BY_ANNOTATION: who}
    if policy == DELETE:
        given = untrusted.annotations_of(target.object).get(naming.CONFIRM_DELETE_ANNOTATION)
        if not confirm and given != name:
            message = (
                f"deletionPolicy of {name} is Delete, which destroys the data permanently. To "
                f"continue, give confirm={name}, or set deletionPolicy to Snapshot or Retain "
                "first. Nothing was changed."
            )
            raise DefinitionError(message, field="confirm")
        # Not under another policy, where it would still confirm after the policy has changed.
        annotations[naming.CONFIRM_DELETE_ANNOTATION] = name
    elif confirm:
        what = "keeps the instance" if policy == RETAIN else "keeps snapshots"
        message = (
            f"deletionPolicy of {name} is {policy}, which {what}; there is nothing to confirm. "
            "Omit confirm."
        )
        raise DefinitionError(message, field="confirm")
    written = _patch(services, target, {}, annotations)
    _leave_event(
        services,
        written,
        "DeletionRequested",
        f"{who} requested the deletion (deletionPolicy {policy}).",
    )
    if not target.is_deleting:
        uid = str(target.object["metadata"]["uid"])
        with contextlib.suppress(NotFoundError):
            services.kube.delete(target.resource, name, namespace, uid=uid)
    return target.answer(f"{_deleting(target)}; {_OUTLOOK[policy]}", policy=policy)


_OUTLOOK = {
    "Retain": "its instance, credentials and endpoint are kept.",
    "Snapshot": ("a snapshot is created first, then the instance is deleted with a final one."),
    "Delete": "its instance, backups, credentials and endpoint are destroyed, as confirmed.",
}


def _deleting(target: Target) -> str:
    return (
        f"{target.name} is already being deleted"
        if target.is_deleting
        else f"{target.name} is being deleted"
    )


def _target(services: Services, namespace: str, name: str, kind: str) -> Target:
    resource = resource_of(services, kind)
    mapping = next(
        (
            one
            for one in services.settings.database.kinds
            if (one.group, one.plural) == (resource.group, resource.plural)
        ),
        None,
    )
    try:
        found = services.kube.get(resource, name, namespace)
    except NotFoundError as error:
        message = f"{resource.plural}.{resource.group} {name} not found in namespace {namespace}."
        raise NotFoundError(message, service="Kubernetes", status_code=error.status_code) from error
    return Target(resource, found, mapping)


def _refuse_deleting(target: Target) -> None:
    if target.is_deleting:
        ready = conditions.condition_in(untrusted.status(target.object), conditions.READY)
        message = (
            f"{target.name} is being deleted ({ready.get('reason') or 'not reconciled yet'}); "
            "nothing was changed."
        )
        raise DefinitionError(message, field="name")


def _refuse_impossible(
    services: Services, target: Target, preview: Mapping[str, Any], storage_gib: int
) -> None:
    """Raise DefinitionError where a run would refuse the changed object, or where a disk that RDS
    has grown would stay larger. `storage_gib` is the requested size, 0 for none.
    """
    settings = services.settings
    try:
        spec = parse_database(as_database(preview, target.kind), settings.database)
    except InvalidSpecError as error:
        raise DefinitionError(in_their_words(str(error), target.kind), field=error.field) from error
    refusal = _refusal(services, target, spec, storage_gib)
    if refusal is not None:
        raise DefinitionError(in_their_words(refusal.message, target.kind), field="spec")


def _refusal(
    services: Services, target: Target, spec: DatabaseSpec, storage_gib: int
) -> Optional[Refuse]:
    settings, metadata = services.settings, target.object["metadata"]
    own = naming.rds_identifier(
        settings.database.identifier_prefix, settings.cluster, target.namespace, target.name
    )
    known = untrusted.status(target.object).get("instanceIdentifier")
    identifier = str(spec.adopt or known or own)
    try:
        observed = services.rds.describe(identifier)
    except Error:
        return None  # the next run reports it
    if observed is None or observed.owner_uid != metadata["uid"]:
        return None
    spec = with_own_group(spec, own, observed)
    if 0 < storage_gib < observed.storage_gib:
        return refuse_shrinking(spec, observed)
    decisions = plan_instance(spec, observed, uid=metadata["uid"], identifier=identifier, tags={})
    return next((item for item in decisions if isinstance(item, Refuse) and item.change), None)


def _existing(services: Services, namespace: str, name: str, wanted: Mapping[str, Any]) -> Answer:
    target = _target(services, namespace, name, "")
    if target.object.get("spec") == wanted and not target.is_deleting:
        return target.answer(
            f"Database {namespace}/{name} already exists with this spec.", changed=False
        )
    state = "is being deleted" if target.is_deleting else "already exists"
    message = (
        f"Database {namespace}/{name} {state} and was not changed; choose another name, or change "
        "that one (database_resize, kubectl edit)."
    )
    raise DefinitionError(message, field="name")


def _patch(
    services: Services, target: Target, body: Mapping[str, Any], annotations: Mapping[str, str]
) -> Target:
    """With the uid, so that another object of the same name is not changed."""
    uid = target.object["metadata"]["uid"]
    whole = {
        **body,
        "metadata": {**(body.get("metadata") or {}), "uid": uid, "annotations": dict(annotations)},
    }
    written = services.kube.patch(
        target.resource, target.name, whole, target.namespace, field_manager=FIELD_MANAGER
    )
    return Target(target.resource, written, target.kind)


def _leave_event(services: Services, target: Target, reason: str, message: str) -> None:
    """Leave an Event; where that fails, the annotation still says who asked."""
    with contextlib.suppress(Error):
        services.kube.create_event(
            target.object, reason=reason, message=message, now=services.now()
        )


def _who(name: str) -> str:
    """A name on one line, at most MAX_NAME characters."""
    return (
        " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())[
            :MAX_NAME
        ]
        or NOBODY
    )


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Dict[str, Any]:
    """A merge patch applied, without removals."""
    result = copy.deepcopy(dict(below))
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(old, value) if both else copy.deepcopy(value)  # type: ignore
    return result


# Reading.


def resource_of(services: Services, kind: str = "") -> Resource:
    """The resource that `kind` (`plural.group`, as kubectl takes it) names; Database where it is
    empty.
    """
    if kind in ("", "databases", f"databases.{naming.GROUP}"):
        return DATABASES
    plural, _, group = kind.partition(".")
    for mapping in services.settings.database.kinds:
        if (mapping.plural, mapping.group) == (plural, group):
            return Resource(group, mapping.version, plural)
    raise DefinitionError(
        f"database.kinds in the pack's configuration has no {kind}.", field="kind"
    )


def list_databases(services: Services, namespace: str = "") -> List[Mapping[str, Any]]:
    """One line each, sorted by namespace and name; every namespace where none is given."""
    found = services.kube.list_all(DATABASES, namespace)
    return sorted(
        (_line(item) for item in found), key=lambda line: (line["namespace"], line["name"])
    )


def show_database(services: Services, namespace: str, name: str) -> Mapping[str, Any]:
    """The spec, the status and what each service has, or the error of one that does not answer."""
    resource = services.kube.get(DATABASES, name, namespace)
    cluster = services.settings.cluster
    status: Mapping[str, Any] = untrusted.status(resource)
    identifier = status.get("instanceIdentifier") or naming.rds_identifier(
        services.settings.database.identifier_prefix, cluster, namespace, name
    )
    shown: Dict[str, Any] = {**_line(resource), "spec": resource.get("spec"), "status": status}
    services_say: Dict[str, Callable[[], Any]] = {
        "rds": lambda: describe_instance(services, str(identifier)),
        "vault": lambda: services.vault.describe(naming.vault_path(cluster, namespace, name)),
        "consul": lambda: services.consul.show_tree(naming.consul_prefix(cluster, namespace, name)),
    }
    for service, ask in services_say.items():
        try:
            shown[service] = ask()
        except Error as error:
            shown[service] = {"error": str(error)}
    return shown


def describe_instance(services: Services, identifier: str) -> Mapping[str, Any]:
    """An RDS instance as plain values. NotFoundError when there is none."""
    observed = services.rds.describe(identifier)
    if observed is None:
        raise NotFoundError(f"RDS instance {identifier} not found.", service="AWS RDS")
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(observed).items()
    }


def _line(resource: Mapping[str, Any]) -> Dict[str, Any]:
    metadata, spec = resource["metadata"], resource.get("spec") or {}
    status = untrusted.status(resource)
    ready = conditions.condition_in(status, conditions.READY)
    return {
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "engine": spec.get("engine"),
        "version": spec.get("version"),
        "size": spec.get("size"),
        "ready": ready.get("status", conditions.UNKNOWN),
        "reason": ready.get("reason", ""),
        "message": ready.get("message", ""),
        "endpoint": untrusted.mapping(status.get("endpoint")).get("host"),
    }
