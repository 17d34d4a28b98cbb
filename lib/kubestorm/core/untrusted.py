"""What developers, and whoever may write on an object, give us, checked before it is used: paths,
URLs, hosts, addresses, headers and regular expressions; and annotations, labels and status fields
read as values. Pure.

What is refused raises DefinitionError with a sentence for the one who wrote it. What is read from
an object never raises: a value of another form than was meant reads as if it were absent, since
one object that is wrong must not stop what looks after all the others.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import math
import re
import unicodedata
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union
from urllib.parse import unquote_to_bytes

from urllib3.util import parse_url

from kubestorm.core.errors import DefinitionError

MAX_PATH = 1024
MAX_HEADERS = 20
MAX_HEADER_VALUE = 1024
MAX_BODY_BYTES = 65536
"""Read of an answer that a developer's program gives."""
MAX_INTEGER = 2**63 - 1
MAX_DIGITS = 128
"""Of a number in somebody's text; a tag has no more characters."""
_DIGITS = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}\Z")
MAX_PATTERN_SIZE = 50_000
"""Characters and groups of a regular expression, each times its counts. Ten times as much takes
megabytes and a second to compile."""
SHOWN = 120

# Paths. Every character is one that RFC 3986 lets a path hold, or is percent-encoded. What is
# encoded may be no dot, slash, backslash, percent sign, semicolon or control character: whoever
# decodes once more than the one before would read another path.
_ESCAPE = (
    "%(2[0-46-9a-dA-D]|3[0-9acd-fAC-F]|[46][0-9a-fA-F]|5[0-9abd-fABD-F]|7[0-9a-eA-E]"
    "|[89a-fA-F][0-9a-fA-F])"
)
_PLAIN = f"([!$&'()*+,0-9:=@A-Z_a-z~-]|{_ESCAPE})"
# Neither `.` nor `..`, with or without a parameter (`..;x`), nor nothing.
_SEGMENT = f"([.]?[.]?{_PLAIN}|[.][.][.])([.;]|{_PLAIN})*"
PATH_PATTERN = f'^/({_SEGMENT}/)*({_SEGMENT})?([?][!-"$-~]*)?$'
"""As the CustomResourceDefinition has it: a regular expression of RE2, which looks neither ahead
nor behind."""
_PATH = re.compile(PATH_PATTERN[:-1] + r"\Z")

HOST = re.compile(
    r"^(\*\.)?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?\Z"
)
MAX_HOST = 253

_TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z")
_HEADER_VALUE = re.compile(r"^[ -~]*\Z")
REFUSED_HEADERS = frozenset(
    (
        "accept-encoding",
        "audit-id",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "cookie",
        "cookie2",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "x-client-ip",
        "x-host",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-host",
        "x-original-url",
        "x-real-ip",
        "x-rewrite-url",
        "x-stream-protocol-version",
    )
)
REFUSED_HEADER_PREFIXES = (
    "impersonate-",
    "kubernetes-",
    "proxy-",
    "sec-",
    "x-forwarded-",
    "x-kubernetes-",
    "x-remote-",
)

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
# Where clouds serve an instance its credentials, as far as these are not link-local.
_METADATA = frozenset(
    ipaddress.ip_address(each)
    for each in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
_PRIVATE = tuple(
    ipaddress.ip_network(each)
    for each in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
        "fec0::/10",  # site-local, which fc00::/7 replaced
    )
)
_EMBEDDED_LAST = ipaddress.IPv6Network("64:ff9b::/96")


# Paths and URLs.


def check_path(path: Any, *, query: bool = True) -> str:
    """The path of a URL (and its query), as it may be put after what the pack asks for itself.

    Refused: dot segments, empty segments, backslashes, control characters, fragments, each of them
    also encoded, also twice, and what Unicode's normalization makes of other characters.
    """
    if not isinstance(path, str) or not path.startswith("/"):
        raise DefinitionError(f"{shown(path)} is not a path; it begins with /")
    if len(path) > MAX_PATH:
        raise DefinitionError(f"the path is longer than {MAX_PATH} characters")
    if not query and "?" in path:
        raise DefinitionError(f"{shown(path)} has a query; leave out what follows the ?")
    if not _PATH.match(path) or _is_folded(path.partition("?")[0]):
        raise DefinitionError(
            f"{shown(path)} is not accepted: segments must not be empty, `.` or `..`, other "
            "characters than letters, digits and -._~!$&'()*+,;=:@ are percent-encoded, and "
            "encoded dots, slashes, backslashes and control characters are refused"
        )
    return path


def _is_folded(path: str) -> bool:
    """Whether somebody who decodes and normalizes the path reads other segments than are there."""
    try:
        decoded = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return True
    normal = unicodedata.normalize("NFKC", decoded)
    if any(unicodedata.category(letter).startswith("C") for letter in decoded + normal):
        return True
    if any(normal.count(sign) != path.count(sign) for sign in "/;") or set("\\%") & set(normal):
        return True
    segments = normal.split("/")[1:]
    return any(each.partition(";")[0] in (".", "..") for each in segments) or any(
        not each.partition(";")[0] for each in segments[:-1]
    )


