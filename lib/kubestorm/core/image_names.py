"""Names of images as container tools read them. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple, Tuple

from kubestorm.core.errors import DefinitionError

DOCKER_HUB = "docker.io"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
HOST = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?"
)
REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
)
"""Source: the "Pulling manifests" part of the OCI distribution specification."""
MAX_REPOSITORY = 255
ATTACHED = re.compile(
    r".*\.(?:sig|att|sbom)|sha(?:256-[0-9a-f]{32,64}|512-[0-9a-f]{64,128})(?:[.-].*)?"
)
"""Tags of what is said about an image. Sources: cosign's SIGNATURE_SPEC ("Discovery") and the
referrers tag schema of the OCI distribution specification, which may cut the digest.
"""


class ImageName(NamedTuple):
    """Where an image is: `registry` is host[:port], `repository` the path on it."""

    registry: str
    repository: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}"

    @classmethod
    def parse(cls, text: str, *, field: str = "") -> ImageName:
        """Read `host[:port]/repository`; Docker Hub's are named in full. Raises DefinitionError
        naming the field.
        """
        host, slash, repository = text.partition("/")
        is_host = "." in host or ":" in host or host == "localhost"
        if not slash or not is_host or not is_name(host, repository):
            raise DefinitionError(
                f"{field or 'the image'} is a registry and a repository in small letters, for "
                "instance "
                f"registry.example.com/team/cart or docker.io/acme/cart (found: {text!r}).",
                field=field,
            )
        return cls(host.lower(), repository)


def is_name(registry: str, repository: str) -> bool:
    """Whether both are words that a registry could have."""
    return (
        bool(HOST.fullmatch(registry))
        and len(repository) <= MAX_REPOSITORY
        and bool(REPOSITORY.fullmatch(repository))
    )


def is_attached(tag: str) -> bool:
    """Whether a tag holds a signature, an attestation or a bill of materials, and no image."""
    return bool(ATTACHED.fullmatch(tag))


def split_reference(text: str) -> Tuple[str, str, str]:
    """`name:tag@digest` in its parts, any of the last two may be empty. A port is no tag."""
    rest, _, digest = text.partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        return rest, "", digest
    return head, tag, digest


def short_digest(digest: str) -> str:
    """Enough of a digest for a person."""
    algorithm, colon, value = digest.partition(":")
    return f"{algorithm}:{value[:12]}" if colon else digest[:12]
