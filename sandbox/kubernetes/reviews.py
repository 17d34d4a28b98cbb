"""The kinds that are questions: who is this token, may this user do that, what may I do."""

from __future__ import annotations

from typing import Any

from sandbox.kubernetes.auth import Authenticator, User
from sandbox.kubernetes.rbac import Attributes, Authorizer

Json = dict[str, Any]


def answer(
    kind: str,
    body: Json,
    user: User,
    namespace: str,
    authenticator: Authenticator,
    authorizer: Authorizer,
) -> Json:
    """The review with its `status` filled in."""
    spec = body.get("spec") or {}
    if kind == "TokenReview":
        status = _token(spec, authenticator)
    elif kind == "SelfSubjectRulesReview":
        status = _rules(user, str(spec.get("namespace", "")), authorizer)
    else:
        asking = (
            user
            if kind == "SelfSubjectAccessReview"
            else User(spec.get("user", ""), tuple(spec.get("groups") or ()))
        )
        status = _access(asking, spec, namespace, authorizer)
    return {
        **body,
        "metadata": body.get("metadata") or {"creationTimestamp": None},
        "status": status,
    }


def _token(spec: Json, authenticator: Authenticator) -> Json:
    user = authenticator.of_token(str(spec.get("token", "")))
    if user is None:
        return {"user": {}, "error": "[invalid bearer token, token lookup failed]"}
    about: Json = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        about["uid"] = user.uid
    return {"authenticated": True, "user": about}


def _access(user: User, spec: Json, namespace: str, authorizer: Authorizer) -> Json:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if path:
        asked = Attributes(path.get("verb", ""), path=path.get("path", ""))
    else:
        wanted = resource or {}
        asked = Attributes(
            wanted.get("verb", ""), wanted.get("group", ""), wanted.get("resource", ""), wanted.get("subresource", ""),
            namespace or wanted.get("namespace", ""), wanted.get("name", ""),
        )  # fmt: skip
    return {"allowed": authorizer.allows(user, asked)}


def _rules(user: User, namespace: str, authorizer: Authorizer) -> Json:
    rules = list(authorizer.rules(user, namespace))
    resource = [rule for rule in rules if rule.get("resources")]
    return {
        "resourceRules": resource,
        "nonResourceRules": [r for r in rules if r.get("nonResourceURLs")],
        "incomplete": False,
    }
