"""Commits become images: real git, real buildah, a real registry; and nothing of it is left on the
host.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
from typing import Any

import httpx
import pytest
from kubestorm.clients.host import processes
from kubestorm.kinds.build import slots
from kubestorm.kinds.build.execution import run_build
from kubestorm.kinds.build.status import CONDITIONS

from sandbox.registry import RegistryProcess
from tests.integration.building.conftest import PASSWORD, World, store

MANIFEST = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"


def manifest(
    registry: RegistryProcess, repository: str, reference: str
) -> tuple[str, dict[str, Any]]:
    """Digest and content of what the registry has there; empty where it has nothing."""
    with registry.client() as client:
        answer = client.get(f"/v2/{repository}/manifests/{reference}", headers={"Accept": MANIFEST})
    if answer.status_code == httpx.codes.NOT_FOUND:
        return "", {}
    return answer.raise_for_status().headers["Docker-Content-Digest"], answer.json()


def file_in_image(registry: RegistryProcess, repository: str, reference: str, path: str) -> bytes:
    """The content of a file in an image's layers."""
    _, found = manifest(registry, repository, reference)
    with registry.client() as client:
        for layer in reversed(found["layers"]):
            blob = (
                client.get(f"/v2/{repository}/blobs/{layer['digest']}").raise_for_status().content
            )
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as tar:
                for name in (path, f"./{path}"):
                    if name in tar.getnames():
                        return tar.extractfile(name).read()
    raise AssertionError(f"{path} is in no layer")


def test_a_commit_becomes_an_image(world: World, registry, source):
    """Tagged by branch and commit, known by its digest, its RUN carried out; the status says all of
    it.
    """
    world.apply()
    result = world.build()
    assert result["outcome"] == "Succeeded", "\n".join(world.said)
    repository, tag = f"{world.namespace}/cart", f"main-{source[:8]}"
    digest, _ = manifest(registry, repository, tag)
    image = world.image()
    assert (image["state"], image["digest"], image["tags"]) == ("Pushed", digest, [tag])
    assert image["reference"] == f"{registry.host}/{repository}@{digest}"
    assert image["finishedAt"] >= image["startedAt"]
    assert file_in_image(registry, repository, tag, "made") == b"made of one\n"
    assert [world.condition(each)[0] for each in (*CONDITIONS, "Ready")] == ["True"] * 5
    (told,) = world.take("build_finished")
    assert (told["outcome"], told["images"][0]["reference"]) == ("Succeeded", image["reference"])
    assert any("COMMIT" in line for line in world.said)
    assert world.left_over() == []


def test_only_what_changed_is_built_again(world: World, source, busybox):
    """Counted from each image's own last good build; the others say why they were left."""
    dockerfile = "FROM scratch\nCOPY main /main\n"
    world.repository.commit({"web/Dockerfile": dockerfile, "web/main": "1"})
    images = [
        {"name": each, "context": each, "repository": f"{world.namespace}/{each}"}
        for each in ("cart", "web")
    ]
    world.apply(images=images)
    world.build()
    before = {each: world.image(each)["digest"] for each in ("cart", "web")}
    world.repository.commit({"web/main": "2"})
    world.annotate(source_pushed="event-1")
    world.build()
    assert (world.image("cart")["state"], world.image("cart")["reason"]) == (
        "Skipped",
        "PathsUnchanged",
    )
    assert world.image("cart")["digest"] == before["cart"]
    assert (world.image("web")["state"], world.image("web")["reason"]) == ("Pushed", "PathsChanged")
    assert world.image("web")["digest"] != before["web"]
    assert world.condition("Ready")[0] == "True"


def test_an_end_is_told_also_when_the_next_build_follows_at_once(world: World, source):
    """Whoever ends a build tells of it, before the next one takes its place in the status."""
    world.apply()
    world.build()
    assert [each["number"] for each in world.take("build_finished")] == [1]
    world.repository.commit({"cart/main": "two"})
    world.annotate(source_pushed="event-1")
    world.build()
    assert [each["number"] for each in world.take("build_finished")] == [2]


