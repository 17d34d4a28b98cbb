"""The functions StackStorm adds to Jinja (as filters) and to Orquesta's expressions (as functions
and filters).

Values to values. Source of each behaviour: st2common/expressions/functions of StackStorm 3.9.
"""

from __future__ import annotations

import datetime as dt
import json
import posixpath
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
import yaml

from stormcell.expressions.datastore import KeyReference

NONE_MARK = "%*****__%NONE%__*****%"
"""What `use_none` writes for None, and what parameters read back as None: part of StackStorm's
language.
"""


def plain(value: Any) -> Any:
    """Return `value` built of plain JSON types: expression engines hand over tuples and frozen
    mappings.
    """
    if isinstance(value, KeyReference):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def from_json_string(value: Any) -> Any:
    return msgspec.json.decode(str(value))


def from_yaml_string(value: Any) -> Any:
    return yaml.safe_load(str(value))


def to_json_string(
    value: Any, indent: int | None = None, sort_keys: bool = False, separators: Any = (",", ": ")
) -> str:
    return json.dumps(
        plain(value), indent=indent, sort_keys=sort_keys, separators=tuple(separators)
    )


def to_yaml_string(value: Any, indent: int | None = None, allow_unicode: bool = True) -> str:
    return str(
        yaml.safe_dump(
            plain(value), default_flow_style=False, indent=indent, allow_unicode=allow_unicode
        )
    )


def json_escape(value: Any) -> str:
    """Text made fit for the inside of JSON quotes. (StackStorm's own also eats an escaped quote at
    either end.)
    """
    text = json.dumps(plain(value))
    return text[1:-1] if text.startswith('"') else text


def to_complex(value: Any) -> str:
    """JSON text that the renderer decodes again, so that a type survives being rendered into text."""
    return json.dumps(plain(value))


@lru_cache(maxsize=1024)
def parse_jsonpath(query: str) -> Any:
    """Return a compiled JSON path; building the parser takes milliseconds, so it is kept."""
    import jsonpath_rw  # it makes a parser of tables as it is imported

    return jsonpath_rw.parse(query)


def jsonpath_query(value: Any, query: str) -> list[Any] | None:
    """All that a JSON path finds, or None where it finds nothing."""
    return [match.value for match in parse_jsonpath(query).find(plain(value))] or None


def use_none(value: Any) -> Any:
    return NONE_MARK if value is None else value


def _flags(ignorecase: bool) -> re.RegexFlag:
    return re.IGNORECASE if ignorecase else re.NOFLAG


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def regex_match(value: Any, pattern: str, ignorecase: bool = False) -> bool:
    return re.match(pattern, _text(value), _flags(ignorecase)) is not None


def regex_replace(value: Any, pattern: str, replacement: str, ignorecase: bool = False) -> str:
    return re.sub(pattern, replacement, _text(value), flags=_flags(ignorecase))


def regex_search(value: Any, pattern: str, ignorecase: bool = False) -> bool:
    return re.search(pattern, _text(value), _flags(ignorecase)) is not None


def regex_substring(
    value: Any, pattern: str, result_index: int = 0, ignorecase: bool = False
) -> Any:
    return re.findall(pattern, _text(value), _flags(ignorecase))[result_index]


def to_human_time_from_seconds(seconds: float) -> str:
    """`3661` is `1h1m1s`. Below a second StackStorm prints the number with a micro sign; so do we."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError("to_human_time_from_seconds needs a number of seconds")
    if seconds == 0:
        return "0s"
    if seconds < 1:
        return f"{seconds}\u03bcs"
    moment = dt.datetime(1, 1, 1) + dt.timedelta(seconds=round(seconds))
    amounts = [
        (moment.year - 1, "y"),
        (moment.day - 1, "d"),
        (moment.hour, "h"),
        (moment.minute, "m"),
    ]
    amounts.append((moment.second, "s"))
    while len(amounts) > 1 and not amounts[0][0]:
        amounts.pop(0)
    return "".join(f"{amount}{unit}" for amount, unit in amounts)


def _version(text: str) -> Any:
    import semver  # for those who compare versions

    return semver.Version.parse(text)


def version_compare(value: str, pattern: str) -> int:
    return int(_version(value).compare(pattern))


def version_more_than(value: str, pattern: str) -> bool:
    return version_compare(value, pattern) == 1


def version_less_than(value: str, pattern: str) -> bool:
    return version_compare(value, pattern) == -1


def version_equal(value: str, pattern: str) -> bool:
    return version_compare(value, pattern) == 0


def version_match(value: str, pattern: str) -> bool:
    return bool(_version(value).match(pattern))


def version_bump_major(value: str) -> str:
    return str(_version(value).bump_major())


def version_bump_minor(value: str) -> str:
    return str(_version(value).bump_minor())


def version_bump_patch(value: str) -> str:
    return str(_version(value).bump_patch())


def version_strip_patch(value: str) -> str:
    version = _version(value)
    return f"{version.major}.{version.minor}"


def basename(path: str) -> str:
    return posixpath.basename(path)


def dirname(path: str) -> str:
    return posixpath.dirname(path)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "basename": basename,
    "dirname": dirname,
    "from_json_string": from_json_string,
    "from_yaml_string": from_yaml_string,
    "json_escape": json_escape,
    "jsonpath_query": jsonpath_query,
    "regex_match": regex_match,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "regex_substring": regex_substring,
    "to_human_time_from_seconds": to_human_time_from_seconds,
    "to_json_string": to_json_string,
    "to_yaml_string": to_yaml_string,
    "use_none": use_none,
    "version_bump_major": version_bump_major,
    "version_bump_minor": version_bump_minor,
    "version_bump_patch": version_bump_patch,
    "version_compare": version_compare,
    "version_equal": version_equal,
    "version_less_than": version_less_than,
    "version_match": version_match,
    "version_more_than": version_more_than,
    "version_strip_patch": version_strip_patch,
}
"""Known in Jinja and in Orquesta; Jinja has `to_complex` and `decrypt_kv` besides."""
