"""What operations limit is named by the fields that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from kubestorm.core.errors import DefinitionError
from kubestorm.core.settings import SPEC_FIELDS, load_settings

CRD = Path(__file__).resolve().parents[3] / "crds" / "databases.kubestorm.io.yaml"


def leaves(schema: dict[str, Any], path: str = "") -> set[str]:
    """The dotted names of the fields below an object of a schema."""
    if "properties" not in schema:
        return {path}
    found: set[str] = set()
    for name, inner in schema["properties"].items():
        found |= leaves(inner, f"{path}.{name}" if path else name)
    return found


def test_the_fields_are_those_of_the_definition():
    """A field that is added to the one is added to the other."""
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    assert leaves(version["schema"]["openAPIV3Schema"]["properties"]["spec"]) == SPEC_FIELDS


WRONG = {
    "a fixed field": (
        {"limits": [{"fixed_fields": ["subnetgroup"]}]},
        "limits[0] names subnetgroup",
    ),
    "an allowed field": (
        {"limits": [{"allowed_values": {"storage.kind": ["gp3"]}}]},
        "names storage.kind",
    ),
    "no list": (
        {"limits": [{"allowed_values": {"storage.type": "gp3"}}]},
        "must be a list",
    ),
    "a range of one": (
        {"limits": [{"ranges": {"storage.iops": [1]}}]},
        "must be a list of 2",
    ),
    "a range upside down": (
        {"limits": [{"ranges": {"storage.iops": [2, 1]}}]},
        "must be [least, most]",
    ),
    "no list of patterns": (
        {"limits": [{"restore_from": "*"}]},
        "limits[0].restore_from must be a list of strings",
    ),
    "a label": ({"label_overrides": {"size": "sice"}}, "label_overrides names sice"),
    "a mapping": (
        {"kinds": [{"group": "g", "version": "v1", "plural": "p", "fields": {"a": "b"}}]},
        "kinds[0] names b",
    ),
    "monitoring without a role": (
        {"defaults": {"monitoring_interval_seconds": 60}},
        "monitoring_role_arn",
    ),
}


@pytest.mark.parametrize("section, says", WRONG.values(), ids=WRONG.keys())
def test_a_limit_that_would_limit_nothing_is_refused_when_it_is_read(section, says):
    """With the place in the configuration, and the fields that there are."""
    with pytest.raises(DefinitionError) as caught:
        load_settings({"cluster": "test", "database": section})
    assert says in str(caught.value)


def test_a_field_with_others_below_it_means_them_all():
    """storage stands for its size, type and the rest."""
    limits = [
        {
            "fixed_fields": ["storage"],
            "allowed_values": {"version": ["16"]},
            "ranges": {"storage.iops": [1, 2]},
        }
    ]
    assert (
        load_settings({"cluster": "test", "database": {"limits": limits}}).database.limits[0].ranges
    )
