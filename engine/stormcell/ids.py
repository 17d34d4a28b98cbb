"""Identifiers in the form StackStorm's clients know: 24 hexadecimal digits that sort by time of
making.
"""

from __future__ import annotations

import itertools
import os
import time

_PROCESS = os.urandom(5).hex()
_counter = itertools.count(int.from_bytes(os.urandom(3), "big"))


def new_id() -> str:
    """Return a new id: 4 bytes of seconds, 5 of this process, 3 of a counter (the layout of a
    MongoDB ObjectId).
    """
    return f"{int(time.time()):08x}{_PROCESS}{next(_counter) & 0xFFFFFF:06x}"
