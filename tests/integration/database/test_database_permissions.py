"""The policies in deploy/ are enough for the whole journey, and their absence is said in words."""

from __future__ import annotations

from pathlib import Path

import hvac
import pytest

from sandbox.consul import ConsulServer

ROOT = Path(__file__).resolve().parents[3]
MANAGEMENT_TOKEN = "11111111-aaaa-bbbb-cccc-000000000000"


@pytest.fixture
def consul():
    """A Consul that refuses whoever has no token."""
    with ConsulServer(management_token=MANAGEMENT_TOKEN, default_policy="deny") as server:
        yield server


@pytest.fixture
def limited(world, vault, consul, tmp_path):
    """The world, entered with the permissions of deploy/ for Vault and Consul and no others."""
    root = hvac.Client(url=vault.url, token=vault.root_token)
    root.sys.create_or_update_policy(
        "kubestorm", (ROOT / "deploy" / "vault-policy.hcl").read_text()
    )
    token = root.auth.token.create(policies=["kubestorm"], no_default_policy=True)["auth"][
        "client_token"
    ]
    Path(world.config["vault"]["auth"]["token_file"]).write_text(token)
    consul_token = tmp_path / "consul-token"
    consul_token.write_text(consul.add_token((ROOT / "deploy" / "consul-policy.hcl").read_text()))
    world.config["consul"]["token_file"] = str(consul_token)
    return world


def test_the_policies_of_deploy_are_enough(limited):
    """From the creation to a confirmed destruction."""
    limited.apply(deletionPolicy="Delete")
    limited.until_ready()
    limited.annotate(**{"kubestorm.io/confirm-delete": "orders"})
    limited.delete()
    for _ in range(4):
        limited.reconcile()
        if limited.get() is None:
            break
        limited.let_aws_finish()
    assert limited.get() is None


def test_a_missing_permission_is_said_with_the_remedy(limited):
    """Vault's first, as its step comes first; then Consul's."""
    token_file = Path(limited.config["vault"]["auth"]["token_file"])
    given = token_file.read_text()
    token_file.write_text("s.nobody")
    limited.apply()
    limited.reconcile()
    assert limited.condition("CredentialsStored") == ("False", "VaultRefused")
    token_file.write_text(given)
    limited.config["consul"]["token_file"] = None
    for _ in range(2):
        limited.reconcile()
        limited.let_aws_finish()
    limited.reconcile()
    assert limited.condition("Published") == ("False", "ConsulRefused")
    messages = [
        item["message"] for item in limited.get()["status"]["conditions"] if item["type"] == "Ready"
    ]
    assert "deploy/consul-policy.hcl" in messages[0]
