"""Read from Kubernetes, RDS, Vault and Consul what is compared. Changes nothing; the error of a
service that does not answer is in the report.

The Databases are listed before and after the rest: what was created, changed or deleted in between
is not compared.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

from kubestorm.clients.kube import KubeSettings, Resource
from kubestorm.clients.rds import ObservedInstance, ObservedParameter
from kubestorm.clients.services import Services
from kubestorm.core import conditions, naming, untrusted
from kubestorm.core.errors import Error, NotFoundError
from kubestorm.core.settings import KindMapping
from kubestorm.core.spec_reader import InvalidSpecError
from kubestorm.kinds.database import plan_rotation
from kubestorm.kinds.database.commands import DATABASES, resource_of
from kubestorm.kinds.database.drift.compare import PUBLISHED_KEYS, compare
from kubestorm.kinds.database.drift.values import (
    CONSUL,
    KIND,
    RDS,
    VAULT,
    Desired,
    ObservedState,
    Origin,
    Place,
    Report,
)
from kubestorm.kinds.database.plan_parameters import with_own_group
from kubestorm.kinds.database.spec import parse_database
from kubestorm.kinds.database.spec_mapping import as_database
from kubestorm.kinds.database.status import has_endpoint, is_progressing

Object = Mapping[str, Any]
T = TypeVar("T")


class Scope(NamedTuple):
    """What to check: everything, a namespace, one Database, one kind of resource."""

    namespace: str = ""
    name: str = ""
    kind: str = ""
    """Database, or another kind that is read as one, as `plural.group`; empty for all."""

    def has(self, place: Place) -> bool:
        return (not self.namespace or self.namespace == place.namespace) and (
            not self.name or self.name == place.name
        )


EVERYTHING = Scope()


class Listed(NamedTuple):
    """An object and how to read its kind; None for a Database."""

    resource: Object
    kind: Optional[KindMapping] = None


def inspect(services: Services, scope: Scope = EVERYTHING) -> Report:
    """Compare everything in scope. Raises only where Kubernetes does not answer."""
    wanted = _origin(services, scope.kind)
    before = _databases(services, scope)
    state = observe_state(services, scope, [desired_of(services, item) for item in before.values()])
    after = _databases(services, scope)
    databases = [
        desired_of(services, item, changed=_is_other(item, before.get(uid)))
        for uid, item in after.items()
    ]
    settings = services.settings
    judged = [
        desired
        for desired in databases
        if wanted is None or wanted == (desired.origin.group, desired.origin.plural)
    ]
    report = compare(
        judged,
        state,
        cluster=settings.cluster,
        mount=settings.vault.mount,
        prefix="" if scope.namespace or scope.name else settings.database.identifier_prefix,
        present=frozenset(_place(item.resource) for item in (*before.values(), *after.values())),
        uids=frozenset((*before, *after)),
    )
    if wanted not in (None, (DATABASES.group, DATABASES.plural)):
        # The kind of a leftover is unknown; they are reported with Databases.
        report = dataclasses.replace(
            report, findings=tuple(one for one in report.findings if not one.orphan), kept=()
        )
    # RDS, Vault and Consul know neither scope nor served namespaces: of the Databases elsewhere
    # nothing was asked, so nothing is said of what is theirs.
    kube = services.kube.settings
    return dataclasses.replace(
        report,
        findings=tuple(
            one
            for one in report.findings
            if scope.has(one.place) and (not one.orphan or _is_asked(kube, scope, one.place))
        ),
        kept=tuple(
            one for one in report.kept if scope.has(one.place) and _is_asked(kube, scope, one.place)
        ),
    )


def _is_asked(kube: KubeSettings, scope: Scope, place: Place) -> bool:
    """Whether the Databases that could own what is left there were listed. Where only some
    namespaces were, what does not say its namespace may be any other's.
    """
    listed = kube.places(scope.namespace)
    return DATABASES.plural not in kube.left_out and ("" in listed or place.namespace in listed)


def _origin(services: Services, kind: str) -> Optional[Tuple[str, str]]:
    """(group, plural) of the kind that is meant, None for all. Raises DefinitionError for one that
    is not known.
    """
    if not kind:
        return None
    resource = resource_of(services, "" if kind == KIND else kind)
    return resource.group, resource.plural


def desired_of(services: Services, listed: Listed, *, changed: bool = False) -> Desired:
    """Read a Database; `under_way` says why one that is changing or invalid is not compared."""
    settings = services.settings
    resource, kind = listed
    place, status = _place(resource), untrusted.status(resource)
    endpoint = untrusted.mapping(status.get("endpoint"))
    plural = kind.plural if kind else DATABASES.plural
    identity = naming.identity_of(settings.cluster, plural, resource)
    resource = as_database(resource, kind)
    known = status.get("instanceIdentifier") or (resource.get("spec") or {}).get("adopt")
    try:
        spec = parse_database(resource, settings.database)
        problem = ""
    except InvalidSpecError as error:
        spec, problem = None, f"its spec is invalid ({error})"
    own = naming.rds_identifier(settings.database.identifier_prefix, settings.cluster, *place)
    identifier = known or own
    request = plan_rotation.requested(resource)
    return Desired(
        place=place,
        uid=identity.uid,
        identifier=str(spec.adopt if spec and spec.adopt else identifier),
        vault_path=f"{settings.vault.mount}/{naming.vault_path(settings.cluster, *place)}",
        spec=spec,
        tags={**(spec.tags if spec else {}), **naming.owner_tags(identity)},
        host=endpoint.get("host"),
        port=endpoint.get("port"),
        own_identifier=own,
        rotation_due=request is not None and request != status.get(plan_rotation.STATUS_FIELD),
        credentials_stored=status.get("vaultVersion") is not None,
        under_way="it is changing" if changed else _under_way(resource, kind) or problem,
        origin=Origin(identity.group, identity.version, plural, str(resource.get("kind") or KIND)),
    )


def observe_state(services: Services, scope: Scope, databases: Sequence[Desired]) -> ObservedState:
    """What RDS, Vault and Consul have of this cluster; details only for these Databases."""
    unknown: Dict[str, str] = {}
    instances = _ask(RDS, lambda: tuple(services.rds.list_instances()), unknown)
    snapshots = _ask(RDS, lambda: _snapshots(services), unknown) if instances is not None else None
    parameters = _ask(RDS, lambda: _parameters(services, databases, instances or ()), unknown)
    secrets = _ask(
        VAULT, lambda: _secrets(services, scope, [desired.place for desired in databases]), unknown
    )
    return ObservedState(
        instances=instances if snapshots is not None else None,
        snapshots=frozenset(snapshots or ()),
        published=_ask(CONSUL, lambda: _published(services, scope), unknown),
        secrets=secrets.versions if secrets is not None else None,
        pending=secrets.pending if secrets is not None else frozenset(),
        parameters=parameters or {},
        unknown=unknown,
    )


def _databases(services: Services, scope: Scope) -> Dict[str, Listed]:
    found: Dict[str, Listed] = {}
    with contextlib.suppress(
        NotFoundError
    ):  # without the definition there is none, and what exists is left over
        found.update(
            {
                item["metadata"]["uid"]: Listed(item)
                for item in services.kube.list_all(DATABASES, scope.namespace)
            }
        )
    for kind in services.settings.database.kinds:
        found.update(_of_kind(services, kind, scope))
    return {uid: item for uid, item in found.items() if scope.has(_place(item.resource))}


def _of_kind(services: Services, kind: KindMapping, scope: Scope) -> Dict[str, Listed]:
    """The objects of another kind that asks for databases; none where its definition is not
    installed.
    """
    try:
        resource = Resource(kind.group, kind.version, kind.plural)
        return {
            item["metadata"]["uid"]: Listed(item, kind)
            for item in services.kube.list_all(resource, scope.namespace)
        }
    except NotFoundError:
        return {}


def _under_way(resource: Object, kind: Optional[KindMapping]) -> str:
    metadata, status = resource["metadata"], untrusted.status(resource)
    if metadata.get("deletionTimestamp"):
        return "it is being deleted"
    counted = kind is None or kind.status != "object"
    if counted and untrusted.integer(status.get("observedGeneration")) < untrusted.integer(
        metadata.get("generation")
    ):
        return "its latest change is not reconciled yet"
    ready = conditions.condition_in(status, conditions.READY)
    if is_progressing(resource) or (
        ready.get("status") != conditions.TRUE and not has_endpoint(resource)
    ):
        return f"it is not Ready yet ({ready.get('reason') or 'not reconciled'})"
    return ""


def _published(services: Services, scope: Scope) -> Mapping[Place, Mapping[str, str]]:
    root = f"kubestorm/{services.settings.cluster}/"
    found: Dict[Place, Dict[str, str]] = {}
    for key, value in services.consul.show_tree(
        root + (f"{scope.namespace}/" if scope.namespace else "")
    ).items():
        parts = ([scope.namespace] if scope.namespace else []) + key.split("/")
        if len(parts) < 3 or not scope.has(Place(parts[0], parts[1])):
            continue
        tree = found.setdefault(Place(parts[0], parts[1]), {})
        # The values of other keys are not kept.
        if len(parts) == 3 and parts[2] in PUBLISHED_KEYS:
            tree[parts[2]] = value[:256]
    return found


class _Secrets(NamedTuple):
    versions: Mapping[Place, int]
    pending: FrozenSet[Place]


def _parameters(
    services: Services, databases: Sequence[Desired], instances: Sequence[ObservedInstance]
) -> Mapping[str, Mapping[str, ObservedParameter]]:
    """What is set in the groups of Databases that state parameters; one or two calls for each of
    them.
    """
    found: Dict[str, Mapping[str, ObservedParameter]] = {}
    by_identifier = {one.identifier: one for one in instances}
    for desired in databases:
        observed = by_identifier.get(desired.identifier)
        if (
            desired.spec is None
            or desired.under_way
            or observed is None
            or "parameters" not in desired.spec.stated
        ):
            continue
        group = with_own_group(desired.spec, desired.own_identifier, observed).parameter_group or ""
        with contextlib.suppress(NotFoundError):  # the instance's own difference names it
            found[group] = services.rds.parameters(group, only_set=True)
    return found


def _secrets(services: Services, scope: Scope, wished: Sequence[Place]) -> _Secrets:
    cluster = services.settings.cluster
    root = f"kubestorm/{cluster}/"
    found: Dict[Place, int] = {}
    pending = set()
    for path in services.vault.list_paths(root + scope.namespace):
        parts = path[len(root) :].split("/")
        # A password that is being rotated in lies one level deeper, and belongs to the same place.
        if len(parts) >= 2 and scope.has(Place(parts[0], parts[1])):
            place = Place(parts[0], parts[1])
            found[place] = 0
            if path == naming.pending_vault_path(naming.vault_path(cluster, *place)):
                pending.add(place)
    for place in found.keys() & set(wished):
        described = services.vault.describe(naming.vault_path(cluster, *place))
        if described is None:
            del found[place]
        else:
            found[place] = int(described["version"])
    return _Secrets(found, frozenset(pending))


def _snapshots(services: Services) -> List[Place]:
    return [
        Place(one.tags.get(naming.TAG_NAMESPACE, ""), one.tags.get(naming.TAG_NAME, ""))
        for one in services.rds.list_snapshots()
        if one.tags.get(naming.TAG_CLUSTER) == services.settings.cluster
    ]


def _ask(service: str, call: Callable[[], T], unknown: Dict[str, str]) -> Optional[T]:
    try:
        return call()
    except Error as error:
        unknown[service] = str(error)
        return None


def _is_other(now: Listed, before: Optional[Listed]) -> bool:
    return before is None or _version(now) != _version(before)


def _version(listed: Listed) -> Optional[str]:
    version: Optional[str] = listed.resource["metadata"].get("resourceVersion")
    return version


def _place(resource: Object) -> Place:
    return Place(resource["metadata"].get("namespace", ""), resource["metadata"]["name"])
