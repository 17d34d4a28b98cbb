"""Vault's key-value engines, versions 1 and 2, and the cubbyhole.

Paths, fields and messages are those of the API pages "KV secrets engine - version 1" and "version
2".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sandbox.clock import Clock
from sandbox.vault.messages import (
    DELETE,
    LIST,
    NOTHING,
    PATCH,
    READ,
    WRITE,
    Engine,
    Handler,
    Reply,
    Request,
    VaultError,
    bad_request,
    go_duration,
    list_keys,
    not_found,
    route,
    seconds,
    timestamp,
)

DEFAULT_LEASE_SECONDS = 2764800
DEFAULT_MAX_VERSIONS = 10
# Sizes the API page gives for custom_metadata.
MAX_CUSTOM_KEYS, MAX_CUSTOM_KEY, MAX_CUSTOM_VALUE = 64, 128, 512

CAS_REQUIRED = "check-and-set parameter required for this call"
CAS_MISMATCH = "check-and-set parameter did not match the current version"
WRONG_PATH = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. "
    "If using the Vault CLI, use 'vault kv get' for this operation."
)


class KvV1(Engine):
    """Version 1: one value a path."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, Any]] = {}

    def exists(self, inner: str) -> bool:
        return inner in self._values

    def handle(self, request: Request) -> Reply:
        path = request.inner
        if request.operation == LIST or (
            request.operation == READ and (not path or path.endswith("/"))
        ):
            return list_keys(list(self._values), path)
        if request.operation == READ:
            if path not in self._values:
                raise not_found()
            return Reply(dict(self._values[path]), lease_seconds=DEFAULT_LEASE_SECONDS)
        if request.operation == WRITE:
            if not request.data:
                raise bad_request("missing data fields")
            self._values[path] = dict(request.data)
            return NOTHING
        if request.operation == DELETE:
            self._values.pop(path, None)
            return NOTHING
        raise VaultError(405, "unsupported operation")


class Cubbyhole(Engine):
    """A version 1 store for each token, gone with it."""

    def __init__(self) -> None:
        self._stores: dict[str, KvV1] = {}

    def handle(self, request: Request) -> Reply:
        return self._stores.setdefault(request.token.id, KvV1()).handle(request)

    def forget(self, token_id: str) -> None:
        self._stores.pop(token_id, None)


@dataclass
class Version:
    """One version of a secret; `data` is None once destroyed."""

    data: dict[str, Any] | None = field(repr=False)
    created: float
    deletion_time: float | None = None
    destroyed: bool = False


@dataclass
class Secret:
    """All versions of a secret and the settings of its own."""

    created: float
    updated: float
    versions: dict[int, Version] = field(default_factory=dict)
    current: int = 0
    max_versions: int = 0
    cas_required: bool = False
    delete_version_after: float = 0
    custom_metadata: dict[str, str] | None = None

    @property
    def oldest(self) -> int:
        return min(self.versions, default=0)