def test_a_build_writes_its_own_end(world: World, source):
    """Nobody has to look at it any more: two executions from the event to the image."""
    world.apply()
    world.build()
    assert world.condition("Ready")[0] == "True"
    assert "requeueAt" not in world.get()["status"]
    before = world.get()["metadata"]["resourceVersion"]
    world.reconcile()
    assert world.dispatched == [("kubestorm.build_finished", world.dispatched[0][1])]
    assert world.get()["metadata"]["resourceVersion"] == before


def test_a_commit_that_comes_while_a_build_is_under_way_is_built_after_it(world: World, source):
    """Who comes meanwhile leaves a mark; the build has the object looked at again, once."""
    world.apply()
    world.reconcile()
    with world.run().build_lease():
        world.repository.commit({"cart/main": "two"})
        world.annotate(source_pushed="event-1")
        world.take("build_requested")
        world.reconcile()
        assert world.take("build_requested") == []
        assert "kubestorm.io/look-again" not in world.get()["metadata"]["annotations"]
    assert "kubestorm.io/look-again" in world.get()["metadata"]["annotations"]
    run_build(world.run())
    assert world.build()["number"] == 2


def test_a_failed_build_does_not_hide_a_change(world: World, source):
    """The next commit mends nothing of cart, and yet cart is built: its last good build is two
    commits back.
    """
    world.apply()
    world.build()
    world.repository.commit({"cart/Dockerfile": "FROM scratch\nCOPY missing /missing\n"})
    world.annotate(source_pushed="event-1")
    assert world.build()["outcome"] == "Failed"
    assert world.image()["reason"] == "BuildFailed"
    assert "missing" in world.image()["logTail"]
    assert world.condition("Built")[:2] == ("False", "BuildFailed")
    world.repository.commit({"README": "nothing of cart"})
    world.annotate(source_pushed="event-2")
    world.build()
    assert (world.image()["state"], world.image()["build"]) == ("Failed", 3)


def test_a_force_push_builds_all(world: World, source):
    """Nothing is known of what changed."""
    world.apply()
    world.build()
    world.repository.checkout("main", "HEAD~0")
    world.repository.git(
        "commit", "-q", "--amend", "-m", "rewritten", "--date=2020-01-01T00:00:00Z"
    )
    world.repository.git("push", "-q", "--force", "origin", "HEAD")
    world.annotate(source_pushed="event-1")
    world.build()
    assert world.image()["reason"] == "HistoryRewritten"


def test_a_command_that_fails_in_the_image_keeps_it_from_the_registry(
    world: World, registry, source
):
    """The test runs in the built image, without a network, before the push."""
    shell = ["/bin/busybox", "sh", "-c"]
    check = (
        "test $(/bin/busybox cat /made | /bin/busybox wc -c) = 12 && ! /bin/busybox wget -q -T 1 "
        "{url}"
    )
    image = {"name": "cart", "context": "cart", "repository": f"{world.namespace}/cart"}
    good = {**image, "test": {"command": [*shell, check.format(url=registry.url)]}}
    world.apply(images=[good])
    assert world.build()["outcome"] == "Succeeded"
    bad = {**image, "tags": ["bad"], "test": {"command": [*shell, "echo no good; exit 3"]}}
    world.apply(images=[bad])
    assert world.build()["outcome"] == "Failed"
    assert (world.image()["reason"], world.image()["failedStage"]) == ("TestFailed", "test")
    assert "no good" in world.image()["logTail"]
    assert manifest(registry, f"{world.namespace}/cart", "bad") == ("", {})
    assert world.left_over() == []


