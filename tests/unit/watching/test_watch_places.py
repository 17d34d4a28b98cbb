"""Which namespaces are watched, and which kinds not at all."""

from __future__ import annotations

import pytest
from kubestorm.core.errors import DefinitionError
from kubestorm.sources.watching.owned_watch import KINDS, owned_keys
from kubestorm.sources.watching.settings import WatchSettings
from kubestorm.sources.watching.watch_manager import subscriptions

NAMED = {"cluster": "dev", "kubernetes": {"namespaces": ["shop", "till"]}}


def places(config, group="kubestorm.io", plural="databases", **more):
    """Where a trigger on a kind is watched."""
    parameters = {"group": group, "version": "v1", "plural": plural, **more}
    found = subscriptions({"parameters": parameters}, WatchSettings.from_config(config))
    return [one.key.namespace for one in found]


def test_a_kind_of_ours_is_watched_in_each_namespace_that_is_served() -> None:
    """One that a rule names alone, and what is understood as a Database likewise."""
    kind = {"group": "prsn.io", "version": "v1", "plural": "mysqldbs"}
    mapped = {**NAMED, "database": {"kinds": [kind]}}
    assert places({"cluster": "dev"}) == [""]
    assert places(NAMED) == ["shop", "till"]
    assert places(NAMED, namespace="till") == ["till"]
    assert places(mapped, group="prsn.io", plural="mysqldbs") == ["shop", "till"]
    with pytest.raises(DefinitionError, match=r"kubernetes\.namespaces leaves out"):
        places(NAMED, namespace="other")


def test_another_kind_is_watched_where_its_rule_says() -> None:
    """It may have no namespace at all."""
    assert places(NAMED, group="cert-manager.io", plural="clusterissuers") == [""]


def test_a_part_that_is_left_out_is_not_watched() -> None:
    """Nor asked for by anybody else."""
    config = {**NAMED, "parts": ["databases"]}
    assert places(config) == ["shop", "till"]
    assert places(config, plural="rollouts") == []


@pytest.mark.parametrize(
    "watched, served, builds, wanted",
    [
        pytest.param({"databases"}, ("",), "ovens", set(), id="databases"),
        pytest.param(
            {"imagebuilds"},
            ("shop",),
            "ovens",
            {("pods", "ovens"), ("jobs", "ovens")},
            id="builds in the cluster",
        ),
        pytest.param({"imagebuilds"}, ("shop",), "", set(), id="builds on the host"),
        pytest.param(
            {"imagebuilds", "rollouts"},
            ("",),
            "ovens",
            {(key.plural, "") for key in KINDS.values()},
            id="everything everywhere",
        ),
        pytest.param(
            {"imagebuilds", "applications"},
            ("shop",),
            "ovens",
            {("pods", "ovens"), ("jobs", "ovens"), *((k.plural, "shop") for k in KINDS.values())},
            id="everything in one",
        ),
    ],
)
def test_what_we_own_is_watched_for_who_waits_for_it(watched, served, builds, wanted) -> None:
    """And nowhere else."""
    found = owned_keys(watched, served, builds)
    assert {(key.plural, key.namespace) for key in found} == wanted
