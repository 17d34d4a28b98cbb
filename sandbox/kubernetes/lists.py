"""GET on a collection: pages, snapshots, selections, and the three forms an answer can have (list,
table, metadata alone).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from sandbox.kubernetes import conversion, tables
from sandbox.kubernetes.errors import bad_request, too_large_version
from sandbox.kubernetes.registry import Registry, Target
from sandbox.kubernetes.requests import Continue, Query, expired_continue
from sandbox.kubernetes.selectors import Predicate, field_selector, label_selector
from sandbox.kubernetes.store import Entry, ExpiredVersionError, Store

Json = dict[str, Any]
Render = Callable[[Entry], bytes]

encode = msgspec.json.Encoder().encode


def wanted_form(accept: str) -> str:
    """`Table`, `PartialObjectMetadata`, `PartialObjectMetadataList` or an empty word, whichever
    Accept names first.
    """
    for part in accept.split(","):
        parameters = dict(p.strip().partition("=")[::2] for p in part.split(";")[1:])
        if "as" in parameters and parameters.get("g") == "meta.k8s.io":
            return parameters["as"]
        if "as" not in parameters and part.split(";")[0].strip() in ("application/json", "*/*"):
            return ""
    return ""


def selection(target: Target, query: Query) -> Predicate:
    """The predicate of a request's selectors, on stored objects."""
    labels = label_selector(query.text("labelSelector"))
    fields = field_selector(
        query.text("fieldSelector"), target.resource.fields, custom=target.resource.is_custom
    )
    tests = [test for test in (labels, fields) if test]
    if target.name:
        name = target.name
        tests.append(lambda obj: obj["metadata"]["name"] == name)
    converted = target.resource.storage_group is not None
    if not tests:
        return _everything
    if not converted:
        return tests[0] if len(tests) == 1 else lambda obj: all(test(obj) for test in tests)
    return lambda obj: all(
        test(conversion.to_version(target.resource, obj, target.version)) for test in tests
    )


def _everything(_obj: Json) -> bool:
    return True


def prefix_of(target: Target) -> str:
    return f"{target.namespace}/" if target.resource.namespaced and target.namespace else ""


def renderer(target: Target, form: str, include: str) -> Render:
    """How one object is written in a watch's line or a single answer."""
    resource, version = target.resource, target.version
    if form == "Table":
        return lambda entry: encode(
            tables.table(
                resource,
                version,
                [conversion.to_version(resource, entry.obj, version)],
                include,
                {"resourceVersion": str(entry.version)},
            )
        )
    if form.startswith("PartialObjectMetadata"):
        return lambda entry: encode(tables.partial(entry.obj))
    if conversion.is_as_stored(resource, version):
        return lambda entry: entry.json
    return lambda entry: encode(conversion.to_version(resource, entry.obj, version))


class Page:
    """The entries one answer carries, and how to go on."""

    def __init__(self, store: Store, target: Target, query: Query) -> None:
        self._store = store
        self._target = target
        self._query = query
        limit = query.number("limit")
        token = Continue.decode(query.text("continue")) if query.text("continue") else None
        at = self._snapshot(token, limit)
        self.version = store.version if at is None else at
        matches = selection(target, query)
        found = self._from(token, at)
        chosen = (
            (entry for entry in found if matches(entry.obj))
            if matches is not _everything
            else found
        )
        self.entries = list(itertools.islice(chosen, limit)) if limit > 0 else list(chosen)
        self.metadata: Json = {"resourceVersion": str(self.version)}
        if limit > 0 and len(self.entries) == limit:
            self._go_on(chosen, selected=matches is not _everything)

    def _snapshot(self, token: Continue | None, limit: int) -> int | None:
        asked, match = self._query.version(), self._query.text("resourceVersionMatch")
        if token:
            if asked:
                raise bad_request("specifying resource version is not allowed when using continue")
            return None if token.version < 0 else token.version
        if asked is not None and asked > self._store.version:
            raise too_large_version(asked, self._store.version)
        exact = match == "Exact" or (not match and limit > 0 and bool(asked))
        return asked if exact else None

    def _from(self, token: Continue | None, at: int | None) -> Iterator[Entry]:
        after = token.after if token else ""
        try:
            return self._store.snapshot(
                self._target.resource.bucket, prefix_of(self._target), after, at
            )
        except ExpiredVersionError:
            raise expired_continue(after) from None

    def _go_on(self, rest: Iterator[Entry], *, selected: bool) -> None:
        following = next(rest, None)
        if following is None:
            return
        metadata = self.entries[-1].obj["metadata"]
        key = self._target.resource.key(metadata.get("namespace", ""), metadata["name"])
        self.metadata["continue"] = Continue(self.version, key).encode()
        if not selected:
            self.metadata["remainingItemCount"] = 1 + sum(1 for _ in rest)


def answer(registry: Registry, target: Target, query: Query, form: str) -> bytes:
    """The body of a list."""
    page = Page(registry.store, target, query)
    resource, version = target.resource, target.version
    if form == "Table":
        objects = (conversion.to_version(resource, entry.obj, version) for entry in page.entries)
        return encode(
            tables.table(
                resource, version, objects, query.text("includeObject") or "Metadata", page.metadata
            )
        )
    if form.startswith("PartialObjectMetadata"):
        items = [tables.partial(entry.obj) for entry in page.entries]
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return encode({**head, "metadata": page.metadata, "items": items})
    return b'{"kind":%b,"apiVersion":%b,"metadata":%b,"items":[%b]}' % (
        encode(resource.list_kind),
        encode(target.api_version),
        encode(page.metadata),
        b",".join(_items(target, page.entries)),
    )


def _items(target: Target, entries: list[Entry]) -> Iterator[bytes]:
    """Items as JSON; those of core kinds carry no type, as in the real server's answers."""
    render = renderer(target, "", "")
    head = b'{"apiVersion":%b,"kind":%b,' % (
        encode(target.api_version),
        encode(target.resource.kind),
    )
    for entry in entries:
        item = render(entry)
        yield (
            b"{" + item[len(head) :]
            if not target.resource.is_custom and item.startswith(head)
            else item
        )
