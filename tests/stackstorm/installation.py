"""One StackStorm by its API: the pack installed in it from a git URL, configured, and asked."""

from __future__ import annotations

import functools
import http.server
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from sandbox.demo.follow import ENDED
from sandbox.environment import ROOT

PACK = "kubestorm"
POLL_SECONDS = 3.0
INSTALL_TIMEOUT_SECONDS = 1200.0
KINDS = {
    "actions": "actions",
    "rules": "rules",
    "aliases": "actionalias",
    "sensors": "sensortypes",
    "triggers": "triggertypes",
}
"""Folder of the pack -> collection of the API."""

Json = dict[str, Any]


class StackStorm:
    """Its API. Every call raises httpx's errors; `say` prints a line of progress."""

    def __init__(self, url: str, key: str, say: Callable[[str], None]) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.say = say
        self.client = httpx.Client(
            base_url=f"{self.url}/v1/", headers={"St2-Api-Key": key}, timeout=120
        )

    @property
    def is_local(self) -> bool:
        """Whether its processes can be on this machine."""
        return httpx.URL(self.url).host in ("127.0.0.1", "localhost", "::1")

    def ask(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """One request, its answer decoded."""
        answer = self.client.request(method, path, json=body, params=params)
        if answer.is_error:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text[:1000]}")
        return answer.json() if answer.content else None

    def get(self, path: str, **params: Any) -> Any:
        """GET `/v1/PATH`."""
        return self.ask("GET", path, **params)

    def user(self) -> str:
        """Whose key this is."""
        return str(self.get("user")["username"])

    def run(self, action: str, **parameters: Any) -> Json:
        """Run an action to its end; the whole execution."""
        started = self.ask("POST", "executions", {"action": action, "parameters": parameters})
        return self.ended(started["id"])

    def ended(self, execution_id: str, timeout_seconds: float = 300.0) -> Json:
        """Wait for the end of an execution, saying which of its tasks is under way."""
        deadline, told = time.monotonic() + timeout_seconds, ""
        while True:
            status = self.get(f"executions/{execution_id}", include_attributes="status")["status"]
            if status in ENDED:
                return self.get(f"executions/{execution_id}")  # type: ignore[no-any-return]
            tasks = self.get(
                "executions",
                parent=execution_id,
                limit=1,
                sort_desc=True,
                include_attributes="action.ref",
            )
            now = tasks[0]["action"]["ref"] if tasks else status
            if now != told:
                self.say(f"  {now}")
                told = now
            if time.monotonic() > deadline:
                raise TimeoutError(f"execution {execution_id} has not ended: {now}")
            time.sleep(POLL_SECONDS)

    def install(self) -> Json:
        """Install HEAD of this checkout from a git URL, in the place of what was installed; the
        execution of packs.install.
        """
        self.uninstall()
        with git_url() as url:
            self.say(f"installing {url}")
            body = self.ask("POST", "packs/install", {"packs": [url]})
            return self.ended(body["execution_id"], INSTALL_TIMEOUT_SECONDS)

    def uninstall(self) -> None:
        """Remove the pack, and what its sensors remember of a cluster that will be another one."""
        if any(pack["ref"] == PACK for pack in self.get("packs", limit=-1)):
            self.say(f"uninstalling {PACK}")
            body = self.ask("POST", "packs/uninstall", {"packs": [PACK]})
            self.ended(body["execution_id"])
        for key in self.get("keys", scope="all", limit=-1):
            if key["name"].startswith(f"{PACK}."):
                self.ask("DELETE", f"keys/{key['name']}")

    def configure(self, values: Json) -> None:
        """Write the pack's configuration."""
        self.ask("PUT", f"configs/{PACK}", values)

    def registered(self, folder: str) -> set[str]:
        """The names of what the pack has registered of a kind."""
        found = self.get(KINDS[folder], pack=PACK, limit=-1)
        return {each["name"] for each in found if each["pack"] == PACK}

    def abandon(self, execution_id: str) -> bool:
        """End an execution whose runner is gone; whether StackStorm took it. It refuses where the
        runner got as far as ending the live action and no further.
        """
        answer = self.client.put(f"executions/{execution_id}", json={"status": "abandoned"})
        return answer.is_success

    def trigger_types(self) -> dict[str, str]:
        """Trigger -> its type; StackStorm names triggers with parameters by a random word."""
        return {each["ref"]: each["type"] for each in self.get("triggers")}

    def restart_sensors(self) -> None:
        """Switch them off and on again."""
        for enabled in (False, True):
            for sensor in self.get("sensortypes", pack=PACK, limit=-1):
                self.ask("PUT", f"sensortypes/{sensor['ref']}", {**sensor, "enabled": enabled})
            time.sleep(POLL_SECONDS)


def in_files(folder: str) -> set[str]:
    """The names of what the pack's files define of a kind."""
    names = {_read(file)["name"] for file in _files(folder)} if folder != "sensors" else set()
    for file in _files("sensors") if folder in ("sensors", "triggers") else ():
        sensor = _read(file)
        if folder == "sensors":
            names.add(sensor.get("name") or sensor["class_name"])
        else:
            names |= {kind["name"] for kind in sensor.get("trigger_types") or ()}
    return names


def _files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).glob("*.yaml"))


def _read(file: Path) -> Json:
    content: Json = yaml.safe_load(file.read_text())
    return content


@contextmanager
def git_url() -> Iterator[str]:
    """HEAD of this checkout, served as git's plain HTTP does, for as long as it takes."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, f"{PACK}.git")
        _git("clone", "--quiet", "--bare", str(ROOT), str(bare))
        _git("-C", str(bare), "update-server-info")
        handler = functools.partial(_Quiet, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/{bare.name}"
            finally:
                server.shutdown()
                thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing of each file."""


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