@pytest.mark.parametrize(
    "files, spec, said",
    [
        ({"cart/out": "-> ../../../etc/passwd"}, {}, "symbolic links lead out of the context"),
        ({"cart/a": "-> b/../..", "cart/b": "-> ."}, {}, "symbolic links lead out of the context"),
        ({}, {"dockerfile": "main/Dockerfile"}, "no Dockerfile main/Dockerfile"),
        ({"cart/D": "-> Dockerfile2"}, {"dockerfile": "D"}, "no Dockerfile D"),
        ({"link": "-> cart"}, {"context": "link"}, "no folder link"),
        ({}, {"context": "gone"}, "no folder gone"),
    ],
    ids=[
        "link out",
        "link out through another",
        "no file",
        "dangling",
        "context is a link",
        "no context",
    ],
)
def test_a_context_that_reaches_out_is_refused(world: World, source, files, spec, said):
    """Before anything of it is unpacked; the sentence names what is wrong."""
    world.repository.commit(files)
    world.apply(
        images=[
            {"name": "cart", "context": "cart", "repository": f"{world.namespace}/cart", **spec}
        ]
    )
    assert world.build()["outcome"] == "Failed"
    assert world.image()["reason"] == "SourceRefused"
    assert said in world.image()["message"]
    assert not any("STEP" in line for line in world.said)


def test_a_command_builds_again_what_has_not_changed(world: World, source):
    """Only the images it names, and it is told who asked."""
    world.apply()
    world.build()
    world.annotate(build_request=json.dumps({"id": "r-1", "by": "ada", "images": ["cart"]}))
    assert world.build()["outcome"] == "Succeeded"
    assert (world.image()["reason"], world.image()["build"]) == ("Requested", 2)
    assert world.take("build_finished")[-1]["requested_by"] == "ada"
    world.reconcile()
    assert world.take("build_requested") == []


def test_a_second_execution_of_the_same_build_ends_at_once(world: World, source):
    """A trigger that comes twice builds once."""
    world.apply()
    world.reconcile()
    with world.run().build_lease():
        assert run_build(world.run())["skipped"]
    assert run_build(world.run())["outcome"] == "Succeeded"
    assert run_build(world.run())["skipped"]


def test_no_more_than_the_limit_at_a_time(world: World, source):
    """A build without a slot waits, and says so; the one that ends calls it."""
    for name in ("shop", "other"):
        world.apply(name, images=[an_image(world, name)])
        world.reconcile(name, max_concurrent=1)
    run = world.run("other", max_concurrent=1)
    slot = slots.acquire(run.services, 1, run.identity, "another build")
    assert slot is not None
    assert run_build(world.run(max_concurrent=1))["waiting"]
    assert "Waiting for another build" in world.condition("Ready")[2]
    slot.release()
    world.take("build_requested")
    run_build(run)
    assert [each["name"] for each in world.take("build_requested")] == ["shop"]
    assert run_build(world.run(max_concurrent=1))["outcome"] == "Succeeded"
    assert world.take("build_requested") == []


def test_as_many_builds_are_called_as_there_are_places(world: World, source):
    """Two that end at once see who has waited longest: the second in the row is called, too."""
    for name in ("shop", "other", "third"):
        world.apply(name, images=[an_image(world, name)])
        world.reconcile(name, max_concurrent=2)
    run = world.run("other", max_concurrent=2)
    taken = [slots.acquire(run.services, 2, run.identity, f"build {each}") for each in range(2)]
    for name in ("shop", "other", "third"):
        assert run_build(world.run(name, max_concurrent=2))["waiting"]
    world.take("build_requested")
    for slot in taken:
        assert slot is not None
        slot.release()
    run.start_next(run.free_slots())
    assert sorted(each["name"] for each in world.take("build_requested")) == ["other", "shop"]
    slots.acquire(run.services, 2, run.identity, "one more")
    run.start_next(run.free_slots())
    assert len(world.take("build_requested")) == 1


def an_image(world: World, name: str) -> dict[str, Any]:
    return {"name": name, "context": "cart", "repository": f"{world.namespace}/{name}"}


def test_a_registry_that_lets_nobody_in_is_not_tried_again(world: World, vault, source):
    """Wrong credentials do not get better; the password is in nothing that was said."""
    store(vault, "registries/main", {"username": "pusher", "password": "wrong-password-9"})
    world.apply()
    result = world.build()
    assert result["outcome"] == "Failed"
    assert (world.image()["reason"], world.image()["attempts"]) == ("RegistryDenied", 1)
    assert world.condition("Built")[0] == "True"
    assert world.condition("Pushed")[:2] == ("False", "RegistryDenied")
    everything = "\n".join(world.said) + json.dumps(world.get())
    pair = base64.b64encode(b"pusher:wrong-password-9").decode()
    assert "wrong-password-9" not in everything
    assert pair not in everything


