"""Tags of built images, from templates. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import List, Sequence, Tuple

DEFAULT_TAG = "{branch}-{commit}"
SHORT_COMMIT = 8
# Source: "tag" in the distribution specification.
TAG_LENGTH = 128
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
WORDS = ("branch", "commit", "fullCommit", "number")
_WORD = re.compile(r"\{([^{}]*)\}")


def slug(branch: str) -> str:
    """A branch as part of a tag: lowercase letters, digits, `.`, `_` and single `-`; never empty.

    Different branches may have the same slug (`a/b`, `a-b`); the commit in the tag distinguishes
    their images.
    """
    clean = re.sub(r"-+", "-", re.sub(r"[^a-z0-9._-]", "-", branch.lower())).strip("-.")
    return clean or "branch-" + hashlib.sha256(branch.encode()).hexdigest()[:8]


def followed(branch: str) -> str:
    """What an Application follows to get a branch's builds: the part of the default tag before the
    commit.
    """
    return fill(DEFAULT_TAG, branch=branch, commit="0" * SHORT_COMMIT, number=0)[
        : -SHORT_COMMIT - 1
    ]


def problem(template: str) -> str:
    """What is wrong with a tag's template, to follow its field's name; empty if nothing is."""
    unknown = [word for word in _WORD.findall(template) if word not in WORDS]
    if unknown:
        return f"{{{unknown[0]}}} must be one of {', '.join('{' + word + '}' for word in WORDS)}"
    filled = fill(template, branch="main", commit="0" * 40, number=1)
    if not TAG.fullmatch(filled):
        return (
            "a tag has at most 128 letters, digits, `_`, `.` and `-`, and must not begin with `.` "
            "or `-`"
        )
    return ""


def fill(template: str, *, branch: str, commit: str, number: int) -> str:
    """One tag. A long branch is cut so that the tag fits; the commit never is."""
    values = {
        "commit": commit[:SHORT_COMMIT],
        "fullCommit": commit,
        "number": str(number),
        "branch": "",
    }
    others = len(_WORD.sub(lambda found: values.get(found[1], ""), template))
    values["branch"] = slug(branch)[: max(TAG_LENGTH - others, 1)].rstrip("-.") or "b"
    return _WORD.sub(lambda found: values.get(found[1], found[0]), template)


def fill_all(templates: Sequence[str], *, branch: str, commit: str, number: int) -> Tuple[str, ...]:
    """The tags of one image, each once, in order; by DEFAULT_TAG where there is no template."""
    found: List[str] = []
    for template in templates or (DEFAULT_TAG,):
        tag = fill(template, branch=branch, commit=commit, number=number)
        if tag not in found:
            found.append(tag)
    return tuple(found)
