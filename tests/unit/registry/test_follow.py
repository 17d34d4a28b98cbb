"""Which tags are followed, and which of two is newer: tables as people know the ranges, and what
holds for all.
"""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.errors import DefinitionError
from kubestorm.core.tag_policy import (
    Branch,
    Candidate,
    Pattern,
    SemverRange,
    Tag,
    is_newer,
    matches,
    narrowed,
    needs_time,
    newest,
    parse_follow,
)
from kubestorm.kinds.build.tags import fill_all, followed

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone.utc)


def at(tag: str, digest: str = "a", minutes: int | None = 0) -> Candidate:
    time = None if minutes is None else NOON + dt.timedelta(minutes=minutes)
    return Candidate(tag, f"sha256:{digest * 64}", time)


RANGES = [
    ("^1.2", "1.2.0 1.2.9 1.3.0 v1.9.9", "1.1.9 2.0.0 1.3.0-rc.1 1.2.0-rc.1 2.0.0-rc.1 1.2 latest"),
    ("^1.2.3", "1.2.3 1.2.4 1.9.0", "1.2.2 2.0.0"),
    ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2 1.0.0"),
    ("^0.0.3", "0.0.3", "0.0.4 0.1.0"),
    ("^0", "0.0.1 0.9.0", "1.0.0"),
    ("~1.2", "1.2.0 1.2.9", "1.3.0 1.1.0"),
    ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
    ("~1", "1.0.0 1.9.9", "2.0.0"),
    ("~>1.2.3", "1.2.9", "1.3.0"),
    (">=1 <2", "1.0.0 1.9.9", "0.9.9 2.0.0 2.0.0-rc.1"),
    (">=1, <2", "1.0.0 1.9.9", "0.9.9 2.0.0"),
    (">= 1.2 < 1.4", "1.2.0 1.3.9", "1.1.9 1.4.0"),
    (">1.2", "1.3.0", "1.2.9"),
    (">1.2.3", "1.2.4", "1.2.3"),
    ("<=1.2", "1.2.9 0.0.0", "1.3.0"),
    ("<=1.2.3", "1.2.3", "1.2.4"),
    ("<1.2", "1.1.9", "1.2.0 1.2.0-rc.1"),
    ("1.x", "1.0.0 1.9.9", "2.0.0 0.9.0"),
    ("1.2.*", "1.2.0 1.2.9", "1.3.0"),
    ("1", "1.0.0 1.9.9", "2.0.0"),
    ("*", "0.0.0 9.9.9", "9.9.9-rc.1 latest 1.2"),
    ("v1.2.3", "1.2.3 v1.2.3 V1.2.3 1.2.3_build.5", "1.2.4 1.2.3-rc.1"),
    ("^v1.2", "1.2.0 v1.4.0", "2.0.0"),
    ("=1.2.3", "1.2.3", "1.2.4"),
    ("1.2 - 1.4", "1.2.0 1.4.9", "1.5.0 1.1.0"),
    ("1.2.3 - 2.0.0", "1.2.3 2.0.0", "2.0.1"),
    ("^1.2 || ~3.4.0", "1.9.0 3.4.1", "2.0.0 3.5.0"),
    (">=1.2.3-rc.2 <2", "1.2.3-rc.2 1.2.3-rc.10 1.2.3 1.3.0", "1.2.3-rc.1 1.3.0-rc.1"),
    ("1.2.3-rc.1", "1.2.3-rc.1", "1.2.3 1.2.3-rc.2"),
    ("<2.0.0-rc.2", "1.9.0 2.0.0-rc.1", "2.0.0-rc.2 2.0.0"),
]


@pytest.mark.parametrize("text, inside, outside", RANGES, ids=[row[0] for row in RANGES])
def test_a_range_means_what_npm_and_cargo_mean(text, inside, outside):
    """Pre-releases are out unless the range names one of the same numbers, and what is no version
    is out.
    """
    follow = parse_follow({"semver": text})
    assert [tag for tag in f"{inside} {outside}".split() if matches(follow, tag)] == inside.split()


