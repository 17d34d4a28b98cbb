"""How every Kubernetes API server serves kinds that are defined while it runs:
CustomResourceDefinitions.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from kubernetes import client, dynamic, watch

from tests.kube_fixtures import eventually
from tests.kube_shapes import apply_patch, patch, stable, status

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

SCHEMA = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "string", "enum": ["small", "huge"]},
                "count": {"type": "integer", "minimum": 1, "maximum": 5, "default": 2},
                "code": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 4},
                "options": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "width": {"type": "integer"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "note": {"type": "string", "nullable": True},
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "phase": {"type": "string"},
                "replicas": {"type": "integer"},
                "observedGeneration": {"type": "integer"},
            },
        },
    },
}


@pytest.fixture(scope="module")
def group() -> str:
    """An API group that only this module uses."""
    return f"g{secrets.token_hex(4)}.example.com"


def definition(group: str) -> dict[str, Any]:
    """A definition of Widgets with defaults, validation, status, scale and columns."""
    columns = [
        {"name": "Size", "type": "string", "jsonPath": ".spec.size"},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "priority": 1},
    ]
    scale = {"specReplicasPath": ".spec.count", "statusReplicasPath": ".status.replicas"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {"status": {}, "scale": scale},
        "additionalPrinterColumns": columns,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": "widgets",
                "kind": "Widget",
                "shortNames": ["wg"],
                "categories": ["toys"],
            },
            "versions": [version],
        },
    }


@pytest.fixture
def widgets(http: httpx.Client, group: str, namespace: str) -> Iterator[str]:
    """The path of the Widgets of a fresh namespace; the definition is there and served."""
    answer = http.post(DEFINITIONS, json=definition(group))
    assert answer.status_code in (201, 409), answer.text
    path = f"/apis/{group}/v1/namespaces/{namespace}/widgets"
    eventually(lambda: http.get(path).status_code == 200, "widgets are served")
    yield path
    for item in http.get(path).json()["items"]:
        http.delete(f"{path}/{item['metadata']['name']}")


def widget(group: str, name: str = "one", **spec: Any) -> dict[str, Any]:
    """A Widget manifest, small unless told."""
    metadata = {"name": name}
    return {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": metadata,
        "spec": {"size": "small", **spec},
    }


def test_definition_is_established(http: httpx.Client, widgets: str, group: str) -> None:
    """A definition completes its names and says NamesAccepted and Established."""
    stored = http.get(f"{DEFINITIONS}/widgets.{group}").json()
    assert stored["status"]["acceptedNames"] == {
        "plural": "widgets",
        "singular": "widget",
        "shortNames": ["wg"],
        "kind": "Widget",
        "listKind": "WidgetList",
        "categories": ["toys"],
    }
    conditions = {
        entry["type"]: (entry["status"], entry["reason"])
        for entry in stored["status"]["conditions"]
    }
    assert conditions == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert stored["status"]["storedVersions"] == ["v1"]
    assert stored["spec"]["conversion"] == {"strategy": "None"}


def test_definition_is_discovered(http: httpx.Client, widgets: str, group: str) -> None:
    """The group appears in discovery with its resource and subresources."""
    listed = {entry["name"]: entry for entry in http.get(f"/apis/{group}/v1").json()["resources"]}
    assert sorted(listed) == ["widgets", "widgets/scale", "widgets/status"]
    entry = listed["widgets"]
    assert (entry["kind"], entry["singularName"], entry["shortNames"], entry["categories"]) == (
        "Widget",
        "widget",
        ["wg"],
        ["toys"],
    )
    assert sorted(entry["verbs"]) == sorted(
        ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
    )
    preferred = [
        entry["preferredVersion"]["version"]
        for entry in http.get("/apis").json()["groups"]
        if entry["name"] == group
    ]
    assert preferred == ["v1"]


def test_defaults_and_pruning(http: httpx.Client, widgets: str, group: str, namespace: str) -> None:
    """Defaults are filled in, unknown fields dropped but where they are preserved, status dropped
    on create.
    """
    body = {
        **widget(group, extra=1, options={"any": ["thing"]}),
        "status": {"phase": "New"},
        "other": True,
    }
    answer = http.post(widgets, json=body)
    assert (answer.status_code, stable(answer.json())) == (
        201,
        {
            "apiVersion": f"{group}/v1",
            "kind": "Widget",
            "metadata": {"name": "one", "namespace": namespace, "generation": 1},
            "spec": {"size": "small", "count": 2, "options": {"any": ["thing"]}},
        },
    )


@pytest.mark.parametrize(
    "spec, field, reason, message",
    [
        pytest.param(
            {"size": "odd"},
            "spec.size",
            "FieldValueNotSupported",
            'Unsupported value: "odd": supported values: "small", "huge"',
            id="enum",
        ),
        pytest.param(
            {"count": 9},
            "spec.count",
            "FieldValueInvalid",
            "Invalid value: 9: spec.count in body should be less than or equal to 5",
            id="maximum",
        ),
        pytest.param(
            {"count": 0},
            "spec.count",
            "FieldValueInvalid",
            "Invalid value: 0: spec.count in body should be greater than or equal to 1",
            id="minimum",
        ),
        pytest.param(
            {"code": "A1"},
            "spec.code",
            "FieldValueInvalid",
            "Invalid value: \"A1\": spec.code in body should match '^[a-z]+$'",
            id="pattern",
        ),
        pytest.param(
            {"width": "two"},
            "spec.width",
            "FieldValueInvalid",
            'Invalid value: "string": spec.width in body must be of type integer: "string"',
            id="type",
        ),
    ],
)
def test_validation(
    http: httpx.Client,
    widgets: str,
    group: str,
    spec: dict[str, Any],
    field: str,
    reason: str,
    message: str,
) -> None:
    """A value outside the schema is refused with the field, the fault and a sentence."""
    answer = http.post(widgets, json=widget(group, **spec))
    told = answer.json()
    # Later servers order supported values by name and say "FieldValueTypeInvalid" for a wrong type.
    assert (answer.status_code, told) == (
        422,
        status(
            422,
            "Invalid",
            f'Widget.{group} "one" is invalid: {field}: {message}',
            name="one",
            group=group,
            kind="Widget",
            causes=[{"reason": reason, "message": message, "field": field}],
        ),
    )


def test_required_field(http: httpx.Client, widgets: str, group: str) -> None:
    """What is required and absent is named."""
    body = widget(group)
    body["spec"] = {}
    answer = http.post(widgets, json=body)
    assert (answer.status_code, answer.json()["details"]["causes"]) == (
        422,
        [{"reason": "FieldValueRequired", "message": "Required value", "field": "spec.size"}],
    )


def test_too_long_is_refused(http: httpx.Client, widgets: str, group: str) -> None:
    """Two faults are told in one answer."""
    answer = http.post(widgets, json=widget(group, size="odd", code="abcdef"))
    assert answer.status_code == 422
    assert sorted(cause["field"] for cause in answer.json()["details"]["causes"]) == [
        "spec.code",
        "spec.size",
    ]
    assert answer.json()["message"].startswith(f'Widget.{group} "one" is invalid: [')


def test_status_and_generation(http: httpx.Client, widgets: str, group: str) -> None:
    """Status has its own endpoint; generation follows everything but metadata and status."""
    path = f"{widgets}/one"
    http.post(widgets, json=widget(group))
    assert patch(http, path, {"status": {"phase": "Ready"}}, "merge").json().get("status") is None
    told = patch(
        http,
        f"{path}/status",
        {"status": {"phase": "Ready", "junk": 1}, "spec": {"count": 3}},
        "merge",
    )
    assert (
        told.json()["status"],
        told.json()["spec"]["count"],
        told.json()["metadata"]["generation"],
    ) == (
        {"phase": "Ready"},
        2,
        1,
    )
    changed = patch(
        http, path, {"spec": {"count": 3}, "metadata": {"labels": {"a": "b"}}}, "merge"
    ).json()
    assert (changed["metadata"]["generation"], changed["status"]) == (2, {"phase": "Ready"})


def test_strategic_merge_is_not_for_custom_resources(
    http: httpx.Client, widgets: str, group: str
) -> None:
    """Custom resources have no merge keys: 415, and kubectl falls back to a merge patch."""
    http.post(widgets, json=widget(group))
    answer = patch(http, f"{widgets}/one", {"spec": {"count": 3}}, "strategic-merge")
    assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedMediaType")


def test_apply_of_a_custom_resource(http: httpx.Client, widgets: str, group: str) -> None:
    """Server-side apply owns single fields of a custom resource, and validates them."""
    path = f"{widgets}/one"
    assert apply_patch(http, path, widget(group, count=3), "us").status_code == 201
    conflict = apply_patch(http, path, widget(group, count=4), "them")
    assert (conflict.status_code, conflict.json()["message"]) == (
        409,
        'Apply failed with 1 conflict: conflict with "us": .spec.count',
    )
    # Dropped by its only owner, the field gets its default again.
    assert apply_patch(http, path, widget(group), "us").json()["spec"] == {
        "size": "small",
        "count": 2,
    }
    assert apply_patch(http, path, widget(group, count=9), "us").status_code == 422


def test_scale_of_a_custom_resource(http: httpx.Client, widgets: str, group: str) -> None:
    """The scale subresource follows the paths that the definition names."""
    http.post(widgets, json=widget(group, count=3))
    assert http.get(f"{widgets}/one/scale").json()["spec"] == {"replicas": 3}
    patch(http, f"{widgets}/one/scale", {"spec": {"replicas": 4}}, "merge")
    assert http.get(f"{widgets}/one").json()["spec"]["count"] == 4


def test_table_has_the_columns(http: httpx.Client, widgets: str, group: str) -> None:
    """A Table shows the definition's columns, empty where the path leads nowhere."""
    http.post(widgets, json=widget(group))
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = http.get(widgets, headers=accept).json()
    assert [(column["name"], column["priority"]) for column in table["columnDefinitions"]] == [
        ("Name", 0),
        ("Size", 0),
        ("Phase", 1),
    ]
    assert table["rows"][0]["cells"] == ["one", "small", None]


