"""RDS's limits as functions: the edges of each."""

from __future__ import annotations

import pytest

from sandbox.aws import rds_rules
from sandbox.aws.rds_rules import InstanceShape, Refusal


@pytest.mark.parametrize(
    "engine, length, accepted",
    [
        ("postgres", 7, False),
        ("postgres", 8, True),
        ("postgres", 128, True),
        ("postgres", 129, False),
        ("mysql", 41, True),
        ("mysql", 42, False),
        ("mariadb", 41, True),
        ("mariadb", 42, False),
    ],
)
def test_password_lengths(engine: str, length: int, accepted: bool) -> None:
    """8 to 41 characters for MySQL and MariaDB, 8 to 128 for PostgreSQL."""
    if accepted:
        rds_rules.check_password(engine, "x" * length)
    else:
        with pytest.raises(Refusal):
            rds_rules.check_password(engine, "x" * length)


@pytest.mark.parametrize("character", ["/", "@", '"', " ", "ä", "\x7f", "\n"])
def test_password_characters(character: str) -> None:
    """Printable ASCII alone, without the four that RDS keeps out."""
    with pytest.raises(Refusal, match="Only printable ASCII"):
        rds_rules.check_password("postgres", f"long-enough{character}")


def test_every_other_printable_character_will_do() -> None:
    """All of ASCII that is left makes a password."""
    rds_rules.check_password(
        "postgres", "".join(chr(n) for n in range(0x21, 0x7F) if chr(n) not in '/@"')
    )


@pytest.mark.parametrize(
    "storage_type, size, iops, accepted",
    [
        ("gp2", 19, None, False),
        ("gp2", 20, None, True),
        ("gp3", 20, None, True),
        ("gp3", 65536, None, True),
        ("gp3", 65537, None, False),
        ("io1", 99, 1000, False),
        ("io1", 100, 1000, True),
        ("io1", 100, None, False),
        ("gp2", 100, 1000, False),
        ("magnetic", 100, None, False),
    ],
)
def test_storage_limits(storage_type: str, size: int, iops: int | None, accepted: bool) -> None:
    """Sizes by type, and IOPS where they belong."""
    if accepted:
        rds_rules.check_storage("postgres", storage_type, size, iops)
    else:
        with pytest.raises(Refusal):
            rds_rules.check_storage("postgres", storage_type, size, iops)


@pytest.mark.parametrize(
    "asked, given",
    [(100, 100), (101, 110), (110, 110), (111, 111)],
    ids=["same", "little", "tenth", "more"],
)
def test_storage_grows_by_a_tenth_at_least(asked: int, given: int) -> None:
    """Less than that is rounded up."""
    current = InstanceShape("postgres", "16.4", 100, "gp3")
    assert rds_rules.check_modify(current, {"allocated_storage": asked}) == {
        "allocated_storage": given
    }


@pytest.mark.parametrize(
    "engine, current, target, major, accepted",
    [
        ("postgres", "16.4", "16.6", False, True),
        ("postgres", "16.4", "16.3", True, False),
        ("postgres", "16.4", "17.4", False, False),
        ("postgres", "16.4", "17.4", True, True),
        ("mysql", "8.0.36", "8.4.4", False, False),
        ("mysql", "8.0.36", "8.0.42", False, True),
        ("mariadb", "10.6.21", "10.11.10", True, True),
    ],
)
def test_versions_go_up_and_majors_only_when_allowed(
    engine: str, current: str, target: str, major: bool, accepted: bool
) -> None:
    """A minor version up is free, a major one needs the flag, down is refused."""
    shape = InstanceShape(engine, current, 100, "gp3")
    request = {"engine_version": target, "allow_major_version_upgrade": major}
    if accepted:
        assert rds_rules.check_modify(shape, request) == {"engine_version": target}
    else:
        with pytest.raises(Refusal):
            rds_rules.check_modify(shape, request)


def test_defaults_are_among_what_is_offered() -> None:
    """Each engine's default version is one of its versions."""
    assert (
        set(rds_rules.DEFAULT_VERSION) == set(rds_rules.ENGINES) == set(rds_rules.ENGINE_VERSIONS)
    )
    assert all(
        rds_rules.DEFAULT_VERSION[engine] in rds_rules.ENGINE_VERSIONS[engine]
        for engine in rds_rules.ENGINES
    )