@pytest.mark.parametrize(
    "text, inside, outside",
    [
        ("^1.2", "1.2.0-rc.1 1.3.0-beta 1.3.0", "2.0.0-rc.1 2.0.0 1.1.0-rc.1"),
        (">=1.2.0 <2.0.0", "1.3.0-rc.1 1.2.0", "1.2.0-rc.1 2.0.0-rc.1"),
        ("*", "0.1.0-a 3.0.0-rc.1", "latest"),
        ("<2", "1.9.0-rc.1", "2.0.0-rc.1"),
        (">1.2", "1.3.0-rc.1", "1.2.9-rc.1"),
    ],
    ids=["caret", "written bounds", "any", "below", "above"],
)
def test_pre_releases_count_where_they_are_asked_for(text, inside, outside):
    """With `prereleases` they count everywhere in the range, and not above an upper bound that
    keeps a version out.
    """
    follow = parse_follow({"semver": text, "prereleases": True})
    assert [tag for tag in f"{inside} {outside}".split() if matches(follow, tag)] == inside.split()


@pytest.mark.parametrize(
    "mapping, follow",
    [
        ({"semver": " ^1.2 "}, SemverRange("^1.2")),
        ({"semver": "1.x", "prereleases": True}, SemverRange("1.x", True)),
        ({"branch": "main"}, Branch("main")),
        ({"pattern": r"\d+"}, Pattern(r"\d+")),
        ({"pattern": r"b-(\d+)", "order": "numerical"}, Pattern(r"b-(\d+)", "numerical", 1)),
        (
            {"pattern": r"(?P<n>\d+)-(.*)", "order": "time", "group": "n"},
            Pattern(r"(?P<n>\d+)-(.*)", "time", "n"),
        ),
        ({"pattern": r"(a)(b)", "group": 2}, Pattern("(a)(b)", group=2)),
        ({"pattern": r"(a)(b)", "group": "2"}, Pattern("(a)(b)", group=2)),
        ({"tag": "stable", "semver": None}, Tag("stable")),
    ],
    ids=lambda value: str(value),
)
def test_a_mapping_is_read(mapping, follow):
    """Each of the four, with what goes beside it; null is not said."""
    assert parse_follow(mapping) == follow


