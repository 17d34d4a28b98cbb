"""A real `stormcell serve` in a process of its own, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from stormcell.api.identity import USERS_FILE, Users
from stormcell.rbac import FOLDER, Roles

PACKS = Path(__file__).parents[2] / "packs"
READY_SECONDS = 120.0
_POLL_SECONDS = 0.05
_PASSWORD = "correct horse"


def eventually(condition: Callable[[], Any], *, seconds: float = 120.0) -> Any:
    """Return the first true value of a condition on another process."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"It did not come true within {seconds} s: {condition}")
        time.sleep(_POLL_SECONDS)


def login(url: str, data: Path, name: str, *roles: str) -> dict[str, str]:
    """Add a person with a password and these roles, who makes a key; return a call's headers."""
    users = Users(data / USERS_FILE)
    if users.account(name) is None:
        users.put(name, _PASSWORD)
    Roles(data / FOLDER).assign(name, roles)
    given = httpx.post(
        f"{url}/auth/v1/tokens", auth=(name, _PASSWORD), trust_env=False, timeout=120
    )
    assert given.status_code == 201, given.text
    token = {"X-Auth-Token": given.json()["token"]}
    made = httpx.post(f"{url}/v1/apikeys", headers=token, json={}, trust_env=False, timeout=120)
    return {"St2-Api-Key": made.raise_for_status().json()["key"]}


class Served:
    """One start of `stormcell serve`."""

    def __init__(
        self,
        data: Path,
        *packs: Path,
        env: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.data = data
        arguments = [
            sys.executable,
            "-m",
            "stormcell",
            "serve",
            "--data",
            str(data),
            "--port",
            "0",
            *options,
        ]
        for pack in packs:
            arguments += ["--pack", str(pack)]
        self.log = (data.parent / f"{data.name}.log").open("ab")
        self.process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **(env or {})},
        )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        self.http = httpx.Client(timeout=120, trust_env=False)
        if "is ready at" not in self.ready_line:
            self.process.kill()
            self._close()
            raise AssertionError((data.parent / f"{data.name}.log").read_text())
        self.url = (data / "url").read_text().strip()
        self.key = (data / "api-key").read_text().strip()
        self.http.base_url = httpx.URL(self.url)
        self.http.headers["St2-Api-Key"] = self.key

    def get(self, path: str, **query: Any) -> Any:
        response = self.http.get(path, params=query)
        assert response.is_success, response.text
        return response.json()

    def run(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Run an action and return it once it has ended."""
        response = self.http.post(
            "/v1/executions", json={"action": action, "parameters": parameters}
        )
        assert response.status_code == 201, response.text
        return self.ended(response.json()["id"])

    def ended(self, execution_id: str) -> dict[str, Any]:
        def look() -> Any:
            found = self.get(f"/v1/executions/{execution_id}")
            return found if "end_timestamp" in found else None

        return eventually(look)

    def client_of(self, name: str, *roles: str) -> httpx.Client:
        """A client of a person with these roles."""
        headers = login(self.url, self.data, name, *roles)
        return httpx.Client(base_url=self.url, headers=headers, timeout=120, trust_env=False)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()
        self._close()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self._close()

    def _close(self) -> int:
        code = self.process.wait(timeout=120)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
        self.http.close()
        return code
