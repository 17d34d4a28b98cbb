"""Warm workers load the libraries of a pack's actions before anybody asks for a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from stormcell.content.loader import load_pack
from stormcell.content.registry import Content
from stormcell.runners.python import PythonRunner
from stormcell.statuses import ExecutionStatus
from stormcell.workers.pool import WorkerPool

from tests.integration.runners.conftest import Requests

pytestmark = pytest.mark.usefixtures("run_async")

_PACK = (
    "ref: early\nname: early\nversion: 0.1.0\nauthor: tests\nemail: tests@example.org\n"
    "description: Early.\n"
)
_ACTION = (
    "name: {name}\nrunner_type: python-script\nentry_point: {name}.py\nenabled: true\n"
    "parameters: {{}}\n"
)
_LOADED = """
import sys
from st2common.runners.base_action import Action


class Loaded(Action):
    def run(self):
        return [name for name in ("yaql", "early_helper", "jsonpath_ng") if name in sys.modules]
"""
_USER = """
from typing import TYPE_CHECKING

from st2common.runners.base_action import Action

import early_helper

if TYPE_CHECKING:
    import jsonpath_ng


class User(Action):
    def run(self):
        return early_helper.go()
"""
_HELPER = """
def go():
    try:
        import graphlib_of_nobody
    except ImportError:
        import yaql.language
    return True
"""


def _pack(folder: Path, user: str = _USER, helper: str = _HELPER, tags: str = "") -> Path:
    (folder / "actions" / "lib").mkdir(parents=True)
    (folder / "pack.yaml").write_text(_PACK)
    for name, code in {"loaded": _LOADED, "user": user}.items():
        (folder / "actions" / f"{name}.yaml").write_text(
            _ACTION.format(name=name) + (tags if name == "user" else "")
        )
        (folder / "actions" / f"{name}.py").write_text(code)
    (folder / "actions" / "lib" / "early_helper.py").write_text(helper)
    return folder


def _loaded(pack: Path) -> Any:
    """What the first run in a warm worker finds loaded."""
    requests = Requests(pack)

    async def go() -> Any:
        pool = WorkerPool(size=1, warm=1)
        runner = PythonRunner(pool=pool)
        pool.start()
        runner.preload(Content([load_pack(pack)]))
        try:
            await asyncio.wait_for(pool.settled(), 60)
            return await runner.run(requests("loaded"), requests.output)
        finally:
            await runner.close()

    result = asyncio.run(go())
    assert result.status is ExecutionStatus.SUCCEEDED, result
    return result.result["result"]


def test_library_of_a_function_in_a_module_of_the_pack_is_loaded(tmp_path: Path) -> None:
    """Imports are followed through the pack's modules; its own modules are not kept, nor what only
    checkers read.
    """
    assert _loaded(_pack(tmp_path)) == ["yaql"]


def test_action_that_wants_a_fresh_process_has_nothing_loaded(tmp_path: Path) -> None:
    """An action with the tag `fresh_process` says that its libraries are not to be shared."""
    assert (
        _loaded(_pack(tmp_path, tags="tags:\n  - name: fresh_process\n    value: 'true'\n")) == []
    )


@pytest.mark.parametrize("broken", ["def (:", "import graphlib_of_nobody", "raise SystemExit(3)"])
def test_broken_file_does_no_harm(tmp_path: Path, broken: str) -> None:
    """Files are read, not run: what is wrong with one shows in the run that uses it."""
    assert _loaded(_pack(tmp_path, user=broken)) == []


def test_library_that_starts_a_thread_costs_the_worker_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that preloading made unusable is replaced, and the pack is not preloaded again."""
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "early_threads.py").write_text(
        "import threading\nimport yaql\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(installed))
    assert _loaded(_pack(tmp_path / "early", helper="import early_threads\n")) == []
