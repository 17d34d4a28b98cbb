"""Which login goes where: by entry, namespace, pattern and builder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kubestorm.core.errors import DefinitionError
from kubestorm.core.image_names import ImageName
from kubestorm.kinds.build.logins import build_grants, config_warnings, namespace_grants, push_entry
from kubestorm.kinds.build.settings import BuildSettings

from tests.declared import section

ROOT, EXAMPLE = Path(__file__).parents[3], "kubestorm.yaml.example"
HOST = "r.test"
OWN = {"push_vault_path": "own", "pull_vault_path": "own-pull"}
TEAM_B = {
    "namespaces": ["team-b"],
    "repositories": ["team-b/*"],
    "push_vault_path": "b",
    "pull_vault_path": "b-pull",
}
BASE = {"repositories": ["base/*"], "pull_vault_path": "base-pull"}
ONE = {"push_vault_path": "one"}


def settings_of(*entries: dict[str, Any]) -> BuildSettings:
    registries = [{"host": HOST, **entry} for entry in entries]
    return BuildSettings.from_config({"registries": section(registries)})


def name(text: str) -> ImageName:
    host, _, repository = text.partition("/")
    return ImageName(host, repository) if "." in host else ImageName(HOST, text)


def build(
    entries: list[dict[str, Any]], builder: str, pushes: str, pulls: str | None
) -> dict[str, str]:
    found = build_grants(
        settings_of(*entries),
        builder,
        "team-a",
        map(name, pushes.split()),
        None if pulls is None else map(name, pulls.split()),
    )
    return {grant.key: grant.vault_path for grant in found}


@pytest.mark.parametrize(
    "entries, pushes, pulls, keys",
    [
        pytest.param(
            [OWN, TEAM_B, BASE],
            "team-a/cart",
            "base/os",
            {"r.test/team-a/cart": "own", "r.test/base/os": "base-pull"},
            id="a destination and a base",
        ),
        pytest.param(
            [OWN, TEAM_B], "team-b/cart", "team-b/secret", {}, id="another team's is not lent"
        ),
        pytest.param(
            [OWN, BASE], "base/os", "", {}, id="what is only pulled from is not pushed to"
        ),
        pytest.param(
            [OWN],
            "team-a/cart team-a/cache",
            "team-a/os",
            {
                "r.test/team-a/cart": "own",
                "r.test/team-a/cache": "own",
                "r.test/team-a/os": "own-pull",
            },
            id="layers are pushed, an own base is pulled",
        ),
        pytest.param(
            [OWN],
            "team-a/cart",
            "team-a/cart",
            {"r.test/team-a/cart": "own"},
            id="what is pulled and pushed is pushed",
        ),
        pytest.param(
            [ONE],
            "team-a/cart",
            "team-a/os",
            {"r.test/team-a/cart": "one", "r.test/team-a/os": "one"},
            id="one login does both",
        ),
        pytest.param(
            [ONE, {"repositories": ["*"], "pull_vault_path": "all-pull"}],
            "team-a/cart",
            "team-a/os team-b/os",
            {
                "r.test/team-a/cart": "one",
                "r.test/team-a/os": "all-pull",
                "r.test/team-b/os": "all-pull",
            },
            id="a wider login that pulls is preferred to the one that pushes",
        ),
        pytest.param(
            [ONE, {"repositories": ["*"]}],
            "team-a/cart",
            "team-a/os other/os",
            {"r.test/team-a/cart": "one", "r.test/team-a/os": "one"},
            id="what asks for no login gets none",
        ),
        pytest.param(
            [
                {"repositories": ["*"], "push_vault_path": "all"},
                {"repositories": ["team-a/*"], "push_vault_path": "team"},
                {"repositories": ["team-a/cart"], "push_vault_path": "cart"},
                {"repositories": ["team-?/cart*"], "push_vault_path": "odd"},
            ],
            "team-a/cart team-a/cartoon team-b/cartoon else/x",
            "",
            {
                "r.test/team-a/cart": "cart",
                "r.test/team-a/cartoon": "team",
                "r.test/team-b/cartoon": "odd",
                "r.test/else/x": "all",
            },
            id="the most specific pattern",
        ),
        pytest.param(
            [{**OWN, "host": "other.test"}, ONE],
            "team-a/cart",
            "other.test/team-a/os elsewhere.test/team-a/os",
            {"r.test/team-a/cart": "one", "other.test/team-a/os": "own-pull"},
            id="each host has its own",
        ),
        pytest.param(
            [{**OWN, "namespaces": ["team-b", "team-c*"]}], "team-a/cart", "", {}, id="a namespace"
        ),
        pytest.param(
            [ONE, {**OWN, "namespaces": ["team-a"], "repositories": ["team-a/*"]}],
            "team-a/cart",
            "team-a/os",
            {"r.test/team-a/cart": "own", "r.test/team-a/os": "own-pull"},
            id="of equal patterns that of an entry for certain namespaces",
        ),
        pytest.param(
            [OWN, TEAM_B, BASE, {"repositories": ["*-public/*"], "pull_vault_path": "odd-pull"}],
            "team-a/cart",
            None,
            {
                "r.test/team-a/cart": "own",
                "r.test/team-a": "own-pull",
                "r.test/base": "base-pull",
                "r.test": "odd-pull",
            },
            id="bases that cannot be known: what the namespace may pull",
        ),
        pytest.param(
            [ONE, TEAM_B],
            "team-a/cart",
            None,
            {"r.test/team-a/cart": "one", "r.test/team-a": "one"},
            id="unknown bases and one login",
        ),
    ],
)
@pytest.mark.parametrize("builder", ["buildah", "host-buildah"])
def test_a_build_has_the_logins_of_what_it_pushes_and_pulls(entries, pushes, pulls, keys, builder):
    assert build(entries, builder, pushes, pulls) == keys


@pytest.mark.parametrize(
    "entries, pulls, keys",
    [
        ([OWN, TEAM_B, BASE], "base/os team-b/x", {HOST: "own"}),
        ([OWN, {**BASE, "host": "b.test"}], "b.test/base/os", {HOST: "own", "b.test": "base-pull"}),
        ([OWN, TEAM_B, BASE], None, {HOST: "own"}),
        (
            [OWN, {"host": "docker.io", "repositories": ["acme/*"], "pull_vault_path": "hub"}],
            "docker.io/acme/os",
            {HOST: "own", "https://index.docker.io/v1/": "hub"},
        ),
    ],
    ids=["the destination's wins", "another host", "unknown bases", "Docker Hub's own name"],
)
@pytest.mark.parametrize("builder", ["buildkit", "kaniko"])
def test_a_builder_that_knows_hosts_alone_has_one_login_for_each(entries, pulls, keys, builder):
    assert build(entries, builder, "team-a/cart", pulls) == keys


@pytest.mark.parametrize(
    "entries, allowed, keys",
    [
        ([OWN, TEAM_B, BASE], (), {"r.test/team-a": "own-pull", "r.test/base": "base-pull"}),
        ([{"repositories": ["*"]}], (), {}),
        ([TEAM_B], (), {}),
        ([{**ONE, "copy_push_login": True}], (), {"r.test/team-a": "one"}),
        (
            [ONE, {"repositories": ["{namespace}/*", "base/os"], "pull_vault_path": "pull"}],
            (),
            {"r.test/base/os": "pull", "r.test/team-a": "pull"},
        ),
        ([ONE, {"repositories": ["*"], "pull_vault_path": "pull"}], (), {"r.test": "pull"}),
        ([OWN, BASE], ("r.test/team-*", "q.test/*"), {"r.test/team-a": "own-pull"}),
        ([ONE], ("q.test/*",), {}),
    ],
    ids=[
        "its own and the bases",
        "no login",
        "another namespace's",
        "a copy that operations allow",
        "the same pattern",
        "a wider pattern",
        "what may run",
        "nothing of it may run",
    ],
)
def test_pods_of_a_namespace_pull_with_what_only_pulls(entries, allowed, keys):
    found = namespace_grants(settings_of(*entries), "team-a", allowed)
    assert {grant.key: grant.vault_path for grant in found} == keys


@pytest.mark.parametrize(
    "entries",
    [
        [ONE],
        [OWN, {"repositories": ["more/*"], "push_vault_path": "more"}],
        [ONE, {"repositories": ["base/*"], "pull_vault_path": "pull"}],
        [ONE, {"repositories": ["team-?/*"], "pull_vault_path": "pull"}],
    ],
    ids=["alone", "beside another", "a base is no help", "whether it covers cannot be told"],
)
def test_a_login_that_pushes_is_not_copied_unasked(entries):
    """The refusal says which entry, and both ways out."""
    with pytest.raises(DefinitionError, match=r"\[\d\]\.pull_vault_path, or copy_push_login") as it:
        namespace_grants(settings_of(*entries), "team-a")
    assert it.value.field.startswith("registries.hosts[0].access[")


@pytest.mark.parametrize(
    "entries, said",
    [
        ([OWN, BASE, TEAM_B], []),
        ([ONE], ["has only one login: builds pull with the login that pushes"]),
        ([{**ONE, "copy_push_login": True}], ["copies its only login"]),
        ([ONE, {"repositories": ["*"], "pull_vault_path": "pull"}], []),
        (
            [ONE, {"repositories": ["*"], "pull_vault_path": "pull", "namespaces": ["a"]}],
            ["has only one login"],
        ),
        ([{**OWN, "repositories": ["team-b/*"]}], ["lets every namespace push to team-b/*"]),
    ],
    ids=["sound", "one login", "copied", "a wider one", "a wider one for others", "open to all"],
)
def test_check_says_what_one_login_means(entries, said):
    found = config_warnings(settings_of(*entries))
    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


@pytest.mark.parametrize(
    "second, said",
    [
        ({"copy_push_login": True}, "copy_push_login is for an entry with push_vault_path"),
        ({**OWN, "copy_push_login": True}, "copy_push_login is for an entry with push_vault_path"),
    ],
)
def test_entries_that_contradict_are_refused(second, said):
    with pytest.raises(DefinitionError, match=said):
        settings_of(OWN, second)


def test_a_narrower_entry_that_only_pulls_protects_its_repositories():
    """The most specific pattern counts also where it forbids."""
    settings = settings_of(OWN, {"repositories": ["{namespace}/base/*"], "pull_vault_path": "p"})
    assert push_entry(settings, name("team-a/base/os"), "team-a") is None
    assert push_entry(settings, name("team-a/cart"), "team-a").push_vault_path == "own"


SHOWN = re.findall(
    r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "builds.md").read_text(), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(
    "text",
    [*(each for each in SHOWN if "registries:" in each), (ROOT / EXAMPLE).read_text()],
    ids=["docs/builds.md", EXAMPLE],
)
def test_a_configuration_that_is_shown_needs_no_warning(text):
    """It fits the schema, and each of its logins does what it has to."""
    config = yaml.safe_load(text)
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text())
    jsonschema.Draft3Validator({"properties": schema}).validate({"cluster": "x", **config})
    assert config_warnings(BuildSettings.from_config(config)) == []
