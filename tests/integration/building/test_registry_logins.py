"""Whose login lies where: in a Job's Secret, in a namespace's Secret, and at a real registry."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.build.execution import run_build
from kubestorm.kinds.build.pull_secret import ensure_pull_secret

from sandbox.registry import RegistryProcess, is_installed, push_image
from sandbox.vault.server import VaultServer
from tests.integration.building.conftest import World, a_world, store
from tests.integration.building.test_build_in_cluster import jobs, secrets
from tests.kube_fixtures import Kube

HOST = "registry.test:5000"
BUILDS = "kubestorm-builds"
LOGINS = ("a", "a-pull", "b", "b-pull", "base-pull")


def entries(host: str) -> list[dict[str, Any]]:
    """Team a (this test's namespace), team b, and bases for everybody."""
    return [
        {
            "host": host,
            "insecure_http": True,
            "namespaces": ["test-*"],
            "repositories": ["{namespace}/*"],
            "push_vault_path": "registries/a",
            "pull_vault_path": "registries/a-pull",
        },
        {
            "host": host,
            "insecure_http": True,
            "namespaces": ["team-b"],
            "repositories": ["team-b/*"],
            "push_vault_path": "registries/b",
            "pull_vault_path": "registries/b-pull",
        },
        {
            "host": host,
            "insecure_http": True,
            "repositories": ["base/*"],
            "pull_vault_path": "registries/base-pull",
        },
    ]


def store_logins(vault: VaultServer) -> None:
    for login in LOGINS:
        store(vault, f"registries/{login}", {"username": login, "password": f"password-of-{login}"})


@pytest.fixture
def teams(kube: Kube, vault: VaultServer, tmp_path: Path) -> Iterator[World]:
    """Two teams at one registry, on both APIs; builds are Jobs."""
    store_logins(vault)
    with a_world(kube, vault, tmp_path, HOST, builder="buildah", registries=entries(HOST)) as made:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BUILDS}}
        answer = made.http.post("/api/v1/namespaces", json=body)
        assert answer.is_success or answer.status_code == httpx.codes.CONFLICT, answer.text
        yield made
        for place in (
            f"/apis/batch/v1/namespaces/{BUILDS}/jobs",
            f"/api/v1/namespaces/{BUILDS}/secrets",
        ):
            made.http.request(
                "DELETE", place, params={"labelSelector": "app.kubernetes.io/managed-by=kubestorm"}
            )


def logins_of(config: str) -> dict[str, str]:
    """Key -> user of a config.json in base64; each password is its user's."""
    found = {}
    for key, entry in json.loads(base64.b64decode(config))["auths"].items():
        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        assert password == f"password-of-{user}"
        found[key] = user
    return found


OWN_KEY = HOST + "/{}/cart"


@pytest.mark.parametrize(
    "builder, dockerfile, wanted",
    [
        ("buildkit", f"FROM {HOST}/base/os:1\nCOPY --from={HOST}/team-b/x:1 /x /x\n", {HOST: "a"}),
        ("kaniko", f"FROM {HOST}/team-b/x:1\n", {HOST: "a"}),
        (
            "buildah",
            f"FROM {HOST}/base/os:1\nCOPY --from={HOST}/team-b/x:1 /x /x\n",
            {OWN_KEY: "a", f"{HOST}/base/os": "base-pull"},
        ),
        (
            "buildah",
            f"FROM {HOST}/team-b/x-$TARGETARCH:1\n",
            {OWN_KEY: "a", f"{HOST}/{{}}": "a-pull", f"{HOST}/base": "base-pull"},
        ),
        ("buildah", "FROM scratch\nCOPY main /\n", {OWN_KEY: "a"}),
    ],
    ids=["buildkit", "kaniko", "buildah", "buildah, base unknown", "buildah, no base"],
)
def test_a_job_holds_no_login_of_another_team(teams: World, builder, dockerfile, wanted):
    """Also where its Dockerfile names another team's repository."""
    teams.repository.commit({"cart/Dockerfile": dockerfile, "cart/main": "1"})
    teams.apply(builder=builder)
    teams.build()
    (secret,) = secrets(teams)
    assert logins_of(secret["data"]["config.json"]) == {
        key.format(teams.namespace): user for key, user in wanted.items()
    }


def test_each_image_has_its_own_logins(teams: World):
    """The base of one image is not shown to the build of another."""
    teams.repository.commit(
        {
            "cart/Dockerfile": f"FROM {HOST}/base/os:1\n",
            "web/Dockerfile": "FROM scratch\nCOPY Dockerfile /\n",
        }
    )
    teams.apply(
        images=[
            {"name": each, "context": each, "repository": f"{teams.namespace}/{each}"}
            for each in ("cart", "web")
        ]
    )
    teams.build()
    found = [logins_of(each["data"]["config.json"]) for each in secrets(teams)]
    own = f"{HOST}/{teams.namespace}"
    assert sorted(found, key=len) == [
        {f"{own}/web": "a"},
        {f"{own}/cart": "a", f"{HOST}/base/os": "base-pull"},
    ]


