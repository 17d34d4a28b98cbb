"""The patterns of an ImageBuild's paths mean what they mean to git, which is asked here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kubestorm.kinds.build.paths import PathFilter

from tests.unit.building.test_build_paths import CASES

Asked = Callable[[Sequence[str], Sequence[str]], "list[bool]"]

PIECES = "a b ab * ** ? / // [ab] [!a] [^b] [a-c] [ ] [[:alpha:]] [[:punct:]x] [[:no:]] []a] [c-a]"
PATTERNS = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(["", "", "", "!", "/", "**/", "#"]),
    st.lists(
        st.sampled_from([*PIECES.split(), *"/\\ !#.-:^\u00e9\t", "\\*", "\\ "]), max_size=6
    ).map("".join),
    st.sampled_from(["", "", "", "/", "/**", " ", "\\"]),
)
NAMES = st.sampled_from([*"abcx*[]-!#:\\\u00e9\t^1", "ab", "abc", "a b", "a ", ".a", "a.b"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@pytest.fixture(scope="module")
def ignored(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """Whether git ignores files (which need not exist), one process for all of them."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder: Path = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", "--template="], cwd=folder, check=True)
    command = ["git", "-c", "core.excludesFile=/dev/null", "-c", "core.ignoreCase=false"]
    command += ["check-ignore", "--no-index", "--stdin", "-z", "--verbose", "--non-matching"]

    def ask(patterns: Sequence[str], paths: Sequence[str]) -> list[bool]:
        (folder / ".gitignore").write_bytes("".join(f"{each}\n" for each in patterns).encode())
        # `./` keeps what begins with `:` from being a pathspec with magic.
        given = b"".join(f"./{path}\0".encode() for path in paths)
        done = subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        fields = done.stdout.split(b"\0")[:-1]  # source, line, pattern and path of each
        return [bool(each) and not each.startswith(b"!") for each in fields[2::4]]

    return ask


@pytest.mark.parametrize("patterns, wanted, unwanted", CASES.values(), ids=CASES.keys())
def test_git_agrees_with_our_table(
    ignored: Asked, patterns: list[str], wanted: list[str], unwanted: list[str]
) -> None:
    """What the unit tests hold is git's answer."""
    expected = [True] * len(wanted) + [False] * len(unwanted)
    assert ignored(patterns, [*wanted, *unwanted]) == expected


@settings(max_examples=300, deadline=None)
@given(
    patterns=st.lists(PATTERNS, min_size=1, max_size=4),
    paths=st.lists(PATHS, min_size=20, max_size=40),
)
@example(patterns=["a**/b"], paths=["ab", "a/b", "ac/d/b", "a"])
@example(patterns=["x", "[a-[b]"], paths=["a", "[", "b"])
def test_any_pattern_means_what_it_means_to_git(
    ignored: Asked, patterns: list[str], paths: list[str]
) -> None:
    """For any patterns in any order, and any paths."""
    found = PathFilter(patterns)
    assert [found.matches(path) for path in paths] == ignored(patterns, paths)
