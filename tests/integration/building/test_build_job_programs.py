"""The programs inside a build's Job, run here by a shell: what fetches the source, and what buildah
is told.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kubestorm.core.naming import Identity
from kubestorm.kinds.build.builders import Order
from kubestorm.kinds.build.builders.manifests import BUILDKIT_SCRIPT, FETCH, buildah_script, job
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.kinds.build.spec import ImageBuildSpec, parse_image_build

from tests.declared import section
from tests.integration.building.git_servers import (
    PASSWORD,
    USER,
    Repository,
    SshServer,
    http_server,
)

REGISTRY = {"host": "registry.test:5000", "insecure_http": True}
IDENTITY = Identity("test", "kubestorm.io", "v1alpha1", "imagebuilds", "shop", "shop", "u-1")
SETTINGS = BuildSettings.from_config(
    {
        "registries": section([REGISTRY], "registry.test:5000"),
        "build": {
            "source": {
                "protocols": ["http", "ssh", "file", "https"],
                "hosts": ["*", "127.0.0.1"],
            },
            "builder": "buildah",
            "builders": ["buildkit", "kaniko"],
        },
    }
)


def order(url: str, commit: str, **image: Any) -> Order:
    """An order for one image of a repository."""
    whole = {"name": "cart", "context": "cart", "repository": "shop/cart", **image}
    spec: ImageBuildSpec = parse_image_build(
        {
            "metadata": {"namespace": "shop"},
            "spec": {"source": {"url": url, "branch": "main"}, "images": [whole]},
        },
        SETTINGS,
        cluster="test",
    )
    return Order(
        IDENTITY,
        1,
        1,
        spec.images[0],
        spec.source,
        commit,
        "Dockerfile",
        ("main-1",),
        {"a": "b"},
        timeout_seconds=60,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    (tmp_path / "git").mkdir()
    return Repository(tmp_path / "git" / "shop.git")


def fetch(tmp_path: Path, wanted: Order, secrets: dict[str, str] | None = None) -> Path:
    """Run the init container's program with its own variables; the folder it unpacked into."""
    places = {
        "/workspace": tmp_path / "workspace",
        "/secrets/git": tmp_path / "secrets",
        "/tmp": tmp_path / "tmp",
    }
    for place in places.values():
        place.mkdir()
    for name, content in (secrets or {}).items():
        (tmp_path / "secrets" / name).write_text(content)
    program = re.sub(
        r"/workspace\b|/secrets/git\b|/tmp\b", lambda found: str(places[found[0]]), FETCH
    )
    (container,) = job(wanted, "buildah", SETTINGS)["spec"]["template"]["spec"]["initContainers"]
    env = {"PATH": os.environ["PATH"], **{each["name"]: each["value"] for each in container["env"]}}
    done = subprocess.run(
        ["sh", "-c", program], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / "workspace"


def test_the_init_container_unpacks_the_context_alone(tmp_path, repository):
    """Of the one commit, whatever the branch is at by then."""
    commit = repository.commit(
        {"cart/Dockerfile": "FROM scratch", "cart/main": "1", "web/main": "2"}
    )
    repository.commit({"cart/main": "later"})
    found = fetch(tmp_path, order(repository.url, commit))
    assert sorted(path.name for path in found.iterdir()) == ["Dockerfile", "main"]
    assert (found / "main").read_text() == "1"


def test_the_init_container_shows_its_credentials(tmp_path, repository):
    """User and password to HTTP."""
    commit = repository.commit({"cart/Dockerfile": "FROM scratch"})
    with http_server(repository.path.parent, private=True) as server:
        wanted = order(f"{server.url}/shop.git", commit)
        found = fetch(tmp_path, wanted, {"username": USER, "password": PASSWORD})
    assert (found / "Dockerfile").exists()


def test_the_init_container_knows_ssh(tmp_path, repository):
    """With the key of the Secret, and the server's own."""
    commit = repository.commit({"cart/Dockerfile": "FROM scratch"})
    with SshServer(tmp_path / "ssh") as server:
        secrets = {"ssh-key": server.key(), "known_hosts": server.known_hosts}
        found = fetch(tmp_path, order(server.url(repository), commit), secrets)
    assert (found / "Dockerfile").exists()


def test_nothing_from_outside_is_part_of_a_program():
    """Arguments stay arguments, whatever they hold."""
    nasty = "$(touch /tmp/x); `id` 'a' \"b\""
    wanted = order(
        "https://git.test/a",
        "0" * 40,
        buildArgs={"A": nasty},
        test={"command": ["sh", "-c", nasty]},
    )
    lines = buildah_script(wanted, SETTINGS).splitlines()
    build = shlex.split(next(line for line in lines if line.startswith("buildah build")))
    assert f"--build-arg=A={nasty}" in build
    test = shlex.split(next(line for line in lines if "buildah run" in line))
    assert test[-3:] == ["sh", "-c", nasty]
    for builder in ("buildkit", "kaniko"):
        made = job(wanted, builder, SETTINGS)
        (container,) = made["spec"]["template"]["spec"]["containers"]
        assert any(nasty in each for each in container["args"])
        assert not any(nasty in each for each in container["command"])


def test_all_builders_push_every_tag_and_tell_the_digest():
    """And ask the registry as operations said."""
    wanted = order("https://git.test/a", "0" * 40)
    script = buildah_script(wanted, SETTINGS)
    assert "docker://registry.test:5000/shop/cart:main-1" in script
    assert "--tls-verify=false" in script
    assert script.endswith("> /dev/termination-log\n")
    kaniko = job(wanted, "kaniko", SETTINGS)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--digest-file=/dev/termination-log", "--insecure-registry=registry.test:5000"} <= set(
        kaniko
    )
    buildkit = job(wanted, "buildkit", SETTINGS)["spec"]["template"]["spec"]["containers"][0]
    output = buildkit["args"][buildkit["args"].index("--output") + 1]
    assert (
        output
        == 'type=image,"name=registry.test:5000/shop/cart:main-1",push=true,registry.insecure=true'
    )


def test_the_digest_is_read_out_of_buildkits_metadata(tmp_path):
    """As buildctl writes it."""
    metadata = (
        '{\n  "containerimage.config.digest": "sha256:1",\n'
        '  "containerimage.digest": "sha256:22",\n  "x": {}\n}'
    )
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    fake = bin_ / "buildctl-daemonless.sh"
    fake.write_text(
        '#!/bin/sh\nwhile [ "$1" != --metadata-file ]; do shift; done\ncp "$METADATA" "$2"\n'
    )
    fake.chmod(0o755)
    (tmp_path / "metadata").write_text(metadata)
    program = BUILDKIT_SCRIPT.replace("/tmp/", f"{tmp_path}/").replace(
        "/dev/termination-log", f"{tmp_path}/last-words"
    )
    env = {"PATH": f"{bin_}:{os.environ['PATH']}", "METADATA": str(tmp_path / "metadata")}
    subprocess.run(["sh", "-c", program, "build", "build", "--x"], env=env, check=True)
    assert (tmp_path / "last-words").read_text() == "sha256:22\n"
