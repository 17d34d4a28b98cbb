"""Addresses of git repositories and names of branches, checked before git sees them. Pure.

Git takes more than addresses: options (`--upload-pack=…`), transports that run programs (`ext::`,
`fd::`), hosts that are options of ssh. None of that is guessed at here: what is allowed is spelled
out, and everything else refused.
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
"""Other names of hosts; at `ssh.` and `altssh.` they take ssh on port 443, for networks that let
nothing else out.
"""
CASELESS_HOSTS = ("github.com", "gitlab.com", "bitbucket.org", "gitea.com", "codeberg.org")
"""Their owners and repositories are one in whatever case they are written. Of a server that is not
known it is not known either: there `Team/Shop` and `team/shop` may be two.
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
    """A checked address. `url` is what git gets, `key` the same for all spellings of one
    repository.
    """

    protocol: str
    host: str
    url: str
    key: str = ""


def parse_address(text: str, settings: GitSettings) -> GitAddress:
    """Check an address. Raises DefinitionError with what would be right; passwords in it are
    refused, never shown.
    """
    _check_characters(text)
    address = _split(text)
    if address.protocol not in settings.protocols:
        offered = ", ".join(settings.protocols)
        raise _wrong(f"git over {address.protocol} is not allowed here; operations allow {offered}")
    if address.protocol != "file" and not any(
        fnmatchcase(address.host, each.lower()) for each in settings.hosts
    ):
        raise _wrong(
            f"{address.host} is none of the git servers that operations allow: "
            f"{', '.join(settings.hosts)}"
        )
    if _is_this_networks(address.host) and all(each == "*" for each in settings.hosts):
        raise _wrong(
            f"{address.host} is an address or this machine; name a git server, or have operations "
            "allow it in build.source.hosts"
        )
    return address


def _is_this_networks(host: str) -> bool:
    """Whether a host means an address, in whatever notation, or the machine or cloud that asks."""
    host = host.rstrip(".")
    last = host.rpartition(".")[2]
    return (
        ":" in host
        or bool(re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last))
        or last in ("localhost", "localdomain")
        or host in METADATA_HOSTS
    )


def repository_key(text: str) -> str:
    """One word for a repository, however its address is spelled: a push event and an ImageBuild are
    compared by it.

    `git@host:team/shop.git`, `ssh://git@host/team/shop` and `https://host/team/shop.git/` are the
    same repository; on hosts that are known to be so, `Team/Shop` is, too.
    """
    try:
        address = _split(text)
    except DefinitionError:
        return ""
    return address.key


def branch_problem(name: str) -> str:
    """What is wrong with a branch's name by git's own rules (git-check-ref-format); empty when
    nothing is.
    """
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
    return f"{name!r} is not a name that git gives a branch" if bad else ""


def revision_problem(name: str) -> str:
    """What is wrong with a tag or commit to build; empty when nothing is."""
    if re.fullmatch(r"[0-9a-f]{7,63}", name) and not COMMIT.fullmatch(name):
        return f"{name!r} is part of a commit; give all 40 characters of it, or a tag"
    return branch_problem(name).replace("a branch", "a tag")


def is_commit(text: str) -> bool:
    """Whether it is a whole commit id."""
    return bool(COMMIT.fullmatch(text))


def _check_characters(text: str) -> None:
    if not text:
        raise _wrong(
            "say where the repository is, for instance https://git.example.com/team/shop.git"
        )
    if text.startswith("-"):
        raise _wrong("this is an option of git, not an address")
    if any(ord(char) <= 32 or ord(char) == 127 for char in text):
        raise _wrong("an address has no spaces and no control characters")
    if "::" in text.split("/")[0]:
        raise _wrong("addresses with `::` name a program to run, which is refused")


def _split(text: str) -> GitAddress:
    if "://" not in text:
        return _split_scp(text)
    try:
        parts = urlsplit(text)
        port, host, password = parts.port, (parts.hostname or "").lower(), parts.password
    except ValueError as error:
        raise _wrong("this is not an address") from error
    protocol = parts.scheme.lower()
    if parts.query or parts.fragment:
        raise _wrong("an address of a repository has no `?` and no `#`")
    path = parts.path.rstrip("/")
    _check_path(path)
    if protocol == "file":
        if parts.netloc:
            raise _wrong("a file address has three slashes: file:///srv/git/shop.git")
        return GitAddress("file", "", text, f"file:{_trim(path)}")
    if protocol not in ("http", "https", "ssh"):
        raise _wrong(f"git over {protocol or 'nothing'} is not known; use https or ssh")
    if password is not None or (parts.username and protocol != "ssh"):
        raise _wrong(
            "an address holds no user or password; put them into Vault and name "
            "spec.source.credentials"
        )
    bracketed = f"[{host}]" if ":" in host else host
    if not HOST.fullmatch(bracketed) or (
        parts.username is not None and not USER.fullmatch(parts.username)
    ):
        raise _wrong("its host or user is not one")
    return GitAddress(protocol, host, text, _key(host, _port(protocol, port), path))


def _split_scp(text: str) -> GitAddress:
    found = SCP_LIKE.fullmatch(text)
    if found is None:
        raise _wrong("this is not an address; they begin with https://, ssh:// or user@host:")
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
        raise _wrong("its path is not that of a repository")


def _trim(path: str) -> str:
    trimmed = unquote(path).strip("/")
    return trimmed[:-4] if trimmed.lower().endswith(".git") else trimmed


def _port(protocol: str, port: object) -> str:
    """Servers offer one repository on several doors; an unusual port of HTTP is another server, one
    of ssh is not.
    """
    usual = {"http": 80, "https": 443}
    return f":{port}" if port is not None and protocol in usual and port != usual[protocol] else ""


def _wrong(message: str) -> DefinitionError:
    return DefinitionError(message, field=FIELD)
