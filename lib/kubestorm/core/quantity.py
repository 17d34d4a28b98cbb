"""Kubernetes quantities (`250m`, `1.5Gi`): parsed, compared, and written in the API server's form.

The API server keeps resources in a canonical form (`1000m` becomes `1`). What is applied is written
in that form, so it compares equal to what is read back. Source:
k8s.io/apimachinery/pkg/api/resource/quantity.go.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Optional, Tuple

from kubestorm.core import untrusted

MAX_LENGTH = 64
"""Characters of a quantity. The API server keeps no more than 64 bits of one."""
BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_FORM = re.compile(
    r"^([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:([KMGTPE]i|[numkMGTPE]?)|[eE]([+-]?[0-9]{1,2}))$"
)


class Quantity:
    """An amount, and how it is written. Compared by amount alone."""

    __slots__ = ("amount", "text")

    def __init__(self, amount: Decimal, text: str) -> None:
        self.amount = amount
        self.text = text

    def __repr__(self) -> str:
        return f"Quantity({self.text!r})"


def parse_quantity(value: object) -> Optional[Quantity]:
    """Read a quantity of 0 or more; None where it is none. A number (YAML's `cpu: 1`) counts as its
    text.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, int) and abs(value) > untrusted.MAX_INTEGER:
        return None
    text = str(value)
    found = _FORM.match(text) if len(text) <= MAX_LENGTH else None
    if not found:
        return None
    number, suffix, exponent = Decimal(found.group(1)), found.group(2) or "", found.group(3)
    if suffix in BINARY:
        amount = number * 1024 ** BINARY[suffix]
    else:
        amount = number * Decimal(10) ** (int(exponent) if exponent else 3 * DECIMAL[suffix])
    return Quantity(amount, _canonical(amount, binary=suffix in BINARY))


def _canonical(amount: Decimal, *, binary: bool) -> str:
    """The shortest form with a whole number; below a thousandth is rounded up, as the API server
    does for pods.
    """
    if binary and amount == amount.to_integral_value() and amount >= 1024:
        number, suffix = _shortened(int(amount), 1024, ("", *BINARY))
        return f"{number}{suffix}"
    thousandths = int((amount * 1000).to_integral_value(rounding=ROUND_CEILING))
    if thousandths % 1000:
        return f"{thousandths}m"
    number, suffix = _shortened(thousandths // 1000, 1000, ("", "k", "M", "G", "T", "P", "E"))
    return f"{number}{suffix}"


def _shortened(number: int, step: int, suffixes: Tuple[str, ...]) -> Tuple[int, str]:
    place = 0
    while number and number % step == 0 and place < len(suffixes) - 1:
        number, place = number // step, place + 1
    return number, suffixes[place]
