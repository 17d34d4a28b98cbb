"""The small HCL reader."""

from __future__ import annotations

import pytest

from sandbox.hcl import HclError, parse


def test_blocks_attributes_and_comments_are_read() -> None:
    """Labels, lists with a trailing comma, heredocs, numbers and the three kinds of comment."""
    root = parse(
        """
        # one
        name = "team" // two
        path "secret/*" { /* three */
          capabilities = ["read", "list",]
          required = true
          count = 3
        }
        text = <<EOT
line
EOT
        """
    )
    assert root.attributes == {"name": "team", "text": "line"}
    block = root.blocks[0]
    assert (block.kind, block.labels) == ("path", ("secret/*",))
    assert block.attributes == {"capabilities": ["read", "list"], "required": True, "count": 3}


def test_json_means_the_same() -> None:
    """The JSON form gives the same blocks."""
    written = parse('path "a" { capabilities = ["read"] }')
    assert parse('{"path": {"a": {"capabilities": ["read"]}}}').blocks == written.blocks


@pytest.mark.parametrize(
    "text, line",
    [
        ('path "a" {', 1),
        ("a = \n]", 2),
        ('x = ["a"', 1),
        ("a = @", 1),
        ('"a" "b"', 1),
        ('{"a": }', 1),
    ],
    ids=["unclosed-block", "no-value", "unclosed-list", "odd-character", "no-body", "bad-json"],
)
def test_a_mistake_names_its_line(text: str, line: int) -> None:
    """The error begins with the line."""
    with pytest.raises(HclError, match=f"^line {line}: "):
        parse(text)
