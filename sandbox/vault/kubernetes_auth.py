"""The Kubernetes auth method, after the API page of that name.

Whose token it is decides a reviewer: a callable or a table given to the server, or else a
TokenReview at the configured `kubernetes_host`, as Vault does it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import httpx

from sandbox.vault.messages import (
    DELETE,
    LIST,
    NOTHING,
    READ,
    WRITE,
    Engine,
    Handler,
    Reply,
    Request,
    VaultError,
    bad_request,
    denied,
    list_keys,
    not_found,
    route,
    string_list,
)
from sandbox.vault.tokens import login, login_token_settings

if TYPE_CHECKING:
    from sandbox.vault.core import Core

REVIEW_TIMEOUT_SECONDS = 5.0


class ServiceAccount(NamedTuple):
    """Who a service account token belongs to."""

    namespace: str
    name: str
    uid: str = ""
    secret_name: str = ""


# Takes a token and the audiences it must be for (none for any); returns whose it is, or None if it
# is not valid.
TokenReviewer = Callable[[str, Sequence[str]], ServiceAccount | None]


def table_reviewer(table: Mapping[str, ServiceAccount]) -> TokenReviewer:
    """A reviewer that knows some tokens, whatever their audience."""
    return lambda token, _audiences: table.get(token)


def api_reviewer(config: Mapping[str, Any], own_token: str) -> TokenReviewer:
    """A reviewer that asks the API server of an auth/kubernetes/config.

    The token itself when no reviewer's token is set.
    """

    def review(token: str, audiences: Sequence[str]) -> ServiceAccount | None:
        pem = config.get("kubernetes_ca_cert")
        context = ssl.create_default_context(cadata=pem or None)
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, **({"audiences": list(audiences)} if audiences else {})},
        }
        try:
            answer = httpx.post(
                f"{config['kubernetes_host'].rstrip('/')}/apis/authentication.k8s.io/v1/tokenreviews",
                json=body,
                headers={
                    "Authorization": f"Bearer {config.get('token_reviewer_jwt') or own_token}"
                },
                verify=context,
                timeout=REVIEW_TIMEOUT_SECONDS,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            raise VaultError(
                500, f"token review failed: the API server did not answer ({type(error).__name__})"
            ) from None
        if answer.status_code in (401, 403):
            return None
        status = answer.json().get("status", {}) if answer.is_success else {}
        user = status.get("user", {})
        match = re.fullmatch(r"system:serviceaccount:([^:]+):([^:]+)", user.get("username", ""))
        if not status.get("authenticated") or not match:
            return None
        return ServiceAccount(match[1], match[2], user.get("uid", ""))

    return review


class KubernetesAuth(Engine):
    """The method, at one mount."""

    def __init__(self, core: Core, reviewer: TokenReviewer | None) -> None:
        self._core = core
        self._reviewer = reviewer
        self._config: dict[str, Any] = {}
        self._roles: dict[str, dict[str, Any]] = {}

    def exists(self, inner: str) -> bool:
        match = re.fullmatch(r"role/([^/]+)", inner)
        return match is None or match[1].lower() in self._roles

    def is_login(self, inner: str) -> bool:
        return inner == "login"

    def write_config(self, request: Request, _match: re.Match[str]) -> Reply:
        data = request.data
        if not data.get("kubernetes_host"):
            raise bad_request("no host provided")
        self._config = {
            "kubernetes_host": data["kubernetes_host"],
            "kubernetes_ca_cert": data.get("kubernetes_ca_cert", ""),
            "token_reviewer_jwt": data.get("token_reviewer_jwt", ""),
            "pem_keys": string_list(data.get("pem_keys")),
            "issuer": data.get("issuer", ""),
            "disable_iss_validation": bool(data.get("disable_iss_validation", True)),
            "disable_local_ca_jwt": bool(data.get("disable_local_ca_jwt", False)),
            "use_annotations_as_alias_metadata": bool(
                data.get("use_annotations_as_alias_metadata", False)
            ),
        }
        return NOTHING

    def read_config(self, _request: Request, _match: re.Match[str]) -> Reply:
        if not self._config:
            raise not_found()
        shown = {key: value for key, value in self._config.items() if key != "token_reviewer_jwt"}
        return Reply({**shown, "token_reviewer_jwt_set": bool(self._config["token_reviewer_jwt"])})

    def write_role(self, request: Request, match: re.Match[str]) -> Reply:
        name, data = match["name"].lower(), request.data
        old = self._roles.get(name, {})
        names = string_list(
            data.get("bound_service_account_names", old.get("bound_service_account_names"))
        )
        spaces = string_list(
            data.get(
                "bound_service_account_namespaces", old.get("bound_service_account_namespaces")
            )
        )
        selector = data.get(
            "bound_service_account_namespace_selector",
            old.get("bound_service_account_namespace_selector", ""),
        )
        if not names:
            raise bad_request('"bound_service_account_names" can not be empty')
        if not spaces:
            raise bad_request(
                '"bound_service_account_namespaces" can not be empty '
                'if "bound_service_account_namespace_selector" is not set'
            )
        if selector:
            raise VaultError(
                501, "the sandbox does not select namespaces by label: name them instead"
            )
        if "*" in names and "*" in spaces:
            raise bad_request(
                '"bound_service_account_names" and "bound_service_account_namespaces" can not both be "*"'
            )
        self._roles[name] = {
            "bound_service_account_names": names,
            "bound_service_account_namespaces": spaces,
            "bound_service_account_namespace_selector": "",
            "audience": data.get("audience", old.get("audience", "")),
            "alias_name_source": data.get(
                "alias_name_source", old.get("alias_name_source", "serviceaccount_uid")
            ),
            **login_token_settings(data, old),
        }
        return NOTHING

    def read_role(self, _request: Request, match: re.Match[str]) -> Reply:
        role = self._roles.get(match["name"].lower())
        if not role:
            raise not_found()
        return Reply(dict(role))

    def delete_role(self, _request: Request, match: re.Match[str]) -> Reply:
        self._roles.pop(match["name"].lower(), None)
        return NOTHING

    def list_roles(self, _request: Request, _match: re.Match[str]) -> Reply:
        return list_keys(list(self._roles), "")

    def login(self, request: Request, _match: re.Match[str]) -> Reply:
        name, token = str(request.data.get("role", "")), str(request.data.get("jwt", ""))
        if not name:
            raise bad_request("missing role")
        if not token:
            raise bad_request("missing jwt")
        role = self._roles.get(name.lower())
        if not role:
            raise bad_request(f'invalid role name "{name}"')
        if not self._config and not self._reviewer:
            raise VaultError(500, "could not load backend configuration")
        reviewer = self._reviewer or api_reviewer(self._config, token)
        account = reviewer(token, [role["audience"]] if role["audience"] else [])
        if not account:
            raise denied()
        if not {"*", account.namespace} & set(role["bound_service_account_namespaces"]):
            raise denied("namespace not authorized")
        if not {"*", account.name} & set(role["bound_service_account_names"]):
            raise denied("service account name not authorized")
        meta = {
            "role": name,
            "service_account_name": account.name,
            "service_account_namespace": account.namespace,
            "service_account_secret_name": account.secret_name,
            "service_account_uid": account.uid,
        }
        display_name = f"kubernetes-{account.namespace}-{account.name}"
        return login(self._core, role, request.path, display_name, meta)

    routes: ClassVar[list[tuple[re.Pattern[str], dict[str, Handler]]]] = [
        (route("config"), {READ: read_config, WRITE: write_config}),
        (route("role/?"), {LIST: list_roles, READ: list_roles}),
        (route("role/{name}"), {READ: read_role, WRITE: write_role, DELETE: delete_role}),
        (route("login"), {WRITE: login}),
    ]
