"""What an image that is about to be built stands on, with the digest that each base has now."""

from __future__ import annotations

import contextlib
from typing import Dict, FrozenSet, Mapping

from kubestorm.bases.dockerfile import stands_on
from kubestorm.bases.names import BaseName, read_name
from kubestorm.errors import DefinitionError, Error
from kubestorm.registry.settings import RegistrySettings
from kubestorm.services import Services

UNKNOWN = "unknown"
"""Stands in a status for a digest that nobody knows; an empty text would be left out there."""


def record(
    services: Services, dockerfile: str, arguments: Mapping[str, str], target: str
) -> Dict[str, str]:
    """Name of each base -> its digest, or UNKNOWN. A base that is pinned by a digest is left out.

    A Dockerfile that cannot be read has none: the builder is about to say so better. Asks each
    registry that the configuration names once a base, and no other.
    """
    try:
        found = stands_on(dockerfile, arguments, target)
    except DefinitionError:
        return {}
    bases = dict.fromkeys(found.unknown, UNKNOWN)
    for text in found.images:
        name = read_name(text)
        if name is None:
            bases[text] = UNKNOWN
        elif not name.digest:
            bases[str(name)] = current(services, name) or UNKNOWN
    return bases


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
