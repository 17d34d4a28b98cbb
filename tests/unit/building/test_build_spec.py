"""What an ImageBuild may ask for: its defaults, and everything that is refused, all at once."""

from __future__ import annotations

import pytest
from kubestorm.core.errors import DefinitionError
from kubestorm.kinds.build.settings import BuildSettings
from kubestorm.kinds.build.spec import InvalidSpecError, parse_image_build

from tests.unit.building.conftest import CONFIG, image_build


def test_what_is_left_out_has_been_decided(parse):
    """Dockerfile in context, the whole context as paths, the operators' registry and builder."""
    spec = parse()
    image = spec.images[0]
    assert (image.dockerfile, image.paths, image.reference) == (
        "Dockerfile",
        ("/services/cart/**",),
        "registry.test:5000/shop/cart",
    )
    assert (spec.builder, spec.timeout_seconds, spec.suspend) == ("buildkit", 1800, False)


def test_the_root_is_the_default_context(parse):
    """An image without a context sees the whole repository, and every change concerns it."""
    image = parse(images=[{"name": "cart", "repository": "shop/cart"}]).images[0]
    assert (image.context, image.paths) == (".", ("**",))


@pytest.mark.parametrize(
    "fields, where",
    [
        ({"context": "../other"}, "context"),
        ({"context": "/etc"}, "context"),
        ({"context": "a/../../b"}, "context"),
        ({"context": "-x"}, "context"),
        ({"context": ".git/hooks"}, "context"),
        ({"context": "a\nb"}, "context"),
        ({"dockerfile": "../Dockerfile"}, "dockerfile"),
        ({"dockerfile": "/etc/passwd"}, "dockerfile"),
        ({"repository": "shop/Cart"}, "repository"),
        ({"repository": "shop/cart:latest"}, "repository"),
        ({"repository": "shop/cart@sha256:0"}, "repository"),
        ({"repository": "--authfile=x"}, "repository"),
        ({"repository": "unknown.test/shop/cart"}, "repository"),
        ({"repository": "theirs/cart"}, "repository"),
        ({"cache": "theirs/cache"}, "cache"),
        ({"buildArgs": {"A-B": "1"}}, "buildArgs"),
        ({"buildArgs": {"A": "1\n2"}}, "buildArgs.A"),
        ({"target": "--x"}, "target"),
        ({"platforms": ["linux"]}, "platforms"),
        ({"paths": ["[a"]}, "paths[0]"),
        ({"paths": ["a/../b"]}, "paths[0]"),
        ({"tags": ["{brunch}"]}, "tags[0]"),
        ({"tags": ["-x"]}, "tags[0]"),
        ({"test": {"command": ["/bin/true"]}}, "test"),
        ({"name": "Cart"}, "name"),
    ],
)
def test_a_bad_field_of_an_image_is_named(parse_images, fields, where):
    """Paths that leave their place, repositories that are not ours, options in disguise."""
    with pytest.raises(InvalidSpecError) as refused:
        parse_images(**fields)
    assert [problem.field for problem in refused.value.problems] == [f"spec.images[0].{where}"]


