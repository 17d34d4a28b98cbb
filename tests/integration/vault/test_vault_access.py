"""Who may do what: policies, tokens, AppRole and Kubernetes logins, through hvac."""

from __future__ import annotations

from collections.abc import Callable

import hvac
import hvac.exceptions
import pytest

from sandbox.clock import ManualClock
from sandbox.vault import VaultServer

JWT = "jwt-of-the-operator"


def test_a_policy_allows_its_paths_and_nothing_else(
    root: hvac.Client, as_policy: Callable[[str], hvac.Client]
) -> None:
    """Reading within the pattern works; writing there and reading elsewhere are denied."""
    root.secrets.kv.v2.create_or_update_secret("team/a", {"n": 1})
    client = as_policy('path "secret/data/team/*" { capabilities = ["read"] }')
    assert client.secrets.kv.v2.read_secret_version("team/a", raise_on_deleted_version=True)[
        "data"
    ]["data"] == {"n": 1}
    for refused in (
        lambda: client.secrets.kv.v2.create_or_update_secret("team/a", {"n": 2}),
        lambda: client.secrets.kv.v2.read_secret_version("other", raise_on_deleted_version=True),
        lambda: client.secrets.kv.v2.list_secrets("team"),
    ):
        with pytest.raises(hvac.exceptions.Forbidden, match="permission denied"):
            refused()


def test_create_and_update_are_told_apart(as_policy: Callable[[str], hvac.Client]) -> None:
    """With create alone a secret can be written once."""
    client = as_policy('path "secret/data/*" { capabilities = ["create"] }')
    client.secrets.kv.v2.create_or_update_secret("a", {"n": 1})
    with pytest.raises(hvac.exceptions.Forbidden):
        client.secrets.kv.v2.create_or_update_secret("a", {"n": 2})


def test_capabilities_tell_what_a_policy_grants(as_policy: Callable[[str], hvac.Client]) -> None:
    """sys/capabilities-self answers per path, and deny for what is not named."""
    client = as_policy('path "secret/data/a" { capabilities = ["update", "read"] }')
    answer = client.sys.get_capabilities(["secret/data/a", "secret/data/b"])["data"]
    assert answer["secret/data/a"] == ["read", "update"]
    assert answer["secret/data/b"] == ["deny"]


def test_a_token_ends_with_its_time(
    root: hvac.Client, vault: VaultServer, clock: ManualClock
) -> None:
    """A token works until its TTL is over, and renewal starts that anew."""
    made = root.auth.token.create(policies=["default"], ttl="60s")["auth"]
    client = hvac.Client(vault.url, token=made["client_token"])
    clock.advance(40)
    assert client.auth.token.renew_self(increment="60s")["auth"]["lease_duration"] == 60
    clock.advance(59)
    assert client.auth.token.lookup_self()["data"]["ttl"] == 1
    clock.advance(1)
    assert not client.is_authenticated()


def test_a_periodic_token_outlives_any_maximum(
    root: hvac.Client, vault: VaultServer, clock: ManualClock
) -> None:
    """A periodic token that is renewed in time has no maximum age."""
    made = root.auth.token.create(policies=["default"], period="24h")["auth"]
    client = hvac.Client(vault.url, token=made["client_token"])
    for _ in range(40):
        clock.advance(23 * 3600)
        client.auth.token.renew_self()
    assert client.is_authenticated()


def test_uses_are_counted(root: hvac.Client, vault: VaultServer) -> None:
    """A token of two uses works twice."""
    made = root.auth.token.create(policies=["default"], num_uses=2)["auth"]
    client = hvac.Client(vault.url, token=made["client_token"])
    client.auth.token.lookup_self()
    client.auth.token.lookup_self()
    with pytest.raises(hvac.exceptions.Forbidden):
        client.auth.token.lookup_self()


@pytest.mark.parametrize("orphan, lives", [(False, False), (True, True)], ids=["child", "orphan"])
def test_children_end_with_their_parent_and_orphans_do_not(
    root: hvac.Client, vault: VaultServer, orphan: bool, lives: bool
) -> None:
    """Revoking a token revokes what it made, except for orphans."""
    root.sys.create_or_update_policy(
        "maker", 'path "auth/token/create*" { capabilities = ["create", "update", "sudo"] }'
    )
    parent = hvac.Client(
        vault.url, token=root.auth.token.create(policies=["maker"])["auth"]["client_token"]
    )
    made = (
        parent.auth.token.create_orphan(policies=["default"])
        if orphan
        else parent.auth.token.create()
    )
    child = hvac.Client(vault.url, token=made["auth"]["client_token"])
    root.auth.token.revoke(parent.token)
    assert child.is_authenticated() is lives


