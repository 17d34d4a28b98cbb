"""Addresses of repositories and names of branches: what is let through, what never reaches git."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.git.address import (
    branch_problem,
    parse_address,
    repository_key,
    revision_problem,
)
from kubestorm.clients.git.settings import GitSettings
from kubestorm.core.errors import DefinitionError

ALL = GitSettings(protocols=("https", "http", "ssh", "file"))


@pytest.mark.parametrize(
    "text, protocol, host",
    [
        ("https://git.test/team/shop.git", "https", "git.test"),
        ("http://git.test:8080/shop", "http", "git.test"),
        ("ssh://git@git.test:2222/team/shop.git", "ssh", "git.test"),
        ("git@git.test:team/shop.git", "ssh", "git.test"),
        ("file:///srv/git/shop.git", "file", ""),
    ],
)
def test_an_ordinary_address_is_taken_as_it_is(text, protocol, host):
    """Its protocol and host are read, and git gets it unchanged."""
    found = parse_address(text, ALL)
    assert (found.protocol, found.host, found.url) == (protocol, host, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=x",
        "ext::sh -c touch% /tmp/x",
        "ext::sh",
        "fd::17/shop",
        "git@git.test:-oProxyCommand=x",
        "ssh://-oProxyCommand=x/shop",
        "ssh://git@-oProxyCommand=x/shop",
        "ssh://-l@git.test/shop",
        "https://user:password@git.test/shop",
        "https://token@git.test/shop",
        "https://git.test/",
        "https:///shop",
        "https://git.test/a b",
        "https://git.test/shop\n--upload-pack=x",
        "https://git.test/shop?x=1",
        "https://git.test/../../etc",
        "https://git.test/%2e%2e/etc",
        "ssh://git.test/-shop",
        "ssh://git.test:99999/shop",
        "git://git.test/shop",
        "file://host/shop",
        "/srv/git/shop.git",
        "../shop.git",
        "shop",
    ],
)
def test_what_is_no_plain_address_is_refused(text):
    """Options, programs, passwords, control characters, unknown protocols and paths of this
    machine.
    """
    with pytest.raises(DefinitionError):
        parse_address(text, ALL)


def test_a_password_in_an_address_is_not_repeated_in_its_refusal():
    """The sentence says what to do and not what was typed."""
    with pytest.raises(DefinitionError) as refused:
        parse_address("https://user:hunter22@git.test/shop", ALL)
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize(
    "settings, text",
    [
        (GitSettings(), "file:///srv/git/shop.git"),
        (GitSettings(), "http://git.test/shop"),
        (GitSettings(hosts=("*.corp.test",)), "https://git.test/shop"),
        (GitSettings(), "https://169.254.169.254/latest"),
        (GitSettings(), "https://2852039166/latest"),
        (GitSettings(), "https://0xa9fea9fe/latest"),
        (GitSettings(), "https://[fd00:ec2::254]/latest"),
        (GitSettings(), "https://metadata.google.internal/v1"),
        (GitSettings(), "git@localhost:shop.git"),
        (GitSettings(), "https://x.localhost/shop"),
    ],
)
def test_protocols_and_servers_are_what_operations_allow(settings, text):
    """Files of this machine, source in the clear, addresses and the machine that asks are off until
    somebody turns them on.
    """
    with pytest.raises(DefinitionError, match="allow"):
        parse_address(text, settings)


def test_an_address_that_operations_name_is_taken():
    """A server without a name is theirs to allow."""
    settings = GitSettings(hosts=("*", "10.0.0.7"))
    assert parse_address("https://10.0.0.7/team/shop.git", settings).host == "10.0.0.7"


@pytest.mark.parametrize("name", ["main", "feature/x", "v1.2", "user@work", "日本"])
def test_git_knows_such_branches(name):
    """Names by git's own rules are taken."""
    assert branch_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        *(
            "--upload-pack=x",
            "-b",
            "a b",
            "a..b",
            "a~1",
            "a^",
            "a:b",
            "a?b",
            "a*",
            "[a",
            "a\\b",
            "/a",
            "a/",
            "a//b",
        ),
        *("a.lock", ".a", "a/.b", "a@{1}", "@", "a.", "a\x7f", "a\n"),
    ],
)
def test_a_branch_that_git_would_read_otherwise_is_refused(name):
    """Options, ranges, patterns and whatever git-check-ref-format refuses."""
    assert branch_problem(name)


def test_a_revision_is_whole():
    """Part of a commit could be another one tomorrow."""
    assert revision_problem("0" * 40) == ""
    assert revision_problem("v1.0") == ""
    assert "40 characters" in revision_problem("0123abc")


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("git@git.test:team/shop.git", "https://git.test/team/shop", True),
        ("ssh://git@git.test:2222/team/shop", "https://git.test/team/shop.git/", True),
        ("https://GIT.test/team/shop", "https://git.test:443/team/shop", True),
        ("https://git.test/team/shop", "https://git.test/team/Shop", False),
        ("https://git.test:8443/team/shop", "https://git.test/team/shop", False),
        ("file:///srv/shop.git", "file:///srv/shop", True),
        ("file:///srv/shop", "file:///srv/Shop", False),
        ("https://github.com/Acme/Shop.git", "git@github.com:acme/shop.git", True),
        ("https://GitHub.com/Acme/Shop.GIT", "https://www.github.com/acme/shop", True),
        ("https://github.com/acme/shop", "https://github.com/acme/shop2", False),
        ("https://gitlab.com/Group/Sub/Shop", "git@gitlab.com:group/sub/shop.git", True),
        ("https://bitbucket.org/Acme/Shop", "git@bitbucket.org:acme/shop.git", True),
        ("https://codeberg.org/Acme/Shop", "https://codeberg.org/acme/shop", True),
        ("https://gitea.com/Acme/Shop", "https://gitea.com/acme/shop", True),
        ("https://acme.ghe.com/Acme/Shop", "git@acme.ghe.com:acme/shop.git", True),
        ("https://notghe.com/Acme/Shop", "https://notghe.com/acme/shop", False),
        ("https://github.com.evil.test/Acme/Shop", "https://github.com/acme/shop", False),
        ("ssh://git@ssh.github.com:443/Acme/Shop.git", "https://github.com/acme/shop", True),
        ("git@ssh.github.com:acme/shop.git", "git@github.com:acme/shop.git", True),
        ("ssh://git@altssh.gitlab.com:443/acme/shop", "https://gitlab.com/acme/shop", True),
        ("ssh://git@altssh.bitbucket.org:443/acme/shop", "https://bitbucket.org/acme/shop", True),
        ("ssh://git@ssh.git.test:443/acme/shop", "https://git.test/acme/shop", False),
    ],
    ids=lambda value: str(value),
)
def test_all_spellings_of_a_repository_have_one_key(one, other, same):
    """A push event names it by one of them, an ImageBuild by another."""
    assert (repository_key(one) == repository_key(other)) is same


@given(st.text())
def test_no_text_makes_the_parser_fail(text):
    """Whatever comes in is taken or refused with a reason; what is taken begins with no hyphen."""
    try:
        found = parse_address(text, ALL)
    except DefinitionError:
        return
    assert not found.url.startswith("-")
    assert "::" not in found.url.split("/")[0]
