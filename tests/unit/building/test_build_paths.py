"""Patterns of paths, as in .gitignore. tests/integration/building/test_paths_and_git.py asks git
about the same table.
"""

from __future__ import annotations

import pytest
from kubestorm.kinds.build.paths import PathFilter, default_patterns, problem

# Patterns, in their order -> paths that are wanted, and paths that are not.
CASES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "no pattern": ([], [], ["a"]),
    "everything": (["**"], ["a", "a/b/c", ".x"], []),
    "a folder": (
        ["services/cart"],
        ["services/cart/x/y"],
        ["services/cartoon/x", "x/services/cart"],
    ),
    "a folder alone": (["cart/"], ["cart/x", "a/cart/x"], ["cart", "a/cart"]),
    "a name at any depth": (
        ["go.mod"],
        ["go.mod", "a/b/go.mod", "go.mod/x"],
        ["go-mod", "xgo.mod"],
    ),
    "a name at the root": (["/go.mod"], ["go.mod"], ["a/go.mod"]),
    "a slash within holds it to the root": (["a/b"], ["a/b", "a/b/c"], ["x/a/b"]),
    "a star stays in its folder": (["/a/*.go"], ["a/x.go", "a/.go"], ["a/b/x.go"]),
    "a star for a folder": (["s/*/go.mod"], ["s/a/go.mod"], ["s/a/b/go.mod", "s/go.mod"]),
    "a star at any depth": (["*.md"], ["a.md", "a/b.md"], ["a.mdx"]),
    "a question mark": (["a?c"], ["abc", "a?c"], ["a/c", "ac", "a\u00e9c"]),
    "any folders in front": (["**/x/y"], ["x/y", "a/b/x/y"], ["x/a/y"]),
    "any folders between": (["a/**/b"], ["a/b", "a/x/y/b"], ["ab", "a/xb"]),
    "all below": (["a/**"], ["a/b", "a/b/c"], ["a"]),
    "two stars within a name are one": (["/x/a**c/y"], ["x/abc/y"], ["x/a/c/y"]),
    "brackets": (["[a-c]x[!0-9]"], ["axb", "cx-"], ["dxb", "ax1", "ax"]),
    "a caret for the exclamation mark": (["[^a]"], ["b"], ["a"]),
    "a closing bracket comes first": (["[]a]x"], ["]x", "ax"], ["bx"]),
    "a hyphen at an end": (["[-a]", "[b-]"], ["-", "a", "b"], ["c"]),
    "classes": (["x[[:digit:][:upper:]_]"], ["x1", "xA", "x_"], ["xa", "x-"]),
    "no bracket has a slash": (["a[/x]b", "a[!x]b"], ["ayb"], ["a/b"]),
    "an open bracket": (["[a", "b["], [], ["[a", "a", "b["]),
    "an unknown class": (["[[:word:]]"], [], ["w", "["]),
    "escapes": (
        [r"\*a", r"b\?", r"\!c", r"\#d", r"\e"],
        ["*a", "b?", "!c", "#d", "e"],
        ["xa", "bx"],
    ),
    "a backslash at the end": (["a\\"], [], ["a", "a\\"]),
    "spaces at the end": (["a  ", "b\\ "], ["a", "b "], ["a ", "b"]),
    "a comment": (["#a"], [], ["#a", "a"]),
    "nothing at all": (["", " ", "/", "!", "//"], [], ["a", " "]),
    "taken back": (["*.go", "!x.go"], ["a.go", "b/a.go"], ["x.go", "b/x.go"]),
    "the last one counts": (["*.go", "!x.go", "x.go"], ["x.go"], []),
    "not below a folder that fits": (["a", "!a/b"], ["a/b"], []),
    "a folder taken back": (["a/*", "!a/b"], ["a/x"], ["a/b", "a/b/c"]),
    "files taken back at any depth": (
        ["cart/**", "lib/**", "!**/", "!*.md"],
        ["cart/a.go", "cart/x/y/a.go", "lib/a"],
        ["cart/a.md", "cart/x/y/a.md", "lib/a.md"],
    ),
    "a line break is a character": (["a"], [], ["a\nb"]),
}


@pytest.mark.parametrize("patterns, wanted, unwanted", CASES.values(), ids=CASES.keys())
def test_patterns_read_as_in_gitignore(
    patterns: list[str], wanted: list[str], unwanted: list[str]
) -> None:
    """Each path is wanted or not."""
    found = PathFilter(patterns)
    assert [path for path in wanted + unwanted if found.matches(path)] == wanted


def test_the_first_wanted_path_is_named() -> None:
    """It is what the status says has changed."""
    assert PathFilter(["*.go"]).first(["a.md", "b.go", "c.go"]) == "b.go"
    assert PathFilter(["*.go"]).first(["a.md"]) is None


def test_many_wildcards_take_no_longer() -> None:
    """A pattern is a developer's, and must not keep the engine busy."""
    path = "/".join(["a" * 50] * 40)
    assert not PathFilter(["*a" * 100 + "b", "**/" * 100 + "b", "**/a*" * 50 + "/c"]).matches(path)


@pytest.mark.parametrize("context", ["cart", "a/b", "[x]", "!a", "#a", "a*", "a\\b", "a ", "é"])
def test_all_of_the_context_counts_by_default(context: str) -> None:
    """Its name is no pattern."""
    (pattern,) = default_patterns(context)
    assert problem(pattern) == ""
    found = PathFilter([pattern])
    assert found.matches(f"{context}/a/b")
    assert not any(found.matches(path) for path in ("other/a", f"x/{context}/a", "ab/c", "x"))


@pytest.mark.parametrize(
    "pattern, why",
    [
        ("a\nb", "single line"),
        ("#a", "comment"),
        ("a/../b", "start at the repository's root"),
        ("./a", "start at the repository's root"),
        ("!../a", "start at the repository's root"),
        ("", "no path can match"),
        ("!", "no path can match"),
        ("/", "no path can match"),
        ("a\\", "no path can match"),
        ("[a", "no path can match"),
        ("[[:word:]]", "no path can match"),
    ],
)
def test_what_no_path_can_fit_is_refused(pattern: str, why: str) -> None:
    """Git is silent about it; an ImageBuild says so."""
    assert why in problem(pattern)


@pytest.mark.parametrize("pattern", ["a", "/a", "!a", "**", "a/..b", "...", "[a]", "a\\ ", "\\#a"])
def test_other_patterns_are_taken(pattern: str) -> None:
    """Also with a slash in front."""
    assert problem(pattern) == ""
