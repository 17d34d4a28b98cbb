"""The HTTP API: StackStorm's REST paths, so that its own clients drive the engine."""

from stormcell.api.app import make_app

__all__ = ["make_app"]
