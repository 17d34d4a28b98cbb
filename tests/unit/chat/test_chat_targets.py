"""Which object is meant: short names, names in several namespaces, names that nothing has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.people.chat.settings import ChatSettings
from kubestorm.people.chat.targets import Absent, Ambiguous, Target, find, namespace_meant

PROD, STAGE, PAY = (
    Target("shop-prod", "cart"),
    Target("shop-stage", "cart"),
    Target("pay-prod", "ledger"),
)
EXISTING = [PROD, STAGE, PAY]
SETTINGS = ChatSettings.from_config(
    {
        "chat": {
            "short_names": {"prod": "everyones-prod", "stage": "everyones-stage"},
            "channels": [
                {
                    "channels": ["shop"],
                    "short_names": {"prod": "shop-prod"},
                    "default_namespace": "shop-stage",
                },
                {"channels": ["*"]},
            ],
        }
    }
)


@pytest.mark.parametrize(
    "channel, said, meant",
    [
        ("shop", "prod", "shop-prod"),
        ("#shop", "prod", "shop-prod"),
        ("shop", "stage", "everyones-stage"),
        ("pay", "prod", "everyones-prod"),
        ("pay", "ledger-test", "ledger-test"),
        ("shop", None, "shop-stage"),
        ("pay", None, ""),
    ],
)
def test_short_names_are_a_channels_first(channel: str, said: str | None, meant: str) -> None:
    """The channel's own, then everybody's, then the word itself; nothing said is the channel's
    default.
    """
    assert namespace_meant(SETTINGS, channel, said) == meant


@pytest.mark.parametrize(
    "name, namespace, found",
    [
        ("cart", "shop-prod", PROD),
        ("ledger", "", PAY),
        ("cart", "", Ambiguous((PROD, STAGE))),
        ("cart", "pay-prod", Absent((PROD, STAGE))),
        ("carts", "shop-prod", Absent((PROD,))),
        ("led", "", Absent((PAY,))),
        ("zebra", "", Absent(())),
    ],
    ids=["named", "only one", "several", "elsewhere", "nearly", "begins so", "nothing like it"],
)
def test_a_name_is_found_or_its_candidates_are(name: str, namespace: str, found: object) -> None:
    """One that fits is taken, several are listed, none names what is close."""
    assert find(name, namespace, EXISTING) == found


@given(
    st.text("abc-", min_size=1, max_size=5),
    st.sampled_from(["", "shop-prod", "pay-prod"]),
    st.lists(
        st.builds(
            Target,
            st.sampled_from(["shop-prod", "pay-prod"]),
            st.text("abc", min_size=1, max_size=4),
        )
    ),
)
def test_what_is_found_exists_and_is_called_so(
    name: str, namespace: str, existing: list[Target]
) -> None:
    """Never another object than the one said, never one that was not offered."""
    found = find(name, namespace, existing)
    if isinstance(found, Target):
        assert found in existing
        assert found.name == name
        assert namespace in ("", found.namespace)
    else:
        offered = found.candidates if isinstance(found, Ambiguous) else found.closest
        assert set(offered) <= set(existing)
