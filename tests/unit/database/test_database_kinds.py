"""A kind that is not ours is read as a Database, and told about in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kubestorm.core.naming import identity_of
from kubestorm.core.settings import load_settings
from kubestorm.core.spec_reader import InvalidSpecError
from kubestorm.kinds.database import spec_mapping as kinds
from kubestorm.kinds.database.spec import parse_database

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "mysqldb"


@pytest.fixture
def settings():
    """The example's own configuration."""
    return load_settings(
        {"cluster": "test", **yaml.safe_load((EXAMPLE / "config.yaml").read_text())}
    ).database


@pytest.fixture
def mysqldb():
    """The example's own resource."""
    resource = yaml.safe_load((EXAMPLE / "mysqldb.yaml").read_text())
    resource["metadata"]["uid"] = "u"
    return resource


def mapping(resource, settings):
    return kinds.mapping_for(identity_of("test", "mysqldbs", resource), settings.kinds)


def test_the_form_of_2016_is_read_as_a_database(settings, mysqldb):
    """Fields at the top level, a fixed engine, a label that overrides a default."""
    spec = parse_database(kinds.as_database(mysqldb, mapping(mysqldb, settings)), settings)
    assert (spec.engine, spec.version, spec.size) == ("mysql", "5.6.23", "huge")
    assert spec.instance_class == "db.r6i.2xlarge"
    assert spec.backup_retention_days == 3
    assert spec.deletion_policy == "Retain"


def test_what_is_wrong_is_told_in_its_own_words(settings, mysqldb):
    """The developer never wrote spec.version."""
    kind = mapping(mysqldb, settings)
    broken = {**mysqldb, "engine_version": "3.23", "instance_size": "tiny"}
    with pytest.raises(InvalidSpecError) as caught:
        parse_database(kinds.as_database(broken, kind), settings)
    told = kinds.in_their_words(str(caught.value), kind)
    assert "engine_version: '3.23' is not offered" in told
    assert "instance_size: 'tiny'" in told
    assert "spec." not in told


def test_a_database_stays_as_it_is(settings, mysqldb):
    """Without a mapping nothing is changed."""
    assert kinds.mapping_for(identity_of("test", "databases", mysqldb), settings.kinds) is None
    assert kinds.as_database({"spec": {"size": "x"}}, None) == {"spec": {"size": "x"}}
