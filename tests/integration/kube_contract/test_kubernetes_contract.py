"""What every Kubernetes API server answers to reads, writes, lists, watches and errors; the
sandbox's and the real one.

The expected values are those of the API conventions and of kube-apiserver 1.20. Where later servers
word something differently, the test says so and accepts both.
"""

from __future__ import annotations

import concurrent.futures
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.kube_fixtures import Kube, eventually, http_client
from tests.kube_shapes import config_map, deployment, names, stable, status, watch

Maker = Callable[..., dict[str, Any]]


@pytest.fixture
def maps(namespace: str) -> str:
    """The path of the ConfigMaps of a fresh namespace."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture
def make(http: httpx.Client, maps: str) -> Maker:
    """Creates a ConfigMap in the fresh namespace and returns it as stored."""

    def create(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
        answer = http.post(maps, json=config_map(name, data, **metadata))
        assert answer.status_code == 201, answer.text
        return answer.json()

    return create


# Create, read, replace, delete.


def test_created_object_is_returned_whole(http: httpx.Client, maps: str, namespace: str) -> None:
    """A create answers 201 with the object as stored, with kind, uid, version and time."""
    answer = http.post(maps, json=config_map("one", {"a": "1"}, labels={"app": "x"}))
    made = answer.json()
    assert (answer.status_code, stable(made)) == (
        201,
        config_map("one", {"a": "1"}, namespace=namespace, labels={"app": "x"}),
    )
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["metadata"]["uid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["metadata"]["creationTimestamp"])
    assert made["metadata"]["resourceVersion"].isdigit()
    assert http.get(f"{maps}/one").json() == made


def test_generated_names_differ(make: Maker) -> None:
    """generateName gets five characters appended that are not easily confused."""
    made = [make("", generateName="job-")["metadata"]["name"] for _ in range(2)]
    assert made[0] != made[1]
    assert all(re.fullmatch(r"job-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in made)


def test_second_create_is_refused(http: httpx.Client, maps: str, make: Maker) -> None:
    """A name that is taken gives 409 AlreadyExists."""
    make("one")
    answer = http.post(maps, json=config_map("one"))
    assert (answer.status_code, answer.json()) == (
        409,
        status(
            409, "AlreadyExists", 'configmaps "one" already exists', name="one", kind="configmaps"
        ),
    )


def test_stale_replace_is_refused(http: httpx.Client, maps: str, make: Maker) -> None:
    """A PUT with an older resourceVersion gives 409 Conflict; the newest one is taken, and without
    one too.
    """
    first = make("one", {"a": "1"})
    second = http.put(f"{maps}/one", json={**first, "data": {"a": "2"}})
    assert second.status_code == 200
    refused = http.put(f"{maps}/one", json={**first, "data": {"a": "3"}})
    assert (refused.status_code, refused.json()) == (
        409,
        status(
            409,
            "Conflict",
            'Operation cannot be fulfilled on configmaps "one": the object has been modified; '
            "please apply your changes to the latest version and try again",
            name="one",
            kind="configmaps",
        ),
    )
    unconditional = http.put(f"{maps}/one", json=config_map("one", {"a": "4"}))
    assert (unconditional.status_code, unconditional.json()["data"]) == (200, {"a": "4"})


def test_replace_without_change_keeps_the_version(
    http: httpx.Client, maps: str, make: Maker
) -> None:
    """A write that changes nothing is no write."""
    first = make("one", {"a": "1"})
    assert (
        http.put(f"{maps}/one", json=first).json()["metadata"]["resourceVersion"]
        == (first["metadata"]["resourceVersion"])
    )


def test_other_uid_is_refused(http: httpx.Client, maps: str, make: Maker) -> None:
    """A PUT that names another uid meets another object: 409."""
    first = make("one")
    other = {
        **first,
        "metadata": {**first["metadata"], "uid": "00000000-0000-0000-0000-000000000000"},
    }
    answer = http.put(f"{maps}/one", json=other)
    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
    assert "Precondition failed: UID in precondition" in answer.json()["message"]


def test_name_must_match_the_path(http: httpx.Client, maps: str, make: Maker) -> None:
    """A PUT whose body has another name than the URL is a bad request."""
    make("one")
    answer = http.put(f"{maps}/one", json=config_map("two"))
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")
    assert answer.json()["message"] == (
        "the name of the object (two) does not match the name on the URL (one)"
    )


def test_delete_answers_success(http: httpx.Client, maps: str, make: Maker) -> None:
    """A delete that is done at once answers a Status with what was deleted."""
    uid = make("one")["metadata"]["uid"]
    answer = http.delete(f"{maps}/one")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {"name": "one", "kind": "configmaps", "uid": uid},
        },
    )
    assert http.get(f"{maps}/one").status_code == 404


def test_delete_precondition(http: httpx.Client, maps: str, make: Maker) -> None:
    """A delete for another uid or version is refused with 409 and changes nothing."""
    make("one")
    for precondition in ({"uid": "no"}, {"resourceVersion": "1"}):
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": precondition}
        answer = http.request("DELETE", f"{maps}/one", json=options)
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
    assert http.get(f"{maps}/one").status_code == 200


def test_dry_run_changes_nothing(http: httpx.Client, maps: str, make: Maker) -> None:
    """With dryRun=All every write answers as if done, and nothing is."""
    assert http.post(maps, params={"dryRun": "All"}, json=config_map("ghost")).status_code == 201
    assert http.get(f"{maps}/ghost").status_code == 404
    first = make("one", {"a": "1"})
    changed = http.put(f"{maps}/one", params={"dryRun": "All"}, json={**first, "data": {"a": "2"}})
    assert (changed.status_code, changed.json()["data"]) == (200, {"a": "2"})
    assert http.delete(f"{maps}/one", params={"dryRun": "All"}).status_code == 200
    assert http.get(f"{maps}/one").json() == first


def test_delete_collection_by_selector(http: httpx.Client, maps: str, make: Maker) -> None:
    """Deleting a collection removes what the selector names and leaves the rest."""
    for name, app in (("a", "x"), ("b", "x"), ("c", "y")):
        make(name, labels={"app": app})
    assert http.delete(maps, params={"labelSelector": "app=x"}).status_code == 200
    assert names(http.get(maps, params={"labelSelector": "app"})) == ["c"]


def test_one_of_many_creates_wins(http: httpx.Client, namespace: str) -> None:
    """Of ten creates of one Lease at once, one is answered 201 and nine 409."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    def create(holder: int) -> int:
        metadata = {"name": "only"}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
        return http.post(
            path, json={**lease, "spec": {"holderIdentity": f"holder-{holder}"}}
        ).status_code

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(create, range(10))) == [201] + [409] * 9


