"""Values that the tests of image builds start from."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.kinds.build.spec import ImageBuildSpec, parse_image_build

from tests.declared import section

CONFIG = {
    "registries": section(
        [{"host": "registry.test:5000"}, {"host": "other.test", "repositories": ["*"]}],
        "registry.test:5000",
    ),
    "build": {
        "source": {"protocols": ["https", "ssh", "file"]},
        "builders": ["buildah", "kaniko", "host-buildah"],
        "host": {"enabled": True},
    },
}


@pytest.fixture
def settings() -> BuildSettings:
    """One registry where each namespace has its own folder, and another that is open to all."""
    return BuildSettings.from_config(CONFIG)


def image_build(**spec: Any) -> dict[str, Any]:
    """A good ImageBuild with some fields of its spec replaced; None leaves one out."""
    whole = {
        "source": {"url": "https://git.test/team/shop.git", "branch": "main"},
        "images": [{"name": "cart", "context": "services/cart", "repository": "shop/cart"}],
        **spec,
    }
    return {
        "apiVersion": "kubestorm.io/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {"name": "shop", "namespace": "shop", "uid": "u-1", "generation": 1},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }


Parse = Callable[..., ImageBuildSpec]


@pytest.fixture
def parse(settings: BuildSettings) -> Parse:
    """Parse an ImageBuild with some fields of its spec replaced."""
    return lambda **spec: parse_image_build(image_build(**spec), settings, cluster="test")


@pytest.fixture
def parse_images(parse: Parse) -> Parse:
    """Parse an ImageBuild with one image, some of whose fields are replaced."""
    image = {"name": "cart", "context": "services/cart", "repository": "shop/cart"}
    return lambda **fields: parse(images=[{**image, **fields}])
