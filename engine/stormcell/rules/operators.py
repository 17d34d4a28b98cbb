"""The tests a rule can make on a value, by StackStorm's names.

`operator(value, pattern, now) -> bool`; a value of a kind the operator cannot judge raises, which
the caller records as a failed match. No coercion: "3" is not 3. A pattern of None matches nothing,
except for neq, exists and nexists. Source: st2common/operators.py of StackStorm 3.9. (Payloads are
JSON, so its conversion of bytes has nothing to do.)
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Operator = Callable[[Any, Any, Callable[[], dt.datetime]], Any]
Now = Callable[[], dt.datetime]


@lru_cache(maxsize=4096)
def _regex(pattern: str, flags: re.RegexFlag) -> re.Pattern[str]:
    return re.compile(pattern, flags)


def equals(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and bool(value == pattern)


def nequals(value: Any, pattern: Any, now: Now) -> bool:
    return bool(value != pattern)


def iequals(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and value.lower() == pattern.lower()


def contains(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and pattern in value


def icontains(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and pattern.lower() in value.lower()


def ncontains(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and pattern not in value


def incontains(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and pattern.lower() not in value.lower()


def startswith(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and value.startswith(pattern)


def istartswith(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and value.lower().startswith(pattern.lower())


def endswith(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and value.endswith(pattern)


def iendswith(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and value.lower().endswith(pattern.lower())


def less_than(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and value < pattern


def greater_than(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and value > pattern


def match_wildcard(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and fnmatch.fnmatch(value, pattern)


def match_regex(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and _regex(pattern, re.DOTALL).match(value) is not None


def regex(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and _regex(pattern, re.NOFLAG).search(value) is not None


def iregex(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and _regex(pattern, re.IGNORECASE).search(value) is not None


def _age_seconds(value: Any, now: Now) -> float:
    import dateutil.parser  # for rules that ask for an age alone

    moment = dateutil.parser.parse(str(value))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (now() - moment).total_seconds()


def timediff_lt(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and _age_seconds(value, now) < float(pattern)


def timediff_gt(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and _age_seconds(value, now) > float(pattern)


def exists(value: Any, pattern: Any, now: Now) -> bool:
    return value is not None


def nexists(value: Any, pattern: Any, now: Now) -> bool:
    return value is None


def inside(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and value in pattern


def ninside(value: Any, pattern: Any, now: Now) -> bool:
    return pattern is not None and value not in pattern


SEARCH = "search"
"""Judged by `stormcell.rules.criteria`, since its pattern holds criteria itself."""

CONDITIONS = ("all", "any", "all2any", "any2any")

OPERATORS: dict[str, Operator] = {
    "matchwildcard": match_wildcard,
    "matchregex": match_regex,
    "regex": regex,
    "iregex": iregex,
    "eq": equals,
    "equals": equals,
    "neq": nequals,
    "nequals": nequals,
    "ieq": iequals,
    "iequals": iequals,
    "contains": contains,
    "icontains": icontains,
    "ncontains": ncontains,
    "incontains": incontains,
    "startswith": startswith,
    "istartswith": istartswith,
    "endswith": endswith,
    "iendswith": iendswith,
    "lt": less_than,
    "lessthan": less_than,
    "gt": greater_than,
    "greaterthan": greater_than,
    "td_lt": timediff_lt,
    "timediff_lt": timediff_lt,
    "td_gt": timediff_gt,
    "timediff_gt": timediff_gt,
    "exists": exists,
    "nexists": nexists,
    "in": inside,
    "inside": inside,
    "nin": ninside,
    "ninside": ninside,
}

NEVER_RAISING: frozenset[Operator] = frozenset({equals, nequals, exists, nexists})
REGEXES: frozenset[Operator] = frozenset({match_regex, regex, iregex})
HOLD_FOR_NOTHING = frozenset({"neq", "nequals", "nexists", "nin", "ninside"})
"""Names of the operators that a missing value satisfies."""


def cannot_judge_nothing(name: str, pattern: Any) -> bool:
    """Whether StackStorm's operator of that name raises where the value is missing."""
    operator = OPERATORS.get(name)
    if operator in (inside, ninside):
        return not isinstance(pattern, (list, dict))
    return operator not in NEVER_RAISING
