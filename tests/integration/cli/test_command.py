"""The command `stormcell` against a running engine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engine.serving import PACKS, Served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("cli") / "data", PACKS / "engine_demo")
    yield served
    assert served.stop() == 0


def _command(*words: str, data: Path | None = None, given: str = "") -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "stormcell", *words]
    if data is not None:
        arguments += ["--data", str(data)]
    return subprocess.run(arguments, input=given, capture_output=True, text=True, timeout=60, check=False)


def test_run_prints_the_result_and_exits_by_it(served: Served) -> None:
    """0 where it succeeded, 1 where it failed, 2 where a word does not fit."""
    good = _command("run", "engine_demo.greet", "name=Bob", data=served.data)
    assert (good.returncode, "Hello, Bob" in good.stdout) == (0, True), good.stderr
    bad = _command("run", "engine_demo.greet", "name=Nobody", data=served.data)
    assert (bad.returncode, "there is nobody to greet" in bad.stdout) == (1, True)
    wrong = _command("run", "engine_demo.greet", "nam=Bob", data=served.data)
    assert (wrong.returncode, 'There is no parameter "nam"' in wrong.stderr) == (2, True)


def test_emit_waits_and_why_explains(served: Served) -> None:
    """emit --wait shows the tree; why shows the criterion that did not hold; the table lists what ran."""
    body = '{"name": "World", "number": 1}'
    emitted = _command("emit", "engine_demo.happened", "--payload", "-", "--wait", data=served.data, given=body)
    assert emitted.returncode == 0, emitted.stderr
    assert "first: engine_demo.greet  succeeded" in emitted.stdout
    quiet = _command("emit", "engine_demo.happened", "--payload", "-", data=served.data, given='{"name": "Zoe"}')
    told = _command("why", quiet.stdout.strip(), data=served.data).stdout
    assert 'trigger.name startswith "W" does not hold for "Zoe"' in told
    assert "engine_demo.greet_twice" in _command("executions", data=served.data).stdout


def test_check_tells_each_fault(tmp_path: Path) -> None:
    """A sound pack exits 0; a folder without pack.yaml exits 1 with a sentence."""
    assert _command("check", str(PACKS / "engine_demo")).returncode == 0
    wrong = _command("check", str(tmp_path))
    assert (wrong.returncode, "pack.yaml" in wrong.stderr) == (1, True)


def test_check_reads_the_configuration_too(tmp_path: Path) -> None:
    """A value of the wrong type and an absent file exit 1 with a sentence that names the file."""
    pack = str(Path(__file__).parents[3])
    (tmp_path / "kubestorm.yaml").write_text("cluster: [here]")
    wrong = _command("check", pack, "--configs", str(tmp_path))
    assert (wrong.returncode, "kubestorm.yaml: 'cluster' must be" in wrong.stderr) == (1, True), wrong.stderr
    (tmp_path / "kubestorm.yaml").unlink()
    absent = _command("check", pack, "--configs", str(tmp_path))
    assert (absent.returncode, "does not exist" in absent.stderr) == (1, True), absent.stderr


def test_serve_refuses_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    """A folder below a file is refused in a sentence that says what to give."""
    (tmp_path / "file").touch()
    refused = _command("serve", "--port", "0", data=tmp_path / "file" / "data")
    assert (refused.returncode, "Give --data a folder" in refused.stderr) == (2, True), refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_backup_is_made_while_it_runs(served: Served, tmp_path: Path) -> None:
    """The file is private and is a database; a second one of the same name is refused."""
    target = tmp_path / "copy.db"
    assert _command("backup", str(target), data=served.data).returncode == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.read_bytes().startswith(b"SQLite format 3")
    assert _command("backup", str(target), data=served.data).returncode == 2


def test_without_an_engine_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    """No address given, and no engine behind the folder."""
    assert "--data DIR" in _command("executions").stderr
    assert "stormcell serve" in _command("executions", data=tmp_path).stderr
