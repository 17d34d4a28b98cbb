"""The documented Application is one that is taken, and the page names every field there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubestorm.core.sections import settings_of
from kubestorm.core.settings import load_settings
from kubestorm.kinds.application.settings import ApplicationSettings
from kubestorm.kinds.application.spec import parse

from tests.unit.application.conftest import ENOUGH

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "applications.md").read_text()
BLOCKS = [
    yaml.safe_load(block)
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
]
SPECS: list[dict[str, Any]] = [block["spec"] for block in BLOCKS if "spec" in block]
SCHEMA = yaml.safe_load((ROOT / "crds" / "applications.kubestorm.io.yaml").read_text())["spec"][
    "versions"
][0]["schema"]
SPEC_SCHEMA = SCHEMA["openAPIV3Schema"]["properties"]["spec"]


@pytest.mark.parametrize("spec", SPECS)
def test_documented_specs_are_taken(spec):
    """Each block of the page, completed by what is enough."""
    resource = {
        "metadata": {"name": "cart", "namespace": "shop", "uid": "u"},
        "spec": {**ENOUGH, **spec},
    }
    parse(resource, load_settings({"cluster": "prod", "application": {"allow_patch": ["*"]}}))


def test_the_example_is_taken():
    """As it is, with no configuration of operations at all."""
    resource = yaml.safe_load((ROOT / "examples" / "application.yaml").read_text())
    parse(resource, load_settings({"cluster": "prod"}))


def test_documented_settings_are_taken():
    """Those of the page, and those of the example configuration."""
    (block,) = [block for block in BLOCKS if "application" in block]
    assert ApplicationSettings.from_config(block).limits_for("dev-1").max_replicas == 3
    example = yaml.safe_load((ROOT / "kubestorm.yaml.example").read_text())
    assert ApplicationSettings.from_config(example).registry == "registry.example.com"


def fields(schema: dict[str, Any], depth: int = 2) -> set[str]:
    """The names of the fields of a schema, and of the objects in it."""
    found = set()
    for name, below in (schema.get("properties") or {}).items():
        found.add(name)
        if depth > 1:
            found |= fields(below.get("items") or below, depth - 1)
    return found


def test_the_page_names_every_field():
    """So that nobody has to look for one in the schema."""
    missing = {name for name in fields(SPEC_SCHEMA, 3) if not re.search(rf"\b{name}\b", PAGE)}
    assert missing == set()


def test_every_setting_is_in_the_schema_with_the_packs_default():
    """What StackStorm fills in is what the pack would take."""
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text())["application"]
    assert set(schema["properties"]) == set(settings_of(ApplicationSettings))
    assert schema["properties"]["check_seconds"]["default"] == ApplicationSettings().check_seconds
    ingress = schema["properties"]["ingress"]["properties"]
    assert set(ingress) == set(type(ApplicationSettings().ingress).__dataclass_fields__)
    for name in ("limits", "sources"):
        items = schema["properties"][name]["items"]["properties"]
        kind = {"limits": "ApplicationLimits", "sources": "ApplicationSources"}[name]
        module = __import__("kubestorm.kinds.application.settings", fromlist=[kind])
        assert set(items) == set(getattr(module, kind).__dataclass_fields__)
