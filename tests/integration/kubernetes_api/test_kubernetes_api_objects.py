"""Objects over the API server: versions, generations, validation, patches, deletion, as the real
server answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client

Json = dict[str, Any]

MERGE = {"Content_Type": "application/merge-patch+json"}


def deployment(name: str, image: str = "nginx:1") -> Json:
    container = {"name": "web", "image": image, "env": [{"name": "A", "value": "1"}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def test_a_new_object_gets_what_every_object_has(
    make_widget: Callable[..., Json], namespace: str
) -> None:
    """uid, resourceVersion, creationTimestamp, generation 1 and the schema's defaults are filled
    in.
    """
    made = make_widget("a")
    assert made["metadata"]["namespace"] == namespace
    assert made["metadata"]["generation"] == 1
    assert int(made["metadata"]["resourceVersion"]) > 0
    assert len(made["metadata"]["uid"]) == 36
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert made["spec"] == {"engine": "mysql", "replicas": 1}


def test_status_is_not_taken_at_creation_and_unknown_fields_are_pruned(
    cluster: Any, widgets: str
) -> None:
    """With a status subresource the body's status is dropped; fields outside the schema are too."""
    body = {
        "apiVersion": "demo.io/v1",
        "kind": "Widget",
        "metadata": {"name": "a"},
        "status": {"x": 1},
    }
    code, made = cluster.raw(
        "POST", widgets, {**body, "spec": {"engine": "mysql", "junk": 1, "free": {"kept": 1}}}
    )
    assert code == 201
    assert "status" not in made
    assert made["spec"] == {"engine": "mysql", "free": {"kept": 1}, "replicas": 1}


