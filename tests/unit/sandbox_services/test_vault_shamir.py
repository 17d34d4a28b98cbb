"""Secret sharing: what must hold for every secret and choice of shares."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.vault import shamir


@given(secret=st.binary(min_size=1, max_size=40), data=st.data())
def test_any_threshold_of_shares_restores_the_secret(secret: bytes, data: st.DataObject) -> None:
    """Whichever shares are taken, in whichever order."""
    shares = data.draw(st.integers(2, 8))
    threshold = data.draw(st.integers(2, shares))
    parts = shamir.split(secret, shares, threshold)
    assert len({part[-1] for part in parts}) == shares
    assert all(len(part) == len(secret) + 1 for part in parts)
    chosen = random.Random(data.draw(st.integers())).sample(
        parts, data.draw(st.integers(threshold, shares))
    )
    assert shamir.combine(chosen) == secret


def test_one_share_less_restores_something_else() -> None:
    """A 32-byte secret is not met by chance."""
    secret = bytes(range(32))
    parts = shamir.split(secret, 5, 3)
    assert shamir.combine(parts[:2]) != secret


def test_a_known_polynomial_is_combined_as_vault_would() -> None:
    """f(x) = 7 + 2x over GF(256): f(1) = 5 and f(2) = 3 give 7 back."""
    assert shamir.combine([bytes([5, 1]), bytes([3, 2])]) == bytes([7])


@pytest.mark.parametrize(
    "shares",
    [[b"ab1", b"cd1"], [b"ab1", b"c2"]],
    ids=["same-place", "different-lengths"],
)
def test_shares_that_do_not_belong_together_are_refused(shares: list[bytes]) -> None:
    """Two shares of one place, or of two lengths, cannot be combined."""
    with pytest.raises(ValueError, match="distinct"):
        shamir.combine(shares)