def test_official_dynamic_client(
    api_client: client.ApiClient, widgets: str, group: str, namespace: str
) -> None:
    """The official client discovers, creates, lists, watches and deletes custom resources."""
    api = dynamic.DynamicClient(api_client).resources.get(api_version=f"{group}/v1", kind="Widget")
    made = api.create(body=widget(group, "mine"), namespace=namespace)
    assert (made.metadata.generation, made.spec.count) == (1, 2)
    events = api.watch(namespace=namespace, timeout=5)
    assert next(events)["raw_object"]["metadata"]["name"] == "mine"
    assert [item.metadata.name for item in api.get(namespace=namespace).items] == ["mine"]
    api.delete(name="mine", namespace=namespace)
    with pytest.raises(dynamic.exceptions.NotFoundError):
        api.get(name="mine", namespace=namespace)


def test_official_typed_client(api_client: client.ApiClient, namespace: str) -> None:
    """The official typed client creates, patches, watches and deletes a Secret."""
    core = client.CoreV1Api(api_client)
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name="mine"), string_data={"a": "b"})
    made = core.create_namespaced_secret(namespace, secret)
    assert (made.type, made.data, made.string_data) == ("Opaque", {"a": "Yg=="}, None)
    core.patch_namespaced_secret("mine", namespace, {"stringData": {"a": "c"}})
    stream = watch.Watch().stream(
        core.list_namespaced_secret,
        namespace,
        field_selector="metadata.name=mine",
        resource_version=made.metadata.resource_version,
        timeout_seconds=5,
    )
    event = next(stream)
    assert (event["type"], event["object"].data) == ("MODIFIED", {"a": "Yw=="})
    stream.close()
    assert core.delete_namespaced_secret("mine", namespace).status == "Success"


