"""The objects that are asked about: what is open on them now, and their annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional

from kubestorm.approval import proposal as proposals
from kubestorm.approval.deciding import Question
from kubestorm.approval.gate import AWAITING
from kubestorm.approval.proposal import Proposal
from kubestorm.approval.record import ANNOTATION, Record, read, write
from kubestorm.approval.settings import DELETE
from kubestorm.errors import DefinitionError, Error, NotFoundError
from kubestorm.kube import KubeClient, Resource
from kubestorm.kube_errors import ForbiddenError
from kubestorm.naming import GROUP, VERSION, Identity, identity_of
from kubestorm.services import Services

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


def resource_of(plural: str) -> Resource:
    """Where a kind is in the API; DefinitionError for one that nobody asks about."""
    if plural not in KINDS:
        raise DefinitionError(f"Approval is asked for {' and '.join(KINDS)}, not for {plural}.", field="plural")
    return Resource(GROUP, VERSION, plural)


def find(services: Services, identity: Identity) -> Optional[Subject]:
    """The object as it is now; None when it is gone, or another has its name."""
    try:
        obj = services.kube.get(resource_of(identity.plural), identity.name, identity.namespace)
    except NotFoundError:
        return None
    if identity.uid and obj["metadata"].get("uid") != identity.uid:
        return None
    return subject_of(services, identity.plural, obj)


def subject_of(services: Services, plural: str, obj: Object) -> Subject:
    """What is open on an object."""
    obj.setdefault("apiVersion", f"{GROUP}/{VERSION}")
    identity = identity_of(services.settings.cluster, plural, obj)
    record = read(obj["metadata"].get("annotations"))
    what = _what(services, plural, obj)
    if not what:
        return Subject(identity, obj, record)
    if plural == ROLLOUTS:
        from kubestorm.rollout import approval as rollouts

        content_hash = rollouts.content_hash(obj, what)
        proposal = proposals.of_rollout(obj, what, _application(services.kube, obj), _deployment(services.kube, obj))
    else:
        content_hash = proposals.deletion_hash(obj)
        proposal = proposals.of_deletion(obj, str((obj.get("status") or {}).get("instanceIdentifier") or "(none)"))
    question = Question(what, identity.namespace, content_hash, proposal.shown, proposal.requested_by)
    return Subject(identity, obj, record, question, proposal)


def _what(services: Services, plural: str, obj: Mapping[str, Any]) -> str:
    if plural == ROLLOUTS:
        from kubestorm.rollout import approval as rollouts

        return rollouts.asks(obj, services.settings.raw)
    # The teardown says when it waits: it alone knows whether data would be destroyed.
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return DELETE if any(item.get("reason") == AWAITING for item in conditions) else ""


def all_open(services: Services) -> Iterator[Subject]:
    """Every object with a record, answered or not."""
    for plural in KINDS:
        try:
            found: List[Object] = list(services.kube.list_all(resource_of(plural)))
        except NotFoundError:
            continue  # the kind is not installed
        for obj in found:
            if ANNOTATION in (obj["metadata"].get("annotations") or {}):
                yield subject_of(services, plural, obj)


def save(services: Services, subject: Subject, record: Record) -> Subject:
    """Write the record; ConflictError when the object was changed since it was read."""
    metadata = subject.obj["metadata"]
    body = {
        "metadata": {"annotations": {ANNOTATION: write(record)}, "resourceVersion": metadata["resourceVersion"]},
    }
    resource = resource_of(subject.identity.plural)
    written = services.kube.patch(resource, subject.identity.name, body, subject.identity.namespace)
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
    return next((one for one in found if previous in str((one.get("spec") or {}).get("template"))), None)
