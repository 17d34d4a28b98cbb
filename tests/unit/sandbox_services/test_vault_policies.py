"""Which rule of a policy decides, after Vault's page on priority matching."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.vault.policies import Acl, PolicyError, parse_policy


def acl(*policies: str) -> Acl:
    return Acl(rule for text in policies for rule in parse_policy(text))


def rule(path: str, *capabilities: str) -> str:
    return f'path "{path}" {{ capabilities = {json.dumps(capabilities)} }}\n'


@pytest.mark.parametrize(
    "winner, loser, path",
    [
        ("secret/foo", "secret/*", "secret/foo"),
        ("secret/foo*", "secret/*", "secret/foobar"),
        ("secret/foo/*", "secret/+/*", "secret/foo/bar"),
        ("secret/+/bar", "secret/+/*", "secret/foo/bar"),
        ("secret/foo/+", "secret/*", "secret/foo/bar"),
        ("secret/+/bar/baz", "secret/+/+/baz", "secret/foo/bar/baz"),
        ("secret/foo", "secret/+", "secret/foo"),
    ],
    ids=[
        "exact",
        "longer-glob",
        "later-wildcard",
        "no-glob",
        "plus-over-early-glob",
        "fewer-plus",
        "exact-over-plus",
    ],
)
def test_the_more_specific_path_decides_alone(winner: str, loser: str, path: str) -> None:
    """The winner's capabilities count, the loser's do not, in whichever order they stand."""
    for texts in (
        (rule(winner, "read"), rule(loser, "update")),
        (rule(loser, "update"), rule(winner, "read")),
    ):
        assert acl(*texts).capabilities(path) == {"read"}


def test_rules_of_several_policies_for_one_path_add_up() -> None:
    """Two policies grant together what each grants."""
    assert acl(rule("a", "read"), rule("a", "list")).capabilities("a") == {"read", "list"}


def test_deny_beats_what_others_grant_at_the_same_path() -> None:
    """One deny takes all away there, and nowhere else."""
    both = acl(rule("a", "read"), rule("a", "deny"), rule("b", "read"))
    assert both.capabilities("a") == {"deny"}
    assert both.capabilities("b") == {"read"}


@pytest.mark.parametrize(
    "pattern, path, matches",
    [
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a/b/b/c", False),
        ("a/+", "a/", False),
        ("a/*", "a/", True),
        ("a/*", "a", False),
        ("a*", "abc/d", True),
        ("a", "a/b", False),
    ],
)
def test_wildcards_match_what_vault_says(pattern: str, path: str, matches: bool) -> None:
    """`+` is one segment that is not empty, a last `*` is any rest."""
    assert acl(rule(pattern, "read")).allows(path, "read") is matches


def test_a_list_with_a_slash_finds_the_rule_without() -> None:
    """LIST of a/ is allowed by a rule for a."""
    assert acl(rule("a", "list")).allows("a/", "list")
    assert not acl(rule("a", "read")).allows("a/", "read")


@pytest.mark.parametrize(
    "data, allowed",
    [
        ({"size": "small"}, True),
        ({"size": "huge"}, False),
        ({"size": "small", "other": 1}, False),
        ({}, False),
    ],
    ids=["listed", "unlisted-value", "unlisted-parameter", "missing-required"],
)
def test_parameters_can_be_allowed_and_required(data: dict[str, Any], allowed: bool) -> None:
    """allowed_parameters names parameters and values, required_parameters what must be there."""
    text = """
    path "a" {
      capabilities = ["update"]
      allowed_parameters = { "size" = ["small", "medium"] }
      required_parameters = ["size"]
    }
    """
    assert acl(text).allows("a", "update", data) is allowed


def test_denied_parameters_win() -> None:
    """A parameter that is denied refuses the write, whatever else it has."""
    text = 'path "a" { capabilities = ["update"]\n denied_parameters = { "force" = [] } }'
    assert acl(text).allows("a", "update", {"x": 1})
    assert not acl(text).allows("a", "update", {"x": 1, "force": True})


@pytest.mark.parametrize(
    "text, message",
    [
        (rule("a", "fly"), 'path "a": invalid capability "fly"'),
        (rule("a/+*", "read"), "invalid use of wildcards"),
        ("paths {}", "invalid key 'paths'"),
        ('path "a" {', "failed to parse policy: line 1"),
    ],
    ids=["capability", "plus-star", "key", "syntax"],
)
def test_a_wrong_policy_is_refused_with_its_reason(text: str, message: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    assert message in str(caught.value)
