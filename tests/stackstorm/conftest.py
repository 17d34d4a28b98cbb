"""The acceptance on a real StackStorm, named by an address and a key: the sandbox's services beside
it, the pack installed in it, and the table of what was counted.

The sandbox listens on loopback and its credentials are files, so all of this runs on the machine of
the StackStorm. docs/contributing-stackstorm.md says how to have one.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.demo.stage import API_VERSION, EXAMPLES, example
from sandbox.demo.waiting import waiting_stage
from sandbox.environment import Environment
from sandbox.tally import Tally, tally, wait_until_quiet
from tests.stackstorm import processes
from tests.stackstorm.installation import StackStorm

PATIENCE_SECONDS = float(os.environ.get("ST2_PATIENCE_SECONDS", "600"))
STILL_SECONDS = 9.0
TABLE: list[tuple[str, str, str, str]] = []
"""What, count, goal, verdict; in the order of the tests."""

Json = dict[str, Any]


@dataclass
class Storm:
    """A StackStorm with the pack in it, the sandbox beside it, and what was counted so far."""

    api: StackStorm
    environment: Environment
    say: Any
    begin: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    lost: dict[str, str] = field(default_factory=dict)
    """Executions whose runner was killed; StackStorm leaves them `running`."""
    passwords: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._asked_before = {each["id"] for each in self.api.get("inquiries", limit=-1)}
        self.stage = waiting_stage(
            self.environment, self.api, say=self.say, timeout_seconds=PATIENCE_SECONDS
        )

    def wait(self, what: str, is_done: Any) -> None:
        """Ask the sandbox, not StackStorm, until it is done."""
        self.stage.screen.wait(what, is_done)

    @contextmanager
    def counted(self, what: str, *, goal: int | None = None) -> Iterator[None]:
        """Count what a piece of work leads to, until all is quiet; more than the goal, or a red
        one, is a failure, told when the work is over.
        """
        since, begin, cpu = dt.datetime.now(dt.UTC), time.monotonic(), self.cpu_seconds()
        try:
            yield
        except Exception:
            row(what, f"did not end: {tally(self.api, since)}", 0, 1)
            self.say_what_is_not_ready()
            raise
        seconds = time.monotonic() - begin
        self.wait_until_quiet()
        found, cpu = tally(self.api, since), self.cpu_seconds() - cpu
        used = f", {cpu:.1f} CPU s" if cpu else ""
        row(what, f"{found.count} executions, {seconds:.0f} s{used}", goal, found.count)
        self.say(f"  {found}")
        self.check(found)
        assert goal is None or found.count <= goal, f"{what}: {found}"

    def wait_until_quiet(self, still_seconds: float = STILL_SECONDS) -> None:
        """Until nothing of this run has been under way for a while."""
        wait_until_quiet(
            self.api,
            self.begin,
            still_seconds=still_seconds,
            timeout_seconds=PATIENCE_SECONDS,
            ignored=self.lost,
        )

    def red(self, found: Tally) -> list[str]:
        """What failed, but for commands in chat that were refused, and what a kill left behind."""
        red = [each for each in found.red if not each.startswith("kubestorm.chat_")]
        left = [each for each in red if not any(id_ in each for id_ in self.lost)]
        return [each for each in left if not self._is_refused_command(each)]

    def _is_refused_command(self, named: str) -> bool:
        """Whether chat started it for somebody who got a sentence back, as for an abort of nothing.
        `named` is "REF (ID)".
        """
        execution = self.api.get(f"/executions/{named.rpartition('(')[2].rstrip(')')}")
        said = (execution.get("result") or {}).get("result")
        sentence = said.get("message") if isinstance(said, dict) else ""
        return bool(execution["context"].get("api_user") and sentence)

    def check(self, found: Tally) -> None:
        """Nothing that happened is red."""
        assert (self.red(found), found.failed_rules) == ([], ())

    def cpu_seconds(self) -> float:
        """What StackStorm used so far, where its processes are here."""
        return processes.cpu_seconds() if self.api.is_local else 0.0

    def database(self, name: str, namespace: str, **spec: Any) -> None:
        """Apply the example with another name."""
        manifest = example(EXAMPLES / "database.yaml", "Database")
        annotations = {"kubestorm.io/confirm-delete": name}
        manifest["metadata"] = {"name": name, "namespace": namespace, "annotations": annotations}
        manifest["spec"].update(spec)
        self.environment.create_namespace(namespace)
        self.environment.apply(manifest)

    def ready(self, kind: str, namespace: str) -> set[str]:
        """The names of what is Ready."""
        return {
            each["metadata"]["name"]
            for each in self.environment.read_all(API_VERSION, kind, namespace)
            if condition(each, "Ready")["status"] == "True"
        }

    def reason(self, kind: str, name: str, namespace: str) -> str:
        """Why it is not Ready, or that it is."""
        found = self.environment.read(API_VERSION, kind, name, namespace) or {}
        return str(condition(found, "Ready").get("reason", ""))

    def inquiries(self) -> list[str]:
        """The ids of those of this run that wait for an answer."""
        found = {each["id"] for each in self.api.get("inquiries", limit=-1)}
        return sorted(found - self._asked_before)

    def say_what_is_not_ready(self) -> None:
        """For whoever looks for the cause."""
        for kind in ("Database", "Application", "Rollout", "ImageBuild"):
            for each in self.environment.read_all(API_VERSION, kind):
                told = condition(each, "Ready")
                if told["status"] != "True":
                    where = f"{each['metadata']['namespace']}/{each['metadata']['name']}"
                    self.say(f"  {kind} {where}: {told.get('reason')}, {told.get('message')}")

    def note_passwords(self, namespace: str) -> None:
        """Remember what must be nowhere."""
        client = self.environment.vault_client().secrets.kv.v2
        for path in self.environment.vault_paths(f"kubestorm/{self.environment.cluster}/"):
            if f"/{namespace}/" in path:
                secret = client.read_secret_version(path, raise_on_deleted_version=True)
                self.passwords.add(secret["data"]["data"]["password"])


def condition(found: Json, kind: str) -> Json:
    """A condition of an object; of status Unknown where it is absent."""
    all_of_them = (found.get("status") or {}).get("conditions") or ()
    return next((each for each in all_of_them if each["type"] == kind), {"status": "Unknown"})


def row(what: str, said: str, goal: int | None = None, value: float = 0) -> None:
    """A line of the table, said at once."""
    verdict = "" if goal is None else "reached" if value <= goal else "NOT reached"
    TABLE.append((what, said, "" if goal is None else f"at most {goal}", verdict))
    print(f"{what}: {said} {verdict}", flush=True)


def say(text: str) -> None:
    print(text, flush=True)


@pytest.fixture(scope="session")
def storm() -> Iterator[Storm]:
    """StackStorm as it is, and the sandbox up. The first tests install and configure the pack."""
    url, key = os.environ.get("ST2_URL"), os.environ.get("ST2_KEY")
    if not url or not key:
        pytest.skip(
            "needs a StackStorm: ST2_URL is the address of its API, ST2_KEY a key of an "
            "administrator (docs/contributing-stackstorm.md)"
        )
    folder = Path(tempfile.mkdtemp(prefix="kubestorm-acceptance-"))
    api = StackStorm(url, key, say)
    user = api.user()
    settings = {
        "chat": {"people": [{"name": user, "accounts": [user], "roles": ["admin", "approver"]}]},
        "approvals": {"rules": [{"namespaces": ["guarded"], "what": ["delete"]}]},
    }
    try:
        with Environment(folder, registry=True, settings=settings) as it:
            _let_services_in(folder)
            yield Storm(api, it, say)
    finally:
        api.client.close()
        shutil.rmtree(folder, ignore_errors=True)


def _let_services_in(folder: Path) -> None:
    """StackStorm's services run as users of their own. What they read here is of this sandbox, for
    as long as it is up; the folder of builds they make themselves.
    """
    folder.chmod(0o1777)
    for file in (folder / "pack").iterdir():
        file.chmod(0o644)


def pack_configuration(environment: Environment) -> Json:
    """The configuration that the sandbox wrote."""
    file = environment.folder / "configs" / "kubestorm.yaml"
    values: Json = yaml.safe_load(file.read_text())
    return values


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table, after all tests."""
    if not TABLE:
        return
    terminalreporter.section("StackStorm")
    widths = [max(len(line[column]) for line in TABLE) for column in range(3)]
    for line in TABLE:
        cells = [cell.ljust(width) for cell, width in zip(line[:3], widths, strict=True)]
        terminalreporter.write_line("  ".join([*cells, line[3]]).rstrip())
