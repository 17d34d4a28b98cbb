"""Names that never meet, secrets that hide, and a configuration that is refused in words."""

from __future__ import annotations

import pickle
import re
import string
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.errors import DefinitionError
from kubestorm.core.naming import rds_identifier
from kubestorm.core.secrets import Secret, make_password
from kubestorm.core.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", fullmatch=True)


def test_a_plain_name_stays_readable():
    """The usual case."""
    assert rds_identifier("ks", "prod", "shop", "orders") == "ks-prod-shop-orders"


@given(one=st.tuples(labels, labels), other=st.tuples(labels, labels))
def test_two_databases_never_share_an_identifier(one, other):
    """Also where hyphens or the length would make them meet; each is one that RDS takes."""
    first, second = (rds_identifier("ks", "c", *pair) for pair in (one, other))
    assert (first == second) == (one == other)
    assert re.fullmatch(r"[a-z](-?[a-z0-9])*", first)
    assert len(first) <= 63


def test_a_secret_shows_itself_nowhere():
    """Not printed, formatted or pickled."""
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {secret:>30} {[secret]}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret.reveal() == "hunter2"


def test_a_password_is_legal_for_every_engine():
    """RDS refuses / @ \" and spaces; MySQL takes 41 characters."""
    text = make_password().reveal()
    assert 16 <= len(text) <= 41
    assert set(text) <= set(string.printable) - set('/@" \t\n\r\x0b\x0c')
    assert text != make_password().reveal()


def _schema():
    """The pack's schema as StackStorm reads it: properties, with `required` on each."""
    properties = yaml.safe_load((ROOT / "config.schema.yaml").read_text())
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, schema in properties.items() if schema.get("required")],
        "properties": {
            name: {k: v for k, v in s.items() if k != "required"} for name, s in properties.items()
        },
    }


def test_the_example_configuration_is_one():
    """It fits the schema, and the library reads it."""
    example = yaml.safe_load((ROOT / "kubestorm.yaml.example").read_text())
    jsonschema.Draft3Validator(_schema()).validate(example)
    settings = load_settings(example)
    assert settings.database.sizes["huge"] == "db.r6i.2xlarge"
    assert settings.vault.auth.method == "approle"


def test_every_setting_is_described():
    """The name alone is enough only where it repeats a field of spec."""
    for name, schema in yaml.safe_load((ROOT / "config.schema.yaml").read_text()).items():
        assert schema.get("description"), name


@pytest.mark.parametrize(
    "config, says",
    [
        ({}, "cluster"),
        ({"cluster": "Prod EU"}, "cluster"),
        ({"cluster": "c", "vault": {"adress": "x"}}, "adress"),
        ({"cluster": "c", "vault": {"auth": {"method": "ldap"}}}, "token, approle, kubernetes"),
        ({"cluster": "c", "database": {"defaults": {"size": "vast"}}}, "database.defaults.size"),
        ({"cluster": "c", "database": {"engines": {"mysql": {"versions": []}}}}, "versions"),
        ({"cluster": "c", "database": {"engines": {"mysql": {}}}}, "database.engines.mysql"),
    ],
)
def test_a_wrong_configuration_says_what_to_set(config, says):
    """The operator reads it in the failed execution."""
    with pytest.raises(DefinitionError, match=re.escape(says)):
        load_settings(config)


def test_what_stackstorm_fills_in_changes_nothing():
    """Objects and lists that the operator left out come as {} and [] from StackStorm, and mean the
    default.
    """
    filled = {
        "cluster": "demo",
        "aws": {},
        "vault": {"auth": {}},
        "database": {
            "sizes": {},
            "engines": {},
            "defaults": {"security_groups": []},
            "limits": [],
            "label_overrides": {},
            "tags": {},
        },
    }
    assert load_settings(filled) == load_settings({"cluster": "demo"})
    limited = {
        "namespaces": ["dev-*"],
        "sizes": [],
        "engines": [],
        "deletion_policies": [],
        "fixed_fields": [],
    }
    (limits,) = load_settings(
        {"cluster": "demo", "database": {"limits": [limited]}}
    ).database.limits
    assert (limits.sizes, limits.engines, limits.deletion_policies) == (None, None, None)
