"""What a person may ask of one Database without editing a file: written on the object, and done by
the journey.

Nothing here changes AWS, Vault or Consul: the wish is on the object, so it survives restarts and is
carried out under the object's Lease like everything else. What cannot be is refused in a sentence
before anything is written. Who asked is on the object too, as annotation and in an Event.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from kubestorm.clients.kube import Resource
from kubestorm.clients.services import Services
from kubestorm.core import conditions, naming, untrusted
from kubestorm.core.errors import ConflictError, DefinitionError, Error, NotFoundError
from kubestorm.core.settings import KindMapping
from kubestorm.core.spec_reader import InvalidSpecError
from kubestorm.core.times import format_time
from kubestorm.kinds.database import asked_snapshot
from kubestorm.kinds.database.kinds import as_database, in_their_words, patch_of, their_path
from kubestorm.kinds.database.own_parameters import with_own_group
from kubestorm.kinds.database.plan import Refuse, plan_instance, refuse_shrinking
from kubestorm.kinds.database.spec import DELETE, RETAIN, DatabaseSpec, parse_database, policy_of
from kubestorm.kinds.database.views import DATABASES, resource_of

NOBODY = "somebody who gave no name"
MAX_NAME = 128
# Source: "Names must be DNS subdomain names" of the Kubernetes documentation, shortened to a label
# for Consul and RDS.
# Who changes what by these actions is told apart from the journey's own writes in
# metadata.managedFields.
FIELD_MANAGER = "kubestorm-requests"

Answer = Dict[str, Any]


@dataclass(frozen=True)
class Target:
    """The object that is meant, as it was when it was read."""

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
    def is_going(self) -> bool:
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
    """Write a Database. One that is there and asks for the same counts as done; any other is left
    alone.
    """
    if not naming.LABEL.fullmatch(name):
        message = (
            f"{name!r} is no name for a Database: small letters, digits and hyphens, 63 at most, "
            "no hyphen outside."
        )
        raise DefinitionError(message, field="name")
    given = {
        "engine": engine,
        "version": version,
        "size": size,
        "storage.sizeGiB": storage_gib,
        "deletionPolicy": deletion_policy,
    }
    wish = _merged(spec or {}, patch_of({path: value for path, value in given.items() if value}))
    who = _who(requested_by)
    body: Dict[str, Any] = {
        "apiVersion": DATABASES.api_version,
        "kind": "Database",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {naming.REQUESTED_BY_ANNOTATION: who},
        },
        "spec": wish,
    }
    parse_database(body, services.settings.database)
    try:
        written = services.kube.create(DATABASES, body, namespace)
    except ConflictError:
        return _there_already(services, namespace, name, wish)
    except NotFoundError as error:
        message = (
            f"There is no namespace {namespace} to make a Database in; make it first, or name "
            "another."
        )
        raise DefinitionError(message, field="namespace") from error
    target = Target(DATABASES, written, None)
    _tell(services, target, "Requested", f"{who} asked for this Database.")
    return target.answer(
        f"Database {namespace}/{name} is asked for; it is Ready in some minutes.", changed=True
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
    """Ask for another size, a larger disk, or both. Refused before anything is written where it
    cannot be.
    """
    wishes = {
        path: value for path, value in (("size", size), ("storage.sizeGiB", storage_gib)) if value
    }
    if not wishes:
        raise DefinitionError("Say what it is to become: size, storage_gib, or both.", field="size")
    target = _target(services, namespace, name, kind)
    _refuse_going(target)
    now: Dict[str, Any] = {}
    paths: Dict[str, Any] = {}
    for ours, value in wishes.items():
        path = their_path(ours, target.kind)
        if path is None:
            message = (
                f"{kind} has no field for {ours} in the pack's configuration (database.kinds)."
            )
            raise DefinitionError(message, field=f"spec.{ours}")
        now[path], paths[path] = _get(target.object, path), value
    changed = {path: value for path, value in paths.items() if now[path] != value}
    told = " and ".join(f"{path} {value}" for path, value in paths.items())
    if not changed:
        return target.answer(
            f"{target.name} asks for {told} already; nothing was changed.", changed=False
        )
    body = patch_of(changed)
    _refuse_impossible(services, target, _merged(target.object, body), storage_gib)
    who = _who(requested_by)
    written = _patch(services, target, body, {naming.REQUESTED_BY_ANNOTATION: who})
    parts = [f"{path} {value} (was {now[path] or 'not stated'})" for path, value in changed.items()]
    _tell(services, written, "ResizeRequested", f"{who} asked for {' and '.join(parts)}.")
    message = (
        f"{target.name} now asks for {told}; where it is kept in a file, change it there as well."
    )
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
    """Ask for a manual snapshot. Safe to repeat with the same word; without one, the time makes it
    a new one.
    """
    word = snapshot or services.now().strftime("%Y%m%dt%H%M%Sz")
    if not asked_snapshot.is_word(word):
        message = (
            f"{word!r} cannot be part of a snapshot's name; use letters, digits and single "
            "hyphens, "
            f"{asked_snapshot.WORD_LENGTH} at most, a letter or digit at both ends."
        )
        raise DefinitionError(message, field="snapshot")
    target = _target(services, namespace, name, kind)
    _refuse_going(target)
    instance = untrusted.status(target.object).get("instanceIdentifier")
    if not instance:
        message = f"{target.name} has no instance yet, so there is nothing to take a snapshot of."
        raise DefinitionError(message, field="name")
    who = _who(requested_by)
    annotations = {naming.SNAPSHOT_ANNOTATION: word, naming.REQUESTED_BY_ANNOTATION: who}
    written = _patch(services, target, {}, annotations)
    _tell(services, written, "SnapshotRequested", f"{who} asked for the snapshot {word}.")
    identifier = asked_snapshot.identifier(
        str(instance), str(target.object["metadata"]["uid"]), word
    )
    message = f"A snapshot of {instance} is asked for; status.requestedSnapshot says how far it is."
    return target.answer(message, request=word, snapshot=identifier)


def rotate(
    services: Services,
    namespace: str,
    name: str,
    request: str = "",
    kind: str = "",
    requested_by: str = "",
) -> Answer:
    """Ask for new credentials. Safe to repeat with the same `request`; without one, the time makes
    it a new one.
    """
    wish = request or format_time(services.now())
    target = _target(services, namespace, name, kind)
    _refuse_going(target)
    who = _who(requested_by)
    annotations = {naming.ROTATE_ANNOTATION: wish, naming.REQUESTED_BY_ANNOTATION: who}
    written = _patch(services, target, {}, annotations)
    _tell(services, written, "RotationRequested", f"{who} asked for new credentials ({wish}).")
    message = (
        "New credentials are asked for; InstanceAvailable says RotatingCredentials until they are "
        "there."
    )
    return target.answer(message, request=wish)


def delete(
    services: Services,
    namespace: str,
    name: str,
    *,
    confirm: str = "",
    requested_by: str = "",
    kind: str = "",
) -> Answer:
    """Ask for its deletion. `confirm`, its own name, is the second key that deletionPolicy Delete
    needs.
    """
    target = _target(services, namespace, name, kind)
    if confirm and confirm != name:
        message = (
            f"confirm is {confirm!r}; to destroy the data of {name}, it has to be {name}. Nothing "
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
                f"deletionPolicy of {name} is Delete, which destroys the data for ever. Give "
                f"confirm={name} to go on, "
                "or set deletionPolicy to Snapshot or Retain first. Nothing was changed."
            )
            raise DefinitionError(message, field="confirm")
        # Under another policy it would be a second key lying about for the day when the policy
        # changes.
        annotations[naming.CONFIRM_DELETE_ANNOTATION] = name
    elif confirm:
        what = "keeps the instance" if policy == RETAIN else "keeps the data in snapshots"
        message = (
            f"deletionPolicy of {name} is {policy}, which {what}; there is nothing to confirm. "
            "Leave confirm out."
        )
        raise DefinitionError(message, field="confirm")
    written = _patch(services, target, {}, annotations)
    _tell(
        services,
        written,
        "DeletionRequested",
        f"{who} asked for the deletion (deletionPolicy {policy}).",
    )
    if not target.is_going:
        uid = str(target.object["metadata"]["uid"])
        with contextlib.suppress(NotFoundError):
            services.kube.delete(target.resource, name, namespace, uid=uid)
    return target.answer(f"{_is_going(target)}; {_OUTLOOK[policy]}", policy=policy)


_OUTLOOK = {
    "Retain": "its instance, credentials and address stay.",
    "Snapshot": (
        "it is gone when a snapshot was made, seen available, and the instance deleted with a "
        "final one."
    ),
    "Delete": "its instance, backups, credentials and address are destroyed, as confirmed.",
}


def _is_going(target: Target) -> str:
    return (
        f"{target.name} was being deleted already"
        if target.is_going
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
        message = f"There is no {resource.plural}.{resource.group} {name} in namespace {namespace}."
        raise NotFoundError(message, service="Kubernetes", status_code=error.status_code) from error
    return Target(resource, found, mapping)


def _refuse_going(target: Target) -> None:
    if target.is_going:
        ready = conditions.condition_in(untrusted.status(target.object), conditions.READY)
        message = (
            f"{target.name} is being deleted ({ready.get('reason') or 'not looked at yet'}); "
            "nothing was changed."
        )
        raise DefinitionError(message, field="name")


def _refuse_impossible(
    services: Services, target: Target, preview: Mapping[str, Any], storage_gib: int
) -> None:
    """Raise DefinitionError where the journey would refuse the changed object, or leave a disk that
    has grown by itself as large as it is. `storage_gib` is what was asked for, 0 for nothing.
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
        return None  # the journey looks again, and tells; not knowing is no reason to refuse a wish
    if observed is None or observed.owner_uid != metadata["uid"]:
        return None
    spec = with_own_group(spec, own, observed)
    if 0 < storage_gib < observed.storage_gib:
        return refuse_shrinking(spec, observed)
    decisions = plan_instance(spec, observed, uid=metadata["uid"], identifier=identifier, tags={})
    return next((item for item in decisions if isinstance(item, Refuse) and item.change), None)


