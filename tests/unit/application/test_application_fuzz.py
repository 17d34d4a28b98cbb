"""What is written into an Application, the answer is a spec that can be rendered or a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.api_versions import ApiVersions
from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.application import render
from kubestorm.kinds.application.hosts import claim_of
from kubestorm.kinds.application.settings import ApplicationSettings
from kubestorm.kinds.application.spec import parse

from tests.unit.application.conftest import ENOUGH, application, pack_settings
from tests.unit.application.test_application_docs import SPEC_SCHEMA, SPECS

SETTINGS = pack_settings(allow_patch=["*"], ingress={"domain": "example.com"})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70000),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(
        ["Canary", "ingress", "/x", "kubestorm/test/shop/x", "25%", "a.example.com", "app", "100m"]
    ),
)
WORDS = sorted(
    {
        "http", "tcp", "path", "port", "type", "hosts", "min", "max", "weight", "steps", "requests",
        "limits", "cpu",
        "memory", "key", "prefix", "env", "file", "name", "metadata", "spec", "template",
        "containers", "labels", "job",
        "command", "deployment", "service", "semver", "tag", "pattern", "group",
    }
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS,
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), below, max_size=4),
    ),
    max_leaves=8,
)
FIELDS = sorted(SPEC_SCHEMA["properties"])


def render_all(app) -> None:
    """Every object there is."""
    image = f"{app.image}@sha256:{'a' * 64}"
    render.deployment(app, track="canary", image=image, replicas=1, config_hash="h")
    if app.port is not None:
        render.service(app, tracks=("stable", "canary"))
    for api in (ApiVersions(), ApiVersions("v2beta2", "v1beta1", "v1")):
        render.ingress(app, api)
        render.autoscaler(app, "cart", api)
        render.disruption_budget(app, api)


@given(st.sampled_from(FIELDS), ANYTHING)
def test_one_field_of_anything(field, value):
    """A DefinitionError at worst; what is taken can be rendered."""
    resource = application()
    resource["spec"][field] = value
    claim_of(resource, ApplicationSettings.from_config(SETTINGS.raw))
    try:
        app = parse(resource, SETTINGS)
    except DefinitionError:
        return
    render_all(app)


@given(st.data())
def test_something_deep_in_a_documented_spec_is_replaced(data):
    """So that everything around it is right."""
    spec: Any = data.draw(st.sampled_from(SPECS))
    spec = replaced({**ENOUGH, **spec}, data)
    try:
        app = parse(
            {"metadata": {"name": "cart", "namespace": "shop", "uid": "u"}, "spec": spec}, SETTINGS
        )
    except DefinitionError:
        return
    render_all(app)


def replaced(value: Any, data: Any) -> Any:
    """A copy with one thing in it replaced."""
    if isinstance(value, dict) and value:
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: replaced(value[key], data)}
    if isinstance(value, list) and value:
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], replaced(value[place], data), *value[place + 1 :]]
    return data.draw(ANYTHING)


PATCHES = {
    "no spec": {"spec": None},
    "no template": {"spec": {"template": None}},
    "no containers": {"spec": {"template": {"spec": {"containers": None}}}},
    "containers without names": {
        "spec": {"template": {"spec": {"containers": [{"image": "evil:1"}]}}}
    },
    "labels of another kind": {"spec": {"template": {"metadata": {"labels": "x"}}}},
    "no metadata": {"metadata": None},
    "number of pods": {"spec": {"replicas": 5}},
}


@pytest.mark.parametrize("change", PATCHES.values(), ids=PATCHES)
def test_a_patch_cannot_take_away_what_the_pack_stands_on(change):
    """Refused with the place."""
    with pytest.raises(DefinitionError, match=r"spec\.patch\.deployment\."):
        parse(application({"patch": {"deployment": change}}), SETTINGS)
