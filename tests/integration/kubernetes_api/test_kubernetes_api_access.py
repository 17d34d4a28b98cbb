"""Tokens and RBAC: who may do what, and what the refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.kubernetes import User

Json = dict[str, Any]


@pytest.fixture
def reader(cluster: Any) -> str:
    """The token of a user who may do nothing yet."""
    cluster.app.authenticator.add("reader-token", User("reader"))
    return "reader-token"


def role(verbs: list[str], **more: Any) -> list[Json]:
    return [{"apiGroups": ["demo.io"], "resources": ["widgets"], "verbs": verbs, **more}]


def bind(cluster: Any, namespace: str, rules: list[Json], subject: Json) -> None:
    group = "/apis/rbac.authorization.k8s.io/v1"
    cluster.raw(
        "POST", f"{group}/namespaces/{namespace}/roles", {"metadata": {"name": "r"}, "rules": rules}
    )
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    body = {"metadata": {"name": "r"}, "roleRef": reference, "subjects": [subject]}
    code, made = cluster.raw("POST", f"{group}/namespaces/{namespace}/rolebindings", body)
    assert code == 201, made


def test_unknown_and_absent_tokens(cluster: Any) -> None:
    """A token nobody has is 401; none at all is the anonymous user, who may read little more than
    the version.
    """
    assert cluster.raw("GET", "/api/v1/pods", token="nonsense")[0] == 401
    code, status = cluster.raw("GET", "/api/v1/pods", token="")
    assert (code, status["details"]) == (403, {"kind": "pods"})
    assert status["message"] == (
        'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" '
        "at the cluster scope"
    )
    assert cluster.raw("GET", "/version", token="")[0] == 200
    assert cluster.raw("GET", "/apis", token="")[0] == 403


def test_a_role_allows_what_it_names(
    cluster: Any, namespace: str, widgets: str, reader: str
) -> None:
    """In its namespace alone, for its verbs alone; the refusal names user, verb, resource, group
    and place.
    """
    bind(cluster, namespace, role(["get", "list"]), {"kind": "User", "name": "reader"})
    assert cluster.raw("GET", widgets, token=reader)[0] == 200
    code, status = cluster.raw(
        "POST", widgets, {"metadata": {"name": "a"}, "spec": {}}, token=reader
    )
    assert code == 403
    assert status["message"] == (
        'widgets.demo.io is forbidden: User "reader" cannot create resource "widgets" in API '
        'group "demo.io" '
        f'in the namespace "{namespace}"'
    )
    code, status = cluster.raw("GET", "/apis/demo.io/v1/widgets", token=reader)
    assert (code, status["message"].rpartition('"demo.io" ')[2]) == (403, "at the cluster scope")


def test_resource_names_and_subresources(
    cluster: Any, namespace: str, widgets: str, reader: str
) -> None:
    """A rule with names holds for those objects; status needs a rule of its own."""
    bind(
        cluster,
        namespace,
        role(["get", "patch"], resourceNames=["a"]),
        {"kind": "User", "name": "reader"},
    )
    assert cluster.raw("GET", f"{widgets}/a", token=reader)[0] == 404
    assert cluster.raw("GET", f"{widgets}/b", token=reader)[0] == 403
    merge = {"Content_Type": "application/merge-patch+json"}
    assert cluster.raw("PATCH", f"{widgets}/a/status", {}, token=reader, **merge)[0] == 403


def test_service_account_tokens(cluster: Any, namespace: str, widgets: str) -> None:
    """A token asked for an account acts as that account, until the account is deleted; a review
    knows it.
    """
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    code, answer = cluster.raw("POST", f"{path}/token", {"spec": {"expirationSeconds": 600}})
    assert code == 201
    token = answer["status"]["token"]
    bind(
        cluster,
        namespace,
        role(["list"]),
        {"kind": "ServiceAccount", "name": "default", "namespace": namespace},
    )
    assert cluster.raw("GET", widgets, token=token)[0] == 200
    _, review = cluster.raw(
        "POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}}
    )
    assert review["status"]["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert f"system:serviceaccounts:{namespace}" in review["status"]["user"]["groups"]
    cluster.raw("DELETE", path)
    assert cluster.raw("GET", widgets, token=token)[0] == 401


def test_access_reviews(cluster: Any, namespace: str, reader: str) -> None:
    """`kubectl auth can-i` asks this way, for oneself and (as an administrator) for others."""
    bind(cluster, namespace, role(["list"]), {"kind": "User", "name": "reader"})
    group = "/apis/authorization.k8s.io/v1"
    for verb, allowed in (("list", True), ("delete", False)):
        wanted = {"verb": verb, "group": "demo.io", "resource": "widgets", "namespace": namespace}
        body = {"spec": {"resourceAttributes": wanted}}
        _, own = cluster.raw("POST", f"{group}/selfsubjectaccessreviews", body, token=reader)
        assert own["status"]["allowed"] is allowed
        other = {"spec": {"resourceAttributes": wanted, "user": "reader"}}
        _, asked = cluster.raw("POST", f"{group}/subjectaccessreviews", other)
        assert asked["status"]["allowed"] is allowed