@pytest.mark.parametrize(
    "spec, where",
    [
        ({"source": {"url": "ext::sh"}}, "source.url"),
        ({"source": {"url": "https://git.test/a", "branch": "--upload-pack=x"}}, "source.branch"),
        (
            {"source": {"url": "https://git.test/a", "branch": "a", "revision": "v1"}},
            "source.revision",
        ),
        ({"source": {"url": "https://git.test/a", "revision": "-v1"}}, "source.revision"),
        ({"images": []}, "images"),
        ({"builder": "docker"}, "builder"),
        ({"timeoutSeconds": 0}, "timeoutSeconds"),
        ({"timeoutSeconds": 99999}, "timeoutSeconds"),
        ({"notify": {"on": ["Sometimes"]}}, "notify.on"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_field_is_named(parse, spec, where):
    """Each with its path."""
    with pytest.raises(InvalidSpecError) as refused:
        parse(**spec)
    assert [problem.field for problem in refused.value.problems] == [f"spec.{where}"]


@pytest.mark.parametrize(
    "path, ok",
    [
        ("builds/test/shop/git", True),
        ("builds/test/theirs/git", False),
        ("kubestorm/test/shop/orders", False),
        ("builds/test/shop/../theirs/git", False),
        ("builds/test/shop/./git", False),
        ("/builds/test/shop/git", False),
    ],
)
def test_a_namespace_reads_its_own_credentials_only(parse, path, ok):
    """The pack reads Vault with its own rights, so the path is held to the namespace."""
    source = {"url": "https://git.test/a", "credentials": {"vaultPath": path}}
    if ok:
        assert parse(source=source).source.vault_path == path
    else:
        with pytest.raises(InvalidSpecError, match=r"spec\.source\.credentials\.vaultPath"):
            parse(source=source)


def test_all_problems_are_told_at_once(parse):
    """Nobody has to fix one to learn of the next."""
    with pytest.raises(InvalidSpecError) as refused:
        parse(
            source={"url": "-x"},
            images=[{"name": "A", "repository": "B"}, {"name": "A", "repository": "B"}],
        )
    assert {problem.field for problem in refused.value.problems} == {
        "spec.source.url",
        "spec.images[0].name",
        "spec.images[0].repository",
        "spec.images[1].name",
        "spec.images[1].repository",
    }


def test_host_builds_are_off_by_default():
    """They need a word from operations."""
    config = {"build": {**CONFIG["build"], "builder": "host-buildah", "builders": [], "host": {}}}
    with pytest.raises(InvalidSpecError, match=r"enabled allows them, for trusted sources"):
        parse_image_build(image_build(), BuildSettings.from_config(config), cluster="test")


def test_a_registry_nobody_set_up_is_named_with_those_that_are(parse_images):
    """The developer learns what to write."""
    with pytest.raises(InvalidSpecError, match=r"there is registry\.test:5000, other\.test"):
        parse_images(repository="unknown.test/shop/cart")


@pytest.mark.parametrize(
    "builder, ok", [("host-buildah", True), ("buildah", True), ("buildkit", False)]
)
def test_a_test_command_needs_a_builder_that_runs_it(parse, builder, ok):
    """Otherwise it would be a promise that nobody keeps."""
    images = [{"name": "cart", "repository": "shop/cart", "test": {"command": ["/bin/true"]}}]
    if ok:
        assert parse(builder=builder, images=images).images[0].test_command == ("/bin/true",)
    else:
        with pytest.raises(InvalidSpecError, match="cannot run a command"):
            parse(builder=builder, images=images)


@pytest.mark.parametrize(
    "section, where",
    [
        ({"nonsense": 1}, "build.nonsense"),
        ({"source": {"poll": {"x": 1}}}, "build.source.poll.x"),
        ({"source": {"protocols": ["ext"]}}, "build.source.protocols"),
        ({"builder": "docker"}, "build.builder"),
        ({"registries": [{"host": "a/b"}]}, "build.registries"),
        ({"default_registry": "a"}, "build.default_registry"),
        (
            {"webhooks": {"hooks": [{"name": "a", "kind": "svn", "secret_file": "/x"}]}},
            "build.webhooks.hooks[0].kind",
        ),
        ({"webhooks": {"hooks": [{"name": "a", "kind": "gitlab"}]}}, "build.webhooks.hooks[0]"),
        ({"max_concurrent": 0}, "build.max_concurrent"),
    ],
)
def test_a_wrong_setting_is_named(section, where):
    """By its path in the configuration."""
    with pytest.raises(DefinitionError) as refused:
        BuildSettings.from_config({"build": section})
    assert refused.value.field == where or where in str(refused.value)


@pytest.mark.parametrize(
    "section, namespace",
    [
        ({"cluster": {"namespace": "ours"}}, "ours"),
        ({"builder": "host-buildah", "cluster": {"namespace": "ours"}}, ""),
        ({"builder": "host-buildah", "builders": ["kaniko"]}, "kubestorm-builds"),
    ],
)
def test_jobs_have_a_namespace_where_a_builder_makes_them(section, namespace):
    """Builds on hosts alone have none: there is nothing to watch."""
    assert BuildSettings.from_config({"build": section}).job_namespace == namespace