def test_lease_is_passed_on_by_version(http: httpx.Client, namespace: str) -> None:
    """Who renews a Lease with the version that he read wins; who comes second is told 409."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    metadata = {"name": "only"}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
    made = http.post(
        path, json={**lease, "spec": {"renewTime": "2026-01-02T03:04:05.000006Z"}}
    ).json()
    assert made["spec"] == {"renewTime": "2026-01-02T03:04:05.000006Z"}
    codes = [
        http.put(f"{path}/only", json={**made, "spec": {"holderIdentity": holder}}).status_code
        for holder in ("a", "b")
    ]
    assert codes == [200, 409]


# Errors.


def test_absent_object(http: httpx.Client, maps: str) -> None:
    """404 names the plural and the name."""
    answer = http.get(f"{maps}/none")
    assert (answer.status_code, answer.json()) == (
        404,
        status(404, "NotFound", 'configmaps "none" not found', name="none", kind="configmaps"),
    )


def test_absent_object_of_a_group(http: httpx.Client, namespace: str) -> None:
    """404 names the group beside the plural where there is one."""
    answer = http.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/none")
    assert answer.json() == status(
        404,
        "NotFound",
        'deployments.apps "none" not found',
        name="none",
        group="apps",
        kind="deployments",
    )


def test_unknown_resource(http: httpx.Client, namespace: str) -> None:
    """A resource that the group has not gives a Status of 404; an unknown group plain text."""
    answer = http.get(f"/api/v1/namespaces/{namespace}/nothings")
    assert (answer.status_code, answer.json()) == (
        404,
        status(404, "NotFound", "the server could not find the requested resource"),
    )
    group = http.get("/apis/nothing.example.com/v1/things")
    assert (group.status_code, group.text) == (404, "404 page not found\n")


def test_invalid_object_names_each_cause(http: httpx.Client, namespace: str) -> None:
    """422 lists every field at fault, with its path, kind of fault and a sentence."""
    body = deployment("one")
    body["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    body["spec"]["replicas"] = -1
    answer = http.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", json=body)
    told = answer.json()
    assert (
        answer.status_code,
        told["reason"],
        told["details"]["kind"],
        told["details"]["group"],
    ) == (
        422,
        "Invalid",
        "Deployment",
        "apps",
    )
    assert told["message"].startswith('Deployment.apps "one" is invalid: [')
    assert sorted(told["details"]["causes"], key=lambda cause: cause["field"]) == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: -1: must be greater than or equal to 0",
            "field": "spec.replicas",
        },
        {
            "reason": "FieldValueInvalid",
            "message": (
                'Invalid value: map[string]string{"app":"other"}: `selector` does not match '
                "template `labels`"
            ),
            "field": "spec.template.metadata.labels",
        },
    ]


def test_invalid_name(http: httpx.Client, maps: str) -> None:
    """A name that is no DNS subdomain is refused with the rule."""
    answer = http.post(maps, json=config_map("Bad_Name"))
    told = answer.json()
    assert (answer.status_code, told["reason"]) == (422, "Invalid")
    # Since 1.23 "lowercase RFC 1123 subdomain" replaces "DNS-1123 subdomain".
    assert re.match(
        r'ConfigMap "Bad_Name" is invalid: metadata\.name: Invalid value: "Bad_Name": '
        r"a (DNS-1123|lowercase RFC 1123) subdomain must consist of lower case alphanumeric "
        r"characters",
        told["message"],
    )
    assert [cause["field"] for cause in told["details"]["causes"]] == ["metadata.name"]


@pytest.mark.parametrize(
    "content, content_type, code, reason",
    [
        pytest.param("{", "application/json", 400, "BadRequest", id="no JSON"),
        pytest.param("<a/>", "application/xml", 415, "UnsupportedMediaType", id="no known type"),
    ],
)
def test_unreadable_body(
    http: httpx.Client, maps: str, content: str, content_type: str, code: int, reason: str
) -> None:
    """What cannot be read is refused as such."""
    answer = http.post(maps, content=content, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["reason"]) == (code, reason)


def test_unsupported_patch_type(http: httpx.Client, maps: str, make: Maker) -> None:
    """An unknown patch type is refused as such."""
    make("one")
    answer = http.patch(f"{maps}/one", content="{}", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedMediaType")
    # A later server's message also lists the types that it knows.
    assert answer.json()["message"].startswith(
        ("415: Unsupported Media Type", "the body of the request was in an")
    )


def test_wrong_namespace_in_body(http: httpx.Client, maps: str) -> None:
    """A body for another namespace than the URL's is a bad request."""
    answer = http.post(maps, json=config_map("one", namespace="elsewhere"))
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    )


