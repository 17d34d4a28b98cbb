"""Loading a pack, and telling everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from stormcell.checks import check_folders
from stormcell.content.loader import load_pack, read_pack
from stormcell.content.registry import Content, DefinitionWarning, check_content
from stormcell.errors import DefinitionError, NotFoundError
from stormcell.packs import BUILT_IN_PACKS, CORE_PACK

from tests.unit.content.conftest import WritePack

ACTION = "name: go\nrunner_type: noop\n"
RULE = "name: when\ntrigger: {type: sample.event}\naction: {ref: sample.go}\n"
TRIGGER = "name: event\n"
SENSOR = "class_name: Watcher\nentry_point: watcher.py\ntrigger_types: [{name: seen}]\n"
WATCHER = "class Watcher:\n    pass\n"


def test_the_built_in_packs_are_sound() -> None:
    """Nothing is wrong with the packs we ship, alone or together."""
    assert [problem for folder in BUILT_IN_PACKS for problem in read_pack(folder).problems] == []
    assert check_content(Content(load_pack(folder) for folder in BUILT_IN_PACKS)) == []


def test_the_core_pack_has_what_rules_use() -> None:
    """The actions and trigger types of StackStorm's own."""
    content = Content([load_pack(CORE_PACK)])
    assert {"core.noop", "core.local", "core.http", "core.ask", "core.announcement"} <= set(
        content.actions
    )
    assert content.trigger_type("core.st2.IntervalTimer").parameters_schema["properties"]["unit"][
        "enum"
    ] == [
        "weeks",
        "days",
        "hours",
        "minutes",
        "seconds",
    ]


def test_everything_in_a_pack_is_found(write_pack: WritePack) -> None:
    """Each kind lies in its folder; only the top level and only metadata counts; the file is
    remembered.
    """
    root = write_pack(
        {
            "actions/go.yaml": ACTION,
            "actions/other.yml": "name: other\nrunner_type: local-shell-cmd\n",
            "actions/third.json": '{"name": "third", "runner_type": "noop"}',
            "actions/notes.txt": "not metadata",
            "actions/deep/skipped.yaml": "not: [metadata",
            "rules/when.yaml": RULE,
            "triggers/event.yaml": TRIGGER,
            "sensors/watcher.yaml": SENSOR,
            "sensors/watcher.py": WATCHER,
            "aliases/say.yaml": "name: say\naction_ref: sample.go\nformats: ['go {{ where }}']\n",
            "policies/once.yaml": (
                "name: once\nresource_ref: sample.go\npolicy_type: action.concurrency\n"
                "parameters: {threshold: 1}\n"
            ),
        }
    )
    content = Content([load_pack(root)])
    assert sorted(content.actions) == ["sample.go", "sample.other"]
    assert content.rule("sample.when").file == "rules/when.yaml"
    assert content.rule("sample.when").enabled is False, (
        "StackStorm leaves a rule off that does not say so"
    )
    assert sorted(content.trigger_types) == ["sample.event", "sample.seen"]
    assert content.sensor("sample.Watcher").trigger_types == ["sample.seen"]
    assert content.policy("sample.once").parameters == {"threshold": 1, "action": "delay"}
    assert content.policies_of("sample.go") == [content.policy("sample.once")]
    assert content.alias("sample.say").formats == ["go {{ where }}"]


def test_a_workflow_behind_a_link_is_found(write_pack: WritePack) -> None:
    """`actions/workflows -> ../workflows` leads to the entry point."""
    root = write_pack(
        {
            "workflows/flow.yaml": "version: 1.0\ntasks: {}\n",
            "actions/flow.yaml": (
                "name: flow\nrunner_type: orquesta\nentry_point: workflows/flow.yaml\n"
            ),
        }
    )
    (root / "actions" / "workflows").symlink_to("../workflows")
    assert read_pack(root).problems == []


def test_a_sensor_has_to_be_python(write_pack: WritePack) -> None:
    """A file that does not parse is told with its line."""
    root = write_pack({"sensors/s.yaml": SENSOR, "sensors/watcher.py": "class"})
    assert "sensors/watcher.py: line 1: is not valid Python" in str(read_pack(root).problems[0])


def test_a_name_may_stand_once(write_pack: WritePack) -> None:
    """The second of two actions of the same name is told where the first is."""
    root = write_pack({"actions/a.yaml": ACTION, "actions/b.yaml": ACTION})
    assert "already defined in actions/a.yaml" in str(read_pack(root).problems[0])


def test_all_faults_are_told_and_the_rest_is_loaded(write_pack: WritePack) -> None:
    """One bad file does not hide another, nor what is right."""
    root = write_pack(
        {
            "actions/good.yaml": "name: good\nrunner_type: noop\n",
            "actions/bad.yaml": "name: bad\nrunner_type: nope\n",
            "rules/bad.yaml": "name: r\n",
            "triggers/bad.yaml": "a: [\n",
        }
    )
    reading = read_pack(root)
    assert sorted({str(problem.file) for problem in reading.problems}) == [
        "actions/bad.yaml",
        "rules/bad.yaml",
        "triggers/bad.yaml",
    ]
    assert reading.content is not None
    assert [action.name for action in reading.content.actions] == ["good"]
    with pytest.raises(DefinitionError, match=r"more; `stormcell check"):
        load_pack(root)


def test_a_folder_without_pack_yaml_is_no_pack(tmp_path: Path) -> None:
    """There is nothing to load, and it says so."""
    assert "there is no pack.yaml" in str(read_pack(tmp_path).problems[0])


def test_what_packs_say_of_each_other_is_checked(write_pack: WritePack) -> None:
    """Unknown refs are warnings: another pack may bring what is named."""
    root = write_pack(
        {
            "rules/a.yaml": "name: a\ntrigger: {type: other.event}\naction: {ref: sample.goo}\n",
            "aliases/b.yaml": "name: b\naction_ref: sample.gone\nformats: [b]\n",
            "actions/go.yaml": ACTION,
        }
    )
    problems = check_content(Content([load_pack(CORE_PACK), load_pack(root)]))
    assert all(isinstance(problem, DefinitionWarning) for problem in problems)
    told = "\n".join(map(str, problems))
    assert "there is no action 'sample.goo'. Did you mean 'sample.go'?" in told
    assert "there is no trigger type 'other.event'." in told
    assert "there is no action 'sample.gone'. Did you mean 'sample.go'?" in told


def test_an_unknown_ref_is_not_found(write_pack: WritePack) -> None:
    """The error offers the nearest name."""
    content = Content([load_pack(write_pack({"actions/go.yaml": ACTION}))])
    with pytest.raises(NotFoundError, match=r"Did you mean 'sample\.go'"):
        content.action("sample.goo")


PACKS = Path(__file__).parents[2] / "packs"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in PACKS.glob("*/pack.yaml")))
def test_packs_as_others_write_them_are_sound(name: str) -> None:
    """What StackStorm registers is accepted, within the pack and between it and the core pack."""
    problems = check_folders([PACKS / name])
    assert [problem for problem in problems if not isinstance(problem, DefinitionWarning)] == []
