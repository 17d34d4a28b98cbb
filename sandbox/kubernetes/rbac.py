"""The RBAC authorizer: whether the roles bound to a user allow a request.

Follows k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac. The roles that every cluster has are the
few below; the real server's many `system:controller:*` roles are left out, since no such controller
runs here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sandbox.kubernetes.auth import User
from sandbox.kubernetes.store import Store

Json = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
MASTERS = "system:masters"


class Attributes(NamedTuple):
    """What is asked for: a resource, or (when `path` is set) a URL that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Authorizer:
    """Answers from the Roles and bindings in the store, as they are at that moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.told: Callable[[User, Attributes, bool], object] = _nobody
        """Hears of every answer, as an audit log would."""

    def allows(self, user: User, asked: Attributes) -> bool:
        allowed = MASTERS in user.groups or any(
            rule_allows(rule, asked) for rule in self.rules(user, asked.namespace)
        )
        self.told(user, asked, allowed)
        return allowed

    def rules(self, user: User, namespace: str) -> Iterator[Json]:
        """Every rule that holds for a user in a namespace (the cluster, when it is empty)."""
        for entry in self._store.snapshot((_RBAC, "clusterrolebindings")):
            if _is_bound(entry.obj, user, ""):
                yield from self._role_rules(entry.obj["roleRef"], "")
        if namespace:
            for entry in self._store.snapshot((_RBAC, "rolebindings"), f"{namespace}/"):
                if _is_bound(entry.obj, user, namespace):
                    yield from self._role_rules(entry.obj["roleRef"], namespace)

    def _role_rules(self, reference: Json, namespace: str) -> list[Json]:
        if reference.get("kind") == "ClusterRole":
            entry = self._store.get((_RBAC, "clusterroles"), reference["name"])
        else:
            entry = self._store.get((_RBAC, "roles"), f"{namespace}/{reference['name']}")
        return (entry.obj.get("rules") or []) if entry else []


def _nobody(_user: User, _asked: Attributes, _allowed: bool) -> None:
    """Hears of it and does nothing."""


def _is_bound(binding: Json, user: User, namespace: str) -> bool:
    for subject in binding.get("subjects") or []:
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "User" and name == user.name:
            return True
        if kind == "Group" and name in user.groups:
            return True
        account = f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
        if kind == "ServiceAccount" and account == user.name:
            return True
    return False


def rule_allows(rule: Json, asked: Attributes) -> bool:
    """Whether one PolicyRule covers what is asked for."""
    if not _has(rule.get("verbs"), asked.verb):
        return False
    if asked.path:
        return any(
            _path_matches(pattern, asked.path) for pattern in rule.get("nonResourceURLs") or []
        )
    if not _has(rule.get("apiGroups"), asked.group):
        return False
    names = rule.get("resourceNames")
    if names and asked.name not in names:
        return False
    resources = rule.get("resources") or []
    if not asked.subresource:
        return _has(resources, asked.resource)
    combined = f"{asked.resource}/{asked.subresource}"
    return _has(resources, combined) or f"*/{asked.subresource}" in resources


def _has(allowed: list[str] | None, word: str) -> bool:
    return bool(allowed) and ("*" in (allowed or ()) or word in (allowed or ()))


def _path_matches(pattern: str, path: str) -> bool:
    return pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def denial(user: User, asked: Attributes) -> str:
    """The sentence of a 403, as the real server words it."""
    if asked.path:
        return f'User "{user.name}" cannot {asked.verb} path "{asked.path}"'
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    return f'User "{user.name}" cannot {asked.verb} resource "{resource}" in API group "{asked.group}" {where}'


_DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz",
"/version",
              "/version/"]  # fmt: skip
_PUBLIC = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_WORKLOADS: list[Json] = [
    {"apiGroups": [""], "resources": ["configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "pods/log",
                                      "pods/status", "replicationcontrollers", "serviceaccounts", "services"]},
    {"apiGroups": ["apps", "batch", "autoscaling", "policy", "networking.k8s.io", "coordination.k8s.io"], "resources":
    ["*"]},
]  # fmt: skip
_SECRETS: Json = {"apiGroups": [""], "resources": ["secrets"], "verbs": [*_READ, *_WRITE]}
_NAMESPACES: Json = {
    "apiGroups": [""],
    "resources": ["namespaces", "resourcequotas", "limitranges"],
    "verbs": _READ,
}
_VIEW = [*({**rule, "verbs": _READ} for rule in _WORKLOADS), _NAMESPACES]
_EDIT = [*({**rule, "verbs": [*_READ, *_WRITE]} for rule in _WORKLOADS), _SECRETS, _NAMESPACES]
_ROLES: Json = {
    "apiGroups": [_RBAC],
    "resources": ["roles", "rolebindings"],
    "verbs": [*_READ, *_WRITE],
}
_ALL: list[Json] = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
]
_REVIEW: Json = {
    "apiGroups": ["authorization.k8s.io"],
    "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    "verbs": ["create"],
}
_DELEGATE: list[Json] = [
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["subjectaccessreviews"],
        "verbs": ["create"],
    },
]

CLUSTER_ROLES: dict[str, list[Json]] = {
    "cluster-admin": _ALL,
    "admin": [*_EDIT, _ROLES],
    "edit": _EDIT,
    "view": _VIEW,
    "system:auth-delegator": _DELEGATE,
    "system:basic-user": [_REVIEW],
    "system:discovery": [{"nonResourceURLs": _DISCOVERY, "verbs": ["get"]}],
    "system:public-info-viewer": [{"nonResourceURLs": _PUBLIC, "verbs": ["get"]}],
}
CLUSTER_ROLE_BINDINGS: dict[str, tuple[str, list[str]]] = {
    "cluster-admin": ("cluster-admin", [MASTERS]),
    "system:basic-user": ("system:basic-user", ["system:authenticated"]),
    "system:discovery": ("system:discovery", ["system:authenticated"]),
    "system:public-info-viewer": (
        "system:public-info-viewer",
        ["system:authenticated", "system:unauthenticated"],
    ),
}


def initial_objects() -> Iterator[tuple[str, Json]]:
    """The ClusterRoles and bindings that every cluster starts with, each with its plural."""
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    for name, rules in CLUSTER_ROLES.items():
        yield "clusterroles", {"metadata": {"name": name, "labels": labels}, "rules": rules}
    for name, (role, groups) in CLUSTER_ROLE_BINDINGS.items():
        reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role}
        subjects = [{"apiGroup": _RBAC, "kind": "Group", "name": group} for group in groups]
        yield (
            "clusterrolebindings",
            {
                "metadata": {"name": name, "labels": labels},
                "roleRef": reference,
                "subjects": subjects,
            },
        )