def test_invalid_definition_is_refused(http: httpx.Client) -> None:
    """A definition without a schema, or whose name is not plural.group, is refused by field."""
    body = definition("wrong.example.com")
    body["metadata"]["name"] = "others.wrong.example.com"
    answer = http.post(DEFINITIONS, json=body)
    assert (answer.status_code, answer.json()["details"]["causes"]) == (
        422,
        [
            {
                "reason": "FieldValueInvalid",
                "message": (
                    'Invalid value: "others.wrong.example.com": must be '
                    'spec.names.plural+"."+spec.group'
                ),
                "field": "metadata.name",
            }
        ],
    )


def test_deleted_definition_takes_its_objects(http: httpx.Client, namespace: str) -> None:
    """Deleting a definition deletes its objects, and the kind is no longer served."""
    group = f"d{secrets.token_hex(4)}.example.com"
    http.post(DEFINITIONS, json=definition(group)).raise_for_status()
    path = f"/apis/{group}/v1/namespaces/{namespace}/widgets"
    eventually(
        lambda: http.post(path, json=widget(group)).status_code in (201, 409), "a widget is made"
    )
    http.delete(f"{DEFINITIONS}/widgets.{group}")
    eventually(lambda: http.get(path).status_code == 404, "widgets are no longer served")
    eventually(
        lambda: http.get(f"{DEFINITIONS}/widgets.{group}").status_code == 404,
        "the definition is gone",
    )
    # The real server takes a group off its list a moment later.
    eventually(
        lambda: group not in [entry["name"] for entry in http.get("/apis").json()["groups"]],
        "the group is not listed",
    )