@pytest.mark.parametrize("field", ["repository", "cache"])
@pytest.mark.parametrize("repository", ["team-b/cart", "base/os"])
def test_a_destination_of_others_is_refused(teams: World, field, repository):
    """Another team's, and one that is only pulled from; no Job is made."""
    teams.repository.commit({"cart/Dockerfile": "FROM scratch\n"})
    image = {"name": "cart", "context": "cart", "repository": f"{teams.namespace}/cart"}
    teams.apply(images=[{**image, field: repository}])
    teams.reconcile()
    status, _, message = teams.condition("SpecValid")
    assert (status, f"may push to {teams.namespace}/* of {HOST}" in message) == ("False", True)
    assert teams.take("build_requested") == []
    assert jobs(teams) == []


def test_what_another_teams_login_lacks_stops_no_build(teams: World, vault):
    """Its path in Vault is not even read."""
    teams.repository.commit({"cart/Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    store(vault, "registries/b", {"username": "b"})
    teams.apply()
    teams.reconcile()
    assert run_build(teams.run())["images"] == {"cart": "Building"}


def test_a_namespace_gets_logins_that_only_pull(teams: World):
    """Its own and those for everybody, by repository."""
    made = ensure_pull_secret(teams.services(), teams.namespace)
    place = f"/api/v1/namespaces/{teams.namespace}/secrets/kubestorm-registry"
    data = teams.http.get(place).raise_for_status().json()["data"]
    assert logins_of(data[".dockerconfigjson"]) == {
        f"{HOST}/{teams.namespace}": "a-pull",
        f"{HOST}/base": "base-pull",
    }
    assert sorted(made["registries"]) == sorted(logins_of(data[".dockerconfigjson"]))


def test_a_login_that_pushes_is_copied_only_where_operations_say_so(teams: World):
    """Until then what is there stays, so that pods go on pulling."""
    place = f"/api/v1/namespaces/{teams.namespace}/secrets/kubestorm-registry"
    ensure_pull_secret(teams.services(), teams.namespace)
    before = teams.http.get(place).json()
    one = {"host": HOST, "insecure_http": True, "push_vault_path": "registries/a"}
    with pytest.raises(DefinitionError, match="has only a login that pushes"):
        ensure_pull_secret(teams.services(registries=[one]), teams.namespace)
    assert teams.http.get(place).json() == before
    copied = [{**one, "copy_push_login": True}]
    assert ensure_pull_secret(teams.services(registries=copied), teams.namespace)["changed"]
    data = teams.http.get(place).json()["data"]
    assert logins_of(data[".dockerconfigjson"]) == {f"{HOST}/{teams.namespace}": "a"}


@pytest.mark.parametrize(
    "unknown, base, ended",
    [
        ("b", "base/os", ("Succeeded", "")),
        ("base-pull", "base/os", ("Failed", "build")),
        ("a", "base/os", ("Failed", "push")),
        ("b", "team-b/secret", ("Failed", "build")),
    ],
    ids=["both are known", "the base's is not", "the destination's is not", "another team's base"],
)
def test_a_real_registry_sees_each_login_at_its_repositories(
    sandbox_kube: Kube,
    vault: VaultServer,
    tmp_path: Path,
    buildah: None,
    unknown: str,
    base: str,
    ended: tuple[str, str],
):
    """Everybody whom the registry knows may do everything there, so what fails was asked with
    another login, or with none.
    """
    if not is_installed():
        pytest.skip("docker-registry is not installed")
    store_logins(vault)
    users = {each: f"password-of-{each}" for each in LOGINS if each != unknown}
    with (
        RegistryProcess(tmp_path / "registry", users=users) as registry,
        registry.client() as client,
        a_world(
            sandbox_kube,
            vault,
            tmp_path,
            registry.host,
            builder="host-buildah",
            registries=entries(registry.host),
        ) as world,
    ):
        push_image(client, base, "1", content="os")
        dockerfile = f"FROM {registry.host}/{base}:1\nCOPY main /main\n"
        world.repository.commit({"cart/Dockerfile": dockerfile, "cart/main": "1"})
        world.apply()
        outcome = world.build()["outcome"]
        assert (outcome, world.image().get("failedStage", "")) == ended, "\n".join(world.said)
        assert "password-of" not in json.dumps(world.get()) + "\n".join(world.said)
