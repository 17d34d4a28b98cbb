"""Weights that a number of pods can express: a quarter of four pods is one, a tenth of four is
none.
"""

from __future__ import annotations

import math
from typing import Iterable, List, Optional

PERCENT = 100
MOST_SHOWN = 9


def pods_for(weight: int, total: int) -> int:
    """How many of `total` pods are `weight` percent. ValueError where that is not an integer."""
    pods, rest = divmod(weight * total, PERCENT)
    if rest:
        raise ValueError(f"{weight} % of {total} pods is not an integer")
    return pods


def granule(weights: Iterable[int]) -> int:
    """The smallest number of pods that expresses all weights; so does every multiple of it."""
    size = 1
    for weight in weights:
        part = PERCENT // math.gcd(PERCENT, weight)
        size = size * part // math.gcd(size, part)
    return size


def expressible(total: int) -> List[int]:
    """Every weight between 0 and 100 that this number of pods can express."""
    return [weight for weight in range(1, PERCENT) if weight * total % PERCENT == 0]


def problem(weights: Iterable[int], total: int) -> Optional[str]:
    """Why so many pods cannot express the weights, and what could; None where they can."""
    listed = list(weights)
    for weight in listed:
        if not 0 < weight <= PERCENT:
            return f"a weight must be an integer from 1 to 100, not {weight}."
    refused = [weight for weight in listed if weight * total % PERCENT]
    if not refused:
        return None
    wrong = " and ".join(f"{weight} %" for weight in refused)
    pods = f"{total} replica{'' if total == 1 else 's'}"
    remedy = f"set replicas to {granule(listed)} or a multiple of it"
    possible = expressible(total)
    if not possible:
        return (
            f"{pods} cannot express a weight of {wrong}, as weights are numbers of pods: {remedy}."
        )
    shown = possible if len(possible) <= MOST_SHOWN else [*possible[: MOST_SHOWN - 1], possible[-1]]
    text = ", ".join(str(weight) for weight in shown)
    can = (
        f"{pods} can express {text} %"
        if len(possible) <= MOST_SHOWN
        else f"{pods} can express {text} % and others"
    )
    return (
        f"{pods} cannot express a weight of {wrong}, as weights are numbers of pods: {can}; or "
        f"{remedy}."
    )


def total_for(weights: Iterable[int], present: int, fewest: int, most: int) -> int:
    """The number of pods to hold an autoscaled application at during a canary: enough, and able to
    express the weights.

    The next multiple above what there is now, or the last one within `most` where that would be too
    many.
    """
    size = granule(weights)
    wanted = -(-max(present, fewest, 1) // size) * size
    if most and wanted > most:
        wanted = most // size * size
    return max(wanted, size)
