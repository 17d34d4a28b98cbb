"""A pack's configuration as it is now, for sensors, by the name StackStorm gives."""

from __future__ import annotations

from typing import Any, Dict, Optional

__all__ = ["ContentPackConfigLoader"]


class ContentPackConfigLoader:
    """StackStorm reads its database; here the engine is asked."""

    def __init__(self, pack_name: str, user: Optional[str] = None) -> None:
        self.pack_name = pack_name
        self.user = user

    def get_config(self) -> Dict[str, Any]:
        """Return the settings with defaults, and expressions resolved. Raises what the engine says
        of a wrong configuration.
        """
        from stormcell_host import services  # type: ignore[import-not-found, unused-ignore]

        config: Dict[str, Any] = services.ask_engine("get_config", {"pack": self.pack_name})
        return config
