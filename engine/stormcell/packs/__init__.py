"""Packs that come with the engine."""

from __future__ import annotations

from pathlib import Path

CORE_PACK = Path(__file__).parent / "core"
"""Folder of the core pack, which is always loaded."""
CHATOPS_PACK = Path(__file__).parent / "chatops"
"""Folder of the chatops pack, which every installation of StackStorm has too: it tells a chat how a
command ended.
"""
BUILT_IN_PACKS = (CORE_PACK, CHATOPS_PACK)
