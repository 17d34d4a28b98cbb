"""The objects that are asked about: what is open on them now, and what was answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from kubestorm.clients.kube import KubeClient, Resource
from kubestorm.clients.kube_errors import ForbiddenError
from kubestorm.clients.services import Services
from kubestorm.core import untrusted
from kubestorm.core.conditions import AWAITING_APPROVAL
from kubestorm.core.errors import DefinitionError, Error, NotFoundError, PermanentError
from kubestorm.core.naming import GROUP, VERSION, Identity, identity_of
from kubestorm.kinds.common.resource import ResourceHandle
from kubestorm.kinds.database.spec_mapping import as_database, mapping_for
from kubestorm.people.approval import proposal as proposals
from kubestorm.people.approval.plan import Question
from kubestorm.people.approval.proposal import Proposal
from kubestorm.people.approval.record import FIELD, Record, fields, read
from kubestorm.people.approval.settings import DELETE

ROLLOUTS, DATABASES = "rollouts", "databases"
KINDS = (ROLLOUTS, DATABASES)
APPLICATIONS = Resource(GROUP, VERSION, "applications")
DEPLOYMENTS = Resource("apps", "v1", "deployments")

Object = Dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """One object. `question` is None where nothing is open on it."""

    identity: Identity
    obj: Mapping[str, Any]
    record: Optional[Record]
    question: Optional[Question] = None
    proposal: Optional[Proposal] = None


def resources(services: Services) -> Tuple[Resource, ...]:
    """The kinds that people are asked about: ours, and those that ask for databases in words of
    their own.
    """
    others = services.settings.database.kinds
    return (
        *(Resource(GROUP, VERSION, plural) for plural in KINDS),
        *(Resource(one.group, one.version, one.plural) for one in others),
    )


def word_of(resource: Resource) -> str:
    """A kind in a button: its plural, with the group where that is not ours."""
    return resource.plural if resource.group == GROUP else f"{resource.plural}.{resource.group}"


def resource_of(services: Services, word: str) -> Resource:
    """Where such a kind is in the API; DefinitionError for one that nobody asks about."""
    found = next(
        (one for one in resources(services) if word in (word_of(one), f"{one.plural}.{one.group}")),
        None,
    )
    if found is None:
        raise DefinitionError(
            f"Approval is asked for {' and '.join(KINDS)}, not for {word}.", field="plural"
        )
    return found


def find(services: Services, identity: Identity) -> Optional[Subject]:
    """The object as it is now; None when it is gone, or another has its name."""
    try:
        resource = resource_of(services, f"{identity.plural}.{identity.group}")
        obj = services.kube.get(resource, identity.name, identity.namespace)
    except NotFoundError:
        return None
    if identity.uid and obj["metadata"].get("uid") != identity.uid:
        return None
    return subject_of(services, resource, obj)


def subject_of(services: Services, resource: Resource, obj: Object) -> Subject:
    """What is open on an object."""
    obj.setdefault("apiVersion", resource.api_version)
    identity = identity_of(services.settings.cluster, resource.plural, obj)
    record = read(obj)
    is_rollout = (resource.group, resource.plural) == (GROUP, ROLLOUTS)
    what = _what(services, obj, is_rollout=is_rollout)
    if not what:
        return Subject(identity, obj, record)
    if is_rollout:
        from kubestorm.kinds.application.rollout.approval import approval_hash

        content_hash = approval_hash(obj, what)
        proposal = proposals.of_rollout(
            obj, what, _application(services.kube, obj), _deployment(services.kube, obj)
        )
    else:
        content_hash = proposals.deletion_hash(obj)
        database = as_database(obj, mapping_for(identity, services.settings.database.kinds))
        proposal = proposals.of_deletion(
            database, str(untrusted.status(obj).get("instanceIdentifier") or "(none)")
        )
    question = Question(
        what, identity.namespace, content_hash, proposal.shown, proposal.requested_by
    )
    return Subject(identity, obj, record, question, proposal)


def _what(services: Services, obj: Mapping[str, Any], *, is_rollout: bool) -> str:
    if is_rollout:
        from kubestorm.kinds.application.rollout.approval import pending_approval

        return pending_approval(obj, services.settings.raw)
    # The teardown says when it waits: it alone knows whether data would be destroyed.
    conditions = untrusted.mappings(untrusted.status(obj).get("conditions"))
    return DELETE if any(item.get("reason") == AWAITING_APPROVAL for item in conditions) else ""


def all_open(services: Services) -> Iterator[Subject]:
    """Every object with a record, answered or not."""
    for resource in resources(services):
        try:
            found: List[Object] = list(services.kube.list_all(resource))
        except (NotFoundError, ForbiddenError):
            continue  # the kind is not installed, or its part is not in use
        for obj in found:
            if FIELD in untrusted.status(obj):
                yield subject_of(services, resource, obj)


def save(services: Services, subject: Subject, record: Record) -> Subject:
    """Write the record; ConflictError when the object was changed since it was read."""
    handle = ResourceHandle(services, subject.identity, "")
    version = str(subject.obj["metadata"]["resourceVersion"])
    written = handle.put_status(fields(record), version)
    if FIELD not in untrusted.status(written):
        raise PermanentError(
            f"The CustomResourceDefinition of {word_of(handle.resource)} has no status.approval: "
            "no answer can be kept. Add it (docs/databases.md).",
            service="Kubernetes",
        )
    return Subject(subject.identity, written, record, subject.question, subject.proposal)


def _application(kube: KubeClient, rollout: Mapping[str, Any]) -> Optional[Object]:
    name = str(((rollout.get("spec") or {}).get("applicationRef") or {}).get("name") or "")
    try:
        return kube.get(APPLICATIONS, name, str(rollout["metadata"].get("namespace") or ""))
    except (NotFoundError, ForbiddenError):
        return None


def _deployment(kube: KubeClient, rollout: Mapping[str, Any]) -> Optional[Object]:
    """The one that carries the good image: the comparison is a help, and nothing waits for it."""
    spec = rollout.get("spec") or {}
    name = str((spec.get("applicationRef") or {}).get("name") or "")
    selector = f"kubestorm.io/application={name}"
    namespace = str(rollout["metadata"].get("namespace") or "")
    try:
        found = list(kube.list_all(DEPLOYMENTS, namespace, label_selector=selector))
    except Error:
        return None
    previous = str(spec.get("previousDigest") or "")
    if not previous:
        return None
    return next(
        (one for one in found if previous in str((one.get("spec") or {}).get("template"))), None
    )
