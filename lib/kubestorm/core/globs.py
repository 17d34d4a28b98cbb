"""Stars in a pattern, in time that grows with the text alone. Pure."""

from __future__ import annotations

from typing import Sequence


def between_stars(chunks: Sequence[str], *, is_longest: bool = True) -> str:
    """A regular expression for what stands between stars, each chunk one of a fixed length. It
    takes as much as can be, or as little.
    """
    first, *others = chunks
    if not others:
        return first
    out = first
    for number, chunk in enumerate(others[:-1]):
        # The first place is as good as any later one. Python before 3.11 cannot say that it need
        # not come back for another, which many stars would make endless, but in this way.
        out += f"(?=(?P<at{number}>.*?{chunk}))(?P=at{number})"
    return out + (".*" if is_longest else ".*?") + others[-1]
