"""The grammar of Dockerfiles as tables of cases: each was compared with BuildKit's own parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.build.base_images.syntax import Instruction, expand, parse, words

# First line of an instruction -> the lines that end its here-documents, in their order.
DOCUMENTS: dict[str, tuple[str, list[str]]] = {
    "a word": ("RUN <<EOF", ["EOF"]),
    "in any place": ("RUN cat <<EOF > /x", ["EOF"]),
    "any name": ("COPY <<file.txt /dest", ["file.txt"]),
    "spaces before the name": ("RUN <<  EOF", ["EOF"]),
    "a number in front": ("RUN 3<<EOF", ["EOF"]),
    "a name in single quotes": ("RUN <<'EOF'", ["EOF"]),
    "a name in double quotes": ('RUN <<"EOF"', ["EOF"]),
    "quotes within the name": ("RUN <<E'O'F", ["EOF"]),
    "a name with a space": ("RUN <<'one two'", ["one two"]),
    "an escaped quote": (r"RUN <<EO\'F", ["EO'F"]),
    "a variable is a name": ("RUN <<$EOF", ["$EOF"]),
    "a hyphen after a space": ("RUN << -EOF", ["-EOF"]),
    "several": ("COPY <<ONE <<TWO /dest", ["ONE", "TWO"]),
    "after flags": ("RUN --mount=type=cache,target=/c <<EOF", ["EOF"]),
    "tabs before the end": ("RUN <<-EOF", ["\t\tEOF"]),
    "tabs before a quoted end": ("RUN <<-'EOF'", ["\tEOF"]),
    "no tab is needed": ("RUN <<-EOF", ["EOF"]),
    "small letters": ("run <<EOF", ["EOF"]),
    "ADD": ("ADD <<EOF /x", ["EOF"]),
    "ONBUILD": ("ONBUILD RUN <<EOF", ["EOF"]),
    "on a line that goes on": ("RUN a \\\n  # a comment\n\n <<EOF", ["EOF"]),
    "within an unquoted expression": ("RUN expr 1 << bits", ["bits"]),
}

NONE = {
    "a shift": "RUN echo $((1<<4))",
    "a shift with a name": "RUN echo $((1<<n)) > /limit",
    "a shift in quotes": "RUN python3 -c 'print(1 << bits)'",
    "in double quotes": 'RUN printf "usage: tool <<FILE>>"',
    "the word in quotes": 'RUN "<<EOF"',
    "a word that begins otherwise": "RUN x<<EOF",
    "a here-string": 'RUN wc -c <<<"one two"',
    "a here-string with a space": "RUN wc -c <<< EOF",
    "one angle": "RUN x <EOF",
    "no name": "RUN <<",
    "a name that is empty": "RUN <<''",
    "no name after the hyphen": "RUN <<-",
    "a space after the hyphen": "RUN <<- EOF",
    "an open quote": "RUN echo it's <<EOF",
    "the JSON form": 'RUN ["cat", "<<EOF"]',
    "another instruction": "LABEL a=<<EOF",
    "ENV": "ENV <<EOF x",
    "FROM": "FROM <<EOF",
    "escaped": r"RUN \<<EOF",
    "a comment": "# RUN <<EOF",
}


@pytest.mark.parametrize("line, ends", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_here_document_ends_with_its_name(line: str, ends: list[str]) -> None:
    """Nothing in it is an instruction, and what follows is."""
    body = "".join(f"FROM body\n EOF\nEOF \n\n# no comment\n{end}\n" for end in ends)
    found = parse(f"{line}\n{body}FROM after\n").instructions
    assert [each.rest for each in found][1:] == ["after"]


@pytest.mark.parametrize("line", NONE.values(), ids=NONE.keys())
def test_what_is_no_here_document_swallows_nothing(line: str) -> None:
    """The next line is an instruction."""
    assert parse(f"{line}\nFROM after\nEOF\n").instructions[-2].rest == "after"


@pytest.mark.parametrize("end", ["", "eof", " EOF", "\tEOF", "EOF ", "EOF;", "EOF2"])
def test_only_the_exact_name_ends_a_here_document(end: str) -> None:
    """Neither case nor spaces are forgiven."""
    with pytest.raises(DefinitionError, match="Line 2: the here-document EOF has no end"):
        parse(f"FROM a\nRUN <<EOF\n{end}\nFROM b\n")


# Text -> name, flags and rest of each instruction.
LINES: dict[str, tuple[str, list[tuple[str, tuple[str, ...], str]]]] = {
    "nothing": ("", []),
    "comments and blank lines": ("# a\n\n  # b\n \t\nFROM a\n", [("FROM", (), "a")]),
    "a byte order mark": ("\ufeffFROM a\n", [("FROM", (), "a")]),
    "a byte order mark and a directive": ("\ufeff# escape=`\nFROM a`\nb", [("FROM", (), "ab")]),
    "CRLF": ("FROM a\r\nRUN x \\\r\n y\r\n", [("FROM", (), "a"), ("RUN", (), "x  y")]),
    "no end of line": ("FROM a", [("FROM", (), "a")]),
    "a form feed is a space": ("FROM\fa\n", [("FROM", (), "a")]),
    "small letters": ("  from a as b\n", [("FROM", (), "a as b")]),
    "it goes on": ("FROM a\\\nb\n", [("FROM", (), "ab")]),
    "spaces after the escape": ("FROM a\\ \t\nb\n", [("FROM", (), "ab")]),
    "an escaped escape": ("RUN a\\\\\nFROM b\n", [("RUN", (), "a\\\\"), ("FROM", (), "b")]),
    "comments between": ("RUN a \\\n# c\\\n  # d\nb\n", [("RUN", (), "a b")]),
    "blank lines between": ("RUN a \\\n\n \t\n\r\nb\n", [("RUN", (), "a b")]),
    "no comment behind": ("RUN a # b\n", [("RUN", (), "a # b")]),
    "it begins with an escape": ("\\\nFROM a\n", [("FROM", (), "a")]),
    "it goes on to the end of the file": ("FROM a\\\n", [("FROM", (), "a")]),
    "another escape": (
        "# escape=`\nRUN a `\nb\\\nFROM c",
        [("RUN", (), "a b\\"), ("FROM", (), "c")],
    ),
    "directives in any order": ("# syntax=x\n#Escape = `\nFROM a`\nb\n", [("FROM", (), "ab")]),
    "a directive after a comment is none": ("# c\n# escape=`\nFROM a\\\nb\n", [("FROM", (), "ab")]),
    "a directive after a blank line is none": ("\n# escape=`\nFROM a\\\nb\n", [("FROM", (), "ab")]),
    "an unknown directive ends them": ("# x=1\n# escape=`\nFROM a\\\nb\n", [("FROM", (), "ab")]),
    "flags": ("COPY --from=a --chown=1 x y\n", [("COPY", ("--from=a", "--chown=1"), "x y")]),
    "flags in quotes": ("COPY --from='a b' \"--x\" y\n", [("COPY", ("--from=a b",), '"--x" y')]),
    "flags with escapes": ("COPY --from=a\\ b x\n", [("COPY", ("--from=a b",), "x")]),
    "flags end at two hyphens": ("RUN -- --from=a\n", [("RUN", (), "--from=a")]),
    "flags stand in front": ("RUN x --from=a\n", [("RUN", (), "x --from=a")]),
}


@pytest.mark.parametrize("text, expected", LINES.values(), ids=LINES.keys())
def test_lines_become_instructions(
    text: str, expected: list[tuple[str, tuple[str, ...], str]]
) -> None:
    """Joined, without comments, with flags apart."""
    assert [each[1:] for each in parse(text).instructions] == expected


def test_an_instruction_knows_its_line() -> None:
    """It is where it begins, also after here-documents and lines that go on."""
    text = "# c\nFROM a \\\n AS b\nRUN <<EOF\nx\nEOF\nCOPY --from=b --from=c / /\n"
    found = parse(text).instructions
    assert [each.line for each in found] == [2, 4, 7]
    assert found[2] == Instruction(7, "COPY", ("--from=b", "--from=c"), "/ /")
    assert found[2].flag("from") == ["b", "c"]


def test_a_wrong_escape_is_refused() -> None:
    """There are two."""
    with pytest.raises(DefinitionError, match="Line 1: the escape character must be"):
        parse("# escape=x\nFROM a\n")


VALUES = {"V": "7", "EMPTY": "", "TAG": "v1.2.3-rc", "PATH_": "a/b/a"}
EXPANDED = {
    # written -> read, with VALUES; NO is not set
    "a:$V": "a:7",
    "a:${V}": "a:7",
    "a:$V-slim": "a:7-slim",
    "a$NO": "a",
    "a${NO}b": "ab",
    "a${EMPTY}b": "ab",
    "${NO-x}": "x",
    "${NO:-x}": "x",
    "${EMPTY-x}": "",
    "${EMPTY:-x}": "x",
    "${V-x}": "7",
    "${V:-x}": "7",
    "${NO-}": "",
    "${NO+x}": "",
    "${NO:+x}": "",
    "${EMPTY+x}": "x",
    "${EMPTY:+x}": "",
    "${V+x}": "x",
    "a${V:+:x}": "a:x",
    "${NO:-${V}}": "7",
    "${NO:-${EMPTY:-a:$V}}": "a:7",
    "${NO-${NO:-${NO-deep}}}": "deep",
    '${NO:-"a}b"}': "a}b",
    "${V:?needed}": "7",
    "${EMPTY?needed}": "",
    "${TAG#v}": "1.2.3-rc",
    "${TAG#*.}": "2.3-rc",
    "${TAG##*.}": "3-rc",
    "${TAG%-*}": "v1.2.3",
    "${TAG%.*}": "v1.2",
    "${TAG%%.*}": "v1",
    "${TAG#x}": "v1.2.3-rc",
    "${TAG#?}": "1.2.3-rc",
    r"${TAG#\*}": "v1.2.3-rc",
    "${PATH_/a/c}": "c/b/a",
    "${PATH_//a/c}": "c/b/c",
    r"${PATH_//\//-}": "a-b-a",
    '"a:$V"': "a:7",
    "'a:$V'": "a:$V",
    r"a:\$V": "a:$V",
    r'"\"$V\""': '"7"',
    "a$": "a$",
    "a$/b": "a$/b",
    "$1x": "x",
}


@pytest.mark.parametrize("text, expected", EXPANDED.items(), ids=EXPANDED.keys())
def test_variables_are_filled_in(text: str, expected: str) -> None:
    """As a shell does."""
    assert expand(text, "\\", VALUES.get) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("${", "${}", "${:x}", "${V", "${V:x}", "${V!x}", "${V:#x}", "${V-x", "${V/a}"),
        *("${NO?x}", "${NO:?}", "${EMPTY:?x}", "'a", '"a', '${V-"}'),
    ],
)
def test_what_is_no_substitution_is_refused(text: str) -> None:
    """A builder refuses it, too."""
    with pytest.raises(DefinitionError):
        expand(text, "\\", VALUES.get)


def test_the_escape_character_escapes() -> None:
    """With a backtick for it, a backslash is a character like any other."""
    assert expand(r"a\$V`$V", "`", VALUES.get) == r"a\7$V"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("A B=1", ["A", "B=1"]),
        ("A='b c' D=\"e f\"", ["A='b c'", 'D="e f"']),
        (r"A=b\ c D", [r"A=b\ c", "D"]),
        (r'A="b\" c" D', [r'A="b\" c"', "D"]),
        ("A='b c", ["A='b c"]),
        ("", []),
    ],
)
def test_words_are_held_together_by_quotes(text: str, expected: list[str]) -> None:
    """Which stay, for expand() to take away."""
    assert words(text, "\\") == expected


@given(st.text("RUNFOM<-EF'\"\\`${}:#=\t\r\n 1[],", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else is raised, and no line is counted twice."""
    try:
        found = parse(text).instructions
    except DefinitionError:
        return
    lines = [each.line for each in found]
    assert lines == sorted(set(lines))