@pytest.mark.parametrize(
    "mapping, field, word",
    [
        ({}, "spec.follow", "exactly one of semver, branch, pattern, tag"),
        ({"tag": "a", "branch": "b"}, "spec.follow", "found: branch, tag"),
        (["tag"], "spec.follow", "mapping"),
        ({"semver": "latest"}, "spec.follow.semver", "^1.2"),
        ({"semver": "1.2,"}, "spec.follow.semver", "not a version range"),
        ({"semver": "1.2.3-01"}, "spec.follow.semver", "not a version range"),
        ({"semver": ""}, "spec.follow.semver", "non-empty"),
        ({"semver": 1.2}, "spec.follow.semver", "1.2"),
        ({"semver": "1" * 300}, "spec.follow.semver", "256"),
        ({"semver": "1", "prereleases": "yes"}, "spec.follow.prereleases", "true or false"),
        ({"semver": "1", "order": "time"}, "spec.follow.order", "allowed: semver, prereleases"),
        ({"branch": "feature/x"}, "spec.follow.branch", "letters"),
        ({"branch": "pr-"}, "spec.follow.branch", "use spec.follow.pattern"),
        ({"tag": "1.2.3.sig"}, "spec.follow.tag", "signature"),
        ({"tag": "a b"}, "spec.follow.tag", "letters"),
        ({"pattern": "("}, "spec.follow.pattern", "not a regular expression"),
        ({"pattern": "a", "order": "newest"}, "spec.follow.order", "alphabetical, numerical, time"),
        ({"pattern": "(a)", "group": 2}, "spec.follow.group", "0 to 1"),
        ({"pattern": "(?P<n>a)", "group": "m"}, "spec.follow.group", "n"),
        ({"pattern": "a", "group": True}, "spec.follow.group", "True"),
        ({"pattern": "(a|aa)+b"}, "spec.follow.pattern", "too long"),
        ({"pattern": r"v(Z|ZZ|a|aa|v|vv)*-"}, "spec.follow.pattern", "too long"),
        ({"pattern": "a" * 300}, "spec.follow.pattern", "256"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_followed_is_said_with_its_field(mapping, field, word):
    """The error names the field and what would be right."""
    with pytest.raises(DefinitionError) as caught:
        parse_follow(mapping)
    assert caught.value.field == field
    assert word in str(caught.value)
    assert field in str(caught.value)


@pytest.mark.parametrize(
    "follow, inside, outside",
    [
        (
            Branch("main"),
            f"main main-1a2b3c4 main-1a2b3c4d main.1a2b3c4d main_1a2b3c4d main-{'1a' * 20}",
            "maintenance main2 develop amain main-next main-next-99887766 main-7 main-1a2b main-x "
            f"main-7-1a2b3c4d main-1A2B3C4D main-1a2b3c4d-x main-{'1a' * 21} -1a2b3c4d",
        ),
        (Branch("main-next"), "main-next main-next-99887766", "main main-99887766"),
        (Branch("release-1.2"), "release-1.2-1a2b3c4d", "release-1-1a2b3c4d release-1a2b3c4d"),
        (Branch("release-1"), "release-1-1a2b3c4d", "release-1.2-1a2b3c4d"),
        (Branch("sha256"), "sha256-1a2b3c4d", f"sha256-{'ab' * 32}"),
        (Tag("stable"), "stable", "stable-1 Stable"),
        (Pattern(r"b-(\d+)", "numerical", 1), "b-1 b-10", "b- b-x b-1x ab-1"),
        (Pattern(r"^v\d+(\.\d+)*$"), "v1 v1.2.3", "1.2 v1.x"),
        (Pattern("(a)|b", "alphabetical", 1), "a", "b"),
    ],
    ids=str,
)
def test_tags_are_followed_as_a_whole(follow, inside, outside):
    """After a branch there may be a commit and nothing else, a pattern has to fit the whole tag and
    its group to be there.
    """
    assert [tag for tag in f"{inside} {outside}".split() if matches(follow, tag)] == inside.split()


def test_a_pattern_that_takes_for_ever_does_not_match():
    """A pattern that was not checked cannot hold up the rest."""
    assert not matches(Pattern("(a|aa)+b"), "a" * 127 + "-")


ATTACHED = {
    "cosign's signature": f"sha256-{'ab' * 32}.sig",
    "cosign's attestation": f"sha256-{'ab' * 32}.att",
    "cosign's bill of materials": f"sha256-{'ab' * 32}.sbom",
    "another prefix": "1.2.3.sig",
    "referrers": f"sha256-{'ab' * 32}",
    "referrers, long": f"sha512-{'ab' * 64}",
    "referrers, cut": f"sha512-{'ab' * 32}",
    "bundle": f"sha256-{'ab' * 32}.sigstore.json",
}


@pytest.mark.parametrize("tag", ATTACHED.values(), ids=ATTACHED)
@pytest.mark.parametrize(
    "follow",
    [
        SemverRange("*", True),
        Branch("sha256"),
        Pattern(".*"),
        Pattern(".*", "time"),
        Tag(""),
    ],
    ids=["semver", "branch", "pattern", "pattern by time", "tag"],
)
def test_what_is_attached_to_images_is_never_followed(follow, tag):
    """Whatever the policy, also where the tag itself is named."""
    follow = Tag(tag) if isinstance(follow, Tag) else follow
    assert not matches(follow, tag)
    assert newest(follow, [Candidate(tag, "sha256:x", NOON)]) is None


BRANCHES = st.sampled_from(
    ["main", "main-next", "main/next", "Main", "release-1", "release-1.2", "x_", "日本", "x" * 140]
) | st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=130)
COMMITS = st.text("0123456789abcdef", min_size=40, max_size=40)


@given(BRANCHES, BRANCHES, COMMITS)
def test_a_build_is_taken_for_its_own_branch_alone(branch, other, commit):
    """The tag that a build has by default is followed as its branch, and never as another."""
    (tag,) = fill_all((), branch=branch, commit=commit, number=7)
    assert matches(parse_follow({"branch": followed(branch)}), tag)
    if followed(other) != followed(branch):
        assert not matches(parse_follow({"branch": followed(other)}), tag)


V1, MAIN, BUILD = SemverRange("*"), Branch("main"), Pattern(r"b-(\d+)", "numerical", 1)


@pytest.mark.parametrize(
    "follow, candidate, current, newer",
    [
        (V1, at("1.3.0"), None, True),
        (V1, at("1.3.0"), at("1.2.0", "b", 9), True),
        (V1, at("1.2.0", minutes=9), at("1.3.0", "b"), False),
        (V1, at("1.10.0"), at("1.9.0"), True),
        (V1, at("v1.2.0", "b", 1), at("1.2.0"), True),
        (V1, at("1.2.0"), at("1.2.0", "b", 1), False),
        (V1, at("1.2.0", "b", 1), at("1.2.0"), True),
        (V1, at("1.2.0", minutes=1), at("1.2.0"), True),
        (V1, at("1.2.0", minutes=None), at("1.2.0"), False),
        (V1, at("1.2.0", "b"), at("1.2.0"), True),
        (V1, at("1.2.0", "b", None), at("1.2.0"), True),
        (V1, at("latest"), None, False),
        (SemverRange("^1"), at("1.9.0"), at("2.0.0", "b", 9), True),
        (V1, at("1.0.0"), at("", "b", 9), True),
        (MAIN, at("main-bbbbbbb", "b", 1), at("main-aaaaaaa"), True),
        (MAIN, at("main-bbbbbbb", "b"), at("main-aaaaaaa", minutes=1), False),
        (MAIN, at("develop", "b", 1), at("main-aaaaaaa"), False),
        (BUILD, at("b-10"), at("b-9", "b", 9), True),
        (BUILD, at("b-9", minutes=9), at("b-10", "b"), False),
        (Pattern("b-(.*)", "alphabetical", 1), at("b-9"), at("b-10", "b", 9), True),
        (Pattern("b-.*", "time"), at("b-1", "b", 1), at("b-2"), True),
        (Tag("stable"), at("stable", "b", 1), at("stable"), True),
        (Tag("stable"), at("stable", "b"), at("stable", minutes=1), False),
        (Tag("stable"), at("stable"), at("stable"), False),
    ],
    ids=[
        "first of all",
        "higher",
        "lower though later",
        "numbers are numbers",
        "same version, moved later",
        "same version, an older push",
        "moved tag",
        "same image pushed again",
        "same image, time unknown",
        "two at one instant",
        "time unknown",
        "not followed",
        "range was changed",
        "was set by digest",
        "branch, later",
        "branch, earlier",
        "branch, another",
        "number, higher",
        "number, lower",
        "alphabetical",
        "pattern by time",
        "tag moved",
        "tag, an older push",
        "tag, the same",
    ],
)
def test_which_of_two_is_newer(follow, candidate, current, newer):
    """The order decides and not the arrival; an older version never comes back by a late event."""
    assert is_newer(follow, candidate, current) is newer


FOLLOWS = st.sampled_from(
    [
        SemverRange("^1"),
        SemverRange("*", True),
        MAIN,
        BUILD,
        Pattern("b-.*", "time"),
        Pattern("[ab]-.*"),
        Tag("main"),
    ]
)
TAGS = st.sampled_from(
    [
        "1.0.0",
        "1.0.1",
        "v1.0.1",
        "1.2.0-rc.1",
        "1.2.0-rc.2",
        "2.0.0",
        "main",
        "main-aaaaaaa",
        "main-bbbbbbb",
        "b-1",
        "b-2",
        "b-10",
    ]
)
CANDIDATES = st.builds(at, TAGS, st.sampled_from("abc"), st.integers(0, 5))


@given(FOLLOWS, CANDIDATES, CANDIDATES)
def test_of_two_at_different_times_at_most_one_is_newer(follow, one, other):
    """So that two events, delivered again and again in turn, do not make an image flap."""
    if matches(follow, one.tag) and matches(follow, other.tag) and one.time != other.time:
        assert not (is_newer(follow, one, other) and is_newer(follow, other, one))


@given(FOLLOWS, st.lists(CANDIDATES, max_size=6, unique_by=lambda each: each.time), st.randoms())
def test_events_in_any_order_end_at_the_same_image(follow, candidates, random):
    """What is current after all events does not depend on their order, nor on repetitions."""
    shuffled = [*candidates, *candidates]
    random.shuffle(shuffled)
    assert newest(follow, shuffled) == newest(follow, candidates)


@given(FOLLOWS, st.lists(CANDIDATES, max_size=6))
def test_the_newest_is_one_of_the_narrowed(follow, candidates):
    """Looking at the narrowed tags alone finds the same, and one is left unless only time tells
    them apart.
    """
    tags = narrowed(follow, dict.fromkeys(each.tag for each in candidates))
    found = newest(follow, candidates)
    assert (found is None and tags == ()) or (found is not None and found.tag in tags)
    if not needs_time(follow):
        assert len({tag.lstrip("v") for tag in tags}) <= 1


@given(st.text(max_size=200))
def test_any_text_is_a_range_or_an_error_of_ours(text):
    """Nothing but DefinitionError comes out, and any tag can be asked about."""
    try:
        follow = parse_follow({"semver": text})
    except DefinitionError:
        return
    assert matches(follow, text) in (True, False)
