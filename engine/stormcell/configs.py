"""Packs' configurations as the engine uses them: read once, resolved at each use (a datastore value may change)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stormcell.conducting import Lookups
from stormcell.content.config import PackConfig, load_config
from stormcell.content.models import Pack


class Configs:
    """Reads `<folder>/<pack>.yaml` at the first use of a pack."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._loaded: dict[str, PackConfig] = {}

    def of(self, pack: Pack | None, lookups: Lookups) -> dict[str, Any]:
        """A pack's configuration in clear; empty for a pack that is not there. DefinitionError for a wrong file."""
        return {} if pack is None else self.loaded(pack).resolved(lookups)

    def loaded(self, pack: Pack) -> PackConfig:
        """A pack's configuration, not yet resolved."""
        found = self._loaded.get(pack.ref)
        if found is None:
            found = self._loaded[pack.ref] = load_config(pack, self._folder)
        return found

    def forget(self) -> None:
        """Read the files again at the next use."""
        self._loaded.clear()
