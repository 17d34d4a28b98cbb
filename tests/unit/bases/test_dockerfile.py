"""Which images a Dockerfile stands on."""

from __future__ import annotations

import pytest
from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.build.base_images.dockerfile import Bases, find_bases

CASES: dict[str, tuple[str, dict[str, str], str, Bases]] = {
    "one FROM": ("FROM debian:12\n", {}, "", Bases(("debian:12",))),
    "scratch is nothing": ("FROM scratch\nCOPY x /\n", {}, "", Bases()),
    "a platform is no image": (
        "FROM --platform=linux/amd64 debian:12\n",
        {},
        "",
        Bases(("debian:12",)),
    ),
    "a digest stays": ("FROM debian@sha256:abc\n", {}, "", Bases(("debian@sha256:abc",))),
    "ARG with its default": ("ARG V=12\nFROM debian:${V}\n", {}, "", Bases(("debian:12",))),
    "ARG in quotes": ('ARG V="12"\nFROM debian:$V\n', {}, "", Bases(("debian:12",))),
    "ARG as given": ("ARG V=12\nFROM debian:$V\n", {"V": "13"}, "", Bases(("debian:13",))),
    "ARG of an ARG": ("ARG V=12\nARG I=debian:$V\nFROM $I\n", {}, "", Bases(("debian:12",))),
    "ARG without a value": ("ARG V\nFROM debian$V\n", {}, "", Bases(("debian",))),
    "an ARG that is empty": ("ARG V=\nFROM debian:12${V}\n", {}, "", Bases(("debian:12",))),
    "several in one ARG": ("ARG V=12 W=-s\nFROM a:$V$W\n", {}, "", Bases(("a:12-s",))),
    "the last ARG counts": ("ARG V=1\nARG V=2\nFROM a:$V\n", {}, "", Bases(("a:2",))),
    "an ARG that is declared again": ("ARG V=1\nARG V\nFROM a:$V\n", {}, "", Bases(("a:1",))),
    "what is given is not filled in": (
        "ARG V\nFROM a:$V\n",
        {"V": "'1'"},
        "",
        Bases((), ("FROM a:$V (line 2) becomes \"a:'1'\", which is not an image name.",)),
    ),
    "what no ARG declares is not given": (
        "FROM debian:12$V\n",
        {"V": "-slim"},
        "",
        Bases(("debian:12",)),
    ),
    "a default in place": ("ARG V\nFROM debian:${V:-12}\n", {}, "", Bases(("debian:12",))),
    "a default in a default": (
        "ARG V\nFROM a:${V:-${W:-12}}\n",
        {},
        "",
        Bases(("a:12",)),
    ),
    "an alternative": ("ARG V=1\nFROM debian${V:+:slim}\n", {}, "", Bases(("debian:slim",))),
    "an ARG of a stage is none of FROM's": (
        "FROM a\nARG V=2\nFROM b:$V\nCOPY --from=0 / /\n",
        {},
        "",
        Bases(
            ("a",),
            ("FROM b:$V (line 3) becomes 'b:', which is not an image name; V has no value.",),
        ),
    ),
    "stages are not images": (
        "FROM golang:1 AS build\nRUN make\nFROM debian:12\nCOPY --from=build /x /x\n",
        {},
        "",
        Bases(("golang:1", "debian:12")),
    ),
    "a stage by its number": ("FROM a\nFROM b\nCOPY --from=0 /x /x\n", {}, "", Bases(("a", "b"))),
    "a stage in another case": (
        "FROM a AS Build\nFROM scratch\nCOPY --from=build / /\n",
        {},
        "",
        Bases(("a",)),
    ),
    "a stage that nothing needs": ("FROM a AS x\nFROM b\n", {}, "", Bases(("b",))),
    "a stage on a stage": ("FROM a AS x\nFROM x AS y\nFROM y\n", {}, "", Bases(("a",))),
    "up to the target": ("FROM a AS x\nFROM b AS y\nFROM c\n", {}, "y", Bases(("b",))),
    "copied from an image": (
        "FROM a\nCOPY --chown=1 --from=tools:2 /x /x\n",
        {},
        "",
        Bases(("a", "tools:2")),
    ),
    "mounted from an image": (
        "FROM a\nRUN --mount=type=bind,from=tools:2,target=/t /t/x\n",
        {},
        "",
        Bases(("a", "tools:2")),
    ),
    "a stage later than its use is an image": (
        "FROM a\nCOPY --from=b / /\nFROM a AS b\n",
        {},
        "0",
        Bases(("a", "b")),
    ),
    "lines that go on": ("FROM \\\n  debian:12 \\\n  AS x\n", {}, "", Bases(("debian:12",))),
    "small letters": (
        "from debian:12 as x\ncopy --from=tools:1 / /\n",
        {},
        "",
        Bases(("debian:12", "tools:1")),
    ),
    "a document in the file": (
        "FROM a\nRUN <<EOF\nFROM nowhere\nEOF\nRUN x\n",
        {},
        "",
        Bases(("a",)),
    ),
    "no document in the file": (
        "FROM a AS x\nRUN echo $((1<<4)) > /n\nFROM b\nCOPY --from=x /n /n\n",
        {},
        "",
        Bases(("a", "b")),
    ),
    "a byte order mark": ("\ufeffFROM a\n", {}, "", Bases(("a",))),
    "a stage is no image by its number": ("FROM a\nFROM 0\n", {}, "", Bases(("0",))),
    "a flag among the files": ("FROM a\nRUN x --mount=from=b\n", {}, "", Bases(("a",))),
    "an ADD has no --from": ("FROM a\nADD --from=b / /\n", {}, "", Bases(("a",))),
    "ONBUILD is for others": ("FROM a\nONBUILD COPY --from=b / /\n", {}, "", Bases(("a",))),
    "several mounts": (
        'FROM a\nRUN --mount=from=b,target=/b --mount="type=cache,FROM=c" x\n',
        {},
        "",
        Bases(("a", "b", "c")),
    ),
    "a stage mounted": (
        "FROM a AS x\nFROM b\nRUN --mount=type=bind,from=X x\n",
        {},
        "",
        Bases(("a", "b")),
    ),
    "a variable where none is filled in": (
        "ARG V=1\nFROM a\nCOPY --from=b:$V / /\nRUN --mount=from=c:$V x\n",
        {},
        "",
        Bases(
            ("a",),
            (
                "COPY --from=b:$V (line 3) has a variable, which works in FROM only: "
                "FROM b:$V AS name.",
                "RUN --mount=from=c:$V (line 4) has a variable, which works in FROM only: "
                "FROM c:$V AS name.",
            ),
        ),
    ),
    "no name at all": (
        "FROM a\nCOPY --from=B/ / /\n",
        {},
        "",
        Bases(("a",), ("COPY --from=B/ (line 2) names neither a stage nor an image.",)),
    ),
    "the same twice": ("FROM a AS x\nFROM a\nCOPY --from=x / /\n", {}, "", Bases(("a",))),
}