def test_create_in_absent_namespace(http: httpx.Client) -> None:
    """Nothing can be made in a namespace that is not there."""
    answer = http.post("/api/v1/namespaces/nowhere/configmaps", json=config_map("one"))
    assert (answer.status_code, answer.json()["message"]) == (404, 'namespaces "nowhere" not found')


def test_unknown_token(http: httpx.Client, maps: str) -> None:
    """A token that nobody has gives 401."""
    answer = http.get(maps, headers={"Authorization": "Bearer nobody"})
    told = answer.json()
    assert (answer.status_code, told["reason"], told["message"], told["code"]) == (
        401,
        "Unauthorized",
        "Unauthorized",
        401,
    )


def test_anonymous_is_forbidden(kube: Kube, maps: str, namespace: str) -> None:
    """Without a token one is system:anonymous, who may do nothing here."""
    with http_client(kube, None) as nobody:
        answer = nobody.get(maps)
    assert (answer.status_code, answer.json()) == (
        403,
        status(
            403,
            "Forbidden",
            'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" '
            f'in API group "" in the namespace "{namespace}"',
            kind="configmaps",
        ),
    )


# Lists.


def test_list_is_sorted_and_typed(http: httpx.Client, maps: str, make: Maker) -> None:
    """A list has the kind ...List, a version, and its items by name without kind and apiVersion."""
    for name in ("b", "a", "c"):
        make(name, labels={"ours": ""})
    answer = http.get(maps, params={"labelSelector": "ours"}).json()
    assert (answer["kind"], answer["apiVersion"]) == ("ConfigMapList", "v1")
    assert answer["metadata"]["resourceVersion"].isdigit()
    assert [item["metadata"]["name"] for item in answer["items"]] == ["a", "b", "c"]
    assert all("kind" not in item for item in answer["items"])


