"""The pack logs in to Vault with its pod's account, and needs no other credential."""

from __future__ import annotations

from pathlib import Path

import hvac
import pytest
from kubestorm.clients.vault import VaultStore
from kubestorm.core.errors import DefinitionError, PermanentError, TemporaryError
from kubestorm.core.settings import VaultAuth, VaultSettings

from sandbox.vault import ServiceAccount, VaultServer

ROOT = Path(__file__).resolve().parents[3]
PATH = "kubestorm/test/default/orders"


@pytest.fixture
def vault():
    """A Vault that knows two accounts, and lets one of them have deploy/vault-policy.hcl."""
    accounts = {
        "ours": ServiceAccount("kubestorm", "kubestorm"),
        "theirs": ServiceAccount("default", "default"),
    }
    with VaultServer(dev=True, reviewer=accounts) as server:
        root = hvac.Client(url=server.url, token=server.root_token)
        root.sys.create_or_update_policy(
            "kubestorm", (ROOT / "deploy" / "vault-policy.hcl").read_text()
        )
        for mount in ("kubernetes", "other-cluster"):
            root.sys.enable_auth_method("kubernetes", path=mount)
            root.auth.kubernetes.configure(
                kubernetes_host="https://kubernetes.default", mount_point=mount
            )
            root.auth.kubernetes.create_role(
                "pack",
                bound_service_account_names=["kubestorm"],
                bound_service_account_namespaces=["kubestorm"],
                policies=["kubestorm"],
                mount_point=mount,
            )
        yield server


@pytest.fixture
def login(vault, tmp_path):
    """A store that logs in with the token of some account."""

    def make(token: str = "ours", **changes: str) -> VaultStore:
        (tmp_path / "token").write_text(f"{token}\n")
        values = {
            "method": "kubernetes",
            "role": "pack",
            "jwt_file": str(tmp_path / "token"),
            **changes,
        }
        return VaultStore(VaultSettings(url=vault.url, auth=VaultAuth(**values)))

    return make


@pytest.mark.parametrize("mount", [None, "other-cluster"])
def test_the_pods_account_is_enough_for_the_whole_life_of_a_secret(login, mount):
    """Made, read, listed and deleted under the policy of deploy/."""
    store = login(mount=mount)
    ref = store.ensure_credentials(PATH, "dbadmin")
    assert (ref.version, ref.created) == (1, True)
    assert store.read(PATH).username == "dbadmin"
    assert list(store.list_paths("kubestorm/test/")) == [PATH]
    store.delete(PATH)
    assert store.find(PATH) is None


REFUSED = {
    "another account": ({"token": "theirs"}, "does not let the pack"),
    "a token of nobody": ({"token": "forged"}, "does not let the pack"),
    "a role that there is not": ({"role": "admin"}, "admin"),
}


@pytest.mark.parametrize("changes, says", REFUSED.values(), ids=REFUSED.keys())
def test_a_login_that_vault_refuses_is_said_without_the_token(login, changes, says):
    """Waiting would not help, so it is a refusal."""
    with pytest.raises(PermanentError) as caught:
        login(**changes).read(PATH)
    assert says in str(caught.value)
    assert changes.get("token", "ours") not in str(caught.value)


def test_what_is_missing_in_the_configuration_is_named(login):
    """The setting, and the file that cannot be read."""
    with pytest.raises(DefinitionError, match=r"vault\.auth\.role"):
        login(role="").read(PATH)
    with pytest.raises(DefinitionError, match=r"vault\.auth\.jwt_file names /nowhere"):
        login(jwt_file="/nowhere").read(PATH)


def test_a_sealed_vault_is_waited_for(login, vault):
    """The login is the first call, and fails as any other."""
    vault.seal()
    with pytest.raises(TemporaryError, match="sealed"):
        login().read(PATH)