class KvV2(Engine):
    """Version 2: numbered versions, check-and-set, soft and hard deletion."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._secrets: dict[str, Secret] = {}
        self._max_versions = 0
        self._cas_required = False
        self._delete_after = 0.0

    def exists(self, inner: str) -> bool:
        kind, _, path = inner.partition("/")
        return path in self._secrets if kind in ("data", "metadata") else True

    def handle(self, request: Request) -> Reply:
        if not re.match(
            r"(config|data|metadata|delete|undelete|destroy|subkeys)(/|$)", request.inner
        ):
            raise VaultError(404, body={"data": None, "warnings": [WRONG_PATH], "errors": []})
        if request.operation == READ and re.fullmatch(r"metadata(/|/.*/)?", request.inner):
            request.operation = LIST
        return super().handle(request)

    # -- config

    def read_config(self, _request: Request, _match: re.Match[str]) -> Reply:
        return Reply(
            {
                "max_versions": self._max_versions,
                "cas_required": self._cas_required,
                "delete_version_after": go_duration(self._delete_after),
            }
        )

    def write_config(self, request: Request, _match: re.Match[str]) -> Reply:
        data = request.data
        self._max_versions = int(data.get("max_versions", self._max_versions))
        self._cas_required = bool(data.get("cas_required", self._cas_required))
        self._delete_after = seconds(data.get("delete_version_after"), self._delete_after)
        return NOTHING

    # -- data

    def read_data(self, request: Request, match: re.Match[str]) -> Reply:
        secret, number, version = self._version(match["path"], request)
        metadata = self._describe(secret, number)
        if self._is_gone(version):
            # The answer to a deleted version is a 404 that still carries its metadata.
            raise VaultError(404, body=envelope({"data": None, "metadata": metadata}))
        return Reply({"data": version.data, "metadata": metadata})

    def write_data(self, request: Request, match: re.Match[str]) -> Reply:
        data = request.data.get("data")
        if not isinstance(data, dict):
            raise bad_request("no data provided")
        path = match["path"]
        self._check_cas(self._secrets.get(path), request.data.get("options") or {})
        return self._add_version(path, data)

    def patch_data(self, request: Request, match: re.Match[str]) -> Reply:
        patch = request.data.get("data")
        if not isinstance(patch, dict):
            raise bad_request("no data provided")
        path = match["path"]
        secret, _, version = self._version(path, request)
        if self._is_gone(version) or version.data is None:
            raise not_found()
        self._check_cas(secret, request.data.get("options") or {})
        return self._add_version(path, merge_patch(version.data, patch))

    def delete_latest(self, _request: Request, match: re.Match[str]) -> Reply:
        secret = self._secrets.get(match["path"])
        if secret and secret.current in secret.versions:
            self._delete(secret, [secret.current])
        return NOTHING

    def delete_versions(self, request: Request, match: re.Match[str]) -> Reply:
        numbers, secret = self._named_versions(request), self._secrets.get(match["path"])
        if secret:
            self._delete(secret, numbers)
        return NOTHING

    def undelete_versions(self, request: Request, match: re.Match[str]) -> Reply:
        numbers, secret = self._named_versions(request), self._secrets.get(match["path"])
        for version in self._pick(secret, numbers):
            if not version.destroyed:
                version.deletion_time = None
        return NOTHING

    def destroy_versions(self, request: Request, match: re.Match[str]) -> Reply:
        numbers, secret = self._named_versions(request), self._secrets.get(match["path"])
        for version in self._pick(secret, numbers):
            version.data, version.destroyed = None, True
        return NOTHING

    def read_subkeys(self, request: Request, match: re.Match[str]) -> Reply:
        secret, number, version = self._version(match["path"], request)
        metadata = self._describe(secret, number)
        if self._is_gone(version):
            raise VaultError(404, body=envelope({"subkeys": None, "metadata": metadata}))
        depth = int(request.query.get("depth", 0))
        return Reply({"subkeys": key_tree(version.data or {}, depth), "metadata": metadata})

    # -- metadata

    def read_metadata(self, _request: Request, match: re.Match[str]) -> Reply:
        secret = self._existing(match["path"])
        versions = {
            str(number): self._describe_version(version)
            for number, version in secret.versions.items()
        }
        return Reply(
            {
                "cas_required": secret.cas_required,
                "created_time": timestamp(secret.created),
                "current_version": secret.current,
                "custom_metadata": secret.custom_metadata,
                "delete_version_after": go_duration(secret.delete_version_after),
                "max_versions": secret.max_versions,
                "oldest_version": secret.oldest,
                "updated_time": timestamp(secret.updated),
                "versions": versions,
            }
        )

    def write_metadata(self, request: Request, match: re.Match[str]) -> Reply:
        custom = request.data.get("custom_metadata")
        if custom is not None:
            check_custom_metadata(custom)
        now = self._clock()
        secret = self._secrets.setdefault(match["path"], Secret(created=now, updated=now))
        self._set_metadata(secret, request.data)
        if custom is not None:
            secret.custom_metadata = dict(custom)
        return NOTHING

    def patch_metadata(self, request: Request, match: re.Match[str]) -> Reply:
        secret = self._existing(match["path"])
        if "custom_metadata" in request.data:
            merged = merge_patch(
                secret.custom_metadata or {}, request.data["custom_metadata"] or {}
            )
            check_custom_metadata(merged)
            secret.custom_metadata = merged
        self._set_metadata(secret, request.data)
        return NOTHING

    def delete_metadata(self, _request: Request, match: re.Match[str]) -> Reply:
        self._secrets.pop(match["path"], None)
        return NOTHING

    def list_metadata(self, _request: Request, match: re.Match[str]) -> Reply:
        return list_keys(list(self._secrets), match["path"] or "")

    # -- parts

    def _existing(self, path: str) -> Secret:
        if path not in self._secrets:
            raise not_found()
        return self._secrets[path]

    def _version(self, path: str, request: Request) -> tuple[Secret, int, Version]:
        secret = self._existing(path)
        number = int(request.query.get("version", 0)) or secret.current
        if number not in secret.versions:
            raise not_found()
        return secret, number, secret.versions[number]

    def _is_gone(self, version: Version) -> bool:
        due = version.deletion_time
        return version.destroyed or (due is not None and due <= self._clock())

    def _check_cas(self, secret: Secret | None, options: dict[str, Any]) -> None:
        cas = options.get("cas")
        if cas is None:
            if self._cas_required or (secret and secret.cas_required):
                raise bad_request(CAS_REQUIRED)
        elif int(cas) != (secret.current if secret else 0):
            raise bad_request(CAS_MISMATCH)

    def _add_version(self, path: str, data: dict[str, Any]) -> Reply:
        now = self._clock()
        secret = self._secrets.setdefault(path, Secret(created=now, updated=now))
        secret.current += 1
        secret.updated = now
        after = secret.delete_version_after or self._delete_after
        secret.versions[secret.current] = Version(
            data, now, deletion_time=now + after if after else None
        )
        kept = secret.max_versions or self._max_versions or DEFAULT_MAX_VERSIONS
        for number in [number for number in secret.versions if number <= secret.current - kept]:
            del secret.versions[number]
        return Reply(self._describe(secret, secret.current))

    def _delete(self, secret: Secret, numbers: list[int]) -> None:
        for version in self._pick(secret, numbers):
            if not self._is_gone(version):
                version.deletion_time = self._clock()

    @staticmethod
    def _pick(secret: Secret | None, numbers: list[int]) -> list[Version]:
        return (
            [secret.versions[number] for number in numbers if number in secret.versions]
            if secret
            else []
        )

    @staticmethod
    def _named_versions(request: Request) -> list[int]:
        numbers = request.data.get("versions")
        if not numbers:
            raise bad_request("No version number provided")
        return [int(number) for number in numbers]

    @staticmethod
    def _set_metadata(secret: Secret, data: dict[str, Any]) -> None:
        secret.max_versions = int(data.get("max_versions", secret.max_versions))
        secret.cas_required = bool(data.get("cas_required", secret.cas_required))
        secret.delete_version_after = seconds(
            data.get("delete_version_after"), secret.delete_version_after
        )

    @staticmethod
    def _describe_version(version: Version) -> dict[str, Any]:
        return {
            "created_time": timestamp(version.created),
            "deletion_time": timestamp(version.deletion_time)
            if version.deletion_time is not None
            else "",
            "destroyed": version.destroyed,
        }

    def _describe(self, secret: Secret, number: int) -> dict[str, Any]:
        described = self._describe_version(secret.versions[number])
        return {**described, "custom_metadata": secret.custom_metadata, "version": number}

    routes: ClassVar[list[tuple[re.Pattern[str], dict[str, Handler]]]] = [
        (route("config"), {READ: read_config, WRITE: write_config}),
        (
            route("data/{path*}"),
            {READ: read_data, WRITE: write_data, PATCH: patch_data, DELETE: delete_latest},
        ),
        (route("delete/{path*}"), {WRITE: delete_versions}),
        (route("undelete/{path*}"), {WRITE: undelete_versions}),
        (route("destroy/{path*}"), {WRITE: destroy_versions}),
        (route("subkeys/{path*}"), {READ: read_subkeys}),
        (re.compile(r"metadata/?(?P<path>)"), {LIST: list_metadata}),
        (
            route("metadata/{path*}"),
            {
                READ: read_metadata,
                WRITE: write_metadata,
                PATCH: patch_metadata,
                DELETE: delete_metadata,
                LIST: list_metadata,
            },
        ),
    ]


def envelope(data: dict[str, Any]) -> dict[str, Any]:
    """Vault's answer around some data, for the 404s that carry one."""
    return {
        "request_id": "",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }


