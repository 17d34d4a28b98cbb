"""A repository's default.json becomes an ImageBuild that builds and an Application that follows,
and keeps them so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubestorm.core.errors import ConflictError, DefinitionError
from kubestorm.kinds.build.descriptor.act import apply, follow_push, refresh
from kubestorm.kinds.build.descriptor.reading import DescriptorError
from kubestorm.kinds.build.status import PUSHED_ANNOTATION

from sandbox.registry import RegistryProcess
from tests.integration.building.conftest import World
from tests.kube_fixtures import eventually
from tests.kube_shapes import patch

ROOT = Path(__file__).resolve().parents[3]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def team(world: World, registry: RegistryProcess) -> World:
    """Operations offer one type; nothing is built."""
    crd = yaml.safe_load((ROOT / "crds" / "applications.kubestorm.io.yaml").read_text())
    assert world.http.post(CRDS, json=crd).status_code in (
        httpx.codes.CREATED,
        httpx.codes.CONFLICT,
    )
    eventually(
        lambda: world.http.get("/apis/kubestorm.io/v1alpha1/applications").is_success,
        "the CRD is served",
    )
    base = f"{registry.host}/{world.namespace}/base:stable"
    world.config["descriptor"] = {
        "types": {"tiny": {"base_image": base}},
        "shell": ["/bin/busybox", "sh", "-ec"],
    }
    return world


def default_json(world: World, **more: Any) -> str:
    """A descriptor with a comment, as a team writes it."""
    document = {
        "namespace": world.namespace,
        "application": {"name": "cart", "type": "tiny"},
        "build_command": "/bin/busybox cp default.json made.txt",
        "artifacts": ["made.txt"],
        "services": [{"name": "cart", "instances": {"min": 2, "max": 4}}],
        **more,
    }
    return "// the cart\n" + json.dumps(document, indent=2)


def application(world: World, name: str = "cart") -> dict[str, Any]:
    answer = world.http.get(
        f"/apis/kubestorm.io/v1alpha1/namespaces/{world.namespace}/applications/{name}"
    )
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def test_a_descriptor_becomes_an_image(team: World, busybox: bytes) -> None:
    """The steps run on the type's base image, and what they made is in the image that is pushed."""
    team.repository.commit(
        {"base/Dockerfile": "FROM scratch\nCOPY busybox /bin/busybox\n", "base/busybox": busybox}
    )
    base = {
        "name": "base",
        "context": "base",
        "repository": f"{team.namespace}/base",
        "tags": ["stable"],
    }
    team.apply("base", images=[base])
    assert team.build("base")["outcome"] == "Succeeded"
    team.repository.commit({"default.json": default_json(team)})
    done = apply(team.services(), team.namespace, team.repository.url, branch="main")
    assert (done["image_build"], done["applications"]) == ("cart", ["cart"])
    assert team.build("cart")["outcome"] == "Succeeded", team.image("cart", "cart")
    assert list(team.image("cart", "cart")["lastGood"]["bases"]) == [
        team.config["descriptor"]["types"]["tiny"]["base_image"]
    ]
    spec = application(team)["spec"]
    assert (spec["follow"], spec["replicas"]) == ({"branch": "main"}, {"min": 2, "max": 4})


def test_a_changed_descriptor_is_applied_again(team: World) -> None:
    """A push brings the objects to it; what it names no more is told and kept."""
    team.repository.commit({"default.json": default_json(team)})
    apply(team.services(), team.namespace, team.repository.url, branch="main")
    changed = default_json(team, services=[{"name": "cart-api", "instances": {"min": 3, "max": 3}}])
    team.repository.commit({"default.json": changed})
    (done,) = refresh(team.services(), [team.repository.url], "main")["applied"]
    assert (done["applications"], done["left_over"]) == (["cart-api"], ["cart"])
    assert application(team, "cart-api")["spec"]["replicas"] == {"min": 3, "max": 3}
    assert application(team)["spec"]["replicas"] == {"min": 2, "max": 4}
    assert refresh(team.services(), [team.repository.url], "another")["applied"] == []


