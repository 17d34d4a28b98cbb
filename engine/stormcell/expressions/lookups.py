"""The `Lookups` port over plain dictionaries: for trying a rule or a workflow without an engine,
and for tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormcell.errors import NotFoundError


class StaticLookups:
    """Answers from what it was given.

    `system`: key -> value. `users`: user -> key -> value. `secrets`: key -> plain text, for
    `decrypt`. `configs`: pack -> configuration.
    """

    def __init__(
        self,
        *,
        system: Mapping[str, Any] | None = None,
        users: Mapping[str, Mapping[str, Any]] | None = None,
        secrets: Mapping[str, Any] | None = None,
        configs: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self._system = system or {}
        self._users = users or {}
        self._secrets = secrets or {}
        self._configs = configs or {}

    def datastore(self, name: str, *, scope: str, decrypt: bool = False, user: str = "") -> Any:
        keys = self._system if scope == "system" else self._users.get(user, {})
        if decrypt and name in self._secrets:
            return self._secrets[name]
        if name not in keys:
            raise NotFoundError(
                f'The key "{name}" does not exist in the {scope} scope of the datastore.'
            )
        return keys[name]

    def pack_config(self, pack: str) -> dict[str, Any]:
        return self._configs.get(pack, {})