def is_below(url: str, prefix: str) -> bool:
    """Whether a URL, as urllib3 will send it (it resolves dot segments), is of the same server as
    `prefix` and lies below it: is the same, or goes on with a slash or a query."""
    try:
        sent, meant = parse_url(url), parse_url(prefix)
    except ValueError:  # LocationParseError is one
        return False
    if (sent.scheme, sent.host, sent.port, sent.auth) != (
        meant.scheme,
        meant.host,
        meant.port,
        meant.auth,
    ):
        return False
    path, (_, slash, rest) = sent.path or "/", prefix.split("://", 1)[-1].partition("/")
    below = slash + rest
    if below and (meant.path or "") != below:
        return False  # what was meant is resolved to something else itself
    return path == below or path.startswith(below.rstrip("/") + "/")


# Hosts and addresses.


def check_host(host: Any, *, wildcard: bool = False) -> str:
    """A DNS name in small letters, of two labels or more: never an address, in no notation."""
    if (
        not isinstance(host, str)
        or len(host) > MAX_HOST
        or not HOST.match(host)
        or host.endswith(".localhost")
    ):
        raise DefinitionError(
            f"{shown(host)} is not a host name such as cart.example.com"
            + (" or *.example.com" if wildcard else "")
        )
    if host.startswith("*.") and not wildcard:
        raise DefinitionError(f"{shown(host)} is a wildcard; name one host")
    return host


