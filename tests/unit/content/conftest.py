"""Packs written for one test."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest

PACK_YAML = (
    "name: sample\ndescription: A sample.\nversion: 0.1.0\nauthor: somebody\n"
    "email: some@body.example\n"
)
WritePack = Callable[[dict[str, str]], Path]


@pytest.fixture
def write_pack(tmp_path: Path) -> WritePack:
    """Write a pack of the files given (path -> text); a pack.yaml is added where none is given."""

    def write(files: dict[str, str]) -> Path:
        for name, text in {"pack.yaml": PACK_YAML, **files}.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return tmp_path

    return write