@pytest.mark.parametrize("text, arguments, target, expected", CASES.values(), ids=CASES.keys())
def test_what_it_stands_on(
    text: str, arguments: dict[str, str], target: str, expected: Bases
) -> None:
    """Images by name in the order of appearance, and names that have no value."""
    assert find_bases(text, arguments, target) == expected


BY_PLATFORM = "FROM a AS run-amd64\nFROM b AS run-arm64\nFROM run-${TARGETARCH} AS final\n"


@pytest.mark.parametrize(
    "text, platforms, images",
    [
        (BY_PLATFORM, [], ["a"]),
        (BY_PLATFORM, ["linux/arm64"], ["b"]),
        (BY_PLATFORM, ["linux/arm64", "linux/amd64"], ["b", "a"]),
        ("FROM a:$BUILDARCH\n", ["linux/arm64"], ["a:amd64"]),
        ("FROM a:$TARGETOS-$TARGETARCH-${TARGETVARIANT:-none}\n", [], ["a:linux-amd64-none"]),
        ("FROM a:$TARGETARCH$TARGETVARIANT\n", ["linux/arm/v6"], ["a:armv6"]),
        ("FROM a:$TARGETARCH$TARGETVARIANT\n", ["linux/arm"], ["a:armv7"]),
        ("FROM a:$TARGETARCH$TARGETVARIANT\n", ["linux/aarch64"], ["a:arm64"]),
        ("FROM a:${TARGETPLATFORM//\\//-}\n", ["linux/arm64/v8"], ["a:linux-arm64"]),
        ("ARG TARGETARCH\nFROM a:$TARGETARCH\n", [], ["a:amd64"]),
        ("ARG TARGETARCH=x\nFROM a:$TARGETARCH\n", [], ["a:x"]),
        ("ARG T=a:$TARGETARCH\nFROM $T\n", [], ["a:amd64"]),
        ("FROM --platform=$BUILDPLATFORM a AS Last\nFROM $TARGETSTAGE\n", [], ["default"]),
        ("FROM $TARGETSTAGE AS Last\n", [], ["last"]),
    ],
)
def test_platforms_have_variables(text: str, platforms: list[str], images: list[str]) -> None:
    """They need no ARG; with several platforms, all that any of them stands on counts."""
    assert find_bases(text, platforms=platforms) == Bases(tuple(images))


