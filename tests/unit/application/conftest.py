"""An Application as the API returns it, and the pack's settings around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubestorm.core.settings import Settings, load_settings
from kubestorm.kinds.application.spec import ApplicationSpec, parse

ENOUGH: dict[str, Any] = {
    "image": {"repository": "registry.example.com/team/cart"},
    "follow": {"semver": ">=1.0"},
    "port": 8080,
    "resources": {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": 1, "memory": "256Mi"},
    },
    "health": {"http": {"path": "/healthz"}},
}


def application(spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """What is enough, with some fields replaced; None leaves a field out."""
    merged = {**ENOUGH, **(spec or {})}
    return {
        "apiVersion": "kubestorm.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": "cart",
            "namespace": "shop",
            "uid": "u-1",
            "generation": 1,
            **metadata,
        },
        "spec": {key: value for key, value in merged.items() if value is not None},
    }


def pack_settings(**application_section: Any) -> Settings:
    """The pack's configuration with an `application` section, and a registry for images that name
    none where there is one.
    """
    config = {"cluster": "test", "application": application_section}
    if application_section:
        config["registries"] = {"default": "registry.example.com"}
    return load_settings(config)


@pytest.fixture
def parsed() -> Callable[..., ApplicationSpec]:
    """Parse what is enough with these fields of spec replaced."""

    def call(section: dict[str, Any] | None = None, **spec: Any) -> ApplicationSpec:
        return parse(application(spec), pack_settings(**(section or {})))

    return call
