"""How every Kubernetes API server changes objects: patches, server-side apply, generation, status,
scale, deletion.
"""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import pytest

from tests.kube_fixtures import Kube, eventually, http_client
from tests.kube_shapes import apply_patch, config_map, deployment, names, patch, stable


@pytest.fixture
def maps(namespace: str) -> str:
    """The path of the ConfigMaps of a fresh namespace."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture
def deployments(namespace: str) -> str:
    """The path of the Deployments of a fresh namespace."""
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


def created(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Create and return as stored."""
    answer = http.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


# Patches.


def test_merge_patch(http: httpx.Client, maps: str) -> None:
    """Null removes a key, an object is merged into, anything else replaces (RFC 7386)."""
    created(http, maps, config_map("one", {"a": "1", "b": "2"}))
    answer = patch(http, f"{maps}/one", {"data": {"a": None, "c": "3"}}, "merge")
    assert (answer.status_code, answer.json()["data"]) == (200, {"b": "2", "c": "3"})


def test_json_patch(http: httpx.Client, maps: str) -> None:
    """Operations are applied in order, all or none: a failed test changes nothing (RFC 6902)."""
    created(http, maps, config_map("one", {"a": "1"}))
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "2"},
        {"op": "add", "path": "/metadata/labels", "value": {"x/y": "z"}},
        {"op": "remove", "path": "/metadata/labels/x~1y"},
    ]
    assert patch(http, f"{maps}/one", operations, "json").json()["data"] == {"a": "2"}
    refused = patch(http, f"{maps}/one", operations, "json")
    assert (refused.status_code, refused.json()["reason"]) == (422, "Invalid")
    assert http.get(f"{maps}/one").json()["data"] == {"a": "2"}


def test_patch_with_stale_version(http: httpx.Client, maps: str) -> None:
    """A patch that names a resourceVersion is held to it."""
    first = created(http, maps, config_map("one", {"a": "1"}))
    patch(http, f"{maps}/one", {"data": {"a": "2"}}, "merge")
    stale = {
        "metadata": {"resourceVersion": first["metadata"]["resourceVersion"]},
        "data": {"a": "3"},
    }
    answer = patch(http, f"{maps}/one", stale, "merge")
    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")


def test_patch_of_absent_object(http: httpx.Client, maps: str) -> None:
    """A patch does not create."""
    assert patch(http, f"{maps}/none", {"data": {}}, "merge").status_code == 404


def test_strategic_merge_patch(http: httpx.Client, deployments: str) -> None:
    """Lists of containers merge by name, environment too; `$patch: delete` removes an element."""
    body = deployment("one")
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    created(http, deployments, body)

    def containers(change: list[dict[str, Any]]) -> list[tuple[str, str, list[dict[str, str]]]]:
        wanted = {"spec": {"template": {"spec": {"containers": change}}}}
        answer = patch(http, f"{deployments}/one", wanted, "strategic-merge")
        assert answer.status_code == 200, answer.text
        found = answer.json()["spec"]["template"]["spec"]["containers"]
        return [(entry["name"], entry["image"], entry.get("env", [])) for entry in found]

    a, b = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
    assert containers([{"name": "web", "image": "shop:2", "env": [b]}]) == [
        ("web", "shop:2", [b, a])
    ]
    assert containers([{"name": "side", "image": "side:1"}]) == [
        ("side", "side:1", []),
        ("web", "shop:2", [b, a]),
    ]
    assert containers([{"name": "side", "$patch": "delete"}]) == [("web", "shop:2", [b, a])]


def test_strategic_merge_patch_of_finalizers(http: httpx.Client, maps: str) -> None:
    """Finalizers are merged as a set, and `$deleteFromPrimitiveList` removes one."""
    created(http, maps, config_map("one", finalizers=["example.com/a"]))
    added = patch(
        http, f"{maps}/one", {"metadata": {"finalizers": ["example.com/b"]}}, "strategic-merge"
    ).json()
    assert sorted(added["metadata"]["finalizers"]) == ["example.com/a", "example.com/b"]
    drop = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a", "example.com/b"]}}
    assert (
        "finalizers" not in patch(http, f"{maps}/one", drop, "strategic-merge").json()["metadata"]
    )


# Server-side apply.


def test_apply_creates_and_updates(http: httpx.Client, maps: str) -> None:
    """Apply makes the object (201), and again changes it (200); what the manager no longer says
    goes.
    """
    first = apply_patch(http, f"{maps}/one", config_map("one", {"a": "1", "b": "2"}), "us")
    assert (first.status_code, first.json()["data"]) == (201, {"a": "1", "b": "2"})
    second = apply_patch(http, f"{maps}/one", config_map("one", {"a": "1"}), "us")
    assert (second.status_code, second.json()["data"]) == (200, {"a": "1"})
    owner = second.json()["metadata"]["managedFields"][0]
    assert (owner["manager"], owner["operation"], owner["fieldsType"], owner["fieldsV1"]) == (
        "us",
        "Apply",
        "FieldsV1",
        {"f:data": {"f:a": {}}},
    )


