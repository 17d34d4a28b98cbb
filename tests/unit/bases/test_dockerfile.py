"""Which images a Dockerfile stands on."""

from __future__ import annotations

import pytest
from kubestorm.bases.dockerfile import Stands, stands_on
from kubestorm.errors import DefinitionError

CASES: dict[str, tuple[str, dict[str, str], str, Stands]] = {
    "one FROM": ("FROM debian:12\n", {}, "", Stands(("debian:12",))),
    "scratch is nothing": ("FROM scratch\nCOPY x /\n", {}, "", Stands()),
    "a platform is no image": (
        "FROM --platform=linux/amd64 debian:12\n",
        {},
        "",
        Stands(("debian:12",)),
    ),
    "a digest stays": ("FROM debian@sha256:abc\n", {}, "", Stands(("debian@sha256:abc",))),
    "ARG with its default": ("ARG V=12\nFROM debian:${V}\n", {}, "", Stands(("debian:12",))),
    "ARG in quotes": ('ARG V="12"\nFROM debian:$V\n', {}, "", Stands(("debian:12",))),
    "ARG as given": ("ARG V=12\nFROM debian:$V\n", {"V": "13"}, "", Stands(("debian:13",))),
    "ARG of an ARG": ("ARG V=12\nARG I=debian:$V\nFROM $I\n", {}, "", Stands(("debian:12",))),
    "ARG without a value": ("ARG V\nFROM debian:$V\n", {}, "", Stands((), ("debian:$V",))),
    "what no ARG declares is not given": (
        "FROM debian:$V\n",
        {"V": "13"},
        "",
        Stands((), ("debian:$V",)),
    ),
    "a default in place": ("ARG V\nFROM debian:${V:-12}\n", {}, "", Stands(("debian:12",))),
    "an alternative": ("ARG V=1\nFROM debian${V:+:slim}\n", {}, "", Stands(("debian:slim",))),
    "an ARG of a stage is none of FROM's": (
        "FROM a\nARG V=2\nFROM b:$V\nCOPY --from=0 / /\n",
        {},
        "",
        Stands(("a",), ("b:$V",)),
    ),
    "stages are not images": (
        "FROM golang:1 AS build\nRUN make\nFROM debian:12\nCOPY --from=build /x /x\n",
        {},
        "",
        Stands(("golang:1", "debian:12")),
    ),
    "a stage by its number": ("FROM a\nFROM b\nCOPY --from=0 /x /x\n", {}, "", Stands(("a", "b"))),
    "a stage in another case": (
        "FROM a AS Build\nFROM scratch\nCOPY --from=build / /\n",
        {},
        "",
        Stands(("a",)),
    ),
    "a stage that nothing needs": ("FROM a AS x\nFROM b\n", {}, "", Stands(("b",))),
    "a stage on a stage": ("FROM a AS x\nFROM x AS y\nFROM y\n", {}, "", Stands(("a",))),
    "up to the target": ("FROM a AS x\nFROM b AS y\nFROM c\n", {}, "y", Stands(("b",))),
    "copied from an image": (
        "FROM a\nCOPY --chown=1 --from=tools:2 /x /x\n",
        {},
        "",
        Stands(("a", "tools:2")),
    ),
    "mounted from an image": (
        "FROM a\nRUN --mount=type=bind,from=tools:2,target=/t /t/x\n",
        {},
        "",
        Stands(("a", "tools:2")),
    ),
    "a stage later than its use is an image": (
        "FROM a\nCOPY --from=b / /\nFROM a AS b\n",
        {},
        "0",
        Stands(("a", "b")),
    ),
    "lines that go on": ("FROM \\\n  debian:12 \\\n  AS x\n", {}, "", Stands(("debian:12",))),
    "small letters": (
        "from debian:12 as x\ncopy --from=tools:1 / /\n",
        {},
        "",
        Stands(("debian:12", "tools:1")),
    ),
    "a document in the file": (
        "FROM a\nRUN <<EOF\nFROM nowhere\nEOF\nRUN x\n",
        {},
        "",
        Stands(("a",)),
    ),
    "the same twice": ("FROM a AS x\nFROM a\nCOPY --from=x / /\n", {}, "", Stands(("a",))),
}


@pytest.mark.parametrize("text, arguments, target, expected", CASES.values(), ids=CASES.keys())
def test_what_it_stands_on(
    text: str, arguments: dict[str, str], target: str, expected: Stands
) -> None:
    """Images by name in the order of appearance, and names that have no value."""
    assert stands_on(text, arguments, target) == expected


REFUSED = {
    "empty": ("", "", "has no FROM"),
    "comments alone": ("# nothing\n", "", "has no FROM"),
    "a stage that is not there": ("FROM a AS build\n", "test", "no stage 'test'; there are: build"),
    "FROM with too much": ("FROM a b c\n", "", "FROM image AS name"),
}


@pytest.mark.parametrize("text, target, sentence", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_gets_a_sentence(text: str, target: str, sentence: str) -> None:
    """The sentence says what is missing."""
    with pytest.raises(DefinitionError, match=sentence.replace("?", r"\?")):
        stands_on(text, None, target)
