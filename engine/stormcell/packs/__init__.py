"""Packs that come with the engine."""

from __future__ import annotations

from pathlib import Path

CORE_PACK = Path(__file__).parent / "core"
"""Folder of the core pack, which is always loaded."""
