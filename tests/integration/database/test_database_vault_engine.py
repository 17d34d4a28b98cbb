"""A secrets engine that is not KV version 2 is refused before anything is written to it."""

from __future__ import annotations

from pathlib import Path

import hvac
import pytest
from kubestorm.clients.vault import VaultStore
from kubestorm.core.errors import PermanentError
from kubestorm.core.settings import VaultAuth, VaultSettings

from sandbox.faults import FaultMiddleware, Faults
from sandbox.vault import VaultServer

ROOT = Path(__file__).resolve().parents[3]
PATH = "kubestorm/test/default/orders"
REFUSAL = "kv1 is KV version 1; version 2 is needed"


@pytest.fixture
def faults():
    return Faults()


@pytest.fixture
def vault(faults):
    """A Vault with engines of both versions, and one of another kind."""
    with VaultServer(dev=True, faults=lambda app: FaultMiddleware(app, faults)) as server:
        root = hvac.Client(url=server.url, token=server.root_token)
        for mount in ("kv1", "secret"):
            text = (ROOT / "deploy" / "vault-policy.hcl").read_text()
            root.sys.create_or_update_policy(mount, text.replace('"secret/', f'"{mount}/'))
        root.sys.enable_secrets_engine("kv", path="kv1", options={"version": "1"})
        yield server


@pytest.fixture
def root(vault):
    """Vault as an administrator."""
    return hvac.Client(url=vault.url, token=vault.root_token)


@pytest.fixture
def store(vault, root, tmp_path):
    """A store at some mount, with the policy of deploy/."""

    def make(mount: str) -> VaultStore:
        token = root.auth.token.create(policies=["kv1", "secret"])["auth"]["client_token"]
        (tmp_path / "token").write_text(token)
        auth = VaultAuth(method="token", token_file=str(tmp_path / "token"))
        return VaultStore(VaultSettings(url=vault.url, mount=mount, auth=auth))

    return make


def is_empty(root: hvac.Client, mount: str) -> bool:
    """Whether nothing lies in an engine of version 1."""
    return root.list(f"{mount}/") is None


def test_the_journey_says_that_the_engine_is_version_1(world, vault, root):
    """The condition says so, looking again says the same, and no password lies anywhere."""
    world.config["vault"]["mount"] = "kv1"
    world.apply()
    for _ in range(2):
        result = world.reconcile()
        assert isinstance(result["error"], PermanentError)
        assert REFUSAL in str(result["error"])
        assert world.condition("CredentialsStored") == ("False", "VaultRefused")
        assert world.condition("Ready") == ("False", "VaultRefused")
    assert is_empty(root, "kv1")
    assert list(world.services().rds.list_instances()) == []


@pytest.mark.parametrize("status", [None, 403, 404, 405])
def test_both_versions_are_told_apart_with_the_least_rights(store, root, faults, status):
    """By the mount, which every token with a right below it may ask for; and where that is not
    answered, by a write that neither version carries out.
    """
    if status is not None:
        faults.add(path="/v1/sys/.*", times=None, status=status, body='{"errors": ["no"]}')
    with pytest.raises(PermanentError, match=REFUSAL):
        store("kv1").ensure_credentials(PATH, "dbadmin")
    assert is_empty(root, "kv1")
    ours = store("secret")
    assert ours.ensure_credentials(PATH, "dbadmin").version == 1
    assert ours.read(PATH).username == "dbadmin"


def test_the_mount_is_asked_about_once(store, faults):
    """Not before each call."""
    asked = faults.add(path="/v1/sys/internal/ui/mounts/.*", times=None, delay_seconds=0.001)
    ours = store("secret")
    ours.ensure_credentials(PATH, "dbadmin")
    ours.find(PATH)
    assert asked.hits == 1


@pytest.mark.parametrize("sees", [True, False], ids=["told", "not told"])
def test_what_an_engine_of_version_1_holds_is_not_read_as_a_secret(store, root, faults, sees):
    """A value at kv1/data/... looks like one."""
    root.write_data(f"kv1/data/{PATH}", data={"data": {"username": "x", "password": "y"}})
    if not sees:
        faults.add(path="/v1/sys/.*", times=None, status=403, body='{"errors": ["no"]}')
    with pytest.raises(PermanentError, match=REFUSAL):
        store("kv1").find_values(PATH)


@pytest.mark.parametrize(
    "mount, says",
    [("cubbyhole", "is an engine of type cubbyhole"), ("nowhere", "no secrets engine at nowhere")],
)
def test_an_engine_of_another_kind_or_none_is_named(vault, root, tmp_path, mount, says):
    """It is the pack's configuration that is wrong."""
    (tmp_path / "token").write_text(vault.root_token)
    auth = VaultAuth(method="token", token_file=str(tmp_path / "token"))
    with pytest.raises(PermanentError, match=says):
        VaultStore(VaultSettings(url=vault.url, mount=mount, auth=auth)).ensure_credentials(
            PATH, "dbadmin"
        )


def test_null_is_absent_and_what_is_no_text_is_json(store, root):
    """For whoever reads values, and for credentials: null is no password."""
    values = {"username": None, "password": None, "port": 5432, "on": True, "tags": ["a", None]}
    root.secrets.kv.v2.create_or_update_secret(PATH, values)
    ours = store("secret")
    expected = {"port": "5432", "on": "true", "tags": '["a", null]'}
    found = ours.find_values(PATH)
    assert {key: value.reveal() for key, value in found.values.items()} == expected
    assert {k: v.reveal() for k, v in ours.read_values(PATH).items()} == expected
    assert ours.ensure_credentials(PATH, "dbadmin").version == 2
    assert (ours.read(PATH).username, bool(ours.read(PATH).password.reveal())) == ("dbadmin", True)
