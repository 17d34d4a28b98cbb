"""Every action of the pack is one that StackStorm can load and call."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
import stormcell
import yaml

ROOT = Path(__file__).resolve().parents[3]
ACTIONS = ROOT / "actions"
METADATA = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(ACTIONS.glob("*.yaml"))}
PYTHON = [name for name, metadata in METADATA.items() if metadata["runner_type"] == "python-script"]
CHAINS = [name for name, metadata in METADATA.items() if metadata["runner_type"] == "action-chain"]
# Set by the chain from what the engine knows; a person has none to give.
GIVEN_BY_THE_RUNNER = {"self"}
# What code within the same process may give, and nobody by the API: metadata without a parameter
# refuses it.
GIVEN_BY_CODE = {"approval_answer": {"person"}}
# Parameters of the runner that metadata may give another default.
OF_THE_RUNNER = {"timeout"}


@pytest.fixture(scope="module", autouse=True)
def _st2() -> Any:
    """The engine's answer to `import st2common`, where StackStorm itself is not installed."""
    path = str(Path(stormcell.__file__).parent / "shims" / "st2")
    sys.path.append(path)
    yield
    sys.path.remove(path)


def load(name: str) -> Any:
    """Import an action's module and return its one class with a `run`, chosen as StackStorm's
    loader does.
    """
    path = ACTIONS / METADATA[name]["entry_point"]
    spec = importlib.util.spec_from_file_location(f"pack_action_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__
    ]
    runnable = [kind for kind in own if hasattr(kind, "run")]
    assert len(runnable) == 1
    return runnable[0]


@pytest.mark.parametrize("name", PYTHON)
def test_metadata_and_run_name_the_same_parameters(name):
    """Each with a default on both sides or on neither, and a description for whoever runs it."""
    given = METADATA[name].get("parameters") or {}
    parameters = {key: schema for key, schema in given.items() if key not in OF_THE_RUNNER}
    signature = inspect.signature(load(name).run)
    taken = {
        key: value
        for key, value in signature.parameters.items()
        if key not in GIVEN_BY_THE_RUNNER | GIVEN_BY_CODE.get(name, set())
    }
    whatever = [key for key, value in taken.items() if value.kind is inspect.Parameter.VAR_KEYWORD]
    for key in whatever:
        del taken[key]
    assert set(taken) <= set(parameters)
    assert whatever or set(taken) == set(parameters)
    for key, schema in parameters.items():
        assert schema.get("description"), key
        if key not in taken:
            continue
        optional = taken[key].default is not inspect.Parameter.empty
        assert optional is not bool(schema.get("required")), key
        if optional and "{{" not in str(schema.get("default")):
            default = taken[key].default
            # A tuple of Python's is a list of YAML's.
            wanted = list(default) if isinstance(default, tuple) else default
            assert schema.get("default") == wanted, key


@pytest.mark.parametrize("name", list(METADATA))
def test_metadata_is_about_its_own_file(name):
    """The name is the file's, the pack ours, the entry point there."""
    metadata = METADATA[name]
    assert (metadata["name"], metadata["pack"]) == (name, "kubestorm")
    assert metadata["description"]
    assert (
        metadata["runner_type"] == "announcement" or (ACTIONS / metadata["entry_point"]).is_file()
    )
    positions = [
        schema["position"]
        for schema in metadata.get("parameters", {}).values()
        if "position" in schema
    ]
    assert len(set(positions)) == len(positions)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_calls_actions_with_what_they_take(name):
    """Every task's action exists, every required parameter is given, no unknown one, every next
    task is there.
    """
    chain = yaml.safe_load((ACTIONS / METADATA[name]["entry_point"]).read_text())
    tasks = {task["name"]: task for task in chain["chain"]}
    assert chain["default"] in tasks
    for task in tasks.values():
        called = METADATA[task["ref"].split(".", 1)[1]]
        given = set(task.get("parameters") or {})
        required = {key for key, schema in called["parameters"].items() if schema.get("required")}
        assert required <= given <= set(called["parameters"]), task["name"]
        for key in ("on-success", "on-failure"):
            assert task.get(key) in {None, *tasks}, task["name"]


def test_rules_pass_identity_only():
    """And to actions that are there."""
    for path in (ROOT / "rules").glob("database_*.yaml"):
        rule = yaml.safe_load(path.read_text())
        action = METADATA[rule["action"]["ref"].split(".", 1)[1]]
        identity = {"cluster", "group", "version", "plural", "namespace", "name", "uid"}
        assert set(rule["action"]["parameters"]) == identity
        assert identity <= set(action["parameters"])
