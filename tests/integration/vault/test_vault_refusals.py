"""Wrong requests, and the status and sentence Vault answers them with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx
import hvac
import pytest

from sandbox.vault import VaultServer

REFUSED: list[tuple[str, str, str, Any, int, list[str]]] = [
    ("absent-secret", "GET", "secret/data/none", None, 404, []),
    ("absent-list", "LIST", "secret/metadata/none", None, 404, []),
    ("no-data", "POST", "secret/data/a", {"value": 1}, 400, ["no data provided"]),
    ("cas-mismatch", "POST", "secret/data/a", {"data": {}, "options": {"cas": 7}}, 400,
     ["check-and-set parameter did not match the current version"]),
    ("no-versions", "POST", "secret/undelete/a", {}, 400, ["No version number provided"]),
    ("no-engine", "GET", "nowhere/a", None, 404,
     ['no handler for route "nowhere/a". route entry not found.']),
    ("taken-path", "POST", "sys/mounts/secret", {"type": "kv"}, 400,
     ["path is already in use at secret/"]),
    ("path-below-taken", "POST", "sys/mounts/secret/x", {"type": "kv"}, 400,
     ["path is already in use at secret/"]),
    ("root-policy", "PUT", "sys/policies/acl/root", {"policy": 'path "a" {}'}, 400,
     ['cannot update "root" policy']),
    ("default-policy", "DELETE", "sys/policies/acl/default", None, 400,
     ['cannot delete "default" policy']),
    ("bad-capability", "PUT", "sys/policy/x",
     {"policy": 'path "a" { capabilities = ["fly"] }'}, 400,
     ['path "a": invalid capability "fly"']),
    ("absent-policy", "GET", "sys/policies/acl/none", None, 404, []),
    ("no-approle-here", "POST", "auth/approle/login", {"role_id": "x"}, 404,
     ['no handler for route "auth/approle/login". route entry not found.']),
    ("unknown-token", "POST", "auth/token/lookup", {"token": "none"}, 403, ["bad token"]),
    ("unknown-accessor", "POST", "auth/token/lookup-accessor", {"accessor": "none"}, 403,
     ["invalid accessor"]),
    ("root-token-not-renewable", "POST", "auth/token/renew-self", {}, 400,
     ["lease is not renewable"]),
    ("initialised-before", "PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, 400,
     ["Vault is already initialized"]),
    ("wrong-verb", "DELETE", "secret/config", None, 405, ["unsupported operation"]),
    ("token-auth-stays", "DELETE", "sys/auth/token", None, 400,
     ["token credential backend cannot be disabled"]),
]  # fmt: skip


@pytest.mark.parametrize(
    "method, path, body, status, errors",
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_a_wrong_request_gets_vaults_answer(
    raw: Callable[..., httpx.Response],
    method: str,
    path: str,
    body: Any,
    status: int,
    errors: list[str],
) -> None:
    """Status and errors are Vault's, and the body has nothing else."""
    answer = raw(method, path, body)
    assert (answer.status_code, answer.json()) == (status, {"errors": errors})


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-Vault-Token": "hvs.unknown"}, {"Authorization": "Bearer hvs.unknown"}],
    ids=["no-token", "unknown-token", "unknown-bearer"],
)
def test_without_a_good_token_nothing_is_told(
    raw: Callable[..., httpx.Response], headers: dict[str, str]
) -> None:
    """The answer is the same for paths that exist and that do not."""
    for path in ("secret/data/a", "nowhere/a", "sys/mounts", "auth/token/lookup-self"):
        answer = raw("GET", path, headers=headers)
        assert (answer.status_code, answer.json()) == (403, {"errors": ["permission denied"]})


def test_a_bearer_token_counts_as_vaults_own_header(
    raw: Callable[..., httpx.Response], vault: VaultServer
) -> None:
    """Authorization: Bearer is read, and a namespace header is not minded."""
    headers = {"Authorization": f"Bearer {vault.root_token}", "X-Vault-Namespace": "team"}
    assert raw("GET", "auth/token/lookup-self", headers=headers).status_code == 200


def test_the_preview_of_a_mount_answers_hvac_and_the_cli(
    raw: Callable[..., httpx.Response],
) -> None:
    """sys/internal/ui/mounts/PATH tells the engine's path and version, below the mount as well."""
    data = raw("GET", "sys/internal/ui/mounts/secret/some/path").json()["data"]
    assert (data["path"], data["type"], data["options"]) == ("secret/", "kv", {"version": "2"})


def test_a_broken_body_is_refused_without_repeating_it(vault: VaultServer) -> None:
    """What could not be read does not come back in the error."""
    answer = httpx.post(
        f"{vault.url}/v1/secret/data/a",
        content=b'{"data": {"password": "hunter2-planted"',
        headers={"X-Vault-Token": vault.root_token},
        trust_env=False,
    )
    assert answer.status_code == 400
    assert "hunter2-planted" not in answer.text


def test_no_value_is_ever_logged(
    root: hvac.Client, caplog: pytest.LogCaptureFixture, capfd
) -> None:
    """Nothing of a secret reaches the log or the terminal, in success or in failure."""
    caplog.set_level(logging.DEBUG, logger="sandbox")
    caplog.set_level(logging.DEBUG, logger="uvicorn")
    root.secrets.kv.v2.create_or_update_secret("a", {"password": "hunter2-planted"})
    with pytest.raises(hvac.exceptions.InvalidRequest):
        root.secrets.kv.v2.create_or_update_secret("a", {"password": "hunter2-planted"}, cas=9)
    printed = "".join(capfd.readouterr())
    assert "hunter2-planted" not in caplog.text + printed
