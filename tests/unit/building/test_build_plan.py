"""Which images are built, how their tags read, and which changes concern them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.clients.git.source import TreeEntry, from_git, parse_ls_remote, parse_tree
from kubestorm.core.errors import DefinitionError, NotFoundError, PermanentError, TemporaryError
from kubestorm.kinds.build import tags
from kubestorm.kinds.build.context import check_context, escapes, resolve
from kubestorm.kinds.build.plan import inputs_of, plan_images
from kubestorm.kinds.build.status import LastGood, Request

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def image(parse):
    """One image of services/cart."""
    return parse().images[0]


@pytest.mark.parametrize(
    "last, changed, request_, expected",
    [
        (None, {}, None, (True, "FirstBuild")),
        (NEW, {}, None, (False, "UpToDate")),
        (OLD, {OLD: ["services/cart/main.go"]}, None, (True, "PathsChanged")),
        (OLD, {OLD: ["services/cartoon/main.go", "README"]}, None, (False, "PathsUnchanged")),
        (OLD, {OLD: []}, None, (False, "PathsUnchanged")),
        (OLD, {OLD: None}, None, (True, "HistoryRewritten")),
        (OLD, {}, None, (True, "HistoryRewritten")),
        (NEW, {}, Request("1"), (True, "Requested")),
        (NEW, {}, Request("1", images=frozenset(["cart"])), (True, "Requested")),
        (NEW, {}, Request("1", images=frozenset(["web"])), (False, "NotRequested")),
        (NEW, {}, Request("1", force=False), (False, "UpToDate")),
    ],
)
def test_an_image_is_built_when_something_of_it_changed(image, last, changed, request_, expected):
    """Counted from its own last good build."""
    good = {} if last is None else {"cart": LastGood(last, inputs_of(image))}
    (decision,) = plan_images(
        [image], commit=NEW, last_good=good, changes=changed, request=request_
    )
    assert (decision.build, decision.reason) == expected
    assert decision.message


def test_a_changed_definition_is_a_reason_to_build(image):
    """A build argument is as much part of an image as its source."""
    good = {"cart": LastGood(NEW, "another definition")}
    (decision,) = plan_images([image], commit=NEW, last_good=good, changes={})
    assert (decision.build, decision.reason) == (True, "DefinitionChanged")


def test_paths_are_no_part_of_the_definition(parse_images):
    """Widening the filter alone makes no other image."""
    assert inputs_of(parse_images().images[0]) == inputs_of(parse_images(paths=["**"]).images[0])


@pytest.mark.parametrize(
    "branch, slug",
    [
        ("main", "main"),
        ("feature/Cart_2", "feature-cart_2"),
        ("--x--", "x"),
        ("a/.b", "a-.b"),
        ("日本", "branch-"),
    ],
)
def test_a_branch_becomes_part_of_a_tag(branch, slug):
    """Small, without slashes, never empty."""
    assert tags.slug(branch).startswith(slug)


def test_the_default_tag_is_branch_and_commit():
    """`<branch-slug>-<short sha>`."""
    assert tags.fill_all((), branch="feature/x", commit=OLD, number=3) == ("feature-x-aaaaaaaa",)


@given(
    st.text(min_size=1),
    st.sampled_from(["", "{branch}-{commit}", "{branch}", "v{number}", "{fullCommit}-{branch}"]),
)
def test_every_branch_makes_a_legal_tag_that_keeps_its_commit(branch, template):
    """However long or odd its name."""
    (tag,) = tags.fill_all((template,) if template else (), branch=branch, commit=OLD, number=1)
    assert tags.TAG.fullmatch(tag)
    assert "{commit}" not in template or tag.endswith("-aaaaaaaa")


@pytest.mark.parametrize(
    "path, links, expected",
    [
        ("a/b", {}, "a/b"),
        ("a/b", {"a": "c"}, "c/b"),
        ("a/b", {"a/b": "../x"}, "x"),
        ("a", {"a": ".."}, None),
        ("a/b", {"a/b": "../../x"}, None),
        ("a", {"a": "/etc/passwd"}, None),
        ("a", {"a": "b", "b": "a"}, None),
        ("a", {"a": "b", "b": "c/../d"}, "d"),
        ("a", {"a": "b/x", "b": ".."}, None),
    ],
)
def test_links_are_followed_as_the_kernel_does(path, links, expected):
    """Step by step; what ends outside, or nowhere, ends in None."""
    assert resolve(path, links) == expected


def test_links_that_leave_a_context_are_found_through_others():
    """`b -> a/..` is fine by itself, and leaves when `a` is a link to the top."""
    assert escapes({"b": "a/..", "ok": "b/c/../d"}) == []
    assert escapes({"a": ".", "b": "a/.."}) == ["b"]
    assert escapes({"a": "/usr"}, absolute_ok=True) == []


@pytest.mark.parametrize(
    "links, dockerfile, expected",
    [
        ({}, "Dockerfile", "Dockerfile"),
        ({"D": "Dockerfile"}, "D", "Dockerfile"),
        ({"D": "../Dockerfile"}, "D", "symbolic links lead out of the context"),
        ({}, "missing", "has no Dockerfile missing"),
    ],
)
def test_a_dockerfile_is_a_file_of_its_context(links, dockerfile, expected):
    """Also through a link, as long as that stays inside."""
    entries = [
        TreeEntry("100644", "0", "Dockerfile"),
        *(TreeEntry("120000", "0", each) for each in links),
    ]
    try:
        said = check_context(entries, links, image="cart", context=".", dockerfile=dockerfile)
    except DefinitionError as error:
        said = str(error)
    assert expected in said


@pytest.mark.parametrize(
    "said, kind",
    [
        ("fatal: couldn't find remote ref refs/heads/x", NotFoundError),
        ("fatal: Authentication failed for 'https://git.test/'", PermanentError),
        ("git@git.test: Permission denied (publickey).", PermanentError),
        ("Host key verification failed.", PermanentError),
        ("fatal: transport 'ext' not allowed", PermanentError),
        ("fatal: repository 'https://git.test/x/' not found", NotFoundError),
        ("fatal: unable to access: Could not resolve host: git.test", TemporaryError),
        ("error: RPC failed; curl 18 transfer closed", TemporaryError),
    ],
)
def test_what_git_says_is_told_apart(said, kind):
    """Only what may pass the second time is worth a second time."""
    assert type(from_git(said, "https://git.test/x")) is kind


def test_answers_of_git_are_read():
    """Heads, the name that HEAD stands for, and names with any byte in them."""
    text = f"ref: refs/heads/trunk\tHEAD\n{OLD}\tHEAD\n{NEW}\trefs/heads/x\n"
    assert parse_ls_remote(text) == ({"HEAD": OLD, "refs/heads/x": NEW}, "trunk")
    out = b"100644 blob 1\ta b\0" + b"120000 blob 2\tl\xff\0"
    assert [tuple(each) for each in parse_tree(out)] == [
        ("100644", "1", "a b"),
        ("120000", "2", "l\udcff"),
    ]