def test_a_registry_that_is_away_is_tried_again(world: World, source):
    """As often as the settings say, then the build has failed."""
    gone = [{"host": "127.0.0.1:1", "insecure_http": True}]
    world.apply()
    world.reconcile(registries=gone, attempts=2)
    first = run_build(world.run(registries=gone, attempts=2))
    assert (first["phase"], world.image()["reason"], world.image()["state"]) == (
        "Requested",
        "NetworkFailed",
        "Waiting",
    )
    second = run_build(world.run(registries=gone, attempts=2))
    assert (second["outcome"], world.image()["attempts"]) == ("Failed", 2)


def test_the_password_of_the_registry_is_on_no_command_line(world: World, source, monkeypatch):
    """It is in a file of mode 0600 that goes away."""
    seen: list[str] = []
    bound = processes.bound
    monkeypatch.setattr(processes, "bound", lambda argv: seen.append(" ".join(argv)) or bound(argv))
    world.apply()
    world.build()
    assert any("--authfile=" in line for line in seen)
    assert not any(
        PASSWORD in line or base64.b64encode(PASSWORD.encode()).decode()[:12] in line
        for line in seen
    )


def test_root_and_a_host_that_was_not_asked_are_refused(world: World, source):
    """Each refusal says what operations can do."""
    world.apply()
    world.reconcile()
    if os.geteuid() == 0:
        run_build_refused = world.run(host={"enabled": True})
        with pytest.raises(Exception, match="chroot is no security boundary"):
            run_build(run_build_refused)
        assert world.get()["status"]["build"]["outcome"] == "Failed"
    world.apply(
        images=[
            {
                "name": "cart",
                "context": "cart",
                "repository": f"{world.namespace}/cart",
                "tags": ["x"],
            }
        ]
    )
    world.reconcile(host={})
    assert "build.host.enabled" in world.condition("SpecValid")[2]


def test_layers_come_from_the_cache_repository(world: World, registry, source):
    """A second build of the same source runs nothing again, though the first one left nothing on
    the host.
    """
    image = {"name": "cart", "context": "cart", "repository": f"{world.namespace}/cart"}
    world.apply(images=[{**image, "cache": f"{world.namespace}/cache"}])
    world.build()
    digest = world.image()["digest"]
    world.said.clear()
    world.annotate(build_request=json.dumps({"id": "r-1"}))
    world.build()
    assert any("using cache" in line.lower() for line in world.said)
    assert (
        file_in_image(registry, f"{world.namespace}/cart", world.image()["tags"][0], "made")
        == b"made of one\n"
    )
    assert digest.startswith("sha256:")


def test_one_image_for_several_platforms(world: World, registry):
    """The tag is an index of them, and its digest is the image's."""
    world.repository.commit(
        {"cart/Dockerfile": "FROM scratch\nCOPY main /main\n", "cart/main": "one"}
    )
    image = {"name": "cart", "context": "cart", "repository": f"{world.namespace}/cart"}
    world.apply(images=[{**image, "platforms": ["linux/amd64", "linux/arm64"]}])
    result = world.build()
    assert result["outcome"] == "Succeeded", "\n".join(world.said)
    digest, found = manifest(registry, f"{world.namespace}/cart", world.image()["tags"][0])
    assert digest == world.image()["digest"]
    assert sorted(each["platform"]["architecture"] for each in found["manifests"]) == [
        "amd64",
        "arm64",
    ]


def test_a_build_without_the_network(world: World, registry, busybox):
    """RUN reaches nobody, where operations say so; the push does."""
    run = f'["/bin/busybox", "sh", "-c", "! /bin/busybox wget -q -T 1 {registry.url}"]'
    dockerfile = f"FROM scratch\nCOPY busybox /bin/busybox\nRUN {run}\n"
    world.repository.commit({"cart/Dockerfile": dockerfile, "cart/busybox": busybox})
    world.apply()
    host = {"enabled": True, "allow_root": True, "network": False}
    assert world.build(host=host)["outcome"] == "Succeeded"
