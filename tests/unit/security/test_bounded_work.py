"""What somebody writes costs no more than its length: each of these once kept a process busy for
minutes or longer, filled its memory, or ended in a traceback. A test that does not end has failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubestorm.core import untrusted
from kubestorm.core.errors import DefinitionError, PermanentError
from kubestorm.core.quantity import parse_quantity
from kubestorm.core.secrets import Secret
from kubestorm.core.tag_policy import Pattern, matches, parse_follow
from kubestorm.kinds.application.commands import newest_first
from kubestorm.kinds.application.hosts import Claim, decide, decide_all
from kubestorm.kinds.application.rollout.redact import HIDDEN, redact
from kubestorm.kinds.application.spec import InvalidSpecError, parse
from kubestorm.kinds.build.base_images.dockerfile import find_bases
from kubestorm.kinds.build.base_images.syntax import MAX_TEXT, expand
from kubestorm.kinds.build.paths import PathFilter
from kubestorm.people.slack import proof

from tests.unit.application.conftest import application, pack_settings

TOO_MUCH = {
    "counts within counts": "((((a{1,200}){1,200}){1,200}){1,200})",
    "one great count": "a{100000}",
    "counts one after the other": "a{300}" * 200,
    "a repeated count": "((a{250}+){250}+)",
    "the flag x hides a count": "(?x)(a{ 1, 200 }){ 200 }",
    "the flag among others": "(?sx:a)",
    "the flag V1": "(?V1)a",
    "a bracket in a class": "([[:alpha:])]{200}){1000}",
    "a closing bracket first": "([])]{200}){1000}",
    "a comment": "(a{200}(?#)){1000}",
    "no expression": "(",
    "a great number": f"a{{{'9' * 5000}}}",
    "deep": "(" * 5000 + ")" * 5000,
}


@pytest.mark.parametrize("pattern", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_pattern_that_costs_too_much_is_refused(pattern: str) -> None:
    """Before it is compiled, which takes no timeout: in `follow` and in a test's `matches`."""
    with pytest.raises(DefinitionError):
        untrusted.compile_pattern(pattern)
    with pytest.raises(DefinitionError):
        parse_follow({"pattern": pattern})
    test = {"http": [{"path": "/", "matches": pattern}]}
    with pytest.raises(InvalidSpecError, match=r"spec\.test\.http\[0\]\.matches"):
        parse(application({"test": test}), pack_settings())


FINE = {
    "counts": (r"v(\d{1,4}\.){2}\d{1,4}", "v1.20.300"),
    "a class": (r"[[:alpha:]]{1,60}-[0-9a-f]{7,40}", "main-0123456"),
    "brackets in a class": (r"[])}{]{4}", "])}{"),
    "escaped": (r"a\{3\}\(\?x\)", "a{3}(?x)"),
    "flags": ("(?i)RELEASE-.*", "release-1"),
    "a name": (r"(?P<year>\d{4})-(?P<week>\d\d)", "2026-14"),
    "a long count of one sign": ("a{1,20000}", "aaa"),
}


@pytest.mark.parametrize("pattern, text", FINE.values(), ids=FINE)
def test_patterns_that_people_write_are_compiled(pattern: str, text: str) -> None:
    """Counts are refused by what they multiply to, not by their being there."""
    assert untrusted.compile_pattern(pattern).fullmatch(text)


LONG = 50_000
DOCKERFILES = {
    "spaces before a value": "#a=" + " " * LONG + "\v\nFROM a",
    "spaces before an end word": "FROM a\nRUN <<" + "\f" * LONG + "<",
    "stars in a substitution": "ARG A=" + "a" * 500 + "\nFROM ${A##" + "*a" * 200 + "b}",
    "stars at the end": "ARG A=" + "a" * 500 + "\nFROM ${A%%" + "a*" * 200 + "b}",
    "stars that are replaced": "ARG A=" + "a" * 500 + "\nFROM ${A/" + "*a" * 200 + "b/c}",
    "doubled": "ARG A=aa\n" + "ARG A=$A$A\n" * 60 + "FROM $A",
    "doubled by replacement": "ARG A=aa\n" + "ARG A=${A//a/aa}\n" * 60 + "FROM $A",
    "nested": "FROM " + "${A:-" * 2000 + "a" + "}" * 2000,
    "a deep list": "FROM a\nRUN " + "[" * 20000,
    "a great stage": "FROM a\nCOPY --from=" + "9" * 5000 + " / /",
    "a stage of another script": "FROM a\nCOPY --from=² / /",
    "a field without an end": 'FROM a\nRUN --mount=type=bind,from="' + "a" * 140_000 + " true",
    "too long": "FROM a\n" + "#" * MAX_TEXT,
}


