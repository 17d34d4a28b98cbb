"""What each registry sends, read into images: the samples of the registries, variants of them, and
nonsense.
"""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.errors import DefinitionError
from kubestorm.sources.registry.pushed import PushedImage, checked
from kubestorm.sources.registry.readers import TYPES
from kubestorm.sources.registry.readers.azure import validation_code

SAMPLES = Path(__file__).parents[2] / "fixtures" / "registry_events"
DIGEST = "sha256:" + "a1" * 32
TEN = dt.datetime(2026, 3, 1, 10, tzinfo=dt.timezone.utc)
OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def read(kind: str, body: Any, **headers: str) -> list[PushedImage]:
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return [checked(image, registry=None) for image in TYPES[kind].read(named, body)]


def told(image: PushedImage) -> tuple[Any, ...]:
    """All of an image but its event id."""
    return (
        f"{image.registry}/{image.repository}",
        image.tag,
        image.digest,
        image.media_type,
        image.pushed_at,
        image.actor,
    )


NANOS = TEN + dt.timedelta(microseconds=123456)
GOOGLE = "europe-west1-docker.pkg.dev/acme/shop/cart"
AMAZON = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop/cart"
CACHED = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/docker-hub/library/alpine"
PUSHES = {
    "distribution-push": (
        "distribution",
        ("registry.example.test/shop/cart", "1.4.2", DIGEST, OCI, NANOS, "ci-bot"),
    ),
    "gitlab-registry-push": (
        "gitlab",
        ("registry.example.test/acme/shop/cart", "1.4.2", DIGEST, OCI, NANOS, "gitlab-user"),
    ),
    "harbor-push-artifact": (
        "harbor",
        ("harbor.example.test/shop/cart", "1.4.2", DIGEST, "", TEN, "robot$shop+ci"),
    ),
    "harbor-push-cloudevents": (
        "harbor",
        ("harbor.example.test/shop/cart", "1.4.2", DIGEST, "", TEN, "robot$shop+ci"),
    ),
    "dockerhub-push": ("dockerhub", ("docker.io/acme/cart", "1.4.2", "", "", TEN, "acmebot")),
    "github-package-published": (
        "ghcr",
        ("ghcr.io/acme/cart", "1.4.2", DIGEST, OCI, TEN, "ci-bot"),
    ),
    "github-registry_package-published": (
        "ghcr",
        ("ghcr.io/acme/cart", "1.4.2", DIGEST, OCI, TEN, "ci-bot"),
    ),
    "acr-push": (
        "acr",
        ("acme.azurecr.example.test/shop/cart", "1.4.2", DIGEST, DOCKER, NANOS, ""),
    ),
    "acr-eventgrid-imagepushed": (
        "acr",
        ("acme.azurecr.example.test/shop/cart", "1.4.2", DIGEST, DOCKER, NANOS, ""),
    ),
    "ecr-eventbridge-push": ("ecr", (AMAZON, "1.4.2", DIGEST, "", TEN, "")),
    "ecr-eventbridge-replication": ("ecr", (AMAZON, "1.4.2", DIGEST, "", TEN, "")),
    "ecr-eventbridge-pull-through": ("ecr", (CACHED, "3.17.2", DIGEST, "", TEN, "")),
    "gar-message": ("artifact_registry", (GOOGLE, "1.4.2", DIGEST, "", None, "")),
    "gar-message-digest-only": ("artifact_registry", (GOOGLE, "", DIGEST, "", None, "")),
    "gar-pubsub-push": (
        "artifact_registry",
        (GOOGLE, "1.4.2", DIGEST, "", TEN + dt.timedelta(seconds=1), ""),
    ),
}


@pytest.mark.parametrize("name", PUSHES)
def test_a_push_is_read(name):
    """Every registry's own sample becomes one image with all that it says."""
    kind, expected = PUSHES[name]
    (image,) = read(kind, sample(name))
    assert told(image) == expected


def test_quay_tells_of_several_tags_at_once():
    """One image for each tag; what Quay does not say is left open."""
    images = read("quay", sample("quay-repo-push"))
    assert [told(image) for image in images] == [
        ("quay.example.test/acme/cart", "1.4.2", "", "", None, ""),
        ("quay.example.test/acme/cart", "latest", "", "", None, ""),
    ]
    older = {**sample("quay-repo-push"), "updated_tags": {"1.4.2": "b4f0"}}
    assert [image.tag for image in read("quay", older)] == ["1.4.2"]


def changed(name: str, path: str, value: Any) -> Any:
    """A sample with the value at a dotted path replaced."""
    body = copy.deepcopy(sample(name))
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    at = body
    for step in way:
        at = at[step]
    at[last] = value
    return body