def test_a_build_argument_replaces_a_platforms_variable() -> None:
    """As BuildKit has it."""
    assert find_bases(BY_PLATFORM, {"TARGETARCH": "arm64"}) == Bases(("b",))


@pytest.mark.parametrize(
    "text, variable",
    [
        (BY_PLATFORM, "TARGETARCH"),
        ("FROM x AS a\n\nFROM a:${TARGETARCH:-amd64}\n", "TARGETARCH"),
        ("ARG T=a:$TARGETARCH\nFROM y\nFROM $T\n", "T"),
        ("FROM y\n\nFROM a:$BUILDARCH$BUILDOS\n", "BUILDARCH and BUILDOS"),
    ],
)
def test_a_platform_that_nobody_knows_is_said(text: str, variable: str) -> None:
    """The sentence names instruction, line and variable."""
    written = text.splitlines()[-1].replace(" AS final", "")
    assert find_bases(text, builder_platform="").unknown == (
        f"{written} (line 3) depends on {variable}: set platforms in the ImageBuild, or "
        "kubernetes.io/arch in build.cluster.node_selector, as otherwise the node decides.",
    )


def test_platforms_that_are_named_need_no_builder() -> None:
    """Only what the builder itself is stays unknown."""
    assert find_bases(BY_PLATFORM, platforms=["linux/arm64"], builder_platform="").images == ("b",)


REFUSED = {
    "empty": ("", "", "has no FROM"),
    "comments alone": ("# nothing\n", "", "has no FROM"),
    "a stage that is not there": ("FROM a AS build\n", "test", "no stage 'test'; there are: build"),
    "a document without an end": ("FROM a\nRUN <<EOF\n", "", "Line 2: the here-document EOF"),
    "no substitution": ("FROM a:${\n", "", "substitution"),
    "FROM with nothing": ("FROM\n", "", "FROM image AS name"),
    "FROM with too much": ("FROM a b c\n", "", "FROM image AS name"),
}


@pytest.mark.parametrize("text, target, sentence", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_gets_a_sentence(text: str, target: str, sentence: str) -> None:
    """The sentence says what is missing."""
    with pytest.raises(DefinitionError, match=sentence.replace("?", r"\?")):
        find_bases(text, None, target)
