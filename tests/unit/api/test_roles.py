"""Roles and assignments, as the files of StackStorm's RBAC mean them."""

from __future__ import annotations

from pathlib import Path

import pytest
from stormcell.errors import InvalidInputError
from stormcell.rbac import OWNER, Roles

ACTION = ("action:shop:deploy", "pack:shop")


def _roles(folder: Path, grants: str) -> Roles:
    """The user ann, with a role of these grants."""
    for part, text in (
        ("roles/some", f"name: some\npermission_grants: {grants}\n"),
        ("assignments/ann", "username: ann\nroles: [some]\n"),
    ):
        file = folder / f"{part}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return Roles(folder)


@pytest.mark.parametrize(
    "grants, permission, uids, allowed",
    [
        # st2-rbac-backend, tests/unit/test_rbac_resolvers_action.py: a grant on the action, on its
        # pack, and what a stronger one implies.
        (
            "[{resource_uid: 'action:shop:deploy', permission_types: [action_view]}]",
            "action_view",
            ACTION,
            True,
        ),
        (
            "[{resource_uid: 'pack:shop', permission_types: [action_all]}]",
            "action_execute",
            ACTION,
            True,
        ),
        (
            "[{resource_uid: 'pack:shop', permission_types: [action_execute]}]",
            "action_view",
            ACTION,
            True,
        ),
        (
            "[{resource_uid: 'pack:shop', permission_types: [action_view]}]",
            "action_execute",
            ACTION,
            False,
        ),
        (
            "[{resource_uid: 'pack:shop', permission_types: [pack_all]}]",
            "action_execute",
            ACTION,
            False,
        ),
        (
            "[{resource_uid: 'pack:other', permission_types: [action_all]}]",
            "action_execute",
            ACTION,
            False,
        ),
        ("[{permission_types: [action_list]}]", "action_list", (), True),
        ("[{permission_types: [action_list]}]", "action_view", ACTION, False),
        # Ours: a pattern.
        (
            "[{resource_uid: 'action:shop:de*', permission_types: [action_execute]}]",
            "action_execute",
            ACTION,
            True,
        ),
        (
            "[{resource_uid: 'action:*:roll', permission_types: [action_execute]}]",
            "action_execute",
            ACTION,
            False,
        ),
    ],
)
def test_what_a_grant_allows(
    tmp_path: Path, grants: str, permission: str, uids: tuple[str, ...], allowed: bool
) -> None:
    """On the resource itself or on its pack; `all` is everything of one kind."""
    roles = _roles(tmp_path, grants)
    assert roles.faults == {}
    assert roles.may("ann", permission, *uids) is allowed
    assert not roles.may("eve", permission, *uids)


def test_an_execution_is_steered_by_who_may_execute(tmp_path: Path) -> None:
    """st2-rbac-backend, ExecutionPermissionsResolver: `action_execute` grants stop and re-run."""
    grants = "[{resource_uid: 'pack:shop', permission_types: [action_execute]}]"
    roles = _roles(tmp_path, grants)
    for permission in ("execution_stop", "execution_rerun"):
        assert roles.may("ann", permission, *ACTION, granted_by="action_execute")
        assert not roles.may("ann", permission, *ACTION)


@pytest.mark.parametrize(
    "role, reason",
    [
        (
            "name: x\npermission_grants: [{permission_types: [action_execute]}]",
            'Invalid permission type "action_execute" without a resource_uid.',
        ),
        (
            "name: x\npermission_grants:\n"
            "  - {resource_uid: 'rule:a:b', permission_types: [action_view]}",
            'Invalid permission type "action_view" for resource type "rule".',
        ),
        ("name: admin", 'The role "admin" exists already.'),
        ("name: x\nwhatever: 1", "x.yaml cannot be read: Object contains unknown field `whatever`"),
        ("name: [", "x.yaml cannot be read: "),
        ("", "x.yaml cannot be read: "),
    ],
)
def test_a_wrong_file_grants_nothing(tmp_path: Path, role: str, reason: str) -> None:
    """It is named with what is wrong, and the others count."""
    roles = _roles(tmp_path, "[{permission_types: [rule_list]}]")
    (tmp_path / "roles" / "x.yaml").write_text(role)
    ((name, said),) = roles.faults.items()
    assert (name, said.startswith(reason)) == ("roles/x.yaml", True)
    assert roles.may("ann", "rule_list")
    assert roles.of("ann") == {"some"}


def test_disabled_files_are_left_out(tmp_path: Path) -> None:
    """A role and an assignment may say `enabled: false`."""
    roles = _roles(tmp_path, "[{permission_types: [rule_list]}]")
    file = tmp_path / "assignments" / "ann.yaml"
    file.write_text(f"{file.read_text()}enabled: false\n")
    assert roles.of("ann") == frozenset()


def test_assignments_are_written_where_they_are(tmp_path: Path) -> None:
    """One file for a user, whatever its name; an unknown role is refused."""
    roles = _roles(tmp_path, "[]")
    (tmp_path / "assignments" / "ann.yaml").rename(tmp_path / "assignments" / "people.yaml")
    roles.assign("ann", ["operator", "some"])
    roles.assign("../eve", ["observer"])
    assert [file.name for file in sorted((tmp_path / "assignments").iterdir())] == [
        "___eve.yaml",
        "people.yaml",
    ]
    assert (roles.of("ann"), roles.of("../eve")) == ({"operator", "some"}, {"observer"})
    with pytest.raises(InvalidInputError, match="There is no role captain"):
        roles.assign("ann", ["captain"])
    roles.forget("ann")
    assert roles.of("ann") == frozenset()


def test_the_owner_needs_no_file(tmp_path: Path) -> None:
    """Nor may a file take anything from the owner."""
    roles = Roles(tmp_path / "none")
    assert roles.may(OWNER, "anything_at_all")
    assert roles.faults == {}