NPM = changed("github-package-published", "package.package_type", "NPM")
NPM["package"]["ecosystem"] = "NPM"
NO_PUSHES = {
    "a layer": ("distribution", sample("distribution-blob-push")),
    "a mount": ("distribution", sample("distribution-mount")),
    "a deletion by digest": ("distribution", sample("distribution-delete-digest")),
    "a deletion by tag": ("gitlab", sample("distribution-delete-tag")),
    "no events": ("distribution", {"events": []}),
    "a pull": ("distribution", changed("distribution-push", "events.0.action", "pull")),
    "a config": (
        "distribution",
        changed(
            "distribution-push",
            "events.0.target.mediaType",
            "application/vnd.oci.image.config.v1+json",
        ),
    ),
    "harbor, a scan": ("harbor", {"type": "SCANNING_COMPLETED", "event_data": {}}),
    "harbor, a deletion": ("harbor", changed("harbor-push-artifact", "type", "DELETE_ARTIFACT")),
    "harbor, another cloud event": (
        "harbor",
        changed("harbor-push-cloudevents", "type", "harbor.artifact.pulled"),
    ),
    "quay, a build": ("quay", {"build_id": "x", "repository": "acme/cart"}),
    "quay, nothing moved": ("quay", changed("quay-repo-push", "updated_tags", [])),
    "github, an npm package": ("ghcr", NPM),
    "github, a deletion": ("ghcr", changed("github-package-published", "action", "deleted")),
    "acr, a ping": ("acr", {"id": "x", "timestamp": "2026-03-01T10:00:00Z", "action": "ping"}),
    "acr, a deletion": ("acr", changed("acr-push", "action", "delete")),
    "acr, a chart": ("acr", changed("acr-push", "action", "chart_push")),
    "event grid, a deletion": (
        "acr",
        changed(
            "acr-eventgrid-imagepushed", "0.eventType", "Microsoft.ContainerRegistry.ImageDeleted"
        ),
    ),
    "ecr, a deletion": ("ecr", changed("ecr-eventbridge-push", "detail.action-type", "DELETE")),
    "ecr, a failure": ("ecr", changed("ecr-eventbridge-push", "detail.result", "FAILURE")),
    "ecr, a failed replication": (
        "ecr",
        changed("ecr-eventbridge-replication", "detail.result", "FAILURE"),
    ),
    "ecr, a failed pull-through": (
        "ecr",
        changed("ecr-eventbridge-pull-through", "detail.sync-status", "FAILURE"),
    ),
    "ecr, a scan": ("ecr", {**sample("ecr-eventbridge-push"), "detail-type": "ECR Image Scan"}),
    "artifact registry, a deletion": (
        "artifact_registry",
        {**sample("gar-message"), "action": "DELETE"},
    ),
}


@pytest.mark.parametrize("name", NO_PUSHES)
def test_what_is_no_push_of_a_manifest_is_passed_over(name):
    """It is a good event, and nobody's concern."""
    kind, body = NO_PUSHES[name]
    assert read(kind, body) == []


def test_a_ping_of_github_is_passed_over():
    """It has neither package nor action, and says what it is in a header."""
    assert (
        read("ghcr", {"zen": "Keep it logically awesome.", "hook_id": 1}, X_GitHub_Event="ping")
        == []
    )


@pytest.mark.parametrize(
    "media_type",
    [
        OCI,
        DOCKER,
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ],
)
def test_indexes_and_manifests_count(media_type):
    """Images of one platform and of several, in both families of types."""
    body = sample("distribution-push")
    body["events"][0]["target"]["mediaType"] = media_type
    assert [image.media_type for image in read("distribution", body)] == [media_type]


def test_variants_of_the_samples_are_read():
    """What the registries also send: untagged pushes, several resources, SNS around it, China,
    names with slashes.
    """
    untagged = sample("distribution-push")
    del untagged["events"][0]["target"]["tag"]
    assert [(i.tag, i.digest) for i in read("distribution", untagged)] == [("", DIGEST)]

    harbor = sample("harbor-push-artifact")
    harbor["event_data"]["resources"].append(
        {"digest": DIGEST, "tag": DIGEST, "resource_url": f"h.test:8443/shop/cart@{DIGEST}"}
    )
    assert [(i.registry, i.tag) for i in read("harbor", harbor)] == [
        ("harbor.example.test", "1.4.2"),
        ("h.test:8443", ""),
    ]

    ecr = sample("ecr-eventbridge-push")
    ecr["region"] = "cn-north-1"
    del ecr["detail"]["image-tag"]
    wrapped = {"Type": "Notification", "Message": json.dumps(ecr)}
    (image,) = read("ecr", wrapped)
    assert (image.registry, image.tag) == ("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", "")

    github = sample("github-package-published")
    version = github["package"]["package_version"]
    version["package_url"] = "ghcr.io/acme/cart:"
    version["container_metadata"]["tag"] = {"name": "", "digest": ""}
    assert [(i.repository, i.tag, i.digest) for i in read("ghcr", github)] == [
        ("acme/cart", "", DIGEST)
    ]
    github["package"]["name"], version["package_url"] = "Shop%2Fcart", ""
    assert [i.repository for i in read("ghcr", github)] == ["acme/shop/cart"]

    cloud = {
        "specversion": "1.0",
        "type": "Microsoft.ContainerRegistry.ImagePushed",
        "data": sample("acr-push"),
    }
    assert [i.tag for i in read("acr", cloud)] == [i.tag for i in read("acr", [cloud])] == ["1.4.2"]


