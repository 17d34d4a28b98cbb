"""What the repository says of itself is so."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from kubestorm.entrypoints import action_docs, config_schema
from kubestorm.entrypoints.config_check import find_faults

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    """Every relative link in the docs names a file that exists."""
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_configurations_schema_and_reference_are_current():
    """config.schema.yaml and docs/configuration.md say what the settings classes say, and every
    setting is described.
    """
    assert config_schema.main(["--check"]) == 0
    bare = re.findall(r"^\| (`.*`) \|.*\|  \|$", config_schema.DOCS_FILE.read_text(), re.MULTILINE)
    assert bare == []
    assert config_schema.schema()["cluster"]["required"] is True


def test_the_page_of_actions_is_current():
    """docs/actions.md has every action that people run; the pack's own steps have the tag and the
    word, and whatever a rule, a chain or a workflow of the pack runs is one of either.
    """
    assert action_docs.main(["--check"]) == 0
    actions = action_docs.load_actions(ROOT / "actions")
    for action in actions:
        is_internal = action["description"].startswith("Internal:")
        assert action_docs.is_internal(action) is is_internal, action["name"]
        assert (f"## {action['name']}\n" in action_docs.PAGE.read_text()) is not is_internal
    internal = {action["name"] for action in actions if action_docs.is_internal(action)}
    assert {"rollout_advance", "build_run", "chat_run"} <= internal
    assert "VALUE" not in action_docs.PAGE.read_text(), "a parameter without an example"


def test_fifteen_lines_make_databases_work():
    """The lines that docs/configuration.md begins with lack nothing but the files of the reader."""
    page = config_schema.DOCS_FILE.read_text()
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown.splitlines()) == 15
    faults = [fault.message for fault in find_faults(yaml.safe_load(shown))]
    assert len(faults) == 4
    assert all("/etc/kubestorm/" in one or "kubestorm.yaml.example" in one for one in faults)


def test_make_help_lists_every_target():
    """`make help` says what each target does, and knows all that are meant for people."""
    said = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    listed = {line.split()[1] for line in said.splitlines() if line.startswith("  make ")}
    assert {"setup", "demo", "test", "check", "bench", "help"} <= listed
    phony = set(re.findall(r"^\.PHONY: (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert listed == phony


def test_the_pack_installs_the_same_ranges_everywhere():
    """requirements.txt, which StackStorm installs, and the project's `pack` extra name the same
    ranges.
    """
    required = {
        line
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line and line[0] != "#"
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    shared = required & set(project["dependencies"]) | {
        line for line in required if line.startswith("jsonschema")
    }
    assert required - shared == set(project["optional-dependencies"]["pack"])


def test_the_links_that_stackstorm_needs_are_links():
    """Git keeps the three symbolic links that make the pack work without a change of st2.conf."""
    assert {
        str(path.relative_to(ROOT)): str(path.readlink())
        for path in (ROOT / "actions/workflows", ROOT / "actions/lib", ROOT / "sensors/kubestorm")
    } == {
        "actions/workflows": "../workflows",
        "actions/lib": "../lib",
        "sensors/kubestorm": "../lib/kubestorm",
    }


def test_pack_code_is_syntax_of_python_3_8():
    """Everything that runs inside StackStorm parses as Python 3.8."""
    import ast

    files = [
        path for folder in ("lib", "actions", "sensors") for path in (ROOT / folder).rglob("*.py")
    ]
    assert files
    for path in files:
        ast.parse(path.read_text(), filename=str(path), feature_version=(3, 8))


def test_pack_code_imports_on_the_oldest_python_here(oldest_python):
    """Where an older Python is installed, the library's modules that need no package import."""
    code = (
        "import sys; sys.path.insert(0, 'lib'); import kubestorm.core.errors, "
        "kubestorm.core.naming, kubestorm.core.conditions"
    )
    subprocess.run([oldest_python, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.fixture
def oldest_python():
    import shutil

    for name in ("python3.8", "python3.9", "python3.10"):
        found = shutil.which(name)
        if (
            found
            and subprocess.run([found, "--version"], capture_output=True, check=False).returncode
            == 0
        ):
            return found
    return sys.executable


def test_each_decision_has_a_number_of_its_own():
    """People name a decision by it, and the heading repeats it."""
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [path.name[:4] for path in found]
    assert len(set(numbers)) == len(numbers) > 0, numbers
    wrong = [path.name for path in found if not path.read_text().startswith(f"# {path.name[:4]}: ")]
    assert wrong == []