def check_address(
    address: str, *, private: Sequence[Network] = (), allow_loopback: bool = False
) -> str:
    """An address that a host name was resolved to and that may be connected to.

    Private addresses are accepted within the networks `private`; loopback, link-local, multicast,
    reserved and the clouds' metadata addresses never are. `allow_loopback` is for tests with a
    server of their own.
    """
    try:
        found = _embedded(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        raise DefinitionError(f"{shown(address)} is not an address") from None
    if found.is_loopback:
        if allow_loopback:
            return address
        raise DefinitionError(f"{address} is a loopback address")
    kinds = (
        ("an unspecified", found.is_unspecified),
        ("a link-local", found.is_link_local),
        ("a metadata", found in _METADATA),
        ("a multicast", found.is_multicast),
    )
    for kind, applies in kinds:
        if applies:
            raise DefinitionError(f"{address} is {kind} address")
    if any(found in network for network in _PRIVATE if network.version == found.version):
        if any(found in network for network in private if network.version == found.version):
            return address
        raise DefinitionError(
            f"{address} is a private address outside application.ingress.private_networks"
        )
    if not found.is_global or found.is_reserved:
        raise DefinitionError(f"{address} is a reserved address")
    return address


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it stands for one."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address in _EMBEDDED_LAST:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, address))[1]


def networks(texts: Sequence[str], field: str) -> Tuple[Network, ...]:
    """Networks in CIDR notation. Raises DefinitionError naming the setting."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise DefinitionError(
                f"{field} has {shown(text)}, which is not a network such as 10.0.0.0/24.",
                field=field,
            ) from error
    return tuple(found)


# Headers.


def check_headers(headers: Any) -> Dict[str, str]:
    """Headers that are sent for a developer: neither credentials nor anything that proxies act
    upon, each value in one line of ASCII."""
    if not isinstance(headers, Mapping):
        raise DefinitionError(f"{shown(headers)} is not a mapping of names to values")
    if len(headers) > MAX_HEADERS:
        raise DefinitionError(f"there are more than {MAX_HEADERS} headers")
    for name, value in headers.items():
        check_header_name(name)
        # Programs behind CGI cannot tell the two apart.
        folded = name.lower().replace("_", "-")
        if folded in REFUSED_HEADERS or folded.startswith(REFUSED_HEADER_PREFIXES):
            raise DefinitionError(f"header {name} is refused; the pack decides about it")
        if not isinstance(value, str) or not _HEADER_VALUE.match(value):
            raise DefinitionError(f"the value of header {name} must be text of printable ASCII")
        if len(value) > MAX_HEADER_VALUE:
            raise DefinitionError(
                f"the value of header {name} is longer than {MAX_HEADER_VALUE} characters"
            )
    if len({name.lower() for name in headers}) < len(headers):
        raise DefinitionError("a header is there twice, as case does not count; remove one")
    return dict(headers)


def check_header_name(name: Any) -> str:
    """A token of HTTP (RFC 9110, section 5.6.2)."""
    if not isinstance(name, str) or not _TOKEN.match(name):
        raise DefinitionError(f"{shown(name)} is not a header name")
    return name


# Regular expressions.

_PATTERN_TOKEN = re.compile(
    r"(?P<comment>\(\?#[^)]*\))"
    r"|\{(?P<least>\d*)(?P<comma>,?)(?P<most>\d*)\}"
    r"|(?P<atom>\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])"
    r"|(?P<sign>.)",
    re.DOTALL,
)
_NEW_SYNTAX = re.compile(r"\(\?[a-zA-Z0-9-]*[xV]")


def compile_pattern(text: Any) -> Any:
    """A regular expression, by the library `regex`, whose matching takes a timeout. None bounds how
    long compiling takes, so counts within counts that multiply to too much are refused, and so are
    the flags x and V1: under them the counts cannot be told from the text. Raises DefinitionError.
    """
    if not isinstance(text, str):
        raise DefinitionError(f"{shown(text)} is not text")
    return _compiled(text)


@functools.lru_cache(maxsize=1024)
def _compiled(text: str) -> Any:
    import regex  # here, as it costs more than all else in this module, and few write a pattern

    if _NEW_SYNTAX.search(re.sub(r"\\.", "", text, flags=re.DOTALL)):
        raise DefinitionError("the flags x and V1 are not supported")
    if _pattern_size(text) > MAX_PATTERN_SIZE:
        raise DefinitionError("its counts multiply to too much; use * or +")
    try:
        return regex.compile(text)
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        raise DefinitionError(str(error)) from error


def _pattern_size(text: str) -> int:
    """How many characters and groups there are, about, once every count is written out."""
    open_groups, last = [0], 0
    for token in _PATTERN_TOKEN.finditer(text):
        if token["comment"] or (token["sign"] or "-") in "*+?":
            continue
        counts = digits(token["least"]), digits(token["most"])
        if any(count is not None for count in counts):
            size = min(last * max(1, *(count or 0 for count in counts)), MAX_PATTERN_SIZE + 1)
            open_groups[-1] += size - last
            last = size
        elif token["sign"] == "(":
            open_groups.append(1)
        elif token["sign"] == ")" and len(open_groups) > 1:
            last = open_groups.pop()
            open_groups[-1] += last
        else:
            open_groups[-1], last = open_groups[-1] + 1, 1
    return sum(open_groups)


# What is read of an object. Nothing here raises.


def annotations_of(obj: Any) -> Mapping[str, str]:
    """The annotations that are texts."""
    return texts(mapping(mapping(obj).get("metadata")).get("annotations"))


def labels_of(obj: Any) -> Mapping[str, str]:
    """The labels that are texts."""
    return texts(mapping(mapping(obj).get("metadata")).get("labels"))


def status(obj: Any) -> Mapping[str, Any]:
    """The status; empty where there is none."""
    return mapping(mapping(obj).get("status"))


def texts(value: Any) -> Mapping[str, str]:
    """Those entries of a mapping whose names and values are texts."""
    return {
        key: each
        for key, each in mapping(value).items()
        if isinstance(key, str) and isinstance(each, str)
    }


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> List[Mapping[str, Any]]:
    """Those entries of a list that are mappings."""
    return (
        [each for each in value if isinstance(each, Mapping)]
        if isinstance(value, (list, tuple))
        else []
    )


def words(value: Any) -> List[str]:
    """Those entries of a list that are texts with something in them."""
    return (
        [each for each in value if isinstance(each, str) and each]
        if isinstance(value, (list, tuple))
        else []
    )


def text(value: Any, default: str = "") -> str:
    """The value if it is a text with something in it; numbers as text; else the default."""
    if isinstance(value, str):
        return value or default
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (
        str(number(value) if isinstance(value, float) else integer(value)) if is_number else default
    )


def digits(value: Any) -> Optional[int]:
    """The number that a text of ASCII digits says; None for anything else, and for more digits than
    anybody means. `isdigit` holds for ² as well, which is no number, and beyond some thousand
    digits Python refuses to read one."""
    if isinstance(value, str) and _DIGITS.match(value):
        return int(value)
    return None


def integer(value: Any, default: int = 0) -> int:
    """A whole number, also one that is written as text; one beyond 64 bits is none."""
    if isinstance(value, str) and re.match(r"^-?[0-9]{1,19}\Z", value):
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER:
        return value
    return default


def number(value: Any, default: float = 0.0) -> float:
    """A finite number, within what 64 bits hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    return float(value) if -MAX_INTEGER <= value <= MAX_INTEGER else default


def json_value(value: Any) -> Any:
    """What an annotation in JSON holds; None for what is not JSON."""
    if not isinstance(value, str):
        return None
    try:
        found = json.loads(value, parse_constant=_no_number, parse_float=_finite)
        # Halves of surrogate pairs are JSON and no text: what stores or hashes them fails.
        return json.loads(_whole(found)) if _SURROGATE.search(value) else found
    except (ValueError, RecursionError):
        return None


_SURROGATE = re.compile(r"\\u[dD]|[\ud800-\udfff]")


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(written: str) -> float:
    found = float(written)
    return found if math.isfinite(found) else _no_number(written)


def _whole(found: Any) -> str:
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")


def json_object(value: Any) -> Dict[str, Any]:
    """An annotation that holds an object in JSON; empty for anything else."""
    found = json_value(value)
    return found if isinstance(found, dict) else {}


def shown(value: Any) -> str:
    """What somebody wrote, for a message to them: short, texts in quotes, control characters
    escaped.
    """
    if not isinstance(value, str):
        try:
            return _cut(repr(value))
        except ValueError:  # a number of more digits than Python writes
            return f"of type {type(value).__name__}"
    cut = _cut(value)
    return repr(cut) if cut.isprintable() else ascii(cut)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
