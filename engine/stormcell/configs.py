"""Packs' configurations as the engine uses them: read once, resolved at each use (a datastore value
may change).
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from stormcell.conducting import Lookups
from stormcell.content.config import PackConfig, load_config
from stormcell.content.models import Pack
from stormcell.errors import DefinitionError, InvalidInputError

log = logging.getLogger(__name__)


class Configs:
    """Reads `<folder>/<pack>.yaml` at the first use of a pack."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._loaded: dict[str, PackConfig] = {}
        self.faulty: frozenset[str] = frozenset()
        """Packs whose configuration was found wrong when all were looked at last."""

    def of(self, pack: Pack | None, lookups: Lookups) -> dict[str, Any]:
        """A pack's configuration in clear; empty for a pack that is not there. DefinitionError for
        a wrong file.
        """
        if pack is None:
            return {}
        config = self.loaded(pack)
        return config.resolved(lookups) if config.values else {}

    def loaded(self, pack: Pack) -> PackConfig:
        """A pack's configuration, not yet resolved."""
        found = self._loaded.get(pack.ref)
        if found is None:
            found = self._loaded[pack.ref] = load_config(pack, self._folder)
        return found

    def faults(self, packs: Iterable[Pack]) -> dict[str, str]:
        """Pack -> what is wrong with its configuration, of those packs where something is; logged
        too. Nothing stops for it: what the pack runs fails with the same sentence until the file is
        mended and read again."""
        found: dict[str, str] = {}
        for pack in packs:
            try:
                self.loaded(pack)
            except DefinitionError as error:
                found[pack.ref] = str(error)
                log.error("config.refused", extra={"pack": pack.ref, "reason": str(error)})
        self.faulty = frozenset(found)
        return found

    def write(self, pack: Pack, values: dict[str, Any]) -> None:
        """Check settings and put them into the pack's file (0600). DefinitionError leaves what was."""
        if self._folder is None:
            raise InvalidInputError(
                "There is no folder for configurations. Start stormcell with --configs DIR."
            )
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{pack.ref}.yaml"
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".") as draft:
            file = Path(draft) / name
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as target:
                yaml.safe_dump(values, target, default_flow_style=False, sort_keys=True)
            load_config(pack, Path(draft))
            file.replace(self._folder / name)
        self.forget()

    def forget(self) -> None:
        """Read the files again at the next use."""
        self._loaded.clear()