def test_paging_sees_one_moment(http: httpx.Client, maps: str, make: Maker) -> None:
    """Pages continue the list as it was at the first page, with what is left counted."""
    for name in ("a", "b", "c"):
        make(name, labels={"ours": ""})
    ours = {"limit": "2"}
    first = http.get(maps, params=ours).json()
    make("bb", labels={"ours": ""})
    second = http.get(maps, params={**ours, "continue": first["metadata"]["continue"]}).json()
    seen = [item["metadata"]["name"] for item in first["items"] + second["items"]]
    assert [name for name in seen if name != "kube-root-ca.crt"] == ["a", "b", "c"]
    assert first["metadata"]["remainingItemCount"] == len(seen) - 2
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in second["metadata"]


@pytest.mark.parametrize(
    "selector, expected",
    [
        ("app=x", ["a", "b"]),
        ("app==x,tier!=back", ["a"]),
        ("app in (x,y)", ["a", "b", "c"]),
        ("app notin (x),app", ["c"]),
        ("tier", ["b"]),
        ("!tier,app", ["a", "c"]),
    ],
)
def test_label_selectors(
    http: httpx.Client, maps: str, make: Maker, selector: str, expected: list[str]
) -> None:
    """Equality, inequality, sets and existence select as documented."""
    for name, labels in (
        ("a", {"app": "x"}),
        ("b", {"app": "x", "tier": "back"}),
        ("c", {"app": "y"}),
    ):
        make(name, labels=labels)
    assert names(http.get(maps, params={"labelSelector": selector})) == expected


