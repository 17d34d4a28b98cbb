"""From a CustomResourceDefinition to a rule that loads and a description that is complete."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubestorm.core.errors import DefinitionError
from kubestorm.entrypoints.scaffold import Field, fields_of, load_crd, main, read_kind, scaffold

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "own-crd"


@pytest.fixture
def crd() -> dict[str, Any]:
    """The example's definition, free to be changed."""
    return copy.deepcopy(load_crd(EXAMPLE / "certificates.yaml"))


def test_the_example_is_what_the_scaffold_writes(crd: dict[str, Any]) -> None:
    """The files in examples/ are not older than the code."""
    made = scaffold(crd)
    assert (EXAMPLE / "certificate_event.yaml").read_text() == made.rule
    assert (EXAMPLE / "certificate_event.md").read_text() == made.description


def test_the_rule_asks_for_the_kind_and_hands_over_identity(crd: dict[str, Any]) -> None:
    """As YAML it is a StackStorm rule; an action that is named gets who, never what."""
    rule = yaml.safe_load(scaffold(crd, pack="certs", action="certs.renew").rule)
    words = ("cluster", "group", "version", "plural", "namespace", "name", "uid")
    assert rule == {
        "name": "certificate_event",
        "pack": "certs",
        "description": "Something happened to a Certificate (certificates.certs.example.org).",
        "enabled": True,
        "trigger": {
            "type": "kubestorm.resource_event",
            "parameters": {"group": "certs.example.org", "version": "v1", "plural": "certificates"},
        },
        "criteria": {
            "trigger.change": {
                "type": "in",
                "pattern": ["created", "updated", "deleting", "deleted"],
            }
        },
        "action": {
            "ref": "certs.renew",
            "parameters": {word: f"{{{{ trigger.{word} }}}}" for word in words},
        },
    }


def test_every_field_is_described_with_its_type() -> None:
    """Nested objects, lists of objects, maps, values to choose from, defaults, names that need
    quotes.
    """
    size = {
        "type": "string",
        "enum": ["small", "huge"],
        "default": "small",
        "description": "How\nbig.",
    }
    port = {"type": "object", "properties": {"port": {"type": "integer"}}}
    schema = {
        "required": ["spec"],
        "properties": {
            "metadata": {"type": "object"},
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": size,
                    "ports": {"type": "array", "items": port},
                    "tags": {"type": "object", "additionalProperties": {"type": "string"}},
                    "limit": {"x-kubernetes-int-or-string": True},
                    "a.b": {"x-kubernetes-preserve-unknown-fields": True},
                },
            },
        },
    }
    assert list(fields_of(schema)) == [
        Field("spec", "object", True, ""),
        Field(
            "spec.size",
            'string (one of "small", "huge"; default "small")',
            True,
            "How big.",
            ("small", "huge"),
        ),
        Field("spec.ports", "array of object", False, ""),
        Field("spec.ports[].port", "integer", False, ""),
        Field("spec.tags", "map of string", False, ""),
        Field("spec.limit", "integer or string", False, ""),
        Field("spec['a.b']", "any", False, ""),
    ]


def test_the_stored_version_is_taken_unless_another_is_asked_for(crd: dict[str, Any]) -> None:
    """A version that is not served is not offered."""
    stored = crd["spec"]["versions"][0]
    crd["spec"]["versions"] = [
        {**stored, "name": "v1alpha1", "storage": False, "served": False},
        {**stored, "name": "v1beta1", "storage": False},
        stored,
    ]
    assert read_kind(crd).version == "v1"
    assert read_kind(crd, "v1beta1").version == "v1beta1"
    with pytest.raises(DefinitionError, match="no version v1alpha1; served are: v1beta1, v1"):
        read_kind(crd, "v1alpha1")


def test_definitions_of_the_older_form_are_read() -> None:
    """v1beta1 of apiextensions keeps one version and one schema beside it."""
    old = {
        "apiVersion": "apiextensions.k8s.io/v1beta1",
        "kind": "CustomResourceDefinition",
        "spec": {
            "group": "prsn.io",
            "version": "v1",
            "names": {"plural": "mysqldbs", "kind": "MysqlDb"},
            "validation": {
                "openAPIV3Schema": {"properties": {"engine_version": {"type": "string"}}}
            },
        },
    }
    kind = read_kind(old)
    assert (kind.version, kind.singular, [one.path for one in fields_of(kind.schema)]) == (
        "v1",
        "mysqldb",
        ["engine_version"],
    )
    assert scaffold(old).rule_name == "mysqldb_event"


@pytest.mark.parametrize(
    "thing,words",
    [
        pytest.param({"kind": "Pod"}, "not a CustomResourceDefinition", id="another kind"),
        pytest.param(["x"], "not a CustomResourceDefinition", id="no object"),
        pytest.param(
            {"kind": "CustomResourceDefinition", "spec": {}},
            r"has no spec\.group",
            id="nothing in it",
        ),
    ],
)
def test_what_is_no_definition_is_refused_with_a_sentence(thing: Any, words: str) -> None:
    """And nothing is written."""
    with pytest.raises(DefinitionError, match=words):
        scaffold(thing)


def test_names_that_would_break_the_rule_are_refused(crd: dict[str, Any]) -> None:
    """Pack and action are words, not YAML."""
    with pytest.raises(DefinitionError, match="not a pack name"):
        scaffold(crd, pack="x\ny: z")
    with pytest.raises(DefinitionError, match=r"write PACK\.NAME"):
        scaffold(crd, action="noop")


def test_the_program_writes_both_files_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says where, overwrites only when told, and an error is a sentence and exit code 1."""
    arguments = [str(EXAMPLE / "certificates.yaml"), "--output", str(tmp_path)]
    assert main(arguments) == 0
    written = [str(tmp_path / "certificate_event.yaml"), str(tmp_path / "certificate_event.md")]
    assert capsys.readouterr().out.split() == written
    assert main(arguments) == 1
    assert "exists; add --force" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
    assert main([str(tmp_path / "nothing.yaml")]) == 1
    assert "does not exist" in capsys.readouterr().err