def test_a_push_brings_the_new_spec_and_is_then_noted(team: World) -> None:
    """One execution for both; the build finds the new spec with the new commit."""
    team.repository.commit({"default.json": default_json(team)})
    apply(team.services(), team.namespace, team.repository.url, branch="main")
    changed = default_json(team, services=[{"name": "cart", "instances": {"min": 3, "max": 3}}])
    commit = team.repository.commit({"default.json": changed})
    done = follow_push(team.services(), [team.repository.url], "main", commit)
    assert done["image_builds"] == [f"{team.namespace}/cart"]
    assert done["descriptors"]["applied"][0]["commit"] == commit
    assert application(team)["spec"]["replicas"] == {"min": 3, "max": 3}
    assert commit in team.get("cart")["metadata"]["annotations"][PUSHED_ANNOTATION]


def test_a_wrong_descriptor_changes_nothing(team: World) -> None:
    """The line is said, by the action and on the object that was made from it before."""
    team.repository.commit({"default.json": default_json(team)})
    apply(team.services(), team.namespace, team.repository.url, branch="main")
    before = team.get("cart")["spec"]
    team.repository.commit({"default.json": default_json(team, build_command=7)})
    with pytest.raises(
        DescriptorError, match="line 8: build_command: must be a shell command line"
    ):
        apply(team.services(), team.namespace, team.repository.url, branch="main")
    failed = refresh(team.services(), [team.repository.url], "main")["failed"]
    assert "line 8" in failed[f"{team.namespace}/cart"]
    assert team.get("cart")["spec"] == before
    events = team.http.get(f"/api/v1/namespaces/{team.namespace}/events").json()["items"]
    assert "DescriptorRefused" in [event["reason"] for event in events]


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "a file outside": ({"file": "../default.json"}, "must be a path below the repository"),
    "no such file": ({"file": "other.json"}, "has no file other.json"),
    "no UTF-8": ({"file": "latin1.json"}, "latin1.json at [0-9a-f]{8} must be UTF-8"),
    "credentials of others": ({"credentials_path": "builds/test/others/git"}, "credentials"),
    "an option for a branch": ({"branch": "--upload-pack=x"}, "branch"),
}


@pytest.mark.parametrize("more, sentence", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_allowed_gets_a_sentence(
    team: World, more: dict[str, str], sentence: str
) -> None:
    """Nothing is written."""
    latin1 = default_json(team).replace("the cart", "le panier achet\xe9").encode("latin-1")
    team.repository.commit({"default.json": default_json(team), "latin1.json": latin1})
    with pytest.raises(DefinitionError, match=sentence):
        apply(team.services(), team.namespace, team.repository.url, **more)
    assert not team.exists("cart")


def test_a_repository_does_not_choose_where_it_runs(team: World) -> None:
    """A descriptor of another namespace than the caller named is refused."""
    team.repository.commit({"default.json": default_json(team, namespace="kube-system")})
    with pytest.raises(DefinitionError, match="is for namespace kube-system"):
        apply(team.services(), team.namespace, team.repository.url, branch="main")


def test_what_people_changed_by_hand_is_not_overwritten(team: World) -> None:
    """The conflict names both ways out."""
    team.repository.commit({"default.json": default_json(team)})
    apply(team.services(), team.namespace, team.repository.url, branch="main")
    path = f"/apis/kubestorm.io/v1alpha1/namespaces/{team.namespace}/applications/cart"
    assert patch(team.http, path, {"spec": {"replicas": {"max": 9}}}, "merge").is_success
    team.repository.commit({"default.json": default_json(team, artifacts=[])})
    with pytest.raises(ConflictError, match=r"Change default\.json, or revert"):
        apply(team.services(), team.namespace, team.repository.url, branch="main")