def test_apply_is_idempotent(http: httpx.Client, maps: str) -> None:
    """The same apply again writes nothing."""
    path, body = f"{maps}/one", config_map("one", {"a": "1"})
    first = apply_patch(http, path, body, "us").json()
    assert apply_patch(http, path, body, "us").json() == first


def test_apply_conflicts(http: httpx.Client, maps: str) -> None:
    """Another manager's field cannot be changed unless forced; then it changes hands."""
    path = f"{maps}/one"
    apply_patch(http, path, config_map("one", {"a": "1"}), "first")
    refused = apply_patch(http, path, config_map("one", {"a": "2"}), "second")
    told = refused.json()
    assert (refused.status_code, told["reason"]) == (409, "Conflict")
    assert told["message"] == 'Apply failed with 1 conflict: conflict with "first": .data.a'
    assert told["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "first"', "field": ".data.a"}
    ]
    forced = apply_patch(http, path, config_map("one", {"a": "2"}), "second", force="true")
    assert (forced.status_code, forced.json()["data"]) == (200, {"a": "2"})
    # The first manager owns it no more, so leaving it out removes nothing.
    assert apply_patch(http, path, config_map("one", {"b": "1"}), "first").json()["data"] == {
        "a": "2",
        "b": "1",
    }


def test_apply_shares_what_is_equal(http: httpx.Client, maps: str) -> None:
    """Two managers may say the same; the field goes when the last of them drops it."""
    path = f"{maps}/one"
    for manager in ("first", "second"):
        assert apply_patch(http, path, config_map("one", {"a": "1"}), manager).status_code in (
            200,
            201,
        )
    assert apply_patch(http, path, config_map("one", {}), "first").json()["data"] == {"a": "1"}
    assert apply_patch(http, path, config_map("one", {}), "second").json().get("data", {}) == {}


def test_apply_leaves_what_others_wrote(http: httpx.Client, deployments: str) -> None:
    """What was written by update, and what was defaulted, stays; elements of keyed lists are owned
    one by one.
    """
    path = f"{deployments}/one"
    body = deployment("one", replicas=None)
    apply_patch(http, path, body, "us")
    patch(http, path, {"spec": {"replicas": 4}}, "merge", fieldManager="scaler")
    side = {"name": "side", "image": "side:1"}
    sidecar = {"spec": {"template": {"spec": {"containers": [side]}}}}
    patch(http, path, sidecar, "strategic-merge", fieldManager="injector")
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "shop:2"
    answer = apply_patch(http, path, body, "us")
    assert answer.status_code == 200, answer.text
    spec = answer.json()["spec"]
    images = {entry["name"]: entry["image"] for entry in spec["template"]["spec"]["containers"]}
    assert (spec["replicas"], images) == (4, {"web": "shop:2", "side": "side:1"})


def test_apply_removes_an_element_of_a_keyed_list(http: httpx.Client, deployments: str) -> None:
    """The whole element goes when its one owner no longer names it, and nothing of it stays."""
    body = deployment("one")
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    body["spec"]["template"]["spec"]["containers"][0]["env"] = env
    assert apply_patch(http, f"{deployments}/one", body, "me").status_code == 201
    body["spec"]["template"]["spec"]["containers"][0]["env"] = env[:1]
    answer = apply_patch(http, f"{deployments}/one", body, "me")
    assert answer.status_code == 200, answer.text
    assert answer.json()["spec"]["template"]["spec"]["containers"][0]["env"] == env[:1]


