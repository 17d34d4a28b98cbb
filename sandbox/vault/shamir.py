"""Shamir's secret sharing over GF(256), as Vault splits its unseal key.

A share is one byte per byte of the secret, followed by one byte that says at which x it was taken
(Vault's shamir package has the same layout), so that Vault's own tools can combine what is split
here.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

_FIELD_POLYNOMIAL = 0x11B


def _multiply(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= _FIELD_POLYNOMIAL
        b >>= 1
    return product


def _inverse(a: int) -> int:
    # a ** 254 is the inverse in a field of 256 elements.
    result = 1
    for _ in range(254):
        result = _multiply(result, a)
    return result


def _evaluate(coefficients: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = _multiply(value, x) ^ coefficient
    return value


def split(secret: bytes, shares: int, threshold: int) -> list[bytes]:
    """Split a secret into 2 to 255 shares, of which `threshold` (at least 2) restore it."""
    if not 2 <= threshold <= shares <= 255:
        raise ValueError("take 2 to 255 shares and a threshold from 2 to the number of shares")
    places = secrets.SystemRandom().sample(range(1, 256), shares)
    polynomials = [[byte, *secrets.token_bytes(threshold - 1)] for byte in secret]
    return [bytes([*(_evaluate(polynomial, x) for polynomial in polynomials), x]) for x in places]


def combine(shares: Sequence[bytes]) -> bytes:
    """Restore a secret; too few or wrong shares give other bytes, not an error.

    Raises ValueError for shares of different lengths or two of the same x.
    """
    places = [share[-1] for share in shares]
    if len({len(share) for share in shares}) != 1 or len(set(places)) != len(places):
        raise ValueError("the shares have different lengths or are not distinct")
    weights = []
    for x in places:
        weight = 1
        for other in places:
            if other != x:
                weight = _multiply(weight, _multiply(other, _inverse(other ^ x)))
        weights.append(weight)
    secret = bytearray()
    for column in range(len(shares[0]) - 1):
        value = 0
        for share, weight in zip(shares, weights, strict=True):
            value ^= _multiply(share[column], weight)
        secret.append(value)
    return bytes(secret)
