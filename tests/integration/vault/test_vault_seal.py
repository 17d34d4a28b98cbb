"""Initialising, sealing, unsealing and health, as an operator meets them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import hvac
import hvac.exceptions
import pytest

from sandbox.vault import VaultServer


@pytest.fixture
def empty() -> Iterator[VaultServer]:
    with VaultServer() as server:
        yield server


def test_any_threshold_of_the_shares_unseals(empty: VaultServer) -> None:
    """Three of five shares, given in any order and twice, unseal; progress counts the different
    ones.
    """
    client = hvac.Client(empty.url)
    made = client.sys.initialize(secret_shares=5, secret_threshold=3)
    keys = made["keys"]
    assert [
        client.sys.submit_unseal_key(key)["progress"] for key in (keys[4], keys[4], keys[1])
    ] == [1, 1, 2]
    assert client.sys.submit_unseal_key(made["keys_base64"][2])["sealed"] is False
    client.token = made["root_token"]
    assert client.is_authenticated()


def test_wrong_shares_do_not_unseal(empty: VaultServer) -> None:
    """Shares of another key are taken as many as needed, and then refused."""
    client = hvac.Client(empty.url)
    client.sys.initialize(secret_shares=3, secret_threshold=2)
    client.sys.submit_unseal_key("ab" * 33)
    with pytest.raises(hvac.exceptions.InvalidRequest, match="message authentication failed"):
        client.sys.submit_unseal_key("cd" * 33)
    assert client.sys.read_seal_status()["progress"] == 0


def test_reset_forgets_the_shares_given(empty: VaultServer) -> None:
    """A reset starts the unsealing over."""
    client = hvac.Client(empty.url)
    keys = client.sys.initialize(secret_shares=3, secret_threshold=2)["keys"]
    assert client.sys.submit_unseal_key(keys[0])["nonce"]
    assert client.sys.submit_unseal_key(reset=True)["progress"] == 0
    assert client.sys.is_sealed()


def test_a_sealed_vault_refuses_and_keeps_what_it_has(
    vault: VaultServer, root: hvac.Client
) -> None:
    """While sealed all is 503; after unsealing the secrets and tokens are there."""
    root.secrets.kv.v2.create_or_update_secret("a", {"n": 1})
    root.sys.seal()
    with pytest.raises(hvac.exceptions.VaultDown, match="Vault is sealed"):
        root.secrets.kv.v2.read_secret_version("a", raise_on_deleted_version=True)
    root.sys.submit_unseal_key(vault.unseal_key)
    assert root.secrets.kv.v2.read_secret_version("a", raise_on_deleted_version=True)["data"][
        "data"
    ] == {"n": 1}


@pytest.mark.parametrize(
    "shares, threshold, reason",
    [
        (0, 0, "shares must be at least one"),
        (3, 0, "threshold must be at least one"),
        (3, 1, "threshold must be greater than one for multiple shares"),
        (2, 3, "threshold cannot be larger than shares"),
    ],
    ids=["no-shares", "no-threshold", "one-of-many", "more-than-all"],
)
def test_a_seal_that_cannot_be_is_refused(
    empty: VaultServer, shares: int, threshold: int, reason: str
) -> None:
    """A refused init leaves the server uninitialised."""
    body = {"secret_shares": shares, "secret_threshold": threshold}
    answer = httpx.put(f"{empty.url}/v1/sys/init", json=body, trust_env=False)
    assert (answer.status_code, answer.json()) == (
        400,
        {"errors": [f"invalid seal configuration: {reason}"]},
    )
    assert httpx.get(f"{empty.url}/v1/sys/init", trust_env=False).json() == {"initialized": False}


@pytest.mark.parametrize(
    "state, query, status",
    [
        ("uninitialized", "", 501),
        ("uninitialized", "?uninitcode=200", 200),
        ("sealed", "", 503),
        ("sealed", "?sealedcode=299", 299),
        ("active", "", 200),
        ("active", "?activecode=204", 204),
        ("standby", "", 429),
        ("standby", "?standbyok=true", 200),
        ("standby", "?standbycode=299", 299),
        ("dr-secondary", "", 472),
        ("performance-standby", "", 473),
        ("performance-standby", "?perfstandbyok=true", 200),
    ],
)
def test_health_tells_the_state_by_its_status(state: str, query: str, status: int) -> None:
    """The status codes and their overrides are those of the API page on sys/health."""
    with VaultServer(dev=state != "uninitialized") as server:
        if state == "sealed":
            server.seal()
        elif state != "uninitialized":
            server.set_role(state)
        assert (
            httpx.get(f"{server.url}/v1/sys/health{query}", trust_env=False).status_code == status
        )
        assert (
            httpx.head(f"{server.url}/v1/sys/health{query}", trust_env=False).status_code == status
        )
