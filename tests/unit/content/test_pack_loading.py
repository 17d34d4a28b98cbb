"""Loading a pack, and telling everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from stormcell.content.loader import check_pack, load_pack, read_pack
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
    assert [problem for folder in BUILT_IN_PACKS for problem in check_pack(folder)] == []
    assert check_content([load_pack(folder) for folder in BUILT_IN_PACKS]) == []


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
            "actions/other.yml": "name: other\nrunner_type: local_shell_cmd\n",
            "actions/third.json": '{"name": "third", "runner_type": "noop"}',
            "actions/notes.txt": "not metadata",
            "actions/deep/skipped.yaml": "not: [metadata",
            "rules/when.yaml": RULE,
            "triggers/event.yaml": TRIGGER,
            "sensors/watcher.yaml": SENSOR,
            "sensors/watcher.py": WATCHER,
            "aliases/say.yaml": "name: say\naction_ref: sample.go\nformats: ['go {{ where }}']\n",
            "policies/once.yaml": (
                "name: once\nresource_ref: sample.go\npolicy_type: action.concurrency\nparameters: {threshold: 1}\n"
            ),
        }
    )
    content = Content([load_pack(root)])
    assert sorted(content.actions) == ["sample.go", "sample.other", "sample.third"]
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
            "actions/flow.yaml": "name: flow\nrunner_type: orquesta\nentry_point: workflows/flow.yaml\n",
        }
    )
    (root / "actions" / "workflows").symlink_to("../workflows")
    assert check_pack(root) == []


FAULTS = {
    "no pack.yaml key": (
        {"pack.yaml": "name: sample\ndescription: d\nauthor: a\n"},
        ["'version' is missing"],
    ),
    "version": ({"pack.yaml": "name: s\ndescription: d\nauthor: a\nversion: '1.0'\n"}, ["0.1.0"]),
    "ref": (
        {"pack.yaml": "name: A Pack\ndescription: d\nauthor: a\nversion: 1.0.0\n"},
        ["Add a `ref`"],
    ),
    "unknown runner": (
        {"actions/a.yaml": "name: a\nrunner_type: python-scrpt\n"},
        ["runner_type (line 2)", "Did you mean 'python-script'?", "local-shell-cmd"],
    ),
    "runner of StackStorm alone": (
        {"actions/a.yaml": "name: a\nrunner_type: remote-shell-cmd\n"},
        ["stormcell has no runner 'remote-shell-cmd'"],
    ),
    "unknown key": (
        {"actions/a.yaml": "name: a\nrunner_type: noop\nentrypoint: x\n"},
        ["the key 'entrypoint'", "Did you mean 'entry_point'?"],
    ),
    "unknown key of a parameter": (
        {"actions/a.yaml": "name: a\nrunner_type: noop\nparameters:\n  p: {typ: string}\n"},
        ["parameters.p", "Did you mean 'type'?"],
    ),
    "parameter type list": (
        {"actions/a.yaml": "name: a\nrunner_type: noop\nparameters:\n  p: {type: [string]}\n"},
        ["parameters.p.type (line 4)"],
    ),
    "parameter name": (
        {"actions/a.yaml": "name: a\nrunner_type: noop\nparameters:\n  a-b: {type: string}\n"},
        ["parameters", "not allowed"],
    ),
    "positions": (
        {
            "actions/a.yaml": "name: a\nrunner_type: noop\nparameters: {p: {position: 0}, q: {position: 2}}\n"
        },
        ["positions 0, 2 have a gap"],
    ),
    "same position": (
        {
            "actions/a.yaml": "name: a\nrunner_type: noop\nparameters: {p: {position: 0}, q: {position: 0}}\n"
        },
        ["'p' has the same position"],
    ),
    "immutable": (
        {"actions/a.yaml": "name: a\nrunner_type: noop\nparameters: {p: {immutable: true}}\n"},
        ["needs a default"],
    ),
    "runner parameter": (
        {
            "actions/a.yaml": "name: a\nrunner_type: local-shell-cmd\nparameters: {timeout: {type: string}}\n"
        },
        ["'type' of the parameter 'timeout' is set by the runner"],
    ),
    "no entry point": (
        {"actions/a.yaml": "name: a\nrunner_type: python-script\n"},
        ["needs an entry_point"],
    ),
    "absent entry point": (
        {
            "actions/a.yaml": "name: a\nrunner_type: python-script\nentry_point: goo.py\n",
            "actions/go.py": "",
        },
        ["actions/goo.py does not exist", "Did you mean 'go.py'?"],
    ),
    "entry point outside": (
        {"actions/a.yaml": "name: a\nrunner_type: orquesta\nentry_point: ../x.yaml\n"},
        ["must lie under actions/"],
    ),
    "broken workflow": (
        {
            "actions/a.yaml": "name: a\nrunner_type: orquesta\nentry_point: flows/x.yaml\n",
            "actions/flows/x.yaml": "a: 1\na: 2\n",
        },
        ["actions/flows/x.yaml: line 2"],
    ),
    "other pack": ({"actions/a.yaml": "name: a\nrunner_type: noop\npack: other\n"}, ["'other'"]),
    "same name twice": (
        {"actions/a.yaml": ACTION, "actions/b.yaml": ACTION},
        ["already defined in actions/a.yaml"],
    ),
    "operator": (
        {"rules/r.yaml": RULE + "criteria:\n  trigger.x: {type: equls, pattern: 1}\n"},
        ["criteria.trigger.x.type (line 5)", "Did you mean 'equals'?"],
    ),
    "no pattern": (
        {"rules/r.yaml": RULE + "criteria:\n  trigger.x: {type: exists}\n"},
        ["has no pattern"],
    ),
    "rule type": ({"rules/r.yaml": RULE + "type: {ref: backstp}\n"}, ["Did you mean 'backstop'?"]),
    "rule without trigger": (
        {"rules/r.yaml": "name: r\naction: {ref: a.b}\n"},
        ["'trigger' is missing"],
    ),
    "wrong type": (
        {"rules/r.yaml": RULE + "enabled: sure\n"},
        ["enabled (line 4)", "true or false", "is text"],
    ),
    "sensor file": ({"sensors/s.yaml": SENSOR}, ["sensors/watcher.py does not exist"]),
    "sensor class": (
        {"sensors/s.yaml": SENSOR, "sensors/watcher.py": "class Watchr: pass"},
        ["Did you mean 'Watchr'?"],
    ),
    "sensor syntax": (
        {"sensors/s.yaml": SENSOR, "sensors/watcher.py": "class"},
        ["line 1: is not valid Python"],
    ),
    "poll interval": (
        {"sensors/s.yaml": SENSOR + "poll_interval: 0\n", "sensors/watcher.py": WATCHER},
        ["poll_interval"],
    ),
    "payload schema": (
        {"triggers/t.yaml": "name: t\npayload_schema: {type: objekt}\n"},
        ["payload_schema"],
    ),
    "alias": ({"aliases/a.yaml": "name: a\naction_ref: b.c\nformats: []\n"}, ["formats"]),
    "alias format": (
        {"aliases/a.yaml": "name: a\naction_ref: b.c\nformats: [{match_multiple: true}]\n"},
        ["formats[0]", "neither display nor representation"],
    ),
    "policy type": (
        {"policies/p.yaml": "name: p\nresource_ref: a.b\npolicy_type: action.retri\n"},
        ["Did you mean 'action.retry'?"],
    ),
    "policy parameters": (
        {
            "policies/p.yaml": "name: p\nresource_ref: a.b\npolicy_type: action.retry\nparameters: {delay: 121}\n"
        },
        ["'retry_on' is a required property", "'delay' breaks"],
    ),
    "config schema": (
        {"config.schema.yaml": "token: {type: strng}\n"},
        ["token.type", "Did you mean 'string'?"],
    ),
    "not a mapping": ({"rules/r.yaml": "- a\n"}, ["rules/r.yaml", "a list"]),
    "empty": ({"rules/r.yaml": ""}, ["rules/r.yaml: is empty"]),
}


@pytest.mark.parametrize("files, expected", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_told_with_place_and_remedy(
    write_pack: WritePack, files: dict[str, str], expected: list[str]
) -> None:
    """The message names the file, the path in it, and what would be right."""
    problems = check_pack(write_pack(files))
    text = "\n".join(map(str, problems))
    assert problems
    for part in expected:
        assert part in text


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
    assert "there is no pack.yaml" in str(check_pack(tmp_path)[0])


def test_what_packs_say_of_each_other_is_checked(write_pack: WritePack) -> None:
    """Unknown refs are warnings; parameters that do not fit are errors."""
    root = write_pack(
        {
            "actions/go.yaml": "name: go\nrunner_type: noop\nparameters: {where: {type: string, required: true}}\n",
            "rules/a.yaml": "name: a\ntrigger: {type: sample.evnt}\naction: {ref: sample.gone}\n",
            "rules/b.yaml": (
                "name: b\ntrigger: {type: sample.event, parameters: {size: big}}\n"
                "action: {ref: sample.go, parameters: {wher: x}}\n"
            ),
            "triggers/event.yaml": TRIGGER
            + "parameters_schema: {properties: {size: {type: integer}}}\n",
        }
    )
    problems = check_content([load_pack(CORE_PACK), load_pack(root)])
    warnings = [str(p) for p in problems if isinstance(p, DefinitionWarning)]
    errors = [str(p) for p in problems if not isinstance(p, DefinitionWarning)]
    assert len(warnings) == 2
    assert "Did you mean 'sample.go'?" in warnings[0]
    assert "Did you mean 'sample.event'?" in warnings[1]
    assert "'size' must be of type integer" in errors[0]
    assert "no parameter 'wher'" in errors[1]
    assert "needs the parameter 'where'" in errors[2]


def test_an_unknown_ref_is_not_found(write_pack: WritePack) -> None:
    """The error offers the nearest name."""
    content = Content([load_pack(write_pack({"actions/go.yaml": ACTION}))])
    with pytest.raises(NotFoundError, match=r"Did you mean 'sample\.go'"):
        content.action("sample.goo")


PACKS = Path(__file__).parents[2] / "packs"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in PACKS.glob("*/pack.yaml")))
def test_packs_as_others_write_them_are_sound(name: str) -> None:
    """What StackStorm registers is accepted, within the pack and between it and the core pack."""
    assert check_pack(PACKS / name) == []
    assert check_content([load_pack(CORE_PACK), load_pack(PACKS / name)]) == []
