"""Which repository a person means, and the order of its tags."""

from __future__ import annotations

import pytest
from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.application.commands import image_meant, newest_first


@pytest.mark.parametrize(
    "text, default, hosts, image",
    [
        ("team/cart", "r.example.com", [], "r.example.com/team/cart"),
        ("cart:1.4.2", "r.example.com", [], "r.example.com/cart"),
        ("team/cart", "", ["r.example.com:5000"], "r.example.com:5000/team/cart"),
        (
            "r.example.com:5000/team/cart",
            "",
            ["r.example.com:5000", "x.example.com"],
            "r.example.com:5000/team/cart",
        ),
        (
            "other.example.com/cart",
            "r.example.com",
            ["other.example.com"],
            "other.example.com/cart",
        ),
    ],
)
def test_the_registry_is_the_named_one_or_the_configurations(
    text: str, default: str, hosts: list[str], image: str
) -> None:
    """A bare repository is in the registry where Applications' images are, or in the only one there
    is.
    """
    assert str(image_meant(text, default, hosts)) == image


@pytest.mark.parametrize(
    "text, default, hosts, message",
    [
        (
            "169.254.169.254/latest",
            "r.example.com",
            [],
            "is not configured. Configured registries: r.example",
        ),
        ("localhost/cart", "", [], "is not configured. Configured registries: none"),
        (
            "team/cart",
            "",
            ["a.example.com", "b.example.com"],
            "Name the registry of team/cart. Configured registries: a.example",
        ),
        ("Team/Cart", "r.example.com", [], "is not a valid repository"),
        ("../../admin", "r.example.com", [], "is no"),
    ],
)
def test_no_word_of_a_person_is_an_address(
    text: str, default: str, hosts: list[str], message: str
) -> None:
    """A registry that operations did not name is never called."""
    with pytest.raises(DefinitionError, match=message):
        image_meant(text, default, hosts)


def test_newest_versions_come_first() -> None:
    """Numbers are compared as numbers, a release is above its candidates, words come last."""
    tags = [
        "1.9.0",
        "latest",
        "1.10.0-rc.1",
        "v2.0.0",
        "1.10.0",
        "main-ab12cd3",
        "1.10.0-rc.10",
        "1.10.0-rc.2",
    ]
    assert newest_first(tags) == [
        "v2.0.0",
        "1.10.0",
        "1.10.0-rc.10",
        "1.10.0-rc.2",
        "1.10.0-rc.1",
        "1.9.0",
        "main-ab12cd3",
        "latest",
    ]
