"""KV version 2 and 1, driven by the unchanged hvac."""

from __future__ import annotations

import hvac
import hvac.exceptions
import pytest

from sandbox.clock import ManualClock
from sandbox.vault import VaultServer


def test_a_secret_is_read_back_with_its_version(root: hvac.Client) -> None:
    """What was written comes back, with version 1."""
    root.secrets.kv.v2.create_or_update_secret("team/db", {"username": "app"}, cas=0)
    answer = root.secrets.kv.v2.read_secret_version("team/db", raise_on_deleted_version=True)[
        "data"
    ]
    assert answer["data"] == {"username": "app"}
    assert answer["metadata"]["version"] == 1


@pytest.mark.parametrize(
    "cas, accepted",
    [(0, False), (1, True), (2, False)],
    ids=["as-if-absent", "the-current", "one-ahead"],
)
def test_check_and_set_takes_the_current_version_only(
    root: hvac.Client, cas: int, accepted: bool
) -> None:
    """A write with check-and-set on a secret at version 1 holds for cas=1 alone, and changes
    nothing otherwise.
    """
    kv = root.secrets.kv.v2
    kv.create_or_update_secret("a", {"n": 1})
    if accepted:
        assert kv.create_or_update_secret("a", {"n": 2}, cas=cas)["data"]["version"] == 2
        return
    with pytest.raises(
        hvac.exceptions.InvalidRequest, match="check-and-set parameter did not match"
    ):
        kv.create_or_update_secret("a", {"n": 2}, cas=cas)
    assert kv.read_secret_metadata("a")["data"]["current_version"] == 1


@pytest.mark.parametrize("where", ["mount", "secret"])
def test_required_check_and_set_refuses_a_write_without(root: hvac.Client, where: str) -> None:
    """cas_required holds from the engine's configuration and from a secret's metadata."""
    kv = root.secrets.kv.v2
    if where == "mount":
        kv.configure(cas_required=True)
    else:
        kv.update_metadata("a", cas_required=True)
    with pytest.raises(
        hvac.exceptions.InvalidRequest, match="check-and-set parameter required for this call"
    ):
        kv.create_or_update_secret("a", {"n": 1})
    kv.create_or_update_secret("a", {"n": 1}, cas=0)


def test_a_deleted_version_returns_when_undeleted_and_never_once_destroyed(
    root: hvac.Client,
) -> None:
    """Deletion can be taken back, destruction cannot."""
    kv = root.secrets.kv.v2
    kv.create_or_update_secret("a", {"n": 1})
    kv.delete_latest_version_of_secret("a")
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.read_secret_version("a", raise_on_deleted_version=True)
    assert kv.read_secret_version("a", raise_on_deleted_version=False)["data"]["data"] is None
    kv.undelete_secret_versions("a", [1])
    assert kv.read_secret_version("a", raise_on_deleted_version=True)["data"]["data"] == {"n": 1}
    kv.destroy_secret_versions("a", [1])
    kv.undelete_secret_versions("a", [1])
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.read_secret_version("a", raise_on_deleted_version=True)
    assert kv.read_secret_metadata("a")["data"]["versions"]["1"]["destroyed"] is True


def test_old_versions_are_dropped_beyond_max_versions(root: hvac.Client) -> None:
    """With max_versions 2 the third write takes the first version with it."""
    kv = root.secrets.kv.v2
    kv.update_metadata("a", max_versions=2)
    for number in (1, 2, 3):
        kv.create_or_update_secret("a", {"n": number})
    metadata = kv.read_secret_metadata("a")["data"]
    assert sorted(metadata["versions"]) == ["2", "3"]
    assert metadata["oldest_version"] == 2


def test_delete_version_after_deletes_by_the_clock(root: hvac.Client, clock: ManualClock) -> None:
    """A version is gone once its time to live has passed."""
    kv = root.secrets.kv.v2
    kv.update_metadata("a", delete_version_after="1h")
    kv.create_or_update_secret("a", {"n": 1})
    clock.advance(3599)
    assert kv.read_secret_version("a", raise_on_deleted_version=True)["data"]["data"] == {"n": 1}
    clock.advance(1)
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.read_secret_version("a", raise_on_deleted_version=True)


