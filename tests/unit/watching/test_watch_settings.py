"""The pack's configuration becomes settings, or a sentence that names the key."""

from __future__ import annotations

from typing import Any

import pytest
from kubestorm.clients.kube import KubeSettings
from kubestorm.core.errors import DefinitionError
from kubestorm.sources.watching.settings import LoopSettings, ResyncSettings, WatchSettings
from kubestorm.sources.watching.watch_manager import subscription


def test_the_least_configuration_is_the_cluster() -> None:
    """Everything else has a default."""
    assert WatchSettings.from_config({"cluster": "dev"}) == WatchSettings("dev")


def test_whoever_knows_of_builds_names_their_namespace() -> None:
    """The namespace of Jobs is given, not read from the section of builds."""
    settings = WatchSettings.from_config({"cluster": "dev"}, build_namespace="builds")
    assert settings.build_namespace == "builds"


def test_sections_are_read() -> None:
    """Lists become tuples, null means the default."""
    config = {
        "cluster": "dev",
        "kubernetes": {"context": "kind", "kubeconfig": None},
        "resync": {"groups": ["prsn.io"], "all_seconds": 0},
        "watch": {"page_size": 50},
        "vault": {"url": "http://another-part"},
    }
    assert WatchSettings.from_config(config) == WatchSettings(
        "dev",
        KubeSettings(context="kind"),
        ResyncSettings(groups=("prsn.io",), all_seconds=0),
        LoopSettings(page_size=50),
    )


@pytest.mark.parametrize(
    "config,field",
    [
        pytest.param({}, "cluster", id="no cluster"),
        pytest.param({"cluster": "Dev!"}, "cluster", id="a cluster that is no word"),
        pytest.param({"cluster": "d" * 33}, "cluster", id="a cluster of 33 letters"),
        pytest.param(
            {"cluster": "dev", "resync": {"initial_seconds": 0}},
            "resync.initial_seconds",
            id="no pause",
        ),
        pytest.param(
            {"cluster": "dev", "kubernetes": {"token": "x"}},
            "kubernetes.token",
            id="unknown in kubernetes",
        ),
        pytest.param(
            {"cluster": "dev", "watch": {"pages": 1}}, "watch.pages", id="unknown in watch"
        ),
        pytest.param(
            {"cluster": "dev", "watch": {"page_size": "many"}}, "watch.page_size", id="no number"
        ),
        pytest.param(
            {"cluster": "dev", "resync": {"jitter": -1}}, "resync.jitter", id="below zero"
        ),
    ],
)
def test_what_is_wrong_is_named(config: dict[str, Any], field: str) -> None:
    """The error carries the key's path."""
    with pytest.raises(DefinitionError) as caught:
        WatchSettings.from_config(config)
    assert caught.value.field == field
    assert field.split(".")[-1] in str(caught.value)


@pytest.mark.parametrize(
    "group,asked,resync",
    [
        pytest.param("kubestorm.io", None, True, id="our own kinds"),
        pytest.param("example.org", None, False, id="others"),
        pytest.param("example.org", True, True, id="others when asked"),
        pytest.param("kubestorm.io", False, False, id="our own when refused"),
    ],
)
def test_resync_is_for_our_kinds_unless_said_otherwise(
    group: str, asked: Any, resync: bool
) -> None:
    """The trigger's parameter wins over the configured groups."""
    parameters = {"group": group, "version": "v1", "plural": "things"}
    if asked is not None:
        parameters["resync"] = asked
    assert subscription({"parameters": parameters}, WatchSettings("dev")).resync is resync
