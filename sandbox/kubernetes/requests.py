"""A request as the API reads it: what its path, query and body ask for."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec
import yaml

from sandbox.kubernetes.errors import bad_request, expired, unsupported_media_type

Json = dict[str, Any]

MAX_BODY_BYTES = 3 * 1024 * 1024


class Location(NamedTuple):
    """What a path names: a collection (no `name`), an object, or a subresource of one."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False


def locate(path: str) -> Location | None:
    """The place a path below /api or /apis names; None for discovery and paths of another form."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, rest = "", parts[1:]
    else:
        group, rest = (parts[1] if len(parts) > 1 else ""), parts[2:]
    if len(rest) < 2:
        return None
    version, rest = rest[0], rest[1:]
    watch = rest[0] == "watch"
    if watch:
        rest = rest[1:]
    namespace = ""
    if (
        len(rest) >= 3
        and rest[0] == "namespaces"
        and not (group == "" and rest[2] in ("status", "finalize"))
    ):
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 3:
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    return Location(group, version, plural, namespace, name, subresource, watch)


class Query:
    """The parameters of a query string."""

    def __init__(self, text: str) -> None:
        self._values = dict(parse_qsl(text, keep_blank_values=True))

    def text(self, name: str) -> str:
        return self._values.get(name, "")

    def flag(self, name: str) -> bool:
        return self._values.get(name, "").lower() in ("1", "true", "t")

    def number(self, name: str, default: int = 0) -> int:
        text = self._values.get(name, "")
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None

    def version(self) -> int | None:
        """The resource version asked for; None when there is none."""
        text = self._values.get("resourceVersion", "")
        if not text:
            return None
        if not text.isdigit():
            raise bad_request(
                f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
            )
        return int(text)


class _Yaml(yaml.SafeLoader):
    """YAML as Kubernetes reads it: dates are text."""


_Yaml.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def decode(body: bytes, content_type: str) -> Any:
    """A body as JSON, or as YAML when it says so."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind and not kind.endswith(("json", "yaml")):
        raise unsupported_media_type(["application/json", "application/yaml"])
    try:
        if "yaml" in kind and not body.lstrip().startswith(b"{"):
            return yaml.load(body, Loader=_Yaml)  # noqa: S506 (a SafeLoader)
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, yaml.YAMLError) as error:
        raise bad_request(f"the object provided is unrecognized: {error}") from error


class Continue(NamedTuple):
    """Where a list goes on: the version it is a snapshot of (-1: of now), and the last key that was
    sent.
    """

    version: int
    after: str

    def encode(self) -> str:
        text = json.dumps(
            {"v": "meta.k8s.io/v1", "rv": self.version, "start": self.after}, separators=(",", ":")
        )
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

    @classmethod
    def decode(cls, token: str) -> Continue:
        try:
            fields = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            return cls(int(fields["rv"]), str(fields["start"]))
        except (ValueError, KeyError, TypeError) as error:
            raise bad_request(f"continue key is not valid: {error}") from error


def expired_continue(after: str) -> Exception:
    """The 410 of a list whose snapshot is gone, with a token that goes on inconsistently."""
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new "
        "list without the "
        "continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing "
        "with the provided token results in an inconsistent list - objects that were created, modified, or "
        "deleted between "
        "the time the first chunk was returned and now may show up in the list."
    )
    return expired(message, Continue(-1, after).encode())