def merge_patch(value: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396: null removes, objects merge, anything else replaces."""
    merged = dict(value)
    for key, change in patch.items():
        if change is None:
            merged.pop(key, None)
        elif isinstance(change, dict):
            below = merged.get(key)
            merged[key] = merge_patch(below if isinstance(below, dict) else {}, change)
        else:
            merged[key] = change
    return merged


def key_tree(value: dict[str, Any], depth: int) -> dict[str, Any]:
    """The keys of a secret without its values, to a depth (0 for all)."""
    return {
        key: key_tree(below, depth - 1)
        if isinstance(below, dict) and below and depth != 1
        else None
        for key, below in value.items()
    }


def check_custom_metadata(custom: Any) -> None:
    """Refuse custom_metadata beyond the sizes of the API page, or with values that are not strings."""
    if not isinstance(custom, dict) or not all(isinstance(value, str) for value in custom.values()):
        raise bad_request(
            "Field validation failed: custom_metadata must be a map of string keys to string values"
        )
    if len(custom) > MAX_CUSTOM_KEYS:
        raise bad_request(
            f"custom_metadata validation failed: payload must contain at most {MAX_CUSTOM_KEYS} keys"
        )
    for key, value in custom.items():
        if not 1 <= len(key) <= MAX_CUSTOM_KEY or not 1 <= len(value) <= MAX_CUSTOM_VALUE:
            raise bad_request(
                "custom_metadata validation failed: "
                f"keys have 1 to {MAX_CUSTOM_KEY} bytes and values 1 to {MAX_CUSTOM_VALUE}"
            )