def test_apply_needs_a_manager(http: httpx.Client, maps: str) -> None:
    """Apply without fieldManager is a bad request."""
    answer = http.patch(
        f"{maps}/one",
        json=config_map("one"),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    assert answer.status_code in (
        400,
        422,
    )  # 1.20 says 422 Invalid, as later servers do; clients treat both alike
    assert "fieldManager" in answer.json()["message"]


# Generation, status, scale.


def test_generation_counts_changes_of_spec(http: httpx.Client, deployments: str) -> None:
    """Generation begins at 1, grows with spec, and with neither metadata nor status."""
    path = f"{deployments}/one"
    made = created(http, deployments, deployment("one"))
    assert made["metadata"]["generation"] == 1
    labelled = patch(http, path, {"metadata": {"labels": {"a": "b"}}}, "merge").json()
    assert labelled["metadata"]["generation"] == 1
    scaled = patch(http, path, {"spec": {"paused": True}}, "merge").json()
    assert scaled["metadata"]["generation"] == 2
    told = patch(http, f"{path}/status", {"status": {"observedGeneration": 2}}, "merge").json()
    assert (told["metadata"]["generation"], told["status"]["observedGeneration"]) == (2, 2)


def test_annotations_of_a_deployment_count_too(http: httpx.Client, deployments: str) -> None:
    """Of a Deployment a change of annotations is a new generation as well, unless it is made
    through status.
    """
    path = f"{deployments}/one"
    body = deployment("one")
    body["spec"]["paused"] = True
    created(http, deployments, body)
    through_status = patch(
        http, f"{path}/status", {"metadata": {"annotations": {"a": "1"}}}, "merge"
    ).json()
    assert (
        through_status["metadata"]["annotations"]["a"],
        through_status["metadata"]["generation"],
    ) == ("1", 1)
    directly = patch(http, path, {"metadata": {"annotations": {"a": "2"}}}, "merge").json()
    assert directly["metadata"]["generation"] == 2


def test_status_is_apart_from_spec(http: httpx.Client, deployments: str) -> None:
    """A write of the object leaves status alone; a write of status leaves spec alone; a create
    drops status.
    """
    path = f"{deployments}/one"
    made = created(http, deployments, {**deployment("one"), "status": {"replicas": 7}})
    assert "replicas" not in made["status"]
    patch(http, path, {"spec": {"paused": True}, "status": {"replicas": 8}}, "merge")
    patch(http, f"{path}/status", {"spec": {"paused": False}, "status": {"replicas": 9}}, "merge")
    stored = http.get(path).json()
    assert (stored["spec"]["paused"], stored["status"]["replicas"]) == (True, 9)


def test_scale_subresource(http: httpx.Client, deployments: str, namespace: str) -> None:
    """Scale shows and sets the replicas, and tells the selector as text."""
    path = f"{deployments}/one"
    body = deployment("one", replicas=2)
    body["spec"]["paused"] = True
    created(http, deployments, body)
    scale = http.get(f"{path}/scale").json()
    assert stable(scale) == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {"name": "one", "namespace": namespace},
        "spec": {"replicas": 2},
        "status": {"replicas": scale["status"]["replicas"], "selector": "app=one"},
    }
    assert patch(http, f"{path}/scale", {"spec": {"replicas": 5}}, "merge").json()["spec"] == {
        "replicas": 5
    }
    assert http.get(path).json()["spec"]["replicas"] == 5


