"""The configurations that the docs show can be used as they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kubestorm.sources.registry.readers import TYPES
from kubestorm.sources.registry.settings import RegistrySettings

from tests.unit.registry.test_registry_sources import NO_PUSHES, PUSHES, sample

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(
    r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "registries.md").read_text(), re.MULTILINE | re.DOTALL
)
SHOWN = [document for document in map(yaml.safe_load, BLOCKS) if "registries" in document]


@pytest.mark.parametrize("document", SHOWN, ids=lambda document: "-".join(document["registries"]))
def test_a_configuration_in_the_docs_can_be_used(document):
    """It fits the schema, and the library reads it."""
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text())["registries"]
    jsonschema.Draft3Validator(schema).validate(document["registries"])
    RegistrySettings.from_config(document)


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether EventBridge would pass an event on: as much of its patterns as the docs use."""
    return all(
        any(matches(each, event) for each in wanted)
        if key == "$or"
        else matches(wanted, event.get(key, {}))
        if isinstance(wanted, dict)
        else event.get(key) in wanted
        for key, wanted in pattern.items()
    )


@pytest.mark.parametrize(
    "event",
    [sample(name) for name, (kind, _) in PUSHES.items() if kind == "ecr"]
    + [body for kind, body in NO_PUSHES.values() if kind == "ecr"],
    ids=lambda event: f"{event['detail-type']} {next(iter(event['detail'].values()))}",
)
def test_the_event_pattern_in_the_docs_passes_on_what_is_read(event):
    """All that brings an image, and nothing else."""
    text = (ROOT / "docs" / "registries.md").read_text()
    (shown,) = re.findall(r"--event-pattern '(.*?)'$", text, re.MULTILINE | re.DOTALL)
    assert matches(json.loads(shown), event) is bool(TYPES["ecr"].read({}, event))


def test_the_example_of_both_sides_fits_together():
    """The registry posts to the path of the source, and the rule names fields that pushes have."""
    folder = ROOT / "examples" / "pushed-images"
    ours = RegistrySettings.from_config(yaml.safe_load((folder / "kubestorm.yaml").read_text()))
    (endpoint,) = yaml.safe_load((folder / "docker-registry.yml").read_text())["notifications"][
        "endpoints"
    ]
    assert endpoint["url"].endswith(f":{ours.listener.port}{ours.sources[0].url_path}")
    rule = (folder / "rule.yaml").read_text()
    pushed = yaml.safe_load((ROOT / "triggers" / "image_pushed.yaml").read_text())
    fields = pushed["payload_schema"]["properties"]
    assert set(re.findall(r"trigger\.([a-z_]+)", rule)) <= set(fields)


def test_the_example_configuration_can_be_used():
    """kubestorm.yaml.example, which operators copy."""
    settings = RegistrySettings.from_config(
        yaml.safe_load((ROOT / "kubestorm.yaml.example").read_text())
    )
    assert [source.name for source in settings.sources] == ["harbor", "github", "aws"]
    assert len(SHOWN) == 5
