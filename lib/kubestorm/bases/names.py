"""Names of images, so that the same image has one name wherever it is written. Pure.

Source: how Docker, BuildKit and buildah complete a short name (distribution/reference, "familiar names"): no registry
means docker.io, there a name without a slash is below `library/`, and without a tag it is `latest`.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
NAME = re.compile(
    r"^(?P<path>[A-Za-z0-9][A-Za-z0-9._:/-]*?)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>\w+:\w+))?$"
)


class BaseName(NamedTuple):
    """An image that a Dockerfile names."""

    registry: str
    repository: str
    tag: str
    """Empty where a digest alone pins it."""
    digest: str = ""
    """Set where the Dockerfile pins it: a push of the tag then changes nothing."""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.registry}/{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def read_name(text: str) -> Optional[BaseName]:
    """Read an image's name as it stands in a Dockerfile; None where it is no name of an image."""
    found = NAME.match(text)
    if not found:
        return None
    path, digest = found["path"], found["digest"] or ""
    head, slash, rest = path.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, repository = head, rest
    else:
        registry, repository = DEFAULT_REGISTRY, path if slash else f"library/{path}"
    if not repository or ":" in repository:
        return None
    return BaseName(registry, repository, found["tag"] or ("" if digest else DEFAULT_TAG), digest)