def test_defaults_of_a_deployment(http: httpx.Client, deployments: str) -> None:
    """A minimal Deployment is completed as documented."""
    body = deployment("one", replicas=None)
    body["spec"]["paused"] = True
    spec = created(http, deployments, body)["spec"]
    assert (
        spec["replicas"],
        spec["revisionHistoryLimit"],
        spec["progressDeadlineSeconds"],
        spec["strategy"],
    ) == (
        1,
        10,
        600,
        {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    )
    assert stable(spec["template"]["spec"]) == {
        "containers": [
            {
                "name": "web",
                "image": "shop:1",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }


def test_service_gets_an_address(http: httpx.Client, namespace: str) -> None:
    """A Service is given a cluster address, and its ports a protocol and target."""
    path = f"/api/v1/namespaces/{namespace}/services"
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}}
    spec = created(
        http, path, {**body, "spec": {"selector": {"app": "one"}, "ports": [{"port": 80}]}}
    )["spec"]
    address = spec.pop("clusterIP")
    assert address.startswith("10.96.")
    assert (spec["ports"], spec["type"], spec["sessionAffinity"]) == (
        [{"protocol": "TCP", "port": 80, "targetPort": 80}],
        "ClusterIP",
        "None",
    )


# Deletion.


def test_finalizer_holds_deletion(http: httpx.Client, maps: str) -> None:
    """A delete marks the object; it goes when its last finalizer is taken off."""
    path = f"{maps}/one"
    created(http, maps, config_map("one", finalizers=["example.com/hold"]))
    answer = http.delete(path)
    assert (answer.status_code, answer.json()["kind"]) == (200, "ConfigMap")
    marked = http.get(path).json()["metadata"]
    assert (marked["finalizers"], marked["deletionGracePeriodSeconds"]) == (["example.com/hold"], 0)
    again = http.delete(path)
    assert again.json()["metadata"]["deletionTimestamp"] == marked["deletionTimestamp"]
    added = patch(
        http, path, {"metadata": {"finalizers": ["example.com/hold", "example.com/late"]}}, "merge"
    )
    assert (added.status_code, added.json()["reason"]) == (422, "Invalid")
    released = patch(http, path, {"metadata": {"finalizers": None}}, "merge")
    assert released.status_code == 200
    assert http.get(path).status_code == 404


def owned_by(owner: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Owner references to `owner`."""
    return [
        {
            "apiVersion": owner.get("apiVersion", "v1"),
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            **more,
        }
    ]


def test_dependents_go_with_their_owner(http: httpx.Client, maps: str) -> None:
    """When an owner is deleted, in the background by default, what it owns follows, and what that
    owns.
    """
    owner = created(http, maps, config_map("owner"))
    child = created(http, maps, config_map("child", ownerReferences=owned_by(owner)))
    created(http, maps, config_map("grandchild", ownerReferences=owned_by(child)))
    http.delete(f"{maps}/owner")
    eventually(
        lambda: not {"child", "grandchild"} & set(names(http.get(maps))), "the dependents are gone"
    )


def test_orphans_stay(http: httpx.Client, maps: str) -> None:
    """With propagationPolicy Orphan dependents stay and lose their reference."""
    owner = created(http, maps, config_map("owner"))
    created(http, maps, config_map("child", ownerReferences=owned_by(owner)))
    http.delete(f"{maps}/owner", params={"propagationPolicy": "Orphan"})
    eventually(lambda: http.get(f"{maps}/owner").status_code == 404, "the owner is gone")
    assert "ownerReferences" not in http.get(f"{maps}/child").json()["metadata"]


def test_foreground_deletion_waits(http: httpx.Client, maps: str) -> None:
    """In the foreground an owner lingers, marked, until dependents that block it are gone."""
    owner = created(http, maps, config_map("owner"))
    references = owned_by(owner, blockOwnerDeletion=True)
    created(
        http, maps, config_map("child", ownerReferences=references, finalizers=["example.com/hold"])
    )
    http.delete(f"{maps}/owner", params={"propagationPolicy": "Foreground"})
    eventually(
        lambda: "deletionTimestamp" in http.get(f"{maps}/child").json()["metadata"],
        "the child is marked",
    )
    assert http.get(f"{maps}/owner").json()["metadata"]["finalizers"] == ["foregroundDeletion"]
    patch(http, f"{maps}/child", {"metadata": {"finalizers": None}}, "merge")
    eventually(lambda: http.get(f"{maps}/owner").status_code == 404, "the owner is gone")


def test_namespace_deletion_empties_it(http: httpx.Client) -> None:
    """A namespace is Terminating until everything in it is gone; meanwhile nothing can be made in
    it.
    """
    name = f"doomed-{secrets.token_hex(4)}"
    path = f"/api/v1/namespaces/{name}"
    made = created(
        http,
        "/api/v1/namespaces",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
    )
    assert (made["spec"], made["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    created(http, f"{path}/configmaps", config_map("held", finalizers=["example.com/hold"]))
    assert http.delete(path).json()["status"]["phase"] == "Terminating"
    refused = http.post(f"{path}/configmaps", json=config_map("late"))
    assert (refused.status_code, refused.json()["reason"]) == (403, "Forbidden")
    assert refused.json()["message"] == (
        f'configmaps "late" is forbidden: unable to create new content in namespace {name} '
        "because it is being "
        "terminated"
    )
    held = f"{path}/configmaps/held"
    eventually(
        lambda: "deletionTimestamp" in http.get(held).json()["metadata"], "the content is marked"
    )
    assert http.get(path).status_code == 200
    patch(http, held, {"metadata": {"finalizers": None}}, "merge")
    eventually(lambda: http.get(path).status_code == 404, "the namespace is gone")


def test_apply_of_what_is_not_there_needs_create(
    kube: Kube, http: httpx.Client, maps: str, namespace: str
) -> None:
    """To patch is enough for what exists."""
    group = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subjects = [{"kind": "ServiceAccount", "name": "patcher", "namespace": namespace}]
    bound = {"metadata": {"name": "r"}, "roleRef": reference, "subjects": subjects}
    created(http, accounts, {"metadata": {"name": "patcher"}})
    created(http, f"{group}/roles", {"metadata": {"name": "r"}, "rules": [rule]})
    created(http, f"{group}/rolebindings", bound)
    token = created(http, f"{accounts}/patcher/token", {"spec": {}})["status"]["token"]
    with http_client(kube, token) as patcher:

        def said() -> str:
            answer = apply_patch(patcher, f"{maps}/one", config_map("one"), "a")
            assert answer.status_code == 403
            return str(answer.json()["message"])

        eventually(lambda: "cannot patch" not in said(), "the role holds")
        # So says the real one: without a reason.
        assert said() == 'configmaps "one" is forbidden: '
        created(http, maps, config_map("one"))
        assert apply_patch(patcher, f"{maps}/one", config_map("one"), "a").status_code == 200
