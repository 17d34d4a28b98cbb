"""Each server as a program of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import httpx
import pytest


@pytest.mark.parametrize(
    "module, arguments, path, status",
    [
        ("sandbox.vault", [], "/v1/sys/health", 200),
        ("sandbox.vault", ["--uninitialized"], "/v1/sys/health", 501),
        ("sandbox.consul", [], "/v1/status/leader", 200),
        ("sandbox.consul", ["--default-policy", "deny"], "/v1/kv/a", 403),
        ("sandbox.aws", [], "/moto-api/data.json", 200),
    ],
    ids=["vault", "vault-empty", "consul", "consul-deny", "aws"],
)
def test_a_server_runs_alone_and_ends_with_0(
    module: str, arguments: list[str], path: str, status: int
) -> None:
    """It prints its address once it can be reached, serves, and SIGTERM ends it cleanly."""
    command = [sys.executable, "-m", module, "--port", "0", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            banner = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", banner)
            assert found, banner
            # The socket listens before the banner is printed, so a request waits until it is
            # served.
            assert httpx.get(found[0] + path, timeout=120, trust_env=False).status_code == status
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
