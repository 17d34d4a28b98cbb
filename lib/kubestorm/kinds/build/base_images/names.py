"""Full names of the images in Dockerfiles, so that an image has one name however it is written.
Pure.

Source: how Docker, BuildKit and buildah complete a short name (distribution/reference, "familiar
names"): no registry means docker.io, there a name without a slash is below `library/`, and without
a tag it is `latest`.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from kubestorm.core.image_names import DOCKER_HUB, TAG, ImageName, is_name, split_reference

DEFAULT_TAG = "latest"


class BaseName(NamedTuple):
    """An image that a Dockerfile uses."""

    image: ImageName
    tag: str
    """Empty where a digest alone pins it."""
    digest: str = ""
    """Set where the image is pinned: a push of the tag then changes nothing."""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.image}{tag}" + (f"@{self.digest}" if self.digest else "")


def read_name(text: str) -> Optional[BaseName]:
    """Parse an image's name as written in a Dockerfile; None where it is not a valid name."""
    rest, tag, digest = split_reference(text)
    head, slash, path = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, repository = head, path
    else:
        registry, repository = DOCKER_HUB, rest if slash else f"library/{rest}"
    if (
        not is_name(registry, repository)
        or (tag and not TAG.fullmatch(tag))
        or text.endswith((":", "@"))
    ):
        return None
    return BaseName(ImageName(registry, repository), tag or ("" if digest else DEFAULT_TAG), digest)