def test_malformed_label_selector(http: httpx.Client, maps: str) -> None:
    """A selector that cannot be read is a bad request."""
    answer = http.get(maps, params={"labelSelector": "app in x"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")


def test_field_selectors(http: httpx.Client, maps: str, make: Maker, namespace: str) -> None:
    """metadata.name and metadata.namespace can be selected; what is not known is refused."""
    make("a")
    make("b")
    assert names(http.get(maps, params={"fieldSelector": "metadata.name=a"})) == ["a"]
    everywhere = {
        "fieldSelector": f"metadata.namespace={namespace},metadata.name!=kube-root-ca.crt"
    }
    assert names(http.get("/api/v1/configmaps", params=everywhere)) == ["a", "b"]
    refused = http.get(maps, params={"fieldSelector": "data.x=1"})
    assert (refused.status_code, refused.json()["message"]) == (
        400,
        '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
    )


# Watches.


def test_watch_resumes_after_a_version(http: httpx.Client, maps: str, make: Maker) -> None:
    """A watch from a version tells every later change in order, with the object as it was then, and
    ends in time.
    """
    version = make("zero", labels={"ours": ""})["metadata"]["resourceVersion"]
    first = make("one", {"a": "1"}, labels={"ours": ""})
    http.put(f"{maps}/one", json={**first, "data": {"a": "2"}})
    http.delete(f"{maps}/one")
    query = {"resourceVersion": version, "labelSelector": "ours", "timeoutSeconds": "1"}
    seen = [
        (event["type"], event["object"]["metadata"]["name"], event["object"]["data"])
        for event in watch(http, maps, **query)
    ]
    assert seen == [
        ("ADDED", "one", {"a": "1"}),
        ("MODIFIED", "one", {"a": "2"}),
        ("DELETED", "one", {"a": "2"}),
    ]


def test_watch_without_version_begins_with_all(http: httpx.Client, maps: str, make: Maker) -> None:
    """A watch without a version first tells what there is."""
    made = make("one", labels={"ours": ""})
    event = next(watch(http, maps, labelSelector="ours"))
    assert event == {"type": "ADDED", "object": made}


def test_watch_with_selector_tells_of_leaving(http: httpx.Client, maps: str, make: Maker) -> None:
    """An object that no longer matches the selector is told as DELETED, one that begins to match as
    ADDED.
    """
    made = make("one", labels={"app": "x"})
    version = made["metadata"]["resourceVersion"]
    for app in ("y", "x"):
        http.put(f"{maps}/one", json=config_map("one", labels={"app": app})).raise_for_status()
    events = watch(http, maps, resourceVersion=version, labelSelector="app=x", timeoutSeconds="1")
    assert [(event["type"], event["object"]["metadata"]["labels"]["app"]) for event in events] == [
        ("DELETED", "x"),
        ("ADDED", "x"),
    ]


def test_bookmarks_move_the_version_on(http: httpx.Client, maps: str, make: Maker) -> None:
    """Before a watch with bookmarks ends, a BOOKMARK tells how far it has seen, in an object with
    nothing else.
    """
    version = make("one")["metadata"]["resourceVersion"]
    query = {"resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "4"}
    # The real server sends it about two seconds before the end, and not at all when it is late.
    marks = eventually(
        lambda: [
            event["object"] for event in watch(http, maps, **query) if event["type"] == "BOOKMARK"
        ],
        "a bookmark within a watch",
        seconds=60,
    )
    assert (marks[-1]["kind"], marks[-1]["apiVersion"]) == ("ConfigMap", "v1")
    assert int(marks[-1]["metadata"]["resourceVersion"]) >= int(version)
    assert marks[-1]["metadata"].get("name") is None


def test_forgotten_versions_are_gone(
    kube: Kube, http: httpx.Client, maps: str, make: Maker
) -> None:
    """After compaction a watch from before gives an ERROR event of 410 Expired, and so does a
    continue token.
    """
    old = make("a")["metadata"]["resourceVersion"]
    make("b")
    page = http.get(maps, params={"limit": "1"}).json()
    make("c")
    kube.compact()
    event = next(watch(http, maps, resourceVersion=old))
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == (
        "ERROR",
        410,
        "Expired",
    )
    assert event["object"]["message"].startswith("too old resource version: ")
    refused = http.get(maps, params={"limit": "1", "continue": page["metadata"]["continue"]})
    told = refused.json()
    assert (refused.status_code, told["reason"]) == (410, "Expired")
    assert told["message"].startswith(
        "The provided continue parameter is too old to display a consistent list result."
    )
    # The answer offers a token that goes on from here, inconsistently.
    rest = http.get(maps, params={"limit": "10", "continue": told["metadata"]["continue"]})
    assert "c" in names(rest)


# Discovery and tables.


def test_discovery_lists_the_resource(http: httpx.Client) -> None:
    """The group's list tells a resource's kind, scope, short names verbs and subresources."""
    listed = {entry["name"]: entry for entry in http.get("/apis/apps/v1").json()["resources"]}
    entry = listed["deployments"]
    entry.pop("storageVersionHash", None)
    assert entry == {
        "name": "deployments",
        "singularName": entry["singularName"],  # empty before 1.27, "deployment" since
        "namespaced": True,
        "kind": "Deployment",
        "verbs": [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ],
        "shortNames": ["deploy"],
        "categories": ["all"],
    }
    scale = listed["deployments/scale"]
    assert (scale["kind"], scale["group"], scale["version"]) == ("Scale", "autoscaling", "v1")


def test_version_can_be_read(http: httpx.Client) -> None:
    """/version tells major and minor, as kubectl compares them."""
    told = http.get("/version").json()
    assert (told["major"], told["minor"].rstrip("+").isdigit()) == ("1", True)


def test_table_of_config_maps(http: httpx.Client, maps: str, make: Maker) -> None:
    """A Table has the columns that kubectl shows, and the rows' metadata."""
    make("one", {"a": "1", "b": "2"})
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = http.get(f"{maps}/one", headers=accept).json()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [
        (column["name"], column["type"], column["priority"])
        for column in table["columnDefinitions"]
    ] == [
        ("Name", "string", 0),
        ("Data", "integer" if table["columnDefinitions"][1]["type"] == "integer" else "string", 0),
        ("Age", "string", 0),
    ]
    row = table["rows"][0]
    assert (
        [str(cell) for cell in row["cells"][:2]],
        row["object"]["kind"],
        row["object"]["metadata"]["name"],
    ) == (
        ["one", "2"],
        "PartialObjectMetadata",
        "one",
    )


def test_partial_metadata_list(http: httpx.Client, maps: str, make: Maker) -> None:
    """A client may ask for metadata alone."""
    make("one", {"a": "1"})
    accept = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    answer = http.get(f"{maps}/one", headers=accept).json()
    assert (answer["kind"], answer["apiVersion"], answer["metadata"]["name"]) == (
        "PartialObjectMetadata",
        "meta.k8s.io/v1",
        "one",
    )
    assert "data" not in answer
