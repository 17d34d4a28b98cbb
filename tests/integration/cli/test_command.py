"""The command `stormcell` against a running engine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engine.serving import PACKS, Served, eventually

PACK = str(Path(__file__).parents[3])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("cli") / "data", PACKS / "engine_demo")
    yield served
    assert served.stop() == 0


def _command(
    *words: str, data: Path | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "stormcell", *words]
    if data is not None:
        arguments += ["--data", str(data)]
    return subprocess.run(
        arguments, input=given, capture_output=True, text=True, timeout=60, check=False
    )


def test_run_prints_the_result_and_exits_by_it(served: Served) -> None:
    """0 where it succeeded, 1 where it failed, 2 where a word does not fit."""
    good = _command("run", "engine_demo.greet", "name=Bob", data=served.data)
    assert (good.returncode, "Hello, Bob" in good.stdout) == (0, True), good.stderr
    bad = _command("run", "engine_demo.greet", "name=Nobody", data=served.data)
    assert (bad.returncode, "there is nobody to greet" in bad.stdout) == (1, True)
    wrong = _command("run", "engine_demo.greet", "nam=Bob", data=served.data)
    assert (wrong.returncode, 'There is no parameter "nam"' in wrong.stderr) == (2, True)


def test_emit_waits_and_why_explains(served: Served) -> None:
    """emit --wait shows the tree; why shows the criterion that did not hold; the table lists what
    ran.
    """
    body = '{"name": "World", "number": 1}'
    emitted = _command(
        "emit", "engine_demo.happened", "--payload", "-", "--wait", data=served.data, given=body
    )
    assert emitted.returncode == 0, emitted.stderr
    assert "first: engine_demo.greet  succeeded" in emitted.stdout
    quiet = _command(
        "emit", "engine_demo.happened", "--payload", "-", data=served.data, given='{"name": "Zoe"}'
    )
    told = _command("why", quiet.stdout.strip(), data=served.data).stdout
    assert 'trigger.name startswith "W" does not hold for "Zoe"' in told
    assert "engine_demo.greet_twice" in _command("executions", data=served.data).stdout


def test_check_tells_each_fault(tmp_path: Path) -> None:
    """A sound pack exits 0; a folder without pack.yaml exits 1 with a sentence."""
    assert _command("check", str(PACKS / "engine_demo")).returncode == 0
    wrong = _command("check", str(tmp_path))
    assert (wrong.returncode, "pack.yaml" in wrong.stderr) == (1, True)


def test_check_reads_the_configuration_too(tmp_path: Path) -> None:
    """A value of the wrong type, what the pack itself refuses and an absent file exit 1 with a
    sentence that names the file; what the pack warns of is told.
    """
    (tmp_path / "kubestorm.yaml").write_text("cluster: [here]")
    wrong = _command("check", PACK, "--configs", str(tmp_path))
    assert (wrong.returncode, "kubestorm.yaml: cluster must be" in wrong.stderr) == (1, True), (
        wrong.stderr
    )
    registry = "push_vault_path: a"
    for entry, code, said in (
        (
            registry,
            0,
            "kubestorm.yaml: registries.hosts[0].access[0] (r.test) has only one login",
        ),
        (registry + ", pull_vault_path: b", 0, ""),
        ("copy_push_login: true", 1, "copy_push_login is for an entry"),
    ):
        (tmp_path / "kubestorm.yaml").write_text(
            f"cluster: here\nregistries: {{hosts: [{{host: r.test, access: [{{{entry}}}]}}]}}"
        )
        judged = _command("check", PACK, "--configs", str(tmp_path))
        assert (judged.returncode, said in judged.stderr) == (code, True), judged.stderr
        assert said or not judged.stderr
    (tmp_path / "kubestorm.yaml").unlink()
    absent = _command("check", PACK, "--configs", str(tmp_path))
    assert (absent.returncode, "does not exist" in absent.stderr) == (1, True), absent.stderr


@pytest.mark.parametrize(
    "text, said",
    [
        ("valut: {}", "Unknown setting valut; did you mean vault?"),
        ("kubernetes: {namespase: x}", "Unknown setting kubernetes.namespase; did you mean nam"),
        ("rollout: {history: 0}", "rollout.history must be an integer of 1 or more (found: 0)"),
        ("drift: {interval_seconds: often}", "drift.interval_seconds must be a number"),
        ("cluster: Prod_EU", "for example prod-eu (found: 'Prod_EU')"),
        ("consul: {token_file: /absent/token}", "consul.token_file names /absent/token, which"),
        ("kubernetes: {kubeconfig: /absent}", "kubernetes.kubeconfig names /absent, which does"),
        (
            "registries: {listener: {certificate_file: /absent/a, key_file: /absent/b}}",
            "registries.listener.certificate_file names /absent/a, which does not exist",
        ),
        ("vault: {auth: {method: approle}}", "vault.auth.method approle needs vault.auth.role_id"),
        ("vault: {url: https://vault.test}", "set vault.auth.token_file"),
        ("parts: [databases]", "set vault.auth.token_file"),
        ("parts: [database]", "parts is ['database']"),
        ("build: {default_registry: r.test}", "build.default_registry is now registries.default"),
        ("aws: {role_arn: 'arn:aws:iam::123456789012:role/kubestorm'}", "aws.role_arn still have"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(text: str, said: str, tmp_path: Path) -> None:
    """With the place and the remedy, and exit code 1."""
    text = text if text.startswith("cluster") else f"cluster: here\n{text}"
    (tmp_path / "kubestorm.yaml").write_text(text)
    judged = _command("check", PACK, "--configs", str(tmp_path))
    assert (judged.returncode, said in judged.stderr) == (1, True), judged.stderr
    assert "configs/kubestorm.yaml: " in judged.stderr
    assert "Nothing is wrong" not in judged.stdout


def test_the_untouched_example_is_refused(tmp_path: Path) -> None:
    """It has files, accounts and addresses of nobody."""
    (tmp_path / "kubestorm.yaml").write_text((Path(PACK) / "kubestorm.yaml.example").read_text())
    judged = _command("check", PACK, "--configs", str(tmp_path))
    assert judged.returncode == 1
    for said in ("vault.ca_file names", "still have the values of kubestorm.yaml.example"):
        assert said in judged.stderr


def test_serve_refuses_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    """A folder below a file is refused in a sentence that says what to give."""
    (tmp_path / "file").touch()
    refused = _command("serve", "--port", "0", data=tmp_path / "file" / "data")
    assert (refused.returncode, "Give --data a folder" in refused.stderr) == (2, True), (
        refused.stderr
    )
    assert "Traceback" not in refused.stderr


def test_a_backup_is_made_while_it_runs(served: Served, tmp_path: Path) -> None:
    """The file is private and is a database; a second one of the same name is refused."""
    target = tmp_path / "copy.db"
    assert _command("backup", str(target), data=served.data).returncode == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.read_bytes().startswith(b"SQLite format 3")
    assert _command("backup", str(target), data=served.data).returncode == 2


def test_what_was_backed_up_serves_again(tmp_path: Path) -> None:
    """With the key of the secrets beside it, history, keys and encrypted values are there, and
    rules go on.
    """
    first = Served(tmp_path / "data", PACKS / "engine_demo")
    ran = first.run("engine_demo.greet", name="Bob", password="sesame-street")["id"]
    first.http.put("/v1/keys/pin", json={"value": "4711-4711", "secret": True}).raise_for_status()
    assert _command("backup", str(tmp_path / "copy.db"), data=first.data).returncode == 0
    later = first.run("core.noop")["id"]
    assert first.stop() == 0

    (tmp_path / "restored").mkdir()
    (tmp_path / "copy.db").rename(tmp_path / "restored" / "stormcell.db")
    shutil.copy(first.data / "datastore-key", tmp_path / "restored")
    again = Served(tmp_path / "restored", PACKS / "engine_demo")
    try:
        assert again.get(f"/v1/executions/{ran}")["status"] == "succeeded"
        assert again.http.get(f"/v1/executions/{later}").status_code == 404
        assert again.get("/v1/keys/pin", decrypt="true")["value"] == "4711-4711"
        rerun = again.http.post(f"/v1/executions/{ran}/re_run", json={}).json()["id"]
        assert again.ended(rerun)["result"]["result"] == {"text": "Hello, Bob", "echo": "********"}
    finally:
        assert again.stop() == 0


def test_prune_removes_what_has_ended(tmp_path: Path) -> None:
    """Executions and events of the past go, with what they wrote; an open question and the
    datastore stay.
    """
    served = Served(tmp_path / "data", PACKS / "engine_demo")
    try:
        served.http.put("/v1/keys/stays", json={"value": "yes"}).raise_for_status()
        asked = served.http.post(
            "/v1/executions", json={"action": "core.ask", "parameters": {"ttl": 0}}
        ).json()["id"]
        eventually(lambda: served.get(f"/v1/executions/{asked}")["status"] == "pending")
        served.run("engine_demo.greet_twice", name="Bob")
        served.run("core.local", cmd="echo out")
        assert _command("prune", "--days", "1", data=served.data).returncode == 0
        assert len(served.get("/v1/executions", limit=-1)) > 3
        pruned = _command("prune", "--days", "0", data=served.data)
        assert (pruned.returncode, pruned.stdout.startswith("Removed 1 execution output")) == (
            0,
            True,
        ), pruned
        assert [execution["id"] for execution in served.get("/v1/executions", limit=-1)] == [asked]
        assert served.get("/v1/ruleenforcements") == []
        assert served.get("/v1/keys/stays")["value"] == "yes"
    finally:
        assert served.stop() == 0


def test_reload_takes_changed_files_without_a_restart(tmp_path: Path) -> None:
    """A rule that is added works, one that is changed works as it now is, one that is removed is
    gone; a broken file is told and leaves the rest."""
    pack = tmp_path / "engine_demo"
    shutil.copytree(PACKS / "engine_demo", pack)
    served = Served(tmp_path / "data", pack)
    try:
        rule = pack / "rules" / "happened_greet.yaml"
        (pack / "rules" / "added.yaml").write_text(
            "name: added\npack: engine_demo\nenabled: true\ntrigger: {type: engine_demo.happened}\n"
            "action: {ref: core.noop}\n"
        )
        rule.write_text(rule.read_text().replace("pattern: W", "pattern: V"))
        (pack / "rules" / "happened_never.yaml").unlink()
        (pack / "rules" / "broken.yaml").write_text("name: [")
        reloaded = _command("reload", data=served.data)
        assert reloaded.returncode == 0, reloaded.stderr
        body = {"trigger": "engine_demo.happened", "payload": {"name": "Vera", "number": 1}}
        instance = served.http.post("/v1/webhooks/st2", json=body).headers["X-Trigger-Instance-Id"]
        matched = {
            item["rule"]["ref"]
            for item in served.get("/v1/ruleenforcements", trigger_instance=instance)
        }
        assert matched == {"engine_demo.added", "engine_demo.happened_greet"}
        assert served.http.get("/v1/rules/engine_demo.happened_never").status_code == 404
        assert "broken.yaml" in (tmp_path / "data.log").read_text()
    finally:
        assert served.stop() == 0


def test_without_an_engine_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    """No address given, and no engine behind the folder."""
    assert "--data DIR" in _command("executions").stderr
    assert "stormcell serve" in _command("executions", data=tmp_path).stderr