def _there_already(
    services: Services, namespace: str, name: str, wish: Mapping[str, Any]
) -> Answer:
    target = _target(services, namespace, name, "")
    if target.object.get("spec") == wish and not target.is_going:
        return target.answer(
            f"Database {namespace}/{name} is there already, and asks for the same.", changed=False
        )
    state = "is being deleted" if target.is_going else "is there already"
    message = (
        f"Database {namespace}/{name} {state} and was left as it is; choose another name, or "
        "change that one "
        "(database_resize, kubectl edit)."
    )
    raise DefinitionError(message, field="name")


def _patch(
    services: Services, target: Target, body: Mapping[str, Any], annotations: Mapping[str, str]
) -> Target:
    """Write with the uid, so that another object under the same name is not touched."""
    uid = target.object["metadata"]["uid"]
    whole = {
        **body,
        "metadata": {**(body.get("metadata") or {}), "uid": uid, "annotations": dict(annotations)},
    }
    written = services.kube.patch(
        target.resource, target.name, whole, target.namespace, field_manager=FIELD_MANAGER
    )
    return Target(target.resource, written, target.kind)


def _tell(services: Services, target: Target, reason: str, message: str) -> None:
    """Leave an Event; that it cannot be left stops nothing, the annotation is there."""
    with contextlib.suppress(Error):
        services.kube.create_event(
            target.object, reason=reason, message=message, now=services.now()
        )


def _who(name: str) -> str:
    """A name as people type it, on one line."""
    return (
        " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())[
            :MAX_NAME
        ]
        or NOBODY
    )


def _get(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Dict[str, Any]:
    """A merge patch applied, without removals."""
    result = copy.deepcopy(dict(below))
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(old, value) if both else copy.deepcopy(value)  # type: ignore
    return result
