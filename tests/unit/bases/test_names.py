"""One name for the same image, wherever it is written."""

from __future__ import annotations

import pytest
from kubestorm.kinds.build.base_images.names import read_name

NAMES = {
    "debian": "docker.io/library/debian:latest",
    "debian:12": "docker.io/library/debian:12",
    "bitnami/redis": "docker.io/bitnami/redis:latest",
    "registry.example.com/base/java:17": "registry.example.com/base/java:17",
    "registry.example.com:5000/base/java": "registry.example.com:5000/base/java:latest",
    "localhost/java:17": "localhost/java:17",
    "127.0.0.1:5000/a/b:c": "127.0.0.1:5000/a/b:c",
    "debian@sha256:0123": "docker.io/library/debian@sha256:0123",
    "debian:12@sha256:0123": "docker.io/library/debian:12@sha256:0123",
}


@pytest.mark.parametrize("text, whole", NAMES.items(), ids=NAMES.keys())
def test_short_names_are_completed(text: str, whole: str) -> None:
    """As container tools complete them; a whole name stays."""
    assert str(read_name(text)) == whole
    assert str(read_name(whole)) == whole


@pytest.mark.parametrize(
    "text", ["", "$BASE", "a b", "/x", "registry.example.com:5000/", "--from=x", "x:"]
)
def test_what_is_no_name(text: str) -> None:
    """Nothing is guessed."""
    assert read_name(text) is None
