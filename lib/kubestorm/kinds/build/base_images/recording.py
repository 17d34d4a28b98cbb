"""What an image that is about to be built stands on, with the digest that each base has now."""

from __future__ import annotations

import contextlib
from typing import Dict, FrozenSet, Mapping, NamedTuple, Optional, Sequence, Tuple

from kubestorm.kinds.build.base_images.dockerfile import stands_on
from kubestorm.kinds.build.base_images.names import BaseName, read_name
from kubestorm.core.errors import DefinitionError, Error
from kubestorm.core.image_names import ImageName
from kubestorm.sources.registry.settings import RegistrySettings
from kubestorm.clients.services import Services

UNKNOWN = "unknown"
"""Stands in a status for a digest that nobody knows; an empty text would be left out there."""


class Recorded(NamedTuple):
    """What a build is about to stand on."""

    digests: Dict[str, str]
    """Name of each base -> its digest, or UNKNOWN. A base that is pinned by a digest is left out.
    """
    unknown: Tuple[str, ...]
    """Sentences about what is not in there because it cannot be known."""
    images: Optional[Tuple[ImageName, ...]] = None
    """Where all of it is, also what is pinned; None where some of it cannot be known."""


def record(
    services: Services,
    dockerfile: str,
    arguments: Mapping[str, str],
    target: str,
    *,
    platforms: Sequence[str] = (),
    builder_platform: str = "",
) -> Recorded:
    """Asks each registry that the configuration names once a base, and no other. `builder_platform`
    is empty where any node may build.
    """
    try:
        found = stands_on(
            dockerfile, arguments, target, platforms=platforms, builder_platform=builder_platform
        )
    except DefinitionError as error:  # The builder may know better, and says so if it does not.
        return Recorded({}, (str(error),))
    digests: Dict[str, str] = {}
    names = list(filter(None, map(read_name, found.images)))
    for name in names:
        if not name.digest:
            digests[str(name)] = current(services, name) or UNKNOWN
    images = None if found.unknown else tuple(name.image for name in names)
    return Recorded(digests, found.unknown, images)


def current(services: Services, name: BaseName) -> str:
    """The digest that a base has now; empty where its registry is not ours, or does not say."""
    if name.image.registry not in known_registries(services):
        return ""
    with contextlib.suppress(Error):
        return services.registry.resolve(name.image, name.tag)
    return ""


def known(bases: Mapping[str, str]) -> Dict[str, str]:
    """What was recorded, with an empty text for a digest that nobody knew."""
    return {base: "" if digest == UNKNOWN else digest for base, digest in bases.items()}


def known_registries(services: Services) -> FrozenSet[str]:
    """The registries that the configuration says how to ask."""
    return frozenset(
        each.host for each in RegistrySettings.from_config(services.settings.raw).connections
    )