def test_generation_counts_spec_changes_only(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """A label or a status does not change the generation, a spec does; what changes nothing changes
    no version.
    """
    version = make_widget("a")["metadata"]["resourceVersion"]
    code, same = cluster.raw("PATCH", f"{widgets}/a", {"spec": {"engine": "mysql"}}, **MERGE)
    assert (code, same["metadata"]["resourceVersion"]) == (200, version)
    _, labelled = cluster.raw(
        "PATCH", f"{widgets}/a", {"metadata": {"labels": {"x": "y"}}}, **MERGE
    )
    assert labelled["metadata"]["generation"] == 1
    _, status = cluster.raw(
        "PATCH", f"{widgets}/a/status", {"status": {"n": 1}, "spec": {"replicas": 9}}, **MERGE
    )
    assert (status["metadata"]["generation"], status["status"], status["spec"]["replicas"]) == (
        1,
        {"n": 1},
        1,
    )
    _, changed = cluster.raw(
        "PATCH", f"{widgets}/a", {"spec": {"replicas": 2}, "status": {"n": 2}}, **MERGE
    )
    assert (changed["metadata"]["generation"], changed["status"]) == (2, {"n": 1})


@pytest.mark.parametrize(
    "spec, field, reason, message",
    [
        pytest.param({}, "spec.engine", "FieldValueRequired", "Required value", id="required"),
        pytest.param(
            {"engine": "x"},
            "spec.engine",
            "FieldValueNotSupported",
            'Unsupported value: "x": supported values: "postgres", "mysql"',
            id="enum",
        ),
        pytest.param(
            {"engine": "mysql", "replicas": 0},
            "spec.replicas",
            "FieldValueInvalid",
            "Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
            id="minimum",
        ),
        pytest.param(
            {"engine": "mysql", "port": 1.5},
            "spec.port",
            "FieldValueInvalid",
            'Invalid value: "number": spec.port in body must be of type integer,string: "number"',
            id="int-or-string",
        ),
        pytest.param(
            {"engine": "mysql", "replicas": "x"},
            "spec.replicas",
            "FieldValueInvalid",
            'Invalid value: "string": spec.replicas in body must be of type integer: "string"',
            id="type",
        ),
    ],
)
def test_the_schema_refuses(
    cluster: Any, widgets: str, spec: Json, field: str, reason: str, message: str
) -> None:
    """422, reason Invalid, a cause that names the field in the real server's words."""
    body = {"apiVersion": "demo.io/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec}
    code, status = cluster.raw("POST", widgets, body)
    assert (code, status["reason"]) == (422, "Invalid")
    assert status["message"] == f'Widget.demo.io "a" is invalid: {field}: {message}'
    assert status["details"]["causes"] == [{"reason": reason, "message": message, "field": field}]


def test_a_stale_update_is_a_conflict(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """409 with the sentence that clients look for; an update without a version is refused for
    custom resources.
    """
    made = make_widget("a")
    cluster.raw("PATCH", f"{widgets}/a", {"spec": {"replicas": 2}}, **MERGE)
    code, status = cluster.raw("PUT", f"{widgets}/a", made)
    assert (code, status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        'Operation cannot be fulfilled on widgets.demo.io "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    del made["metadata"]["resourceVersion"]
    code, status = cluster.raw("PUT", f"{widgets}/a", made)
    assert (code, status["details"]["causes"][0]["field"]) == (422, "metadata.resourceVersion")


@pytest.mark.parametrize(
    "kind, patch, expected",
    [
        pytest.param(
            "merge-patch", {"spec": {"replicas": 3, "note": None}}, {"replicas": 3}, id="merge"
        ),
        pytest.param(
            "json-patch",
            [{"op": "replace", "path": "/spec/replicas", "value": 4}],
            {"replicas": 4},
            id="json",
        ),
    ],
)
def test_patch_types_of_custom_resources(
    cluster: Any,
    widgets: str,
    make_widget: Callable[..., Json],
    kind: str,
    patch: Any,
    expected: Json,
) -> None:
    """Merge and JSON patches change what they name."""
    make_widget("a")
    code, patched = cluster.raw(
        "PATCH", f"{widgets}/a", patch, Content_Type=f"application/{kind}+json"
    )
    assert (code, patched["spec"]) == (200, {"engine": "mysql", **expected})


def test_custom_resources_refuse_strategic_patches(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """415 names what is accepted."""
    make_widget("a")
    code, status = cluster.raw(
        "PATCH", f"{widgets}/a", {}, Content_Type="application/strategic-merge-patch+json"
    )
    assert (code, status["reason"]) == (415, "UnsupportedMediaType")
    assert "application/merge-patch+json" in status["message"]


def test_a_strategic_patch_merges_containers_by_name(cluster: Any, namespace: str) -> None:
    """The named container changes and keeps its environment; the selector cannot change."""
    made = cluster.apps.create_namespaced_deployment(namespace, deployment("web"))
    assert (made.spec.replicas, made.spec.strategy.rolling_update.max_surge) == (1, "25%")
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:2"}]}}}}
    patched = cluster.apps.patch_namespaced_deployment("web", namespace, patch)
    (container,) = patched.spec.template.spec.containers
    assert (container.image, container.env[0].name, patched.metadata.generation) == (
        "nginx:2",
        "A",
        2,
    )
    with pytest.raises(client.ApiException) as refused:
        cluster.apps.patch_namespaced_deployment(
            "web", namespace, {"spec": {"selector": {"matchLabels": {"app": "x"}}}}
        )
    assert refused.value.status == 422


def test_finalizers_hold_an_object_until_they_are_gone(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """Deletion marks it; removing the last finalizer removes it; a new finalizer is refused
    meanwhile.
    """
    make_widget("a", finalizers=["kubestorm.io/cleanup"])
    code, marked = cluster.raw("DELETE", f"{widgets}/a")
    assert (code, marked["metadata"]["generation"]) == (200, 2)
    assert marked["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["kubestorm.io/cleanup", "demo.io/late"]}}
    assert cluster.raw("PATCH", f"{widgets}/a", more, **MERGE)[0] == 422
    assert (
        cluster.raw("PATCH", f"{widgets}/a", {"metadata": {"finalizers": None}}, **MERGE)[0] == 200
    )
    assert cluster.raw("GET", f"{widgets}/a")[0] == 404


def test_delete_preconditions(cluster: Any, widgets: str, make_widget: Callable[..., Json]) -> None:
    """Another uid is 409; the right one deletes and answers with a Status."""
    made = make_widget("a")
    assert cluster.raw("DELETE", f"{widgets}/a", {"preconditions": {"uid": "x"}})[0] == 409
    code, status = cluster.raw(
        "DELETE", f"{widgets}/a", {"preconditions": {"uid": made["metadata"]["uid"]}}
    )
    uid = made["metadata"]["uid"]
    assert (code, status["status"]) == (200, "Success")
    assert status["details"] == {"name": "a", "group": "demo.io", "kind": "widgets", "uid": uid}


def test_dry_runs_change_nothing(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """dryRun=All answers as if, for a create, a patch and a delete."""
    before = make_widget("a")
    assert (
        cluster.raw("POST", f"{widgets}?dryRun=All", {**before, "metadata": {"name": "b"}})[0]
        == 201
    )
    assert (
        cluster.raw("PATCH", f"{widgets}/a?dryRun=All", {"spec": {"replicas": 5}}, **MERGE)[1][
            "spec"
        ]["replicas"]
        == 5
    )
    assert cluster.raw("DELETE", f"{widgets}/a?dryRun=All")[0] == 200
    _, items = cluster.raw("GET", widgets)
    assert items["items"] == [before]


def test_generate_name_and_names(cluster: Any, widgets: str) -> None:
    """generateName adds five letters; a name that is none is refused in the real server's words."""
    body: Json = {"apiVersion": "demo.io/v1", "kind": "Widget", "spec": {"engine": "mysql"}}
    code, made = cluster.raw("POST", widgets, {**body, "metadata": {"generateName": "w-"}})
    assert (code, len(made["metadata"]["name"])) == (201, 7)
    code, status = cluster.raw("POST", widgets, {**body, "metadata": {"name": "A_b"}})
    assert (code, status["details"]["causes"][0]["field"]) == (422, "metadata.name")
    assert "a lowercase RFC 1123 subdomain must consist of" in status["message"]


def test_scale(cluster: Any, widgets: str, make_widget: Callable[..., Json]) -> None:
    """The scale subresource reads and writes the replicas at the CRD's path."""
    make_widget("a")
    assert cluster.raw("GET", f"{widgets}/a/scale")[1]["spec"] == {"replicas": 1}
    code, scaled = cluster.raw("PATCH", f"{widgets}/a/scale", {"spec": {"replicas": 3}}, **MERGE)
    assert (code, scaled["kind"], scaled["spec"]) == (200, "Scale", {"replicas": 3})
    assert cluster.raw("GET", f"{widgets}/a")[1]["spec"]["replicas"] == 3


def test_secrets_take_plain_strings(cluster: Any, namespace: str) -> None:
    """stringData is encoded into data and not kept."""
    cluster.core.create_namespaced_secret(
        namespace, {"metadata": {"name": "s"}, "stringData": {"word": "plain"}}
    )
    found = cluster.core.read_namespaced_secret("s", namespace)
    assert (found.data, found.string_data, found.type) == ({"word": "cGxhaW4="}, None, "Opaque")


def test_services_get_addresses(cluster: Any, namespace: str) -> None:
    """A cluster IP each, and a node port where one is asked for."""
    made = [
        cluster.core.create_namespaced_service(
            namespace,
            {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}},
        )
        for name in ("a", "b")
    ]
    assert len({service.spec.cluster_ip for service in made}) == 2
    assert all(30000 <= service.spec.ports[0].node_port <= 32767 for service in made)


def test_an_unknown_namespace_and_one_that_ends(
    cluster: Any, make_widget: Callable[..., Json], namespace: str, widgets: str
) -> None:
    """404 for a namespace that is not there; 403 in one that is being deleted, which ends when its
    last object does.
    """
    code, status = cluster.raw(
        "POST", "/apis/demo.io/v1/namespaces/nope/widgets", {"metadata": {"name": "a"}, "spec": {}}
    )
    assert (code, status["message"]) == (404, 'namespaces "nope" not found')
    make_widget("held", finalizers=["demo.io/hold"])
    make_widget("free")
    cluster.core.delete_namespace(namespace)
    code, found = cluster.raw("GET", f"/api/v1/namespaces/{namespace}")
    assert found["status"]["phase"] == "Terminating"
    messages = {
        c["type"]: c["message"] for c in found["status"]["conditions"] if c["status"] == "True"
    }
    assert messages == {
        "NamespaceContentRemaining": (
            "Some resources are remaining: widgets.demo.io has 1 resource instances"
        ),
        "NamespaceFinalizersRemaining": "Some content in the namespace has finalizers remaining: "
        "demo.io/hold in 1 resource instances",
    }
    code, status = cluster.raw(
        "POST", widgets, {"metadata": {"name": "late"}, "spec": {"engine": "mysql"}}
    )
    assert (code, status["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    cluster.raw("PATCH", f"{widgets}/held", {"metadata": {"finalizers": None}}, **MERGE)
    assert cluster.raw("GET", f"/api/v1/namespaces/{namespace}")[0] == 404


def test_deleting_a_definition_deletes_its_objects(cluster: Any, namespace: str) -> None:
    """Its path is gone as well, until it is created again."""
    names = {"plural": "gizmos", "kind": "Gizmo"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "demo.io", "scope": "Namespaced", "names": names, "versions": [version]}
    definition = {"metadata": {"name": "gizmos.demo.io"}, "spec": spec}
    path = f"/apis/demo.io/v1/namespaces/{namespace}/gizmos"
    made = cluster.definitions.create_custom_resource_definition(definition)
    assert {c.type: c.status for c in made.status.conditions} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert cluster.raw("POST", path, {"metadata": {"name": "g"}, "any": {"thing": 1}})[0] == 201
    cluster.definitions.delete_custom_resource_definition("gizmos.demo.io")
    assert cluster.raw("GET", path)[0] == 404
    cluster.definitions.create_custom_resource_definition(definition)
    assert cluster.raw("GET", path)[1]["items"] == []


@pytest.mark.parametrize(
    "policy, child_is_left", [("Background", False), ("Foreground", False), ("Orphan", True)]
)
def test_garbage_collection_by_owner(
    cluster: Any, widgets: str, make_widget: Callable[..., Json], policy: str, child_is_left: bool
) -> None:
    """Dependents go with their last owner, unless orphaned; then they lose the reference."""
    owner = make_widget("owner")
    reference = {
        "apiVersion": "demo.io/v1",
        "kind": "Widget",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    make_widget("child", ownerReferences=[{**reference, "blockOwnerDeletion": True}])
    cluster.raw("DELETE", f"{widgets}/owner", {"propagationPolicy": policy})
    _, left = cluster.raw("GET", widgets)
    assert [item["metadata"]["name"] for item in left["items"]] == (
        ["child"] if child_is_left else []
    )
    assert all("ownerReferences" not in item["metadata"] for item in left["items"])


def test_foreground_deletion_waits_for_the_dependents(
    cluster: Any, widgets: str, make_widget: Callable[..., Json]
) -> None:
    """The owner stays, marked, until the dependent that blocks it is gone."""
    owner = make_widget("owner")
    reference = {
        "apiVersion": "demo.io/v1",
        "kind": "Widget",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    make_widget(
        "child",
        finalizers=["demo.io/hold"],
        ownerReferences=[{**reference, "blockOwnerDeletion": True}],
    )
    assert cluster.raw("DELETE", f"{widgets}/owner", {"propagationPolicy": "Foreground"})[0] == 202
    _, waiting = cluster.raw("GET", f"{widgets}/owner")
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    cluster.raw("PATCH", f"{widgets}/child", {"metadata": {"finalizers": None}}, **MERGE)
    assert cluster.raw("GET", f"{widgets}/owner")[0] == 404


def apply(
    cluster: Any, path: str, manager: str, spec: Json, force: bool = False
) -> tuple[int, Json]:
    body = {"apiVersion": "demo.io/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec}
    query = f"?fieldManager={manager}" + ("&force=true" if force else "")
    code, answer = cluster.raw(
        "PATCH", path + query, body, Content_Type="application/apply-patch+yaml"
    )
    return code, answer


def test_server_side_apply(cluster: Any, widgets: str) -> None:
    """It creates, drops what its manager no longer names, and conflicts over what another manager
    owns.
    """
    path = f"{widgets}/a"
    assert apply(cluster, path, "one", {"engine": "mysql", "replicas": 2, "note": "x"})[0] == 201
    code, second = apply(cluster, path, "one", {"engine": "mysql", "replicas": 2})
    assert (code, second["spec"]) == (200, {"engine": "mysql", "replicas": 2})
    code, status = apply(cluster, path, "two", {"engine": "mysql", "replicas": 3})
    assert (code, status["reason"]) == (409, "Conflict")
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    cause = {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "one"',
        "field": ".spec.replicas",
    }
    assert status["details"]["causes"] == [cause]
    code, forced = apply(cluster, path, "two", {"engine": "mysql", "replicas": 3}, force=True)
    owners = {
        entry["manager"]: entry["fieldsV1"]["f:spec"]
        for entry in forced["metadata"]["managedFields"]
    }
    assert (code, forced["spec"]["replicas"]) == (200, 3)
    assert owners == {
        "one": {"f:engine": {}},
        "two": {"f:engine": {}, "f:replicas": {}},
    }


def test_events_are_one_kind_under_two_groups(cluster: Any, namespace: str) -> None:
    """An event written to the core group is read from events.k8s.io with that group's names."""
    about = {"kind": "Widget", "name": "a", "namespace": namespace}
    event = {
        "metadata": {"name": "e"},
        "involvedObject": about,
        "reason": "Made",
        "message": "It was made.",
        "type": "Normal",
    }
    cluster.core.create_namespaced_event(namespace, event)
    _, found = cluster.raw("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/e")
    assert (found["apiVersion"], found["regarding"], found["note"]) == (
        "events.k8s.io/v1",
        about,
        "It was made.",
    )
    _, chosen = cluster.raw(
        "GET", f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3Da"
    )
    assert [item["metadata"]["name"] for item in chosen["items"]] == ["e"]
