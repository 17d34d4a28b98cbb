"""Finds a secret in bytes, also where it was encoded on the way."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path


def disguises(secret: str) -> dict[str, bytes]:
    """Return the forms in which a secret could have been written: name of the form -> bytes to look
    for.

    Base64 depends on where in a longer text the secret begins, so all three alignments are looked
    for, without the characters at either end that also depend on the neighbours.
    """
    raw = secret.encode()
    forms = {
        "raw": raw,
        "url": urllib.parse.quote(secret, safe="").encode(),
        "url-plus": urllib.parse.quote_plus(secret).encode(),
        "json": json.dumps(secret)[1:-1].encode(),
        "json-in-json": json.dumps(json.dumps(secret)[1:-1])[1:-1].encode(),
        "hex": raw.hex().encode(),
        "utf-16": secret.encode("utf-16-le"),
    }
    for offset in range(3):
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            text = encode(b"\0" * offset + raw)
            begin = (offset * 8 + 5) // 6
            end = (offset + len(raw)) * 8 // 6
            forms[f"{name}+{offset}"] = text[begin:end]
    return forms


def find(secret: str, content: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
    """Yield (name of the content, form) for each place where the secret shows."""
    forms = disguises(secret)
    for name, data in content:
        for form, needle in forms.items():
            if needle in data:
                yield name, form


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (path, bytes) of every regular file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(folder)), path.read_bytes()
