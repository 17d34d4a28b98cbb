"""What expressions may read beside their context: the datastore and packs' configuration (the port
`Lookups`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stormcell.errors import NotFoundError
from stormcell.store.datastore import Datastore


class EngineLookups:
    """Reads on the loop's thread: one short SQLite query, or a value in memory."""

    def __init__(self, datastore: Datastore, pack_config: Callable[[str], dict[str, Any]]) -> None:
        self._datastore = datastore
        self._pack_config = pack_config

    def datastore(self, name: str, *, scope: str, decrypt: bool = False, user: str = "") -> Any:
        """Return a key's value; a secret one is `********` unless `decrypt`. NotFoundError where
        there is none.
        """
        entry = self._datastore.get(name, scope=scope, user=user)
        if entry is None:
            raise NotFoundError(f'The key "{name}" does not exist in the scope "{scope}".')
        return self._datastore.value(entry, decrypt=decrypt)

    def pack_config(self, pack: str) -> dict[str, Any]:
        return self._pack_config(pack)