def test_listing_shows_names_and_folders_of_one_level(root: hvac.Client) -> None:
    """LIST gives this level alone, sorted, folders with a slash; an empty one is a 404."""
    kv = root.secrets.kv.v2
    for path in ("b", "a/x", "a/y/z"):
        kv.create_or_update_secret(path, {"n": 1})
    assert kv.list_secrets("")["data"]["keys"] == ["a/", "b"]
    assert kv.list_secrets("a")["data"]["keys"] == ["x", "y/"]
    kv.delete_metadata_and_all_versions("a/x")
    assert kv.list_secrets("a")["data"]["keys"] == ["y/"]
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.list_secrets("nothing")


def test_a_patch_merges_and_null_removes(root: hvac.Client, raw) -> None:
    """PATCH with a merge patch makes a new version of both; on nothing it is a 404."""
    root.secrets.kv.v2.create_or_update_secret("a", {"keep": 1, "drop": 2})
    headers = {"X-Vault-Token": root.token, "Content-Type": "application/merge-patch+json"}
    body = {"data": {"drop": None, "new": 3}, "options": {"cas": 1}}
    assert raw("PATCH", "secret/data/a", body, headers=headers).json()["data"]["version"] == 2
    assert raw("GET", "secret/data/a").json()["data"]["data"] == {"keep": 1, "new": 3}
    assert raw("PATCH", "secret/data/none", {"data": {"a": 1}}, headers=headers).status_code == 404


def test_custom_metadata_is_kept_and_shown_with_every_version(root: hvac.Client) -> None:
    """custom_metadata set before a write is part of what a read answers."""
    root.secrets.kv.v2.update_metadata("a", custom_metadata={"owner": "team"})
    root.secrets.kv.v2.create_or_update_secret("a", {"n": 1})
    answer = root.secrets.kv.v2.read_secret_version("a", raise_on_deleted_version=True)
    assert answer["data"]["metadata"]["custom_metadata"] == {"owner": "team"}


def test_version_1_keeps_one_value(root: hvac.Client) -> None:
    """A KV v1 mount reads, lists, replaces and deletes without versions."""
    root.sys.enable_secrets_engine("kv", path="old", options={"version": "1"})
    kv = root.secrets.kv.v1
    kv.create_or_update_secret("a/b", {"n": "1"}, mount_point="old")
    kv.create_or_update_secret("a/b", {"m": "2"}, mount_point="old")
    assert kv.read_secret("a/b", mount_point="old")["data"] == {"m": "2"}
    assert kv.list_secrets("a", mount_point="old")["data"]["keys"] == ["b"]
    kv.delete_secret("a/b", mount_point="old")
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.read_secret("a/b", mount_point="old")


def test_the_list_verb_and_its_query_form_agree(root: hvac.Client, raw) -> None:
    """LIST and GET ?list=true give the same keys."""
    root.secrets.kv.v2.create_or_update_secret("a", {"n": 1})
    verb, query = (
        raw("LIST", "secret/metadata/"),
        raw("GET", "secret/metadata/", params={"list": "true"}),
    )
    assert verb.json()["data"] == query.json()["data"] == {"keys": ["a"]}


def test_a_wrapped_answer_is_given_out_once(root: hvac.Client, vault: VaultServer) -> None:
    """An answer wrapped for a while is unwrapped by whoever has the token, the first time only."""
    root.secrets.kv.v2.create_or_update_secret("a", {"n": 1})
    wrapped = root.read("secret/data/a", wrap_ttl="60s")
    assert wrapped["data"] is None
    token = wrapped["wrap_info"]["token"]
    stranger = hvac.Client(vault.url, token=token)
    assert stranger.sys.unwrap()["data"]["data"] == {"n": 1}
    with pytest.raises(
        hvac.exceptions.InvalidRequest, match="wrapping token is not valid or does not exist"
    ):
        stranger.sys.unwrap()
