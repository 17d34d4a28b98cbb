"""Which rights a configuration needs, and how they are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Set

import pytest
import yaml
from kubestorm.core import parts
from kubestorm.core.errors import DefinitionError
from kubestorm.entrypoints.rbac import FOLDER, PREFIX, ROLES, Account, Wish, grant, main

LEAST = {"cluster": "dev"}
KIND = {"group": "prsn.io", "version": "v1", "plural": "mysqldbs"}


def names(config: Dict[str, Any], **wish: Any) -> Set[str]:
    """The roles, by name."""
    return {role.name for role in grant({**LEAST, **config}, Wish(**wish)).roles}


def of_kind(found: List[Dict[str, Any]], kind: str) -> List[Dict[str, Any]]:
    return [one for one in found if one["kind"] == kind]


@pytest.mark.parametrize(
    "config, wish, roles",
    [
        pytest.param({"parts": ["databases"]}, {}, {"base", "databases"}, id="databases"),
        pytest.param({"aws": {"region": "x"}}, {}, {"base", "databases"}, id="by the section"),
        pytest.param(
            {"parts": ["databases"], "database": {"kinds": [KIND]}},
            {"extra": ["database-requests"]},
            {"base", "databases", "database-kinds", "database-requests"},
            id="kinds and actions",
        ),
        pytest.param(
            {"parts": ["builds", "announcements"], "build": {"builder": "host-buildah"}},
            {},
            {"base", "image-builds", "announcements"},
            id="builds on the host",
        ),
        pytest.param(
            {"parts": ["builds"], "chat": {"ask": "#a"}, "descriptor": {"shell": ["sh"]}},
            {},
            {"base", "image-builds", "builds-in-cluster", "chat", "descriptors"},
            id="builds in the cluster",
        ),
        pytest.param(
            {"parts": ["applications"]},
            {
                "without": [
                    "application-ingresses",
                    "application-test-jobs",
                    "application-test-requests",
                ]
            },
            {"base", "applications", "application-objects", "application-secrets"},
            id="applications without tests and ingresses",
        ),
        pytest.param(
            {"parts": ["applications"]},
            {
                "without": [
                    "application-secrets",
                    "application-ingresses",
                    "application-test-jobs",
                    "application-test-requests",
                ]
            },
            {"base", "applications", "application-objects"},
            id="applications that ask for little",
        ),
    ],
)
def test_a_configuration_needs_these_roles(config, wish, roles) -> None:
    """What is not in use is not granted."""
    assert names(config, **wish) == roles


@pytest.mark.parametrize(
    "config, wish, says",
    [
        pytest.param({}, {}, "what of the pack is in use", id="nothing"),
        pytest.param({"parts": ["database"]}, {}, "parts is", id="no part"),
        pytest.param(
            {"parts": ["announcements"]}, {}, "what of the pack is in use", id="nothing to tell of"
        ),
        pytest.param(
            {"parts": ["builds"]},
            {"without": ["image-builds"]},
            "--without image-builds",
            id="part",
        ),
        pytest.param({"parts": ["builds"]}, {"extra": ["chat"]}, "--with chat", id="no extra"),
        pytest.param(
            {"parts": ["builds"]}, {"extra": ["pull-secrets"]}, "name the namespaces", id="secrets"
        ),
        pytest.param(
            {"parts": ["builds"], "kubernetes": {"namespaces": ["A"]}},
            {},
            "kubernetes.namespaces",
            id="no namespace",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(config, wish, says) -> None:
    """The setting or the option is named."""
    with pytest.raises(DefinitionError, match=says):
        names(config, **wish)


def test_roles_are_bound_in_the_namespaces_that_are_served() -> None:
    """And nowhere in the whole cluster; Leases in the pack's own, builds in theirs."""
    config = {
        **LEAST,
        "parts": ["databases", "builds"],
        "kubernetes": {"namespace": "ops", "namespaces": ["shop", "till"]},
        "build": {"cluster": {"namespace": "ovens"}, "pull_secret_name": "pull"},
    }
    found = grant(config, Wish(extra=["pull-secrets"])).manifests
    assert of_kind(found, "ClusterRoleBinding") == []
    bound = {
        (one["metadata"]["namespace"], one["roleRef"]["name"][len(PREFIX) :])
        for one in of_kind(found, "RoleBinding")
    }
    assert bound == {
        ("ops", "base"),
        ("ovens", "builds-in-cluster"),
        *(
            (namespace, role)
            for namespace in ("shop", "till")
            for role in ("databases", "image-builds", "pull-secrets")
        ),
    }
    assert {one["metadata"]["name"] for one in of_kind(found, "Namespace")} == {"ops", "ovens"}
    (pulls,) = [one for one in found if one["metadata"]["name"] == "kubestorm-pull-secrets"][:1]
    assert pulls["rules"][0]["resourceNames"] == ["pull"]


def test_all_namespaces_are_a_binding_for_the_cluster() -> None:
    """An account of another namespace is not made, and has bindings of its own."""
    wish = Wish(account=Account("st2", "runner"))
    found = grant({**LEAST, "parts": ["databases"]}, wish).manifests
    (binding,) = of_kind(found, "ClusterRoleBinding")
    assert binding["metadata"] == {"name": "kubestorm-databases:st2:runner"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "runner", "namespace": "st2"}]
    assert of_kind(found, "ServiceAccount") == []


def test_every_role_is_in_its_file_and_every_file_is_used() -> None:
    """One source: the table says when, the files say what."""
    written = {
        (path.name, one["metadata"]["name"])
        for path in FOLDER.glob("*.yaml")
        for one in yaml.safe_load_all(path.read_text())
        if one["kind"] == "ClusterRole"
    }
    assert written == {(role.file, PREFIX + role.name) for role in ROLES if role.file}


def test_every_section_belongs_to_one_part() -> None:
    """And each part can be told by one."""
    sections = [section for several in parts.SECTIONS.values() for section in several]
    assert len(sections) == len(set(sections))
    assert set(parts.SECTIONS) == set(parts.KINDS)


def test_the_program_prints_yaml_with_its_reasons(tmp_path: Path, capsys) -> None:
    """Options replace what the configuration says, and what is wrong is a sentence."""
    path = tmp_path / "kubestorm.yaml"
    path.write_text(yaml.safe_dump({**LEAST, "parts": ["databases"]}))
    assert main([str(path), "--namespace", "shop"]) == 0
    text = capsys.readouterr().out
    assert "# The configuration needs kubernetes.namespaces: [shop]." in text
    assert "# Watch, read, and hold the deletion by a finalizer." in text
    assert (
        list(yaml.safe_load_all(text))
        == grant({**LEAST, "parts": ["databases"]}, Wish(("shop",))).manifests
    )
    path.write_text("cluster: dev\n")
    assert main([str(path)]) == 1
    assert "add for example `parts: [databases]`" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "application-secrets" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "Team-A", "a b", "x\n---\nkind: Evil", "a" * 64])
def test_a_namespace_is_a_name(tmp_path: Path, name: str, capsys) -> None:
    """An empty one, such as a variable of the shell that is not set, does not mean all of them."""
    path = tmp_path / "kubestorm.yaml"
    path.write_text("cluster: test\n")
    with pytest.raises(SystemExit) as ended:
        main([str(path), "--namespace", name])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert (printed.out, "is not the name of a namespace" in printed.err) == ("", True)