@pytest.mark.parametrize("text", DOCKERFILES.values(), ids=DOCKERFILES)
def test_a_dockerfile_is_read_or_refused(text: str) -> None:
    """Within the time that its length takes, and by our own error with a sentence of some lines."""
    try:
        said = [*find_bases(text).images]
    except DefinitionError as error:
        said = [str(error)]
    assert all(len(each) < 6000 and each.isprintable() for each in said)


TRIMMED = {
    "${A#*/}": "b/c.d.e",
    "${A##*/}": "c.d.e",
    "${A%.*}": "a/b/c.d",
    "${A%%.*}": "a/b/c",
    "${A%/*.d*}": "a/b",
    "${A%%/*.d*}": "a",
    "${A#*/*/}": "c.d.e",
    "${A#?/}": "b/c.d.e",
    "${A##*x}": "a/b/c.d.e",
    "${A%%*}": "",
    "${A%*}": "a/b/c.d.e",
    "${A/\\//-}": "a-b/c.d.e",
    "${A//\\//-}": "a-b-c.d.e",
    "${A/*./-}": "-e",
}


@pytest.mark.parametrize("text, expected", TRIMMED.items(), ids=TRIMMED)
def test_what_a_star_takes(text: str, expected: str) -> None:
    """As a shell has it: one sign takes the least, two the most."""
    assert expand(text, "\\", {"A": "a/b/c.d.e"}.get) == expected


def test_many_stars_in_a_path_end() -> None:
    """A pattern as in .gitignore over a path that nearly fits."""
    paths = PathFilter(["*a" * 60 + "b"])
    assert not paths.matches("a" * 4000)


WRITTEN: dict[str, Callable[[], Any]] = {
    "a quantity": lambda: parse_quantity("1" * 5000),
    "a quantity that is a number": lambda: parse_quantity(10**5000),
    "an exponent": lambda: parse_quantity("1e" + "9" * 5000),
    "a number of another script": lambda: untrusted.digits("²"),
    "digits of another script": lambda: untrusted.digits("١٢"),
    "too many digits": lambda: untrusted.digits("1" * 5000),
    "no number in JSON": lambda: untrusted.json_value('{"a": NaN}'),
    "a number without an end": lambda: untrusted.json_value("[1e999]"),
    "deep JSON": lambda: untrusted.json_value("[" * 100_000),
}


@pytest.mark.parametrize("read", WRITTEN.values(), ids=WRITTEN)
def test_what_is_no_value_is_none(read: Callable[[], Any]) -> None:
    """Nothing is raised for it, and nothing is computed that would take long."""
    assert read() is None


def test_half_a_character_becomes_a_mark() -> None:
    """It is JSON, and cannot be stored or hashed as text."""
    assert untrusted.json_value('{"\\ud800": ["\\ud83d\\ude00"]}') == {"?": ["😀"]}


@pytest.mark.parametrize("at", ["²", "1" * 5000, "-1", "", " 1"], ids=range(5))
def test_a_proof_with_another_time_is_refused(at: str) -> None:
    """In a sentence, whoever signed it."""
    key = Secret("k" * 32)
    payload = {"user": "U1", "at": at}
    with pytest.raises(PermanentError, match="ask again"):
        proof.check({**payload, "proof": proof.prove(payload, key)}, key, now=0.0)


def test_tags_of_other_digits_are_ordered() -> None:
    """A registry may hold any; none stops the list."""
    assert set(newest_first(["1.0", "²", "1" * 5000])) == {"1.0", "²", "1" * 5000}
    assert not matches(Pattern(r"b-(\d+)", "numerical"), "b-²")


LOGS = {
    "beginnings of tokens": "eyJ-" * 16_000,
    "names": "token" * 13_000,
    "names without values": "token " * 10_000,
    "spaces after a name": "token" + " " * 60_000,
    "quotes without an end": 'token="\\' * 8_000,
    "beginnings of keys": "-----BEGIN " * 6_000,
    "schemes": "Bearer " * 9_000,
    "addresses": "://a:" * 12_000,
}


@pytest.mark.parametrize("text", LOGS.values(), ids=LOGS)
def test_a_log_is_searched_once(text: str) -> None:
    """For what looks like a secret; and what is one is still found behind it."""
    clean = redact(f"{text}\nDB_PASSWORD=hunter2\n")
    assert "hunter2" not in clean
    assert HIDDEN in clean[-40:]


def test_each_claim_is_judged_once() -> None:
    """All Applications of a cluster at once, as one by one."""
    claims = [
        Claim(f"2026-01-01T00:{n:02}:00Z", f"u{n}", f"shop-{n}", "cart", (f"h{n % 7}.test",))
        for n in range(40)
    ]
    together = decide_all(claims)
    assert together == {claim.uid: decide(claim, claims) for claim in claims}
    assert sum(bool(verdict.granted) for verdict in together.values()) == 7
