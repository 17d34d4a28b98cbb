"""Addresses of git repositories and names of branches, checked before git sees them. Pure.

Git accepts more than addresses: options (`--upload-pack=…`), transports that run programs (`ext::`,
`fd::`), hosts that are options of ssh. So what is allowed is listed, and everything else refused.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from kubestorm.clients.git.settings import GitSettings
from kubestorm.core.errors import DefinitionError

FIELD = "spec.source.url"
SCP_LIKE = re.compile(
    r"(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^:]+)"
)
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
SAME_HOSTS = {
    "ssh.github.com": "github.com",
    "www.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
}
"""Other names of hosts; `ssh.` and `altssh.` serve ssh on port 443, for restricted networks."""
CASELESS_HOSTS = ("github.com", "gitlab.com", "bitbucket.org", "gitea.com", "codeberg.org")
"""Hosts whose names of owners and repositories ignore case. Elsewhere `Team/Shop` and `team/shop`
may be two repositories.
"""
CASELESS_DOMAINS = (".ghe.com",)
"""GitHub's hosts for enterprises."""
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


METADATA_HOSTS = frozenset(
    (
        *("instance-data", "instance-data.ec2.internal", "ip6-localhost", "ip6-loopback"),
        *("metadata", "metadata.goog", "metadata.google.internal"),
    )
)


class GitAddress(NamedTuple):
    """A checked address. `url` is passed to git; `key` is the same for all spellings of one
    repository.
    """

    protocol: str
    host: str
    url: str
    key: str = ""


def parse_address(text: str, settings: GitSettings) -> GitAddress:
    """Check an address. Raises DefinitionError, which never shows a password in the address."""
    _check_characters(text)
    address = _split(text)
    if address.protocol not in settings.protocols:
        offered = ", ".join(settings.protocols)
        raise _wrong(
            f"git over {address.protocol} is not allowed; build.source.protocols has {offered}"
        )
    if address.protocol != "file" and not any(
        fnmatchcase(address.host, each.lower()) for each in settings.hosts
    ):
        raise _wrong(
            f"git server {address.host} is not allowed; build.source.hosts has "
            f"{', '.join(settings.hosts)}"
        )
    if _is_this_networks(address.host) and all(each == "*" for each in settings.hosts):
        raise _wrong(
            f"{address.host} is an IP address or this machine; add it to build.source.hosts to "
            "allow it"
        )
    return address


def _is_this_networks(host: str) -> bool:
    """Whether a host is an IP address in any notation, this machine, or the cloud's metadata."""
    host = host.rstrip(".")
    last = host.rpartition(".")[2]
    return (
        ":" in host
        or bool(re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last))
        or last in ("localhost", "localdomain")
        or host in METADATA_HOSTS
    )


def repository_key(text: str) -> str:
    """An identifier for a repository, however its address is spelled, to compare push events with
    ImageBuilds; empty for an invalid address.

    `git@host:team/shop.git`, `ssh://git@host/team/shop` and `https://host/team/shop.git/` are the
    same repository; on hosts that ignore case, `Team/Shop` is, too.
    """
    try:
        address = _split(text)
    except DefinitionError:
        return ""
    return address.key


def branch_problem(name: str) -> str:
    """What is wrong with a branch's name (see git-check-ref-format); empty if nothing is."""
    if name.startswith("-"):
        return f"{name!r} is an option of git, not a branch"
    bad = (
        any(ord(char) <= 32 or ord(char) == 127 or char in "~^:?*[\\" for char in name)
        or any(each in name for each in ("..", "@{", "//"))
        or name.endswith((".", "/"))
        or name == "@"
        or any(part.startswith(".") or part.endswith(".lock") for part in name.split("/"))
        or name.startswith("/")
    )
    return f"{name!r} is not a valid name of a branch" if bad else ""


def revision_problem(name: str) -> str:
    """What is wrong with a tag or commit; empty if nothing is."""
    if re.fullmatch(r"[0-9a-f]{7,63}", name) and not COMMIT.fullmatch(name):
        return f"{name!r} is an abbreviated commit; set all 40 characters, or a tag"
    return branch_problem(name).replace("a branch", "a tag")


def is_commit(text: str) -> bool:
    """Whether it is a full commit id."""
    return bool(COMMIT.fullmatch(text))


def _check_characters(text: str) -> None:
    if not text:
        raise _wrong(
            "must be the address of a repository, such as https://git.example.com/team/shop.git"
        )
    if text.startswith("-"):
        raise _wrong("must be an address, not an option of git")
    if any(ord(char) <= 32 or ord(char) == 127 for char in text):
        raise _wrong("must not have spaces or control characters")
    if "::" in text.split("/")[0]:
        raise _wrong("must not have `::`, which names a program to run")


def _split(text: str) -> GitAddress:
    if "://" not in text:
        return _split_scp(text)
    try:
        parts = urlsplit(text)
        port, host, password = parts.port, (parts.hostname or "").lower(), parts.password
    except ValueError as error:
        raise _wrong("must be an address") from error
    protocol = parts.scheme.lower()
    if parts.query or parts.fragment:
        raise _wrong("must not have `?` or `#`")
    path = parts.path.rstrip("/")
    _check_path(path)
    if protocol == "file":
        if parts.netloc:
            raise _wrong("must have three slashes: file:///srv/git/shop.git")
        return GitAddress("file", "", text, f"file:{_trim(path)}")
    if protocol not in ("http", "https", "ssh"):
        raise _wrong(f"must start with https:// or ssh://, not {protocol or 'nothing'}")
    if password is not None or (parts.username and protocol != "ssh"):
        raise _wrong(
            "must not have a user or password; write them to Vault and set spec.source.credentials"
        )
    bracketed = f"[{host}]" if ":" in host else host
    if not HOST.fullmatch(bracketed) or (
        parts.username is not None and not USER.fullmatch(parts.username)
    ):
        raise _wrong("must have a valid host and user")
    return GitAddress(protocol, host, text, _key(host, _port(protocol, port), path))


def _split_scp(text: str) -> GitAddress:
    found = SCP_LIKE.fullmatch(text)
    if found is None:
        raise _wrong("must start with https://, ssh:// or user@host:")
    path = found["path"]
    _check_path(path)
    host = found["host"].lower()
    return GitAddress("ssh", host, text, _key(host, "", path))


def _key(host: str, port: str, path: str) -> str:
    host, name = SAME_HOSTS.get(host, host), _trim(path)
    if host in CASELESS_HOSTS or host.endswith(CASELESS_DOMAINS):
        name = name.lower()
    return f"{host}{port}/{name}"


def _check_path(path: str) -> None:
    plain = unquote(path)
    if not plain.strip("/") or plain.lstrip("/~").startswith("-") or ".." in plain.split("/"):
        raise _wrong("must have the path of a repository")


def _trim(path: str) -> str:
    trimmed = unquote(path).strip("/")
    return trimmed[:-4] if trimmed.lower().endswith(".git") else trimmed


def _port(protocol: str, port: object) -> str:
    """A port other than HTTP's default is another server; ssh's port is ignored."""
    usual = {"http": 80, "https": 443}
    return f":{port}" if port is not None and protocol in usual and port != usual[protocol] else ""


def _wrong(message: str) -> DefinitionError:
    return DefinitionError(message, field=FIELD)