def test_event_grid_asks_first_whether_it_may_send():
    """The code it sends is what it wants to hear back; nothing else has one."""
    ask = [
        {
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "data": {"validationCode": "512d"},
        }
    ]
    assert validation_code(ask) == "512d"
    assert read("acr", ask) == []
    assert validation_code(sample("acr-eventgrid-imagepushed")) == ""


@pytest.mark.parametrize(
    "name", [name for name in PUSHES if name not in ("gar-message", "gar-message-digest-only")]
)
def test_an_event_has_the_same_id_each_time_and_another_has_another(name):
    """So that a repetition is known, and a second push of the same tag is not taken for one."""
    kind, _ = PUSHES[name]
    (first,), (again,) = read(kind, sample(name)), read(kind, sample(name))
    assert first.event_id == again.event_id != ""
    text = json.dumps(sample(name))
    later = text.replace("6f0c1f3e", "7f0c1f3e").replace(
        "2026-03-01T10:00:00", "2026-03-01T11:00:00"
    )
    later = later.replace("1772359200", "1772362800").replace("1234567890", "1234567891")
    (other,) = read(kind, json.loads(later))
    assert other.event_id != first.event_id


def test_both_events_of_github_for_one_push_are_one():
    """Organisations get `package` and `registry_package` for the same version."""
    (one,), (other,) = (
        read("ghcr", sample("github-package-published")),
        read("ghcr", sample("github-registry_package-published")),
    )
    assert one.event_id == other.event_id


BROKEN = {
    "a list": ("distribution", []),
    "no events": ("distribution", {}),
    "an event that is a text": ("distribution", {"events": ["push"]}),
    "no target": ("distribution", {"events": [{"action": "push"}]}),
    "no repository": (
        "distribution",
        {"events": [{"action": "push", "target": {"mediaType": OCI, "tag": "a"}}]},
    ),
    "a tag that is a number": (
        "distribution",
        {"events": [{"action": "push", "target": {"mediaType": OCI, "tag": 1, "repository": "a"}}]},
    ),
    "too many events": ("distribution", {"events": [{}] * 1001}),
    "harbor without type": ("harbor", {}),
    "harbor without resources": (
        "harbor",
        {"type": "PUSH_ARTIFACT", "event_data": {"repository": {"repo_full_name": "a/b"}}},
    ),
    "docker hub without a tag": (
        "dockerhub",
        {"push_data": {}, "repository": {"repo_name": "a/b"}},
    ),
    "quay with odd tags": ("quay", {"repository": "a/b", "updated_tags": [1]}),
    "github without a package": ("ghcr", {"action": "published"}),
    "acr, a text": ("acr", "x"),
    "ecr without detail": ("ecr", {"detail-type": "ECR Image Action"}),
    "sns with nonsense": ("ecr", {"Type": "Notification", "Message": "{"}),
    "pub/sub with no base64": ("artifact_registry", {"message": {"data": "???"}}),
    "pub/sub with no JSON": (
        "artifact_registry",
        {"message": {"data": base64.b64encode(b"x").decode()}},
    ),
    "a tag that cannot be": (
        "dockerhub",
        {"push_data": {"tag": "a b"}, "repository": {"repo_name": "a/b"}},
    ),
    "a repository that cannot be": (
        "dockerhub",
        {"push_data": {"tag": "a"}, "repository": {"repo_name": "../etc"}},
    ),
    "a digest that cannot be": (
        "ecr",
        changed("ecr-eventbridge-push", "detail.image-digest", "md5:x"),
    ),
    "no registry": ("quay", {"repository": "a/b", "updated_tags": ["x"]}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_an_event_is_a_definition_error(name):
    """The listener answers 400 with the sentence."""
    kind, body = BROKEN[name]
    with pytest.raises(DefinitionError):
        read(kind, body)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged(draw: Any) -> tuple[str, Any]:
    """A sample with one value replaced by anything."""
    name = draw(st.sampled_from(sorted(PUSHES)))
    body = [sample(name)]
    at, key = body, 0
    while isinstance(at[key], (dict, list)) and at[key] and draw(st.integers(0, 5)):
        at = at[key]
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at)))))
    at[key] = draw(JUNK)
    return PUSHES[name][0], body[0]


@given(damaged())
def test_a_damaged_event_is_read_or_refused(kind_and_body):
    """Images that could be, or DefinitionError: nothing else comes out."""
    kind, body = kind_and_body
    try:
        images = read(kind, body)
    except DefinitionError:
        return
    for image in images:
        assert image.registry
        assert image.repository
        assert image.tag or image.digest


@given(st.sampled_from(sorted(TYPES)), JUNK)
def test_anything_is_read_or_refused(kind, body):
    """Also what has nothing to do with any registry."""
    try:
        read(kind, body)
    except DefinitionError:
        return


def test_the_operators_name_of_the_registry_counts():
    """Where the event names an address inside the network."""
    (image,) = TYPES["distribution"].read({}, sample("distribution-push"))
    assert (
        checked(image, registry="Registry.example.com:5000").registry == "registry.example.com:5000"
    )