def test_a_token_is_looked_up_and_revoked_by_its_accessor(
    root: hvac.Client, vault: VaultServer
) -> None:
    """The accessor tells about a token without giving it away, and ends it."""
    made = root.auth.token.create(policies=["default"], meta={"who": "test"})["auth"]
    found = root.auth.token.lookup_accessor(made["accessor"])["data"]
    assert (found["id"], found["meta"], found["policies"]) == ("", {"who": "test"}, ["default"])
    root.auth.token.revoke_accessor(made["accessor"])
    assert not hvac.Client(vault.url, token=made["client_token"]).is_authenticated()


def test_a_child_may_not_have_more_than_its_parent(as_policy: Callable[[str], hvac.Client]) -> None:
    """Creating a token with a policy of its own maker's lack is refused."""
    client = as_policy('path "auth/token/create" { capabilities = ["update"] }')
    with pytest.raises(
        hvac.exceptions.InvalidRequest, match="child policies must be subset of parent"
    ):
        client.auth.token.create(policies=["other"])


# -- AppRole


def test_approle_logs_in_with_both_ids(root: hvac.Client, vault: VaultServer) -> None:
    """Role id and secret id give a token with the role's policies and TTL."""
    root.sys.enable_auth_method("approle")
    root.auth.approle.create_or_update_approle("deploy", token_policies=["p"], token_ttl="10m")
    role_id = root.auth.approle.read_role_id("deploy")["data"]["role_id"]
    secret_id = root.auth.approle.generate_secret_id("deploy", metadata={"by": "test"})["data"][
        "secret_id"
    ]
    client = hvac.Client(vault.url)
    auth = client.auth.approle.login(role_id, secret_id)["auth"]
    assert auth["policies"] == ["default", "p"]
    assert auth["lease_duration"] == 600
    assert auth["metadata"] == {"role_name": "deploy", "by": "test"}
    assert root.auth.approle.list_roles()["data"]["keys"] == ["deploy"]


@pytest.mark.parametrize("why", ["unknown", "destroyed", "expired", "used-up", "other-role"])
def test_approle_refuses_a_secret_id_that_is_no_longer_good(
    root: hvac.Client, vault: VaultServer, clock: ManualClock, why: str
) -> None:
    """Whatever is wrong, the refusal is the same and tells nothing."""
    root.sys.enable_auth_method("approle")
    for role in ("a", "b"):
        root.auth.approle.create_or_update_approle(role, secret_id_ttl="60s", secret_id_num_uses=1)
    role_id = root.auth.approle.read_role_id("a")["data"]["role_id"]
    secret_id = root.auth.approle.generate_secret_id("a")["data"]["secret_id"]
    client = hvac.Client(vault.url)
    if why == "unknown":
        secret_id = "no-such-id"
    elif why == "destroyed":
        root.auth.approle.destroy_secret_id("a", secret_id)
    elif why == "expired":
        clock.advance(60)
    elif why == "used-up":
        client.auth.approle.login(role_id, secret_id)
    else:
        role_id = root.auth.approle.read_role_id("b")["data"]["role_id"]
    with pytest.raises(hvac.exceptions.InvalidRequest, match="invalid role or secret ID"):
        client.auth.approle.login(role_id, secret_id)


# -- Kubernetes


def _kubernetes_role(root: hvac.Client, name: str, namespace: str) -> None:
    root.sys.enable_auth_method("kubernetes")
    root.auth.kubernetes.configure("https://kubernetes.invalid", disable_local_ca_jwt=True)
    root.auth.kubernetes.create_role("op", [name], [namespace], policies=["p"], ttl="5m")


def test_kubernetes_logs_in_the_bound_service_account(
    root: hvac.Client, vault: VaultServer
) -> None:
    """A reviewed token of the bound account gives the role's policies."""
    _kubernetes_role(root, "operator", "kubestorm")
    auth = hvac.Client(vault.url).auth.kubernetes.login("op", JWT)["auth"]
    assert auth["policies"] == ["default", "p"]
    assert auth["metadata"]["service_account_name"] == "operator"


@pytest.mark.parametrize(
    "name, namespace, jwt, message",
    [
        ("operator", "elsewhere", JWT, "namespace not authorized"),
        ("another", "kubestorm", JWT, "service account name not authorized"),
        ("operator", "kubestorm", "forged", "permission denied"),
    ],
    ids=["namespace", "name", "token"],
)
def test_kubernetes_refuses_others(
    root: hvac.Client, vault: VaultServer, name: str, namespace: str, jwt: str, message: str
) -> None:
    """A token of another account, or one that is no token, is refused with Vault's reason."""
    _kubernetes_role(root, name, namespace)
    with pytest.raises(hvac.exceptions.Forbidden, match=message):
        hvac.Client(vault.url).auth.kubernetes.login("op", jwt)
