"""The table of kinds that are served, and how a request's path finds one.

A row is all there is to most kinds: the generic registry does the rest. What a kind adds (defaults,
checks, columns) is in `defaults`, `checks` and `tables`. CustomResourceDefinitions add rows while
the server runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, kw_only=True)
class CustomVersion:
    """What a CRD says of one version."""

    schema: Json
    columns: tuple[Json, ...] = ()
    status: bool = False
    scale: Json | None = None


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One row: a plural under a group, served in one or more versions (the first is the one that is
    stored).
    """

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    # Whether metadata.generation counts changes of the spec; for custom resources it always does.
    generation: bool = False
    verbs: tuple[str, ...] = ALL_VERBS
    fields: frozenset[str] = frozenset()
    custom: dict[str, CustomVersion] = field(default_factory=dict, compare=False, hash=False)
    storage_group: str | None = None
    storage_version: str = ""

    @property
    def bucket(self) -> tuple[str, str]:
        """Where the objects are stored: two groups may share them, as the two `events` do."""
        return (self.group if self.storage_group is None else self.storage_group, self.plural)

    @property
    def stored_version(self) -> str:
        return self.storage_version or self.versions[0]

    def api_version(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version

    @property
    def is_custom(self) -> bool:
        return bool(self.custom)

    def key(self, namespace: str, name: str) -> str:
        return f"{namespace}/{name}" if self.namespaced else name

    def has(self, subresource: str, version: str) -> bool:
        if not self.custom:
            return subresource in self.subresources
        rules = self.custom[version]
        return (subresource == "status" and rules.status) or (
            subresource == "scale" and rules.scale is not None
        )


def _row(
    group: str, version: str, kind: str, plural: str, scope: str = "ns", **more: Any
) -> Resource:
    for name in ("short_names", "categories"):
        more[name] = tuple(more.pop(name, "").split())
    for name in ("subresources", "fields"):
        more[name] = frozenset(more.pop(name, "").split())
    more["verbs"] = tuple(more.pop("verbs", "").split()) or ALL_VERBS
    return Resource(
        group=group,
        versions=tuple(version.split()),
        kind=kind,
        plural=plural,
        singular=more.pop("singular", kind.lower()),
        list_kind=f"{kind}List",
        namespaced=scope == "ns",
        **more,
    )


_EVENT_FIELDS = " ".join(
    f"involvedObject.{name}"
    for name in ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"]
)
_POD_FIELDS = (
    "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName status.phase status.podIP "
    "status.nominatedNodeName"
)
_REGARDING_FIELDS = _EVENT_FIELDS.replace("involvedObject", "regarding") + " reason type"
_ADM, _APPS, _AUTHN, _AUTHZ = (
    "admissionregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
)
_RBAC, _NET, _CRD, _STORAGE = (
    "rbac.authorization.k8s.io",
    "networking.k8s.io",
    "apiextensions.k8s.io",
    "storage.k8s.io",
)

CORE: tuple[Resource, ...] = (
    _row("", "v1", "Namespace", "namespaces", "cluster", short_names="ns", subresources="status finalize",
         fields="status.phase"),
    _row("", "v1", "Pod", "pods", short_names="po", categories="all", fields=_POD_FIELDS,
         subresources="status log binding eviction ephemeralcontainers"),
    _row("", "v1", "Service", "services", short_names="svc", categories="all", subresources="status",
         fields="spec.clusterIP spec.type"),
    _row("", "v1", "Endpoints", "endpoints", short_names="ep"),
    _row("", "v1", "Event", "events", short_names="ev",
         fields=_EVENT_FIELDS + " reason source type reportingComponent"),
    _row("", "v1", "ConfigMap", "configmaps", short_names="cm"),
    _row("", "v1", "Secret", "secrets", fields="type"),
    _row("", "v1", "ServiceAccount", "serviceaccounts", short_names="sa", subresources="token"),
    _row("", "v1", "Node", "nodes", "cluster", short_names="no", subresources="status", fields="spec.unschedulable"),
    _row("", "v1", "ResourceQuota", "resourcequotas", short_names="quota", subresources="status"),
    _row("", "v1", "LimitRange", "limitranges", short_names="limits"),
    _row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short_names="pvc", subresources="status"),
    _row("", "v1", "PersistentVolume", "persistentvolumes", "cluster", short_names="pv", subresources="status"),
    _row("", "v1", "PodTemplate", "podtemplates"),
    _row("", "v1", "ReplicationController", "replicationcontrollers", short_names="rc", categories="all",
         subresources="status scale", generation=True, fields="status.replicas"),
    _row(_APPS, "v1", "Deployment", "deployments", short_names="deploy", categories="all", generation=True,
         subresources="status scale"),
    _row(_APPS, "v1", "ReplicaSet", "replicasets", short_names="rs", categories="all", generation=True,
         subresources="status scale", fields="status.replicas"),
    _row(_APPS, "v1", "StatefulSet", "statefulsets", short_names="sts", categories="all", generation=True,
         subresources="status scale"),
    _row(_APPS, "v1", "DaemonSet", "daemonsets", short_names="ds", categories="all", generation=True,
         subresources="status"),
    _row(_APPS, "v1", "ControllerRevision", "controllerrevisions"),
    _row("batch", "v1", "Job", "jobs", categories="all", subresources="status", generation=True,
         fields="status.successful"),
    _row("batch", "v1", "CronJob", "cronjobs", short_names="cj", categories="all", subresources="status",
         generation=True),
    _row("autoscaling", "v2 v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", short_names="hpa",
         categories="all", subresources="status"),
    _row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short_names="pdb", subresources="status",
         generation=True),
    _row(_NET, "v1", "Ingress", "ingresses", short_names="ing", subresources="status", generation=True),
    _row(_NET, "v1", "IngressClass", "ingressclasses", "cluster", generation=True),
    _row(_NET, "v1", "NetworkPolicy", "networkpolicies", short_names="netpol", generation=True),
    _row(_RBAC, "v1", "Role", "roles"),
    _row(_RBAC, "v1", "RoleBinding", "rolebindings"),
    _row(_RBAC, "v1", "ClusterRole", "clusterroles", "cluster"),
    _row(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", "cluster"),
    _row("coordination.k8s.io", "v1", "Lease", "leases"),
    _row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", generation=True),
    _row("events.k8s.io", "v1", "Event", "events", short_names="ev", fields=_REGARDING_FIELDS, storage_group=""),
    _row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "cluster", short_names="pc"),
    _row(_STORAGE, "v1", "StorageClass", "storageclasses", "cluster", short_names="sc"),
    _row(_ADM, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "cluster",
         categories="api-extensions", generation=True),
    _row(_ADM, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "cluster",
         categories="api-extensions", generation=True),
    _row(_CRD, "v1", "CustomResourceDefinition", "customresourcedefinitions", "cluster", short_names="crd crds",
         categories="api-extensions", subresources="status", generation=True),
    _row(_AUTHN, "v1", "TokenReview", "tokenreviews", "cluster", verbs="create"),
    _row(_AUTHZ, "v1", "SubjectAccessReview", "subjectaccessreviews", "cluster", verbs="create"),
    _row(_AUTHZ, "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "cluster", verbs="create"),
    _row(_AUTHZ, "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", verbs="create"),
    _row(_AUTHZ, "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "cluster", verbs="create"),
)  # fmt: skip

REVIEWS = frozenset(row.plural for row in CORE if row.verbs == ("create",))


class Catalog:
    """What is served now, by group, version and plural."""

    def __init__(self, rows: Iterable[Resource] = CORE) -> None:
        self._rows: dict[tuple[str, str], Resource] = {}
        self._served: dict[tuple[str, str, str], Resource] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Resource) -> None:
        self.remove(row.group, row.plural)
        self._rows[row.group, row.plural] = row
        for version in row.versions:
            self._served[row.group, version, row.plural] = row

    def remove(self, group: str, plural: str) -> None:
        row = self._rows.pop((group, plural), None)
        for version in row.versions if row else ():
            self._served.pop((group, version, plural), None)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._served.get((group, version, plural))

    def by_plural(self, group: str, plural: str) -> Resource | None:
        return self._rows.get((group, plural))

    def rows(self) -> list[Resource]:
        return list(self._rows.values())

    def groups(self) -> dict[str, list[str]]:
        """Each group with its versions, the preferred one first; the core group is the empty word."""
        found: dict[str, list[str]] = {}
        for row in self._rows.values():
            versions = found.setdefault(row.group, [])
            versions.extend(version for version in row.versions if version not in versions)
        for versions in found.values():
            versions.sort(key=version_priority)
        return found


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Sort key: v2 before v1 before v1beta2 before v1alpha1, as the real server orders versions of
    a group.
    """
    head, stage, rest = version, 0, ""
    for word, rank in (("alpha", 2), ("beta", 1)):
        if word in version:
            head, _, rest = version.partition(word)
            stage = rank
    major = int(head[1:]) if head[1:].isdigit() else 0
    return (stage if major else 3, -major, -(int(rest) if rest.isdigit() else 0), version)
