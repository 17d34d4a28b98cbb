"""Tokens for users of the file DATA/users, and a stream that ends with its execution."""

from __future__ import annotations

import subprocess
import sys

import httpx

from tests.integration.engine.serving import Served


def _user(served: Served, *words: str, password: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stormcell", "user", *words, "--data", str(served.data)]
    return subprocess.run(
        command, input=password, capture_output=True, text=True, timeout=60, check=False
    )


def _token(served: Served, password: str, **body: int) -> httpx.Response:
    return httpx.post(
        f"{served.url}/auth/v1/tokens", auth=("ann", password), json=body, trust_env=False
    )


def test_a_token_ends_with_its_user(served: Served) -> None:
    """A running engine knows a user once added; a removed one's tokens are worth nothing."""
    assert _token(served, "long-enough").status_code == 401
    assert _user(served, "add", "ann", password="short\n").returncode == 1
    assert _user(served, "add", "ann", password="long-enough\n").returncode == 0
    assert _user(served, "list").stdout == "ann  observer\n"
    assert (served.data / "users").stat().st_mode & 0o777 == 0o600
    assert _token(served, "long-enough", ttl=10**9).status_code == 400
    given = _token(served, "long-enough", ttl=60)
    assert (given.status_code, given.json()["user"]) == (201, "ann")
    headers = {"X-Auth-Token": given.json()["token"]}
    assert (
        httpx.get(f"{served.url}/v1/user", headers=headers, trust_env=False).json()["username"]
        == "ann"
    )
    forged = {"X-Auth-Token": given.json()["token"][:-1] + "x"}
    assert httpx.get(f"{served.url}/v1/user", headers=forged, trust_env=False).status_code == 401
    assert _user(served, "remove", "ann").returncode == 0
    assert httpx.get(f"{served.url}/v1/user", headers=headers, trust_env=False).status_code == 401


def test_a_stream_ends_with_its_execution(served: Served) -> None:
    """Also when the execution had ended before anybody listened."""
    done = served.run("core.noop")
    text = served.http.get("/v1/stream", params={"end_execution_id": done["id"]}).text
    assert text.startswith("\nevent: st2.execution__update\ndata: {")
    assert done["id"] in text
